"""What 3, 6 and 12 MB buy: trained nets with their weights rounded to fewer and fewer bits, errors on `tune`, one view.

    python -m benches.sizes MODEL... --store STORE [--out results/sizes.json]      # of a run its last weights

Half precision and bytes are files as `benches.ship` writes them, read back. Fewer bits are rounded here, a scale an output that is
searched for the smallest square error, and their bytes are computed: no such file is written. Nothing is trained after rounding.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch

import alexnet
from alexnet import weights
from alexnet.device import pick
from alexnet.rundir import environment, replace_file
from benches.record import RESULTS
from benches.ship import of

FORMS = {"float32": None, "half": torch.float16, "bytes": torch.int8}
BITS = {  # of kernels, of matrices
    "6 bits": (6, 6), "bytes, dense layers 4 bits": (8, 4), "4 bits": (4, 4), "5 bits, dense layers 3": (5, 3)}
SHARES = [1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6]  # of the largest weight, for the scale


def rounded(weight, bits):
    """The nearest of 2**bits - 1 levels, a scale an output."""
    flat, most = weight.flatten(1), 2 ** (bits - 1) - 1
    peak, best, least = flat.abs().amax(1, keepdim=True).clamp(min=1e-30), flat, torch.full((len(flat), 1), float("inf"))
    for share in SHARES:
        scale = share * peak / most
        tried = (flat / scale).round().clamp(-most, most) * scale
        lost = (tried - flat).square().sum(1, keepdim=True)
        best, least = torch.where(lost < least, tried, best), torch.minimum(lost, least)
    return best.view_as(weight)


def squeeze(net, conv, dense):
    """Rounds the net's kernels and matrices in place; -> bytes, with scales and everything else as float32."""
    total = 0
    for name, value in net.state_dict().items():
        if name.endswith("weight") and value.dim() > 1:
            bits = conv if value.dim() == 4 else dense
            value.copy_(rounded(value, bits))
            total += -(-value.numel() * bits // 8) + 4 * len(value)
        else:
            total += value.numel() * value.element_size()
    return total


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--store", required=True, help="with the split tune")
    parser.add_argument("--out", type=Path, default=RESULTS / "sizes.json")
    asked = parser.parse_args(words)
    rows = [row for model in asked.models for row in measured(model, asked.store)]
    found = {"command": "python -m benches.sizes MODEL... --store STORE", "runs": 1, "split": "tune", "rows": rows,
             "environment": environment(pick("cpu"), command="")}
    replace_file(asked.out, json.dumps(found, indent=1).encode())


def measured(model, store):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stored.safetensors"
        for name in (*FORMS, *BITS):
            net, mean, card = weights.read(of(model))
            size = squeeze(net, *BITS[name]) if name in BITS else None
            weights.write(file, net, mean, card, dtype=FORMS.get(name))
            error = alexnet.evaluate(file, store=store, split="tune")
            row = {"net": card["net"], "epochs": card.get("epoch"), "storage": name, "bytes": size or file.stat().st_size,
                   "computed": name in BITS, **{key: error[key] for key in ("images", "top1_error", "top5_error", "log_loss")}}
            errors = f"{row['top1_error']:.2%} and {row['top5_error']:.2%}"
            print(f"{row['net']}, {name}: {row['bytes'] / 1e6:.1f} MB, {errors}", flush=True)
            yield row


if __name__ == "__main__":
    main()
