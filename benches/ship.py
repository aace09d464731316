"""Turn a run into the weights that ship: few bytes, measured as they will be read, every condition on the card.

    python -m benches.ship RUN STORE --storage bytes --tune tune [--before MODEL...] [--halfway MODEL] --note "one sentence"

Writes alexnet/shipped/default.safetensors with the last epoch's weights, which nothing chose, or the mean of them and MODEL's.
Temperatures, of one view and of ten, are fitted on the split --tune; errors are those of the stored weights on STORE's val,
float32, one view and ten, with what is most confused. A RUN that chose on val is said on the card; of the runs that it was
begun from, what was done otherwise than the recipe says.
"""

import argparse
import json
import re
import tempfile
from pathlib import Path

import torch

import alexnet
from alexnet import nets, recipes, weights
from alexnet.data.feed import Feed
from alexnet.data.picture import POINTS
from alexnet.data.store import open_split, read_card
from alexnet.device import pick
from alexnet.evaluate.passes import Member
from alexnet.evaluate.settling import settle
from alexnet.ledger import KINDS

STORAGE = {"half": torch.float16, "bytes": torch.int8, "float32": None}
CONFUSED = 20
SETTLING = 4096  # pictures of train


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("store")
    parser.add_argument("--storage", choices=STORAGE, default="half")
    parser.add_argument("--tune", help="the split for the temperature; without it, it stays 1")
    parser.add_argument("--before", nargs="+", type=Path, default=[], metavar="MODEL", help="begun from these, the first first")
    parser.add_argument("--halfway", type=Path, metavar="MODEL", help="the mean of its weights and RUN's, their statistics settled")
    parser.add_argument("--points", action="store_true", help="photographs are made small as Tiny-ImageNet was, sharp")
    parser.add_argument("--data", default="Tiny-ImageNet-200, train less tune", help="what the pictures are called")
    parser.add_argument("--note", default="")
    parser.add_argument("--licence", help="of the pictures; the store's own when left out")
    parser.add_argument("--out", type=Path, default=weights.SHIPPED / "default.safetensors")
    given = parser.parse_args(words)
    net, mean, card = weights.read(of(given.run))
    if given.halfway:
        feed = Feed(open_split(given.store, "train"))
        halfway(net, weights.read(of(given.halfway))[0], Member(net, mean, device=pick("cpu")), feed)
    split, dtype = open_split(given.store, "val"), STORAGE[given.storage]
    card = {**card, "note": given.note, "storage": given.storage, "before": sum(map(stages, given.before), []),
            "row": {**card["row"], "title": nets.row(card["net"]).title},
            "data": {"name": given.data, "images": card["data"]["images"], "fingerprint": card["data"]["fingerprint"],
                     "licence": given.licence or read_card(split.path)["licence"]}}
    if given.points:
        card["resampling"] = POINTS
    if given.before:
        card.get("ledger", {}).pop("reached", None)  # by others, long before
    if command := card.get("environment", {}).get("command"):  # of the folders only the names: nobody else has the rest
        words = (re.sub(r"/checkpoints/\w+/weights.safetensors$", "", word) for word in command.split())
        card["environment"]["command"] = " ".join(word.rsplit("/", 1)[-1] for word in words)
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "stored.safetensors"
        weights.write(stored, net, mean, card, dtype=dtype)
        for views in (1, 10) if given.tune else ():
            alexnet.evaluate(stored, store=given.store, views=views, fit_temperature=given.tune, split=given.tune)
        card |= {name: value for name, value in weights.read_card(stored).items() if name.startswith("temperature")}
        errors = [alexnet.evaluate(stored, store=given.store, views=views, per_class=views == 1) for views in (1, 10)]
    card["confused"] = errors[0]["confused"][:CONFUSED]
    for one in errors:
        for left_out in ("models", "per_class", "confused", "temperatures", "refused_pictures"):
            one.pop(left_out, None)
        one.update(fingerprint=split.fingerprint, selected_on="was chosen on this split" in one.pop("note", ""))
    weights.write(given.out, net, mean, {**card, "errors": errors}, dtype=dtype)
    print(f"{given.out.name}: {given.out.stat().st_size:,} bytes, top-1 error "
          + ", ".join(f"{one['top1_error']:.4f} ({one['views']} views)" for one in errors))


def halfway(net, other, member, feed):
    """The net's weights become the mean of its own and the other's, and batch norm's statistics those of the mean."""
    with torch.no_grad():
        for one, two in zip(net.parameters(), other.parameters(), strict=True):
            one.lerp_(two, 0.5)
    settle(member, feed, SETTLING)


def stages(model):
    """What another was begun from, by its weights' card: what came before that too, and the training that made it."""
    card = weights.read(of(model))[2]
    usual, kept = json.loads(json.dumps(vars(recipes.recipe(card["recipe"]["name"])), default=list)), ("name", "batch_size", "rate")
    recipe = {key: value for key, value in card["recipe"].items() if key in kept or value != usual.get(key)}
    spent = {kind: card["ledger"][kind] for kind in KINDS}
    own = {"net": card["net"], "recipe": recipe, "epochs": card["epoch"], "images": card["ledger"]["images"],
           "seconds": sum(spent.values()), "device": card["environment"]["device_name"]}
    return [*card.get("before", ()), own]


def of(model):
    """Of a run the last weights, which nothing chose; or the file itself."""
    last = model / "checkpoints" / "last" / "weights.safetensors"
    return last if last.exists() else model


if __name__ == "__main__":
    main()
