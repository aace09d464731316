"""The clocks of the CIFAR-10 systems of 2012 on this machine: each net with its own schedule, its error on the test split after
the last epoch, and the seconds it took. Nothing is chosen on the test split. Interrupted runs go on where they stopped.

    python -m benches.clocks STORE OUT --nets cifar26 --runs 5
"""

import argparse
import json
import statistics
from pathlib import Path

from alexnet.cli import keep_memory
from alexnet.device import pick
from alexnet.evaluate import evaluate
from alexnet.rundir import environment
from alexnet.train import train
from benches.record import RESULTS
from experiments.arms import stop_after

CLAIMS = {"cifar26": (0.26, "80 s"), "cifar19": (0.19, "20 min"), "cifar18": (0.18, "20 min"), "cifar13": (0.13, "25 min"),
          "cifar11": (0.11, "75 min")}  # of the configurations; on one GPU of 2011


def main():
    words = argparse.ArgumentParser()
    words.add_argument("store")
    words.add_argument("out", type=Path)
    words.add_argument("--nets", nargs="+", default=["cifar26"])
    words.add_argument("--runs", type=int, default=5)
    words.add_argument("--results", type=Path, default=RESULTS)
    words.add_argument("--minutes", type=float, help="stop and save after so many")
    words.add_argument("--epochs", type=int, help="a rehearsal: the schedule squeezed into so many")
    asked = words.parse_args()
    keep_memory()
    stop_after(asked.minutes)
    for net in asked.nets:
        record(net, [one(net, seed, asked) for seed in range(asked.runs)], asked)


def one(net, seed, asked):
    run = asked.out / f"{net}-{seed}"
    changes = {"epochs": asked.epochs} if asked.epochs else {}
    line = train(asked.store, out=run, recipe=net, seed=seed, select="test", resume=True, **changes)
    last = run / "checkpoints" / "last" / "weights.safetensors"
    views = 1 if net in ("cifar26", "cifar19", "cifar18") else 9
    error = evaluate(last, store=asked.store, split="test", views=views)["top1_error"]
    ledger = line["ledger"]
    lines = [json.loads(text) for text in open(run / "log.jsonl")]
    lines = lines[: max(i for i, one in enumerate(lines) if one["event"] == "epoch") + 1]  # reading a finished run is no resume
    epochs = [one for one in lines if one["event"] == "epoch"]
    trained = [0.0, *(one["ledger"]["step"] + one["ledger"]["waiting"] for one in epochs)]
    return {"seed": seed, "views": views, "test_error": error, "epochs": line["epoch"],
            "resumed": sum(one["event"] == "resumed" for one in lines), "seconds": ledger["step"] + ledger["waiting"],
            "seconds_with_everything": line["seconds"],
            "epoch_seconds": [round(after - before, 2) for before, after in zip(trained, trained[1:])],
            "errors": [one["val_top1_error"] for one in epochs]}


def quartile(values):
    return sorted(values)[len(values) // 4]


def record(net, runs, asked):
    claim, clock = CLAIMS[net]
    found = {
        "what": f"{net}: {claim:.0%} in {clock} of 2012, its own schedule",
        "command": f"python -m benches.clocks STORE OUT --nets {net} --runs {asked.runs}"
        + (f" --epochs {asked.epochs}" if asked.epochs else ""),
        "runs": len(runs),
        "median_test_error": statistics.median(run["test_error"] for run in runs),
        "median_seconds": statistics.median(run["seconds"] for run in runs),
        # of the clock alone on its machine, where something else ran beside part of it: every epoch at the quickest quarter's speed
        "quiet_seconds": statistics.median(runs[0]["epochs"] * quartile(run["epoch_seconds"]) for run in runs),
        "median_seconds_with_everything": statistics.median(run["seconds_with_everything"] for run in runs),
        "each": runs,
        "environment": environment(pick(), command=""),
    }
    device = pick().type
    name = f"clock-{net}" + ("" if device == "cpu" else f"-{device}") + ("-rehearsal" if asked.epochs else "")
    folder = asked.out if asked.epochs else asked.results
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1))
    print(f"{net}: {found['median_test_error']:.1%} in {found['median_seconds']:.0f} s ({len(runs)} runs)")


if __name__ == "__main__":
    main()
