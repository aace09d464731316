"""What a checkpoint holds: everything that the rest of a run depends on, as files; and the way back into a loop. What chance
decides needs no keeping, it follows from the step."""

import json

import torch
from safetensors.torch import load, save

from alexnet import optim, weights
from alexnet.ledger import Ledger

PLACE = ("epoch", "step", "images", "since_best", "best", "line", "finished", "alarmed", "learnt")  # of the loop, as they are


def files(loop):
    """{name: bytes} of a loop as it stands."""
    facts = {name: getattr(loop, name) for name in PLACE} | {
        "plateau": loop.plateau.state(), "totals": loop.totals.tolist(), "ledger": loop.ledger.state(),
        "log_size": loop.run.log_size(), "environment": loop.environment}
    state = {f"velocity.{name}": velocity for name, velocity in velocities(loop)}
    if loop.apart:
        state.update({f"net.{name}": value for name, value in loop.net.state_dict().items()})
    if loop.average:
        state.update({f"average.{i}": value for i, value in enumerate(loop.average.values)})
    state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    return {"weights.safetensors": weights_file(loop), "state.safetensors": save(state), "loop.json": json.dumps(facts).encode()}


def put_back(loop, files):
    """-> (size of the log at that moment, the environment of then)"""
    facts = json.loads(files["loop.json"])
    for name in PLACE:
        setattr(loop, name, facts[name])
    loop.plateau = optim.Plateau(**facts["plateau"])
    loop.totals.copy_(torch.tensor(facts["totals"], dtype=loop.totals.dtype))
    loop.ledger = Ledger(**facts["ledger"])
    state = load(files["state.safetensors"])
    own = load(files["weights.safetensors"])
    own.pop("mean")
    if loop.apart:
        own = {name.removeprefix("net."): value for name, value in state.items() if name.startswith("net.")}
    if loop.average:
        for i, value in enumerate(loop.average.values):
            value.copy_(state[f"average.{i}"])
    loop.net.load_state_dict(own)
    for name, parameter in loop.net.named_parameters():
        if (velocity := state.get(f"velocity.{name}")) is not None:
            loop.optimiser.state[parameter]["velocity"] = torch.empty_like(parameter).copy_(velocity)
    return facts["log_size"], facts["environment"]


def by_weight(loop):
    """{name: [a weight or statistic, its velocity, its average]}, where there are any: what steps with it."""
    averages = dict(zip(optim.tracked_names(loop.net), loop.average.values)) if loop.average else {}
    return {name: [value, *filter(torch.is_tensor, loop.optimiser.state.get(value, {}).values()),
                   *([averages[name]] if name in averages else [])]
            for name, value in loop.net.state_dict(keep_vars=True).items() if value.dim()}


def velocities(loop):
    for name, parameter in loop.net.named_parameters():
        for value in loop.optimiser.state.get(parameter, {}).values():
            if torch.is_tensor(value):
                yield name, value


def weights_file(loop):
    """The network that is measured, with its card."""
    net, split, line = loop.measured_net(), loop.split, loop.line
    measured = {"split": loop.chosen.name, "fingerprint": loop.chosen.fingerprint, "views": 1, "precision": loop.precision,
                "selected_on": True}
    errors = {key: line[f"val_{key}"] for key in ("top1_error", "top5_error")} if line else {}
    card = weights.card(net, classes=split.classes, size=split.size, centring=loop.recipe.centring, resampling=split.resampling,
                        recipe=loop.config["recipe"], epoch=line.get("epoch", 0),
                        data={"store": str(split.path), "fingerprint": split.fingerprint, "images": len(loop.feed)},
                        errors=[{**measured, **errors, "images": line["val_images"]}] if errors else [],
                        ledger={**loop.ledger.shown(), "images": loop.images, "reached": loop.ledger.reached},
                        environment=loop.environment)
    return weights.pack(net, loop.mean, card)
