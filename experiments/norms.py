"""Claim 2, response norm: none, both, layer 1 only, its constant k^-beta alone, batch norm; on CIFAR-10 the nets of 13 and 11 %.
How far the denominators leave k in training decides whether the norm was tested at all; and does it make activations sparser?"""

import json
from dataclasses import replace

import torch

from alexnet import nets, weights
from alexnet.data import augment
from alexnet.data.store import open_split
from alexnet.device import pick
from alexnet.errors import Refused
from alexnet.net import AlexNet
from alexnet.nets.layers import ContrastNorm, ResponseNorm, WithinMapNorm
from alexnet.parts import mean_of
from alexnet.progress import say
from experiments import inside
from experiments.arms import Arm, last, opened

PAPER = {"no norm": "+0.081 nats, +1.4 points", "layer 1 only": "-0.003 nats, -0.2 points (#167)"}
TESTED = 0.05  # the share of denominators that must be more than 5 % above k at some moment, or the norm was a constant


def arms(row):
    norms = [layer.name for layer in row.layers if isinstance(layer, ResponseNorm)]
    all = [layer.name for layer in row.layers if isinstance(layer, (ResponseNorm, WithinMapNorm, ContrastNorm))]
    constant = nets.changed(row, f"{row.name}-constant_norm", f"{row.title}; k^-beta in the place of each norm",
                            layers={name: {"alpha": 0.0} for name in norms})
    first = nets.changed(row, f"{row.name}-norm1_only", f"{row.title}; no norm in layer 2", without=all[1:])
    none = nets.changed(row, f"{row.name}-no_norm", f"{row.title}; no norm", without=all)
    strong = nets.changed(row, f"{row.name}-strong_norm", f"{row.title}; norms with k = 1 and alpha 0.001 / 5, as on CIFAR-10",
                          layers={name: {"alpha": 0.001 / 5, "k": 1.0} for name in norms})
    batch = nets.varied(row, norm="batch")
    return (Arm("no norm", none), Arm("layer 1 only", first), Arm("constant k^-beta", constant),
            Arm("CIFAR-10's constants", strong), Arm("batch norm", replace(batch, name=f"{row.name}-batch_norm"), rate=0.1))


def run(work):
    row = nets.row(work.known(work.size.row))
    done = work.compare(Arm("both norms", row), arms(row), paper=PAPER, watcher=watcher(work), each=sparse(work))
    for name in ("CIFAR-10's constants", "both norms"):
        tested(work, done[name])
    sparser(work)
    if "cifar" in work.size.more:
        try:
            other = work.at(work.size.more["cifar"])
        except Refused as error:
            work.write(note=f"CIFAR-10's nets: not run. {error}")
            say(str(error))
            return
        fields = {"recipe": "cifar13", "batch_size": 128}
        pair = [Arm(f"CIFAR-10's {name}", narrowed(name, work), fields, rate=0.001) for name in ("cifar11", "cifar13")]
        paper = {pair[1].name: "+2 points (13 % against 11 %)"}
        done = other.compare(pair[0], pair[1:], paper=paper, views=9, watcher=watcher(other))
        tested(other, done[pair[0].name])


def tested(work, runs):
    """Where nearly all denominators stay at k all through training, the norm is a constant, and rows against it test nothing. A run
    that another claim had trained before is looked at as it ended."""
    epochs = [denominators(run) or [ended(run, work)] for run in runs.folders]
    each = [norms for run in epochs for epoch in run for norms in epoch["norms"].values()]
    beyond = max(1 - norms["within_5_percent"] for norms in each)
    work.result.setdefault("denominators", {})[runs.arm.name] = epochs
    if beyond < TESTED:
        for row in work.result["rows"]:
            if row["what"].endswith(f"against {runs.arm.name}") and not row["what"].startswith(("batch norm", "CIFAR-10's const")):
                row["verdict"] = "not tested"
    widest = max(norms["quantiles"][2] for norms in each)
    work.say(f"{runs.arm.name}: at most {100 * beyond:.1f} % of denominators were more than 5 % above k, and the 99th of a hundred "
             f"at most {widest:.2f} times k{': not tested' if beyond < TESTED else ''}")


def narrowed(name, work):
    row = nets.row(name)
    if work.scale != "toy":
        return row
    layers = {layer.name: {"maps": 8} for layer in row.layers if hasattr(layer, "maps")}
    return nets.changed(row, f"{name}-toy", row.title, layers=layers)


def watcher(work):
    """At the end of an epoch, the denominators of the checkpoint before: kept beside the run's log, an epoch a line."""
    def look(run, line):
        config = json.loads((run / "config.json").read_text())
        if not any(isinstance(layer, ResponseNorm) for layer in nets.row(config["net"]).layers):
            return
        if line["epoch"] > 1:
            net, mean, _ = weights.read(last(run))
        else:
            net, mean = AlexNet(config["net"], classes=work.ways, seed=config["seed"]), None
        with open(run / "denominators.jsonl", "a") as file:
            file.write(json.dumps({"epoch": line["epoch"] - 1, "norms": looked(net, mean, work)}) + "\n")
    return look


def ended(run, work):
    """The denominators of a finished run's last net, as an epoch's."""
    return {"epoch": json.loads((run / "finished.json").read_text())["epoch"], "norms": looked(*weights.read(last(run))[:2], work)}


def looked(net, mean, work):
    """The denominators on 64 pictures of the clean sample."""
    split, device = open_split(work.store, "clean"), pick("auto")
    mean = mean_of(open_split(work.store, "train"), net.row.crop, "image") if mean is None else mean
    pictures = split.pictures(range(min(64, len(split))))
    view, = augment.views(torch.from_numpy(pictures).to(device), mean=mean.to(device), crop=net.row.crop)
    return inside.denominators(weights.to_device(net, device), view)


def denominators(run):
    """An entry an epoch; one that a kill had written twice counts once."""
    file = run / "denominators.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return list({line["epoch"]: line for line in lines}.values())


def sparse(work):
    return lambda runs: {"sparseness": [inside.sparseness(opened(run), work.store) for run in runs.folders]}


def sparser(work):
    """Zeros and Hoyer's measure of every rectified layer, with the norms and without: the means over seeds."""
    of = {arm["name"]: arm["sparseness"] for arm in work.result["arms"] if "sparseness" in arm}
    table = {}
    for name in ("both norms", "no norm"):
        layers = of[name][0]
        table[name] = {layer: {key: sum(one[layer][key] for one in of[name]) / len(of[name]) for key in ("zeros", "hoyer")}
                       for layer in layers}
    both, none = table["both norms"], table["no norm"]
    work.write(sparseness=table)
    work.say("zeros with both norms, without: " + ", ".join(
        f"{layer} {100 * both[layer]['zeros']:.1f} %, {100 * none[layer]['zeros']:.1f} %" for layer in none))
