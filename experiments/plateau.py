"""How long do the published initial values sit at ln(classes)? `as_run` and `paper` at full width on 256 crops of the embedded
photographs, constant rate, no augmentation, dropout on; the training error in test mode after every epoch.

    python -m experiments.plateau RESULTS_FOLDER [--work FOLDER] [--rows as_run paper] [--rate 0.01]
        [--batch-size 128] [--updates 3000] [--threads 2]

as_run goes on to zero training error; paper until it has left the plateau (an epoch's loss below 0.9 ln 16); both for at most
--updates. Biases of as_run have twice the rate. Four to eight seconds an update on two plain cores; killed, it goes on
from its last checkpoint.
"""

import argparse
import json
import math
from pathlib import Path

import torch

import alexnet
from alexnet import rundir
from alexnet.cli import keep_memory
from alexnet.data import sample

CLASSES, A_CLASS = 16, 16


class Left(Exception):
    """The question is answered before the run is over."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/plateau"))
    parser.add_argument("--rows", nargs="+", default=["as_run", "paper"])
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--updates", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--net", help="a smaller row, to rehearse")
    given = parser.parse_args()
    keep_memory()
    torch.set_num_threads(given.threads)
    store = given.work / "store"
    if not (store / "train" / "store.json").exists():
        sample.write(given.work / "pictures", size=given.size, train=A_CLASS, val=2)
        alexnet.prepare(given.work / "pictures", store, size=given.size, workers=1)
    given.results.mkdir(parents=True, exist_ok=True)
    for row in given.rows:
        result = one(row, store, given)
        rundir.replace_file(given.results / f"plateau-{row}.json", json.dumps(result, indent=1).encode())
        print(json.dumps({key: value for key, value in result.items() if key != "curve"}), flush=True)


def one(row, store, given):
    steps = -(-CLASSES * A_CLASS // given.batch_size)
    plateau, run = math.log(CLASSES), given.work / row
    extra = {"net": given.net} if given.net else {}

    def watch(line):
        print(f"{row} update {line['epoch'] * steps}: loss {line['train_loss']:.3f}, "
              f"training error in test mode {line['val_top1_error']:.1%}", flush=True)
        if row == "paper" and line["train_loss"] < 0.9 * plateau:
            raise Left

    try:
        alexnet.train(store, recipe=row, out=run, resume=True, select="train", epochs=-(-given.updates // steps),
                      batch_size=given.batch_size, rate=given.rate, bias_rate=2 * given.rate if row == "as_run" else 0.0,
                      schedule="constant", crop="centre", reflect=False, noise=0.0, stop_error=0.001, on_epoch=watch, **extra)
    except Left:
        pass
    lines = rundir.epochs(run)
    left = next((line["epoch"] * steps for line in lines if line["train_loss"] < 0.9 * plateau), None)
    learnt = next((line["epoch"] * steps for line in lines if line["val_top1_error"] == 0), None)
    return {"claim": "updates until the loss leaves ln(classes), and until the training error in test mode is zero",
            "command": f"python -m experiments.plateau results --rows {row} --rate {given.rate} --batch-size {given.batch_size}",
            "row": given.net or row, "recipe": row, "pictures": CLASSES * A_CLASS, "classes": CLASSES, "size": given.size,
            "batch_size": given.batch_size, "rate": given.rate, "updates": given.updates, "runs": 1,
            "updates_run": lines[-1]["epoch"] * steps if lines else 0,
            "updates_to_leave_plateau": left, "updates_to_zero_training_error": learnt,
            "environment": {k: v for k, v in json.loads((run / "environment.json").read_text()).items() if k != "command"},
            "curve": [[line["epoch"] * steps, line["train_loss"], line["val_top1_error"]] for line in lines]}


if __name__ == "__main__":
    main()
