"""Time to accuracy: seconds and pictures until the small net first has an error of 80, 70, 60, 55, 50 and 45 % on `tune`, one view,
everything included: reading, augmentation, each epoch's measuring, saving. Each run has its own seed; an interrupted one goes on,
and only seconds in which it ran count. Of several rates the best after --trial epochs is taken; that is not on the clock.
--views 10: the last weights are measured as the paper tests too, on the clock.

    python -m benches.to_error STORE OUT --runs 3 --epochs 30 [--row whole64_batchnorm,dropout=0.2] [--rate 0.1 0.2] [--views 10]
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from statistics import median

from alexnet.cli import keep_memory
from alexnet.device import pick
from alexnet.evaluate import evaluate
from alexnet.rundir import environment, replace_file
from alexnet.train import train
from experiments.arms import given, stop_after

MARKS = (0.8, 0.7, 0.6, 0.55, 0.5, 0.45)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", help="with the splits train and tune")
    parser.add_argument("out", type=Path, help="for the runs, and to-error-DEVICE.json")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--row", default="whole64_batchnorm,dropout=0.2")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--least-area", type=float, default=0.35)
    parser.add_argument("--least-side", type=float, default=1.0)
    parser.add_argument("--full-side", type=float, default=0.7)
    parser.add_argument("--sides", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rate", type=float, nargs="+", default=[0.1])
    parser.add_argument("--trial", type=int, default=8)
    parser.add_argument("--warmup", type=float, default=0.2)
    parser.add_argument("--update", default="nesterov")
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="stop and save after so many")
    asked = parser.parse_args(words)
    keep_memory()
    stop_after(asked.minutes)
    names = ("epochs", "least_area", "least_side", "full_side", "sides", "batch_size", "rate", "warmup", "update")
    fields = {name: getattr(asked, name) for name in names}
    options = {**fields, "trial": asked.trial, "views": asked.views}
    words = given({name: value for name, value in options.items() if value != parser.get_default(name)})[1]
    words = words.translate({ord(letter): None for letter in "[,]"})
    device, runs = pick("auto"), {}

    def folder(name):
        return asked.out / f"{asked.row}-{name}"

    def run(name, on_epoch=None, **changes):
        return train(asked.store, out=folder(name), recipe="modern", net=asked.row, select="tune", resume=True,
                     on_epoch=on_epoch, **{**fields, **changes})

    def viewed(name, line):
        began = time.monotonic()
        last = folder(name) / "checkpoints" / "last" / "weights.safetensors"
        error = evaluate(last, store=asked.store, split="tune", views=asked.views)["top1_error"]
        return {"count": asked.views, "error": error, "seconds": line["seconds"] + time.monotonic() - began}

    def note(seed, line, **more):
        """After each epoch: a run that is killed has reached what it has reached."""
        runs[seed] = {"seed": seed, "epochs": line["epoch"], "error": line["val_top1_error"], "seconds": line["seconds"],
                      "images": line["images_seen"],
                      "reached": {mark: where for mark, where in line["reached"].items() if float(mark) in MARKS}, **more}
        found = {"command": f"python -m benches.to_error STORE OUT --runs {asked.runs} --row {asked.row}{words}",
                 "rate": fields["rate"], "tried": {f"{rate:g}": error for rate, error in tried.items()},
                 "runs": len(runs), "marks": {f"{mark:g}": told(runs.values(), f"{mark:g}") for mark in MARKS},
                 "views": views_told([one["views"] for one in runs.values() if "views" in one]),
                 "each": list(runs.values()), "environment": environment(device, command="")}
        replace_file(asked.out / f"to-error-{device.type}.json", json.dumps(found, indent=1).encode())
        return found

    several = asked.rate if asked.rate[1:] else ()
    tried = {rate: run(f"rate-{rate:g}", rate=rate, epochs=asked.trial)["val_top1_error"] for rate in several}
    fields["rate"] = min(asked.rate, key=tried.get)
    for seed in range(asked.runs):
        name = f"{asked.epochs}-{seed}"
        line = run(name, partial(note, seed), seed=seed)
        found = note(seed, line, **({"views": viewed(name, line)} if asked.views > 1 else {}))
    for mark, one in found["marks"].items():
        when = f"{one['median_seconds']:,.0f} s, {one['median_images']:,.0f} pictures" if one["reached"] else "not reached"
        print(f"{float(mark):.0%}: {when} ({one['reached']} of {found['runs']} runs)")
    if views := found["views"]:
        print(f"{views['count']} views: {views['median_error']:.1%} after {views['median_seconds']:,.0f} s ({views['runs']} runs)")


def views_told(each):
    """What several views of the last weights have, medians over the runs that ended."""
    return {"count": each[0]["count"], "runs": len(each), **{
        f"median_{key}": median(one[key] for one in each) for key in ("error", "seconds")}} if each else None


def told(runs, mark):
    """Medians over the runs that reached it, and how many did."""
    reached = [run["reached"][mark] for run in runs if mark in run["reached"]]
    return {"reached": len(reached)} | {f"median_{key}": median(where[key] for where in reached)
                                        for key in ("seconds", "images") if reached}


if __name__ == "__main__":
    main()
