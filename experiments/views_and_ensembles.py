"""Claims 6 and 7. One net's answers averaged over 1, 2, 5 and 10 views; and several nets' answers: five seeds of one design, five
designs, by a plain mean and with weights fitted on `tune`, with and without a pair that was pre-trained on other classes."""

from statistics import mean

import numpy as np

from alexnet import nets
from alexnet.data.feed import Feed
from alexnet.data.store import open_split
from alexnet.evaluate.passes import watch
from alexnet.evaluate.weighing import fitted
from alexnet.nets.layers import WithinMapNorm
from alexnet.progress import Progress
from experiments import pretraining
from experiments.arms import Arm, opened

VIEWS = (2, 5, 10)
PAPER_VIEWS = {10: "-1.5 points (39.0 to 37.5 %), -0.091 nats"}
PAPER_FIVE = "-2.6 points (40.7 to 38.1 %)"
PAPER_SEVEN = "-4.0 points (40.7 to 36.7 %)"


def views(work):
    runs = work.runs(Arm("one design", nets.row(work.known(work.size.row))))
    one = runs.looked()
    for count in VIEWS:
        many, paper = runs.looked(views=count), PAPER_VIEWS.get(count, "")
        work.row(f"{count} views, against the centre", one, many, same_runs=True, paper=paper)
    work.keep(runs)


def designs(row):
    """The row, and four that differ from it as the successive designs of 2012 differed; of as_run, those themselves."""
    if row.name == "as_run":
        return [row, *map(nets.row, ("net120", "net131", "net135", "net137"))]
    norm1 = next(layer for layer in row.layers if layer.name == "norm1")
    made = {
        "one_norm": {"without": ("norm2",)},
        "within_map": {"after": {"norm2": (WithinMapNorm("wnorm2"),)}},
        "norm_behind_pool": {"without": ("norm1",), "after": {"pool1": (norm1,)}},
        "crossing_conv4": {"layers": {"conv3": {"sees": "column"}, "conv4": {"sees": "both"}}},
    }
    return [row, *(nets.changed(row, f"{row.name}-{name}", f"{row.title}; {name}", **fields) for name, fields in made.items())]


def ensembles(work):
    row, count = nets.row(work.known(work.size.row)), work.size.more.get("members", 5)
    several_of = work.size.more.get("ensembles", 1)
    seeds = work.runs(Arm("one design", row), seeds=count * several_of)
    work.keep(seeds)
    seen = seeds.looked()
    others = [work.runs(Arm(one.name, one), seeds=several_of) for one in designs(row)[:count]]
    for runs in others[1:]:
        work.keep(runs)
    five = [[runs.folders[number] for runs in others] for number in range(several_of)]
    same = [seeds.folders[first : first + count] for first in range(0, len(seeds.folders) - count + 1, count)]
    several(work, f"{count} seeds of one design", same, seen, "")
    several(work, f"{count} designs", five, seen, PAPER_FIVE)
    if pair := pretraining.pair(work):
        several(work, f"{count} designs and a pair pre-trained on other classes", [one + pair for one in five], seen, PAPER_SEVEN)
        if several_of > 1:
            work.say("the ensembles with a pre-trained pair have one pair in common, so how pairs scatter is not in their interval")


def several(work, name, ensembles, single, paper):
    """Ensembles (the folders of their nets, one a seed) against single nets."""
    found = [answers(work, name, folders) for folders in ensembles]
    kind = "ensembles" if len(ensembles) > 1 else "one ensemble"
    for way in found[0]["ways"]:
        both = [np.stack([one["ways"][way][place] for one in found]) for place in (0, 1)]
        said = paper if way == "plain mean" else ""
        work.row(f"{kind} of {name}, {way}, against one net", single, both, paper=said, one="ensemble")
    work.result.setdefault("ensembles", {})[name] = [
        {"nets": one["nets"], "weights": one["weights"], "top1_error": {way: each[1].mean() for way, each in one["ways"].items()},
         "log_loss": {way: each[0].mean() for way, each in one["ways"].items()},
         "mean_single_top1_error": mean(single[1].mean(1).tolist())} for one in found]
    work.write()


def answers(work, name, folders):
    """What one ensemble makes of each picture: way -> (log losses, errors)."""
    members = [opened(folder) for folder in folders]
    part, device = open_split(work.store, "claims"), members[0].device
    shares = {"plain mean": [1 / len(members)] * len(members),
              "weights fitted on tune": fitted(members, Feed(open_split(work.store, "tune"), device=device))}
    with Progress(name, len(part)) as bar:
        found = watch(members, Feed(part, device=device), list(shares.values()), tell=bar.advance)
    return {"nets": [member.net.row.name for member in members], "weights": shares["weights fitted on tune"],
            "ways": {way: (seen.losses(), 1.0 - seen.first) for way, seen in zip(shares, found)}}
