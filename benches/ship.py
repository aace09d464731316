"""Turn a run into the weights that ship: half precision, measured as they will be read, every condition on the card.

    python -m benches.ship RUN STORE --note "one sentence" [--licence "..."]        writes alexnet/shipped/default.safetensors

The errors are those of the rounded weights on STORE's val split, float32, one view and ten; RUN has to have chosen on other
pictures (a holdout), or the card says that it did not.
"""

import argparse
import tempfile
from pathlib import Path

import torch

import alexnet
from alexnet import weights
from alexnet.data.store import open_split


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("store")
    parser.add_argument("--note", default="")
    parser.add_argument("--licence", default="")
    given = parser.parse_args()
    net, mean, card = weights.read(given.run)
    split = open_split(given.store, "val")
    with tempfile.TemporaryDirectory() as folder:
        rounded = Path(folder) / "rounded.safetensors"
        weights.write(rounded, net, mean, card, dtype=torch.float16)
        errors = [alexnet.evaluate(rounded, store=given.store, views=views) for views in (1, 10)]
    for one in errors:
        one.pop("models")
        one.update(fingerprint=split.fingerprint, selected_on=bool(one.pop("note", "")))
    card["data"] = {"images": card["data"]["images"], "fingerprint": card["data"]["fingerprint"], "licence": given.licence}
    shipped = weights.SHIPPED / "default.safetensors"
    weights.write(shipped, net, mean, {**card, "errors": errors, "note": given.note}, dtype=torch.float16)
    print(f"{shipped.name}: {shipped.stat().st_size:,} bytes, top-1 error "
          + ", ".join(f"{one['top1_error']:.4f} ({one['views']} views)" for one in errors))


if __name__ == "__main__":
    main()
