"""The loop itself (alexnet train) on a graphics card, as it is, with --compile, and with --compile as CUDA graphs: pictures a
second of an epoch after the first ones, and whether the losses stay together. Graphs become what --compile means on a card if they
win here and the losses agree: one line of device.py, `mode="reduce-overhead"`.

    python -m benches.gpu_loop OUT_FOLDER [--rows small64_batchnorm as_run] [--minutes 7.5] [--rehearse]

Pictures are noise of ten classes with a colour each; the store lies on the card. Writes OUT_FOLDER/gpu_loop.json after every part;
called again it goes on. Graphs are left out where batches come in pieces, whose gradients they would write over.
"""

import argparse
import importlib
import tempfile
from functools import cache, partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

import alexnet
from alexnet import nets, rundir
from benches import gpu_job

CLASSES = 10


def main():
    words = gpu_job.words(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    words.add_argument("--rows", nargs="+", default=["small64_batchnorm", "as_run"])
    words.add_argument("--pictures", type=int, default=2560)
    words.add_argument("--epochs", type=int, default=8)
    words.add_argument("--batches", nargs="+", type=int, default=[128, 512])
    asked = words.parse_args()
    if asked.rehearse:
        asked.rows, asked.batches, asked.pictures, asked.epochs = ["tiny64"], [16], 32, 2
    job = gpu_job.Job("gpu_loop", asked)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        stores = cache(partial(store, folder, asked.pictures))  # by size
        for name in asked.rows:
            size = nets.row(name).crop * 8 // 7
            for batch in asked.batches:
                for form, mode in FORMS.items():
                    job.part(f"{name}, {batch}, {form}", partial(trained, folder, stores, size, name, batch, asked.epochs, mode),
                             seconds=40, needs_cuda=mode is not None)
    together(job, asked)


FORMS = {"as it is": None, "compiled": "default", "compiled, graphs": "reduce-overhead"}


def store(folder, pictures, size):
    chance, place = np.random.default_rng(0), folder / f"pictures{size}"
    for split, count in (("train", pictures), ("val", CLASSES)):
        for number in range(count):
            label = number % CLASSES
            shown = chance.integers(0, 160, (size, size, 3)) + 90 * np.random.default_rng(label).random(3)
            (place / split / f"class{label}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(shown.astype(np.uint8)).save(place / split / f"class{label}" / f"{number}.bmp")
    alexnet.prepare(str(place), str(folder / f"store{size}"), size=size, workers=1)
    return str(folder / f"store{size}")


def trained(folder, stores, size, name, batch, epochs, mode):
    """A run of the loop; with a mode its net is what torch.compile makes of it in that mode."""
    loop, torch_compiled = importlib.import_module("alexnet.train"), torch.compile
    made = (lambda net, wanted, device: torch_compiled(net, mode=mode)) if mode else loop.compiled
    with tempfile.TemporaryDirectory(dir=folder) as out, patch.object(loop, "compiled", made):
        alexnet.train(stores(size), out=out + "/run", recipe="modern" if "batchnorm" in name else "as_run", net=name, epochs=epochs,
                      batch_size=batch, rate=1e-4)
        lines = rundir.epochs(out + "/run")
    rates = [line["images_per_second"] for line in lines]
    return {"pictures_per_second": round(float(np.median(rates[len(rates) // 2 :])), 1), "first_epoch": round(rates[0], 1),
            "losses": [line["train_loss"] for line in lines], "ledger": lines[-1]["ledger"]}


def together(job, asked):
    """Of each form: its rate beside the loop's as it is, and the largest difference between their losses."""
    found = {}
    for name in asked.rows:
        for batch in asked.batches:
            plain, *others = (job.found["parts"].get(f"{name}, {batch}, {form}", {}) for form in FORMS)
            for form, one in zip(list(FORMS)[1:], others):
                if "losses" in plain and "losses" in one:
                    apart = max(abs(a - b) / a for a, b in zip(plain["losses"], one["losses"]))
                    found[f"{name}, {batch}, {form}"] = {"times": one["pictures_per_second"] / plain["pictures_per_second"],
                                                         "losses_apart": apart}
    job.found["beside_the_loop_as_it_is"] = found
    job.write()
    print(found)


if __name__ == "__main__":
    main()
