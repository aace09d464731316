"""Each convolution of stride 1 of `paper` and `small64` on this CPU in float32: the library's direct sum, and ours, Winograd's way.

    python -m benches.convolutions [--rounds 7] [--quick]

The forms run in turn in one process; milliseconds are medians, ratios are medians of the rounds' own ratios [least..most]. `apart`:
the largest distance from the direct sum in float64, of the largest value, for two pictures. Writes results/convolutions.json.
"""

import argparse
import json

import torch
import torch.nn.functional as F

from alexnet import nets, rundir
from alexnet.cli import keep_memory
from alexnet.device import pick
from alexnet.ops import winograd
from benches.norms import drawn, in_turn, ratio, summary
from benches.record import RESULTS

BATCHES = {"paper": 64, "small64": 128}


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=7)
    words.add_argument("--quick", action="store_true", help="a rehearsal: batch 2, 2 rounds, nothing written")
    asked = words.parse_args()
    if not winograd.usable()[0]:
        raise SystemExit(f"there is nothing of ours to time: {winograd.usable()[1]}.")
    keep_memory()
    found = {"command": f"python -m benches.convolutions --rounds {asked.rounds}", "runs": asked.rounds,
             "threads": torch.get_num_threads(), "rows": []}
    for row, batch in BATCHES.items():
        for shape in nets.shapes(nets.row(row)):
            if isinstance(shape.layer, nets.layers.Conv) and shape.layer.stride == 1:
                one = beside(shape, 2 if asked.quick else batch, 2 if asked.quick else asked.rounds)
                found["rows"].append({"net": row, "batch": batch, "layer": shape.layer.name, **one})
                print(row, shape.layer.name, {key: value["median"] for key, value in one["ratios"].items()}, f"{one['apart']:.0e}")
    found["environment"] = rundir.environment(pick("cpu"))
    if not asked.quick:
        rundir.replace_file(RESULTS / "convolutions.json", json.dumps(found, indent=1).encode())


def beside(shape, batch, rounds):
    x, w, stride, pad, groups = drawn(shape, batch, torch.float32)
    x.requires_grad_()
    w.requires_grad_()
    ways = {"library": lambda x, w: F.conv2d(x, w, None, stride, pad, 1, groups),
            "ours": lambda x, w: winograd.Convolution.apply(x, w, None, pad, groups)}
    outs, sent = {}, torch.randn_like(ways["library"](x, w))

    def forward(name):
        outs[name] = ways[name](x, w)

    def backward(name):
        torch.autograd.grad(outs[name], (x, w), sent, retain_graph=True)

    forms = [(name, way) for way in (forward, backward) for name in ways]
    times = in_turn({f"{name} {way.__name__}": lambda name=name, way=way: way(name) for name, way in forms}, rounds)
    whole = {name: [a + b for a, b in zip(times[f"{name} forward"], times[f"{name} backward"])] for name in ways}
    with torch.no_grad():
        exact = ways["library"](x[:2].double(), w.double())
        apart = float((ways["ours"](x[:2], w) - exact).abs().max() / exact.abs().max())
    ratios = {part: ratio(times[f"library {part}"], times[f"ours {part}"]) for part in ("forward", "backward")}
    return {**{name: summary(each) for name, each in times.items()}, "apart": apart,
            "ratios": {**ratios, "both": ratio(whole["library"], whole["ours"])}}


if __name__ == "__main__":
    main()
