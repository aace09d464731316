"""Claim 3: overlapping pools, pools of 2 / 2 with the paddings that keep the sizes behind them (as #147 did), and a learned
convolution of stride 2 in the place of each pool."""

from itertools import product

from alexnet import nets
from experiments.arms import Arm

PAPER = {"pools of 2 / 2": "+0.016 nats, +0.4 points", "strided convolutions": "not in the paper"}
KEPT = ("pool2", "conv3", "conv4", "pool5")  # as large as the control's
PADDED = ("conv1", "conv2", "conv5")


def arms(row):
    return (Arm("pools of 2 / 2", apart(row)), Arm("strided convolutions", f"{row.name},pooling=convolution"))


def apart(row):
    """Pools of 2 / 2, and of the convolutions around them as much padding as keeps sizes; the nearest of several."""
    pads = {layer.name: layer.pad for layer in row.layers if layer.name in PADDED}
    found = []
    for less in product((0, 1), repeat=len(PADDED)):
        layers = {name: {"kernel": 2} for name in ("pool1", "pool2", "pool5")}
        layers |= {name: {"pad": max(pads[name] - one, 0)} for name, one in zip(PADDED, less)}
        made = nets.changed(row, f"{row.name}-2_by_2", f"{row.title}; pools of 2 / 2", layers=layers)
        off = {name: abs(size - sizes(row)[name]) for name, size in sizes(made).items()}
        found += [(sum(off.values()), made)] if not any(off[name] for name in KEPT) else []
    return min(found, key=lambda one: one[0])[1]


def sizes(row):
    return {shape.layer.name: shape.output[1] for shape in nets.shapes(row) if shape.layer.name.startswith(("conv", "pool"))}


def run(work):
    row = nets.row(work.known(work.size.row))
    work.compare(Arm("overlapping pools", row), arms(row), paper=PAPER)
