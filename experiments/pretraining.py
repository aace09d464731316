"""Claim 8: {five, six convolutions} x {from scratch, pre-trained on the other classes}, at equal total updates, with few pictures a
class. 2012: six layers overfit from scratch and pay only when pre-trained."""

from dataclasses import replace
from math import ceil

from alexnet import nets
from alexnet.data import order
from alexnet.data.store import open_split
from alexnet.nets.small import with_conv6
from experiments.arms import Arm

PAPER = {"six, pre-trained": "-1.7 points (40.7 to 39.0 %)", "six, from scratch": "overfits (#141)"}


def rows(work):
    five = nets.row(work.known(work.size.row))
    return {"five": five, "six": with_conv6(five, f"{five.title}, with a sixth convolution")}


def pretrained(work, row, *, seeds):
    """The runs on all other classes."""
    other = work.at(replace(work.size, epochs=work.size.more["pre_epochs"], a_class=work.size.more.get("pre_a_class")), others=True)
    return other.runs(Arm(f"{row.name} on the other classes", row), seeds=seeds)


def updates(work, epochs):
    return epochs * order.steps(len(open_split(work.store, "train")), work.size.batch_size)


def run(work):
    nets_here = rows(work)
    before = {name: pretrained(work, row, seeds=work.size.seeds) for name, row in nets_here.items()}
    spent = updates(before["five"].work, before["five"].lines[0]["epoch"])
    largest = max(work.size.more["limits"])
    fine = updates(work.at(replace(work.size, a_class=largest)), work.size.epochs)
    for limit in work.size.more["limits"]:
        small = work.at(replace(work.size, a_class=limit))
        each = updates(small, 1)
        scratch, after = ({"epochs": max(1, ceil(count / each))} for count in (spent + fine, fine))
        most = max(small.counted())
        said = f", {limit} a class" if most >= limit else f", all ({most} a class)"
        arms = {"five, from scratch": Arm("five, from scratch" + said, nets_here["five"], scratch),
                "six, from scratch": Arm("six, from scratch" + said, nets_here["six"], scratch)}
        arms |= {f"{name}, pre-trained": Arm(f"{name}, pre-trained{said}", nets_here[name], after, start=(runs.folders, ""))
                 for name, runs in before.items()}
        control, *others = arms.values()
        done = small.compare(control, others, paper={name + said: text for name, text in PAPER.items()})
        small.row(f"six against five, both pre-trained{said}", done[others[1].name].looked(), done[others[2].name].looked())
    work.write(updates={"pre_training": spent, "fine_tuning": fine})


def pair(work):
    """Two six-layer nets that began on the other classes, for an ensemble; none where no such size is named."""
    if "pre_epochs" not in work.size.more:
        return []
    row = rows(work)["six"]
    before = pretrained(work, row, seeds=2)
    return work.runs(Arm("six, pre-trained", row, start=(before.folders, "")), seeds=2).folders
