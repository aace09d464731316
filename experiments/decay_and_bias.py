"""Claim 11. Weight decay is said to lower the training error: measured on a fixed clean sample of train, in test mode. And biases
that begin at 1 are said to speed the beginning up: updates until the loss leaves ln(classes), from the initial values of 2012."""

from dataclasses import replace
from math import log

from alexnet import nets
from alexnet.data import order
from alexnet.data.store import open_split
from experiments import depth, paired
from experiments.arms import Arm, Enough

DECAYS = (5e-5, 5e-4, 5e-3)
PAPER = {"decay 0.0005": "lowers training error"}
BIASES = (0.0, 0.1, 1.0)
LEFT = 0.9  # of ln(classes)


def run(work):
    row = nets.row(work.known(work.size.row))
    control = Arm("no decay", row, {"decay": 0.0})
    done = work.compare(control, [Arm(f"decay {decay:g}", row, {"decay": decay}) for decay in DECAYS], split="clean", paper=PAPER)
    for name, runs in done.items():
        if name != control.name:
            work.row(f"on claims: {name}, against no decay", done[control.name].looked(), runs.looked())
    plateau(work.at(replace(work.size, **work.size.more["plateau"])), row)


def plateau(work, row):
    steps = order.steps(len(open_split(work.store, "train")), work.size.batch_size)
    found = {}
    for bias in BIASES:
        arm = Arm(f"biases of {bias:g}", depth.as_2012(row, bias=bias), {"schedule": "constant", "warmup": 0.0})
        found[bias] = [left(work, arm, seed, steps) for seed in range(work.size.seeds)]
        work.result.setdefault("updates_to_leave", {})[arm.name] = found[bias]
        work.write()
    for bias in BIASES[1:]:
        ours = paired.ratio(found[0.0], found[bias])
        note = "{} and {} of {} seeds left within {:,} updates".format(*ours["reached"], work.size.seeds, work.size.epochs * steps)
        paper = "accelerates the early stages" if bias == 1 else ""
        work.add({"what": f"updates to leave the plateau: biases of {bias:g}, times those of 0", "unit": "times", "paper": paper,
                  "difference": ours["ratio"], "interval": ours["interval"], "seeds": ours["seeds"],
                  "smallest": ours.get("smallest"), "p": ours["p"], "note": note,
                  "verdict": "resolved" if ours["resolved"] else "not resolved"})


def left(work, arm, seed, steps):
    """Updates until an epoch's mean loss has left chance; infinite where it never does."""
    def watcher(run, line):
        if line["train_loss"] < LEFT * log(work.ways):
            raise Enough(line)

    line = work.train(arm, seed=seed, watcher=watcher, rate=arm.rate)[1]
    gone = line and line["train_loss"] < LEFT * log(work.ways)
    return line["epoch"] * steps if gone else float("inf")
