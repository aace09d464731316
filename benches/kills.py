"""Kill -9 a training run at random moments, resume it, and compare with the run that nobody touched: weights, bit for bit.

    python -m benches.kills [--trials 10] [--store STORE]        writes results/kills.json

Each trial is another seed of moments: one to four kills, the first often before the first checkpoint, with another number of
loader workers after each. Half a minute a trial on two cores.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import alexnet
from alexnet import device, rundir
from alexnet.data import sample

RESULTS = Path(__file__).parents[1] / "results"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--store", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        store = given.store or made(folder)
        began = time.monotonic()
        finish(store, folder / "whole", given)
        seconds = time.monotonic() - began
        expected = digest(folder / "whole")
        trials = []
        for number in range(given.trials):
            trials.append({**trial(number, store, folder / f"run-{number}", given, seconds), "expected": expected})
            trials[-1]["equal"] = trials[-1]["weights"] == expected
            print(json.dumps(trials[-1]), flush=True)
    result = {"command": f"python -m benches.kills --trials {given.trials} --epochs {given.epochs}", "runs": given.trials,
              "equal": sum(t["equal"] for t in trials), "each": trials,
              "environment": rundir.environment(device.pick())}
    rundir.replace_file(RESULTS / "kills.json", json.dumps(result, indent=1).encode())
    sys.exit(0 if result["equal"] == given.trials else 1)


def made(folder):
    sample.write(folder / "pictures", size=64, train=32, val=4)
    alexnet.prepare(str(folder / "pictures"), str(folder / "store"), size=64, workers=1)
    return folder / "store"


def command(store, run, given, workers):
    words = ["train", store, "--out", run, "--recipe", "tiny", "--epochs", given.epochs, "--save-minutes", 0.005, "--resume",
             "--workers", workers]
    return [sys.executable, "-m", "alexnet", *map(str, words)]


def finish(store, run, given, workers=1):
    subprocess.run(command(store, run, given, workers), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def trial(number, store, run, given, seconds):
    chance = random.Random(number)
    kills = chance.randint(1, 4)
    moments = [round(chance.uniform(1.0, 2.5 + seconds / kills), 2) for _ in range(kills)]  # starting takes about two seconds
    found = []
    for count, moment in enumerate(moments):
        process = subprocess.Popen(command(store, run, given, 1 + count % 3), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        files = rundir.RunDir(run).load("last")
        loop = json.loads(files["loop.json"]) if files else None
        found.append(loop["finished"] or f"epoch {loop['epoch']}, step {loop['step']}" if loop else "nothing saved yet")
    finish(store, run, given, workers=1 + number % 3)
    return {"trial": number, "killed_after_seconds": moments, "checkpoint_found": found, "weights": digest(run)}


def digest(run):
    """Of the final weights, without the header that carries the card."""
    content = (run / "checkpoints" / "last" / "weights.safetensors").read_bytes()
    return hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()[:16]


if __name__ == "__main__":
    main()
