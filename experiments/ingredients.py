"""Ten years of recipes on one anatomy: the net of 2012 for small pictures with the training of 2012, each later ingredient added to
it alone, all of them together, each of them left out alone; and what was tried beyond. Rates are chosen on `tune`: of the two, and
of what changes the step itself; the other arms take the rate of what they stand against. Differences are those of `claims`, and
`val` is not looked at. 2012 is the source's mean picture, its rate of biases and its rule with the schedule that was found best
later (dexp); what a hand did at the desk, freezing conv1 and switching the noise off, is left out.

    python -m experiments.ingredients STORE OUT --scale cpu      # STORE: 40 pixels (gpu: 64), tune, claims; killed, it goes on
"""

from functools import partial

from experiments import alone, drawing
from experiments.arms import Arm, Size

INGREDIENTS = {  # what it is called: (2012, today)
    "batch norm": ({"net": "", "rate": 0.01}, {"net": ",norm=batch", "rate": 0.1}),
    "one cycle": ({"schedule": "dexp", "warmup": 0.0}, {"schedule": "one_cycle", "warmup": 0.2}),
    "Nesterov's update": ({"update": "2012"}, {"update": "nesterov"}),
    "smoothed labels": ({"smoothing": 0.0}, {"smoothing": 0.1}),
    "averaged weights": ({"averaging": 0.0}, {"averaging": 0.998}),
    "resized crops": ({"crop": "window"}, {"crop": "resized"}),
    "no colour noise": ({"noise": 0.1}, {"noise": 0.0}),
}
STEP = ("batch norm", "one cycle", "Nesterov's update", "Muon's steps")  # an arm with one of these has its rate chosen again
BEFORE = {"centring": "image", "bias_rate": 0.02}  # of 2012, and no ingredient of its own
BEYOND = {  # on top of all of them
    "growing crops": {"least_side": 0.57},
    "mixing": {"mixing": 0.2},
    "no dropout": {"net": ",norm=batch,dropout=none"},
    "twice as long": {"longer": 2.0},
    "statistics of training": {"settling": 0},  # in the place of those of plain pictures
    "Muon's steps": {"update": "muon", "rate": 0.04},
}
ALONE = ("mixing", "twice as long")  # of these, what 2012 can have by itself: growing crops are resized ones
WHICH = {"name": "ingredients", "facts": {"sentence": "what each later ingredient of a recipe is worth"}, "scales": {
    "toy": Size("toy64", epochs=1, seeds=1, trials=1, batch_size=32, more={"clean": 32}),
    "cpu": Size("tiny36", classes=20, epochs=12, seeds=3, trials=3),
    "gpu": Size("small64", classes=50, epochs=24, seeds=3, trials=3, batch_size=128, more={"clean": 5000}),
}}


def arms():
    """Name -> the fields in which it differs from the recipe `modern`, the net's, the rate and the length among them."""
    old, new = ({key: value for pair in INGREDIENTS.values() for key, value in pair[side].items()} for side in (0, 1))
    old |= BEFORE
    found = {"2012": old, "modern": new}
    found |= {f"2012 + {name}": old | today for name, (_, today) in INGREDIENTS.items()}
    found |= {f"modern - {name}": new | then for name, (then, _) in INGREDIENTS.items()}
    found |= {f"modern + {name}": new | more for name, more in BEYOND.items()}
    return found | {f"2012 + {name}": old | BEYOND[name] for name in ALONE}


def run(work):
    known = {name: arm(name, work.size.row, **fields) for name, fields in arms().items()}
    done = {}
    for control in ("modern", "2012"):
        done |= work.compare(known[control], against(work, control, known))
    work.row("modern, against 2012", done["2012"].looked(), done["modern"].looked())
    work.figure(drawing.points({"2012, and this": beside(work, "2012"),
                                "modern, without this, or with more": beside(work, "modern")}))


def beside(work, control):
    """-> (what differs, its row) of the arms that stand against it"""
    found = ((row["what"].partition(", against ")[0], row) for row in work.result["rows"])
    return [(name.removeprefix(control).strip(), row) for name, row in found if name.startswith(f"{control} ")]


def against(work, control, known):
    """The arms that stand against it."""
    same = work.choose(known[control])[:1]
    return [one if name.endswith(STEP) else one._replace(choices=same)
            for name, one in known.items() if name.startswith(f"{control} ")]


def arm(name, row, *, net, rate, longer=1.0, **fields):
    return Arm(name, row + net, {"recipe": "modern", **fields}, rate=rate, longer=longer)


measure = partial(alone.measure, run, **WHICH)

if __name__ == "__main__":
    alone.main(run, about=__doc__, **WHICH)
