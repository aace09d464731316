"""Ten years of recipes on one anatomy: the net of 2012 for small pictures with the training of 2012, each later ingredient added to
it alone, all of them together, each of them left out alone; and what was tried beyond. Rates are chosen on `tune`, errors are those
of `claims`, and `val` is not looked at.

    alexnet prepare tiny-imagenet-200 STORE --size 64 --holdout tune=0.05,claims=0.1
    python -m experiments.ingredients STORE OUT --epochs 24 --trials 3     # goes on where it stopped; --minutes 8 stops and saves
    python -m experiments.ingredients STORE OUT --arms modern 2012         # only these; two cores: --row tiny36, --size 40

Writes OUT/ingredients.json after every arm.
"""

import argparse
import json
from pathlib import Path

from alexnet.cli import keep_memory
from alexnet.device import pick
from alexnet.evaluate import evaluate
from alexnet.rundir import environment, replace_file
from alexnet.train import train
from experiments.arms import stop_after

INGREDIENTS = {  # what it is called: (2012, today)
    "batch norm": ({"net": "", "rate": 0.01}, {"net": ",norm=batch", "rate": 0.1}),
    "one cycle": ({"schedule": "dexp", "warmup": 0.0, "update": "2012"},
                  {"schedule": "one_cycle", "warmup": 0.2, "update": "nesterov"}),
    "smoothed labels": ({"smoothing": 0.0}, {"smoothing": 0.1}),
    "averaged weights": ({"averaging": 0.0}, {"averaging": 0.998}),
    "resized crops": ({"crop": "window", "noise": 0.1}, {"crop": "resized", "noise": 0.0}),
}
BEYOND = {  # on top of all of them
    "growing crops": {"least_side": 0.57},
    "mixing": {"mixing": 0.2},
    "no dropout": {"net": ",norm=batch,dropout=none"},
    "twice as long": {"epochs": 2},
    "four times as long": {"epochs": 4},
}
TRIALS = (1.0, 1 / 3, 3.0)  # of the rate


def arms():
    """Name -> the fields in which it differs from the recipe `modern`."""
    old, new = ({key: value for pair in INGREDIENTS.values() for key, value in pair[side].items()} for side in (0, 1))
    found = {"2012": old, "modern": new}
    found |= {f"2012 + {name}": old | today for name, (_, today) in INGREDIENTS.items()}
    found |= {f"modern - {name}": new | then for name, (then, _) in INGREDIENTS.items()}
    return found | {f"modern + {name}": new | more for name, more in BEYOND.items()}


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("out", type=Path)
    parser.add_argument("--arms", nargs="+", default=list(arms()), choices=list(arms()), metavar="ARM")
    parser.add_argument("--row", default="small64", help="the net, which arms vary")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--trials", type=int, default=1, choices=range(1, len(TRIALS) + 1), help="rates an arm")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--select", default="tune")
    parser.add_argument("--report", default="claims")
    parser.add_argument("--minutes", type=float, help="stop and save after so many")
    asked = parser.parse_args(words)
    keep_memory()
    stop_after(asked.minutes)
    command = "python -m experiments.ingredients STORE OUT " + " ".join(
        f"--{name} {getattr(asked, name)}" for name in ("row", "epochs", "trials", "seeds"))
    found = {}
    for arm in asked.arms:
        found[arm] = [one(arm, seed, asked) for seed in range(asked.seeds)]
        result = {"command": command, "environment": environment(pick(), command=""), "arms": found}
        replace_file(asked.out / "ingredients.json", json.dumps(result, indent=1).encode())
        print(f"{arm:<28}{min(run['top1_error'] for run in found[arm]):>8.1%}{found[arm][0]['seconds']:>9,.0f} s", flush=True)


def one(arm, seed, asked):
    """The best rate by the selection split; its errors on the other."""
    changes = arms()[arm]
    net, epochs = asked.row + changes["net"], asked.epochs * changes.get("epochs", 1)
    fields = {key: value for key, value in changes.items() if key not in ("net", "epochs", "rate")}
    trials = []
    for rate in (share * changes["rate"] for share in TRIALS[: asked.trials]):
        run = asked.out / arm.replace(" ", "_") / f"rate-{rate:.2g}-seed-{seed}"
        line = train(asked.store, out=run, recipe="modern", net=net, epochs=epochs, seed=seed, select=asked.select, resume=True,
                     rate=rate, **fields)
        trials.append({"rate": rate, "error": line["val_top1_error"], "run": run, "line": line})
    best = min(trials, key=lambda trial: trial["error"])
    run, line = best["run"], best["line"]
    last = run / "checkpoints" / "last" / "weights.safetensors"
    views = {count: evaluate(last, store=asked.store, split=asked.report, views=count) for count in (1, 10)}
    measures = ("images", "top1_error", "top5_error", "log_loss", "top1_interval")
    return {"seed": seed, "net": net, "epochs": line["epoch"], "fields": fields, "train_loss": line["train_loss"],
            "rate": best["rate"], "select_error": best["error"],
            "trials": [{"rate": trial["rate"], "select_error": trial["error"]} for trial in trials],
            **{name: views[1][name] for name in measures}, "ten_views": {name: views[10][name] for name in measures},
            "images_seen": line["images_seen"], "seconds": line["seconds"], "reached": line["reached"]}


if __name__ == "__main__":
    main()
