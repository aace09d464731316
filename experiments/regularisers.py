"""Claim 5: dropout, crops, reflections and colour noise, each left out, at two budgets: equal epochs, and each until its own
selection error stops improving, at the rate that was best before. Dropout also as what it is said to be: an average of many nets
(the halved net against sampled masks), and a decay of weights (with and without it, each at the decay that tune chose for it)."""

from alexnet import nets
from experiments import inside
from experiments.arms import Arm, opened

LEFT_OUT = {"no dropout": {}, "no crops": {"crop": "centre"}, "no reflections": {"reflect": False},
            "no colour noise": {"noise": 0.0}, "no crops, reflections, noise": {"crop": "centre", "reflect": False, "noise": 0.0}}
PLATEAU = {"schedule": "plateau", "warmup": 0.0, "drops": 2}
DECAYS = (5e-4, 2e-3, 8e-3, 3.2e-2, 1.28e-1)
PAPER = {"no colour noise": "over +1 point", "no dropout": "substantial overfitting",
         "no crops, reflections, noise": "substantial overfitting"}


def arms(row):
    return [Arm(name, bare(row) if name == "no dropout" else row, fields) for name, fields in LEFT_OUT.items()]


def bare(row):
    return f"{row.name},dropout=none"


def decayed(row, decays=DECAYS):
    """With dropout and without, both at 0.01, the control's own rate."""
    choices = tuple({"decay": decay} for decay in decays)
    return Arm("dropout, decay tuned", row, choices=choices), Arm("no dropout, decay tuned", bare(row), choices=choices)


def run(work):
    row = nets.row(work.known(work.size.row))
    control = Arm("all regularisers", row)
    done = work.compare(control, arms(row), paper=PAPER)
    with_it, without = decayed(row, DECAYS[: work.size.more.get("decays")])
    work.compare(with_it, [without])
    averaged(work, done[control.name])
    longer = {**PLATEAU, "patience": work.size.more.get("patience", 3)}
    to_plateau = [arm._replace(name=f"{arm.name}, to its plateau", fields={**arm.fields, **longer},
                               choices=(done[arm.name].fields,), longer=work.size.more.get("longest", 1))
                  for arm in (control, *arms(row))]
    ended = work.compare(to_plateau[0], to_plateau[1:], paper={f"{name}, to its plateau": text for name, text in PAPER.items()})
    plateaus(work, ended, most=to_plateau[0].longer * work.size.epochs)


def plateaus(work, ended, *, most):
    """How many pictures each wanted; what was still improving when the longest that was allowed had passed."""
    seen = {name: sum(line["images_seen"] for line in runs.lines) / len(runs.lines) for name, runs in ended.items()}
    cut = {name: count for name, runs in ended.items() if (count := sum(line["epoch"] >= most for line in runs.lines))}
    work.write(pictures_to_plateau=seen, cut_off=cut)
    for name, count in cut.items():
        work.say(f"{name}: {count} of {len(ended[name].lines)} seeds were cut off at {most:g} epochs, before it")
    control, other = "all regularisers, to its plateau", "no dropout, to its plateau"
    bound = {(True, False): "at least ", (False, True): "at most "}.get((control in cut, other in cut), "")
    if control in cut and other in cut:
        work.say("how much longer dropout takes to its plateau cannot be said: both were cut off")
    else:
        work.say(f"to its plateau, dropout takes {bound}{seen[control] / seen[other]:.2f} times the pictures (the paper: about "
                 "twice the iterations)")


def averaged(work, runs):
    """The halved net, and the averages of masked ones: the same trained nets on the same pictures."""
    masks, most = work.size.more.get("masks", 1000), work.size.more.get("masked_pictures", 2000)
    found = [inside.masked(opened(run), work.store, masks=masks, most=most) for run in runs.folders]
    for name in ("mean of probabilities", "mean of logs"):
        halved, mean = ([[one[way][place] for one in found] for place in (0, 1)] for way in ("halved", name))
        work.row(f"{name} of {masks:,} masked nets, against the halved net", halved, mean, same_runs=True,
                 paper="\"a reasonable approximation\"")
