"""Claim 13: the designs of the lab notebook that lie at least one point from #145, on small versions of their rows: does their
order survive? The others that were trained on the same pictures lie nearer than one point and are listed as below resolution, not
run; the pre-trained nets are claim 8.

    python -m experiments.notebook_order STORE OUT --scale cpu     # STORE: 64 pixels, with tune and claims; killed, it goes on
"""

from functools import partial
from itertools import pairwise

from alexnet import nets
from experiments import alone
from experiments.arms import Arm, Size

SHARES = {"toy": (1 / 16, 1 / 256), "cpu": (3 / 8, 1 / 16), "gpu": (3 / 4, 1 / 4)}  # of the maps, of the dense units
DESIGNS = (  # row, number, how much worse than #145: nats and points of top-1, ten views; where
    ("no_crossing", "#150, columns that never meet", 0.0697, 1.17, "2012 val"),
    ("no_norm", "#148, no normalisation", 0.0809, 1.37, "2012 val"),
    ("half", "#145-half, one column", 0.0881, 1.70, "2010 test"),
)
BELOW = (  # number, what, points of top-1 against #145's 40.66 on 2012 val, ten views
    ("#120", "low-resolution path, contrast norm, norm after the pool", 0.38), ("#131", "norm 1 on the linear conv1", 0.27),
    ("#135", "k = 2", 0.41), ("#137", "within-map norm for contrast norm", 0.12), ("#145 restarted", "44 epochs more", -0.41),
    ("#147", "pools that do not overlap", 0.40), ("#155", "exponential rate, 0.02 to 5e-6", 0.08),
    ("#156", "exponential rate, 0.02 to 1e-5", 0.10), ("#157", "exponential rate, 0.04 to 5e-6", 0.45),
    ("#158", "exponential rate, 0.04 to 2e-6", 0.37), ("#160", "four rates, 0.02 to 1e-5", 0.71),
    ("#165", "doubled decay of the dense layers", 0.32), ("#166", "layer-2 norm before ReLU", 0.44),
    ("#167", "no norm in layer 2", -0.17), ("#169", "four rates, 0.01 to 2e-5", -0.06), ("#170", "four rates, 0.01 to 4e-5", -0.13),
    ("#170 faded", "5 % of other pictures", -0.41), ("#170 half", "16-bit numbers between the GPUs", -0.14),
    ("#171", "five rates", -0.24), ("#174", "rates that bump", -0.22), ("#177", "dropout on conv4", 0.03),
)


def small(row, scale):
    """A row of 2012 for 64 pixels: fewer maps and units, a finer conv1, initial values that fit the widths; nothing else."""
    maps, units = SHARES[scale]
    layers = {"conv1": {"kernel": 5, "stride": 2, "pad": 2, "std": 0.01}}
    for layer in row.layers:
        own = layers.setdefault(layer.name, {})
        if getattr(layer, "maps", 0):
            own["maps"] = max(4, 4 * round(layer.maps * maps / 4))
        if getattr(layer, "units", 0):
            own["units"] = max(8, round(layer.units * units))
        if hasattr(layer, "std") and layer.name not in ("conv1", row.layers[-1].name):
            own |= {"std": None, "bias": 0.0}
    return nets.changed(row, f"{row.name}-small-{scale}", f"{row.title}; for 64 pixels", layers=layers, crop=56)


def run(work):
    work.write(notebook=[dict(zip(("row", "number", "nats", "points", "on"), one)) for one in DESIGNS],
               below_resolution=[dict(zip(("number", "what", "points"), one)) for one in BELOW],
               beforehand="the notebook's three effects, 0.070, 0.081 and 0.088 nats, lie within 0.02 of each other: that each is "
                          "worse than #145 can be tested here, their order among themselves hardly")
    control = Arm("#145", small(nets.row("as_run"), work.scale))
    others = [Arm(number, small(nets.row(row), work.scale)) for row, number, *_ in DESIGNS]
    paper = {number: f"+{nats:.3f} nats, +{points:.2f} points ({where})" for _, number, nats, points, where in DESIGNS}
    done = work.compare(control, others, paper=paper)
    for (_, near, *first), (_, far, *second) in pairwise(DESIGNS):
        work.row(f"{far}, against {near}", done[near].looked(), done[far].looked(),
                 paper=f"+{second[0] - first[0]:.3f} nats, +{second[1] - first[1]:.2f} points, and not on one set of pictures")
    work.write(**order(work.result["rows"]))


def order(rows):
    """What of the notebook's order is there: each design against #145, and each against the one before it."""
    against = {row["what"].partition(", against ")[0]: row for row in rows if row["what"].endswith("against #145")}
    ours = sorted(against, key=lambda name: against[name]["difference"])
    worse = [name for name, row in against.items() if row["verdict"] == "resolved" and row["difference"] > 0]
    better = [name for name, row in against.items() if row["verdict"] == "resolved" and row["difference"] < 0]
    if better:
        said = f"does not survive: {', '.join(better)} {'is' if len(better) == 1 else 'are'} better than #145 here"
    elif len(worse) == len(against):
        said = "#145 is the best of them here too"
    else:
        open_ = [name for name in against if name not in worse]
        said = f"not resolved: {', '.join(open_)} {'is' if len(open_) == 1 else 'are'} not beyond chance from #145"
    return {"order": ["#145", *ours], "same_order": ours == [number for _, number, *_ in DESIGNS], "verdict": said, "said": [said]}


def base(scale):
    return small(nets.row("as_run"), scale)


WHICH = {"name": "notebook_order", "facts": {
    "claim": 13, "sentence": "the notebook's designs at least one point apart keep their order"}, "scales": {
    "toy": Size(base("toy"), epochs=1, seeds=1, trials=1, batch_size=32, more={"clean": 32}),
    "cpu": Size(base("cpu"), classes=40, epochs=15, seeds=3, trials=3),
    "gpu": Size(base("gpu"), epochs=24, seeds=5, trials=3, batch_size=128, more={"clean": 5000}),
}}
measure = partial(alone.measure, run, **WHICH)

if __name__ == "__main__":
    alone.main(run, about=__doc__, **WHICH)
