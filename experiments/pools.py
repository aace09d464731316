"""Claim 3: overlapping pools, pools of 2 / 2 with the paddings that keep every size behind them (as #147 did), and a learned
convolution of stride 2 in the place of each pool."""

from alexnet import nets
from experiments.arms import Arm

PAPER = {"pools of 2 / 2": "+0.016 nats, +0.4 points", "strided convolutions": "not in the paper"}


def arms(row):
    layers = {name: {"kernel": 2} for name in ("pool1", "pool2", "pool5")}
    padded = {"conv2": {"pad": 1}} if row.crop == 224 else {"conv1": {"pad": 1}}
    apart = nets.changed(row, f"{row.name}-2_by_2", f"{row.title}; pools of 2 / 2", layers=layers | padded | {"conv5": {"pad": 0}})
    return Arm("pools of 2 / 2", apart), Arm("strided convolutions", f"{row.name},pooling=convolution")


def run(work):
    row = nets.row(work.known(work.size.row))
    work.compare(Arm("overlapping pools", row), arms(row), paper=PAPER)
