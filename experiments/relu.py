"""Claim 1, Figure 1: how long ReLU, tanh and leaky ReLU take to 25 % training error on CIFAR-10, without regularisation and
augmentation. A ladder of rates in steps of two, climbed until the best lies strictly inside; three seeds choose, fresh ones report;
from the initial values of 2012 and variance-preserving ones. A rate that takes twice as long as the best so far is given up."""

from math import inf, sqrt
from statistics import mean

import numpy as np

from alexnet import nets, rundir
from alexnet.progress import say
from experiments import drawing, inside, paired
from experiments.arms import Arm, Enough, opened

KINDS = ("relu", "tanh", "leaky")
STARTS = ("2012", "preserving")
ERROR = 0.25
PLAIN = {"schedule": "constant", "warmup": 0.0, "crop": "centre", "reflect": False, "noise": 0.0, "decay": 0.0, "select": "clean",
         "stop_error": ERROR}
FRESH = 100  # the number of the first fresh seed
LONGEST = 8  # rates that a ladder may be climbed beyond its first ones, each way
PATIENCE = 2  # times the epochs of the best rate so far, after which a rate is given up
PAPER = "six times fewer epochs than tanh"


def run(work):
    quick = work.size.more.get("error", ERROR)
    found = {}
    for start in STARTS:
        for kind in KINDS:
            arm = Arm(f"{kind}, {start}", made(nets.row(work.known(work.size.row)), kind, start), PLAIN | {"stop_error": quick})
            found[start, kind] = one(work, arm, quick)
        for name in ("epochs", "seconds"):
            for kind in KINDS[1:]:
                ours = paired.ratio(found[start, "relu"][name], found[start, kind][name])
                reached = f"{ours['reached'][0]} and {ours['reached'][1]} of the fresh seeds came to {100 * quick:g} %"
                work.add({"what": f"{name} that {kind} takes, times those of relu, {start} initial values", "unit": "times",
                          "paper": PAPER if (kind, name) == ("tanh", "epochs") else "", "difference": ours["ratio"],
                          "interval": ours["interval"], "seeds": ours["seeds"], "smallest": ours.get("smallest"), "note": reached,
                          "verdict": "resolved" if ours["resolved"] else "not resolved"})
    curves = {f"{kind}, {start}": found[start, kind]["curves"] for start, kind in found}
    work.figure(drawing.training(curves, error=quick), "-figure1")


def made(row, kind, start):
    """Figure 1's net with this nonlinearity; variance-preserving: inputs of about one, and weights that keep them so."""
    bent = [layer.name for layer in row.layers if layer.then != "linear"]
    layers = {name: {"then": kind} for name in bent}
    more = {}
    if start == "preserving":
        gain = {"relu": sqrt(2), "tanh": 1.0, "leaky": sqrt(2)}
        for shape in nets.shapes(row):
            if hasattr(shape.layer, "std"):
                units = shape.output[0] * (shape.output[1] * shape.output[2] if shape.layer.name.startswith("local") else 1)
                inputs = (shape.parameters - units) / shape.output[0]
                own = gain[kind] if shape.layer.name in bent else 1.0
                layers.setdefault(shape.layer.name, {})["std"] = own / sqrt(inputs)
        more = {"input_scale": 1 / 64}
    return nets.changed(row, f"{row.name}-{kind}-{start}", f"{row.title}; {kind}, {start} initial values", layers=layers, **more)


def pace(logs):
    """Seconds of training an epoch, without the measuring: the tenth percentile of all epochs, as other work may share the
    machine."""
    spent = [[line["ledger"]["step"] + line["ledger"]["waiting"] for line in log] for log in logs]
    return float(np.quantile(np.concatenate([np.diff([0.0, *each]) for each in spent]), 0.1))


def one(work, arm, error):
    """The arm's best rate, and what fresh seeds do at it."""
    logs = []
    base = work.size.more.get("rates", {"2012": 0.004, "preserving": 0.02})[arm.name.rpartition(" ")[2]]
    steps = list(range(-(work.size.trials // 2), work.size.trials - work.size.trials // 2))
    choosers, tried = work.size.more.get("choosers", 3), {}

    def too_long(run, line):
        if line["epoch"] >= PATIENCE * min((epochs for each in tried.values() for epochs in each), default=inf):
            raise Enough(line)

    def took(step, seed):
        run, line = work.train(arm, seed=seed, rate=base * 2.0**step, watcher=too_long)
        logs.extend([rundir.epochs(run)] if line else ())
        return crossing(logs[-1]) if line else inf

    def crossing(log):
        return paired.crossing(log, error, key="epoch", at_start=1 - 1 / work.ways)

    for step in sorted(steps, key=abs):  # from the middle, where the best is looked for
        tried[step] = [took(step, 0)]
    best = min(tried, key=lambda step: tried[step][0])
    for _ in range(LONGEST if work.size.trials > 1 else 0):
        for step in (best - 1, best, best + 1):
            tried[step] = [took(step, seed) for seed in range(choosers)]
        best = min((step for step in tried if len(tried[step]) == choosers), key=lambda step: mean(tried[step]))
        if mean(tried[best]) == inf:
            break
        if {best - 1, best + 1} <= {step for step, each in tried.items() if len(each) == choosers}:
            break
    rate, inside_ladder = base * 2.0**best, min(tried) < best < max(tried)
    say(f"{arm.name}: rate {rate:g} of {len(tried)}")
    done = [work.train(arm, seed=FRESH + seed, rate=rate) for seed in range(work.size.seeds)]
    reported = [rundir.epochs(run) for run, line in done if line]
    epochs, quickly = [crossing(log) for log in reported], pace(logs + reported)
    result = {"name": arm.name, "net": arm.net.name, "rate": rate, "strictly_inside": inside_ladder, "choosing_seeds": choosers,
              "ladder": {f"{base * 2.0**step:g}": tried[step] for step in sorted(tried)},
              "silent_maps": [inside.silent(opened(run), work.store) for run, line in done if line],
              "curves": [[[line["epoch"], line["val_top1_error"]] for line in log] for log in reported],
              "epochs": epochs, "seconds_an_epoch": quickly, "seconds": [count * quickly for count in epochs]}
    work.result.setdefault("arms", []).append(result)
    layers = result["silent_maps"][0] if result["silent_maps"] else {}
    shares = {layer: mean(each[layer] for each in result["silent_maps"]) for layer in layers}
    inside_too = "" if inside_ladder else ", at the end of its ladder"
    work.say(f"{arm.name}: rate {rate:g}{inside_too}; maps that never fire: "
             + ", ".join(f"{100 * share:.1f} % in {layer}" for layer, share in shares.items()))
    return result
