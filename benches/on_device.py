"""Does the loop work on this device, and how fast is its step as it stands? For a machine with a GPU; nothing to carry.

    python -m benches.on_device OUT_FOLDER [--rows as_run paper batchnorm single_tower] [--batches 128 512] [--steps 30]

Checks first: a small run goes through on the device, a second one has the same loss, and the CPU's is beside it. Then the whole
training step (augmentation from uint8 on the device, forward, backward, update), median of the steps after five, in float32 and
in bfloat16, with peak memory. Writes OUT_FOLDER/on_device.json. Rehearsal: --rows tiny64 --batches 16 --steps 3.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import alexnet
from alexnet import device as devices
from alexnet import nets, optim, recipes, rundir, weights
from alexnet.data import augment, order
from alexnet.data.store import open_split
from alexnet.device import autocast
from alexnet.net import AlexNet
from alexnet.parts import mean_of

WARM = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", nargs="+", default=["as_run", "paper", "batchnorm", "single_tower", "small64_batchnorm"])
    parser.add_argument("--batches", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--steps", type=int, default=30)
    given = parser.parse_args()
    device = devices.pick()
    with tempfile.TemporaryDirectory() as folder:
        store = noise_store(Path(folder))
        checks = check(store, Path(folder), device)
        speeds = [speed(row, count, precision, given.steps, device) for row in given.rows for count in given.batches
                  for precision in dict.fromkeys(("float32", devices.precision("auto", device)))]
    result = {"command": "python -m benches.on_device OUT", "runs": 1, "environment": rundir.environment(device),
              "checks": checks, "speeds": speeds}
    given.out.mkdir(parents=True, exist_ok=True)
    rundir.replace_file(given.out / "on_device.json", json.dumps(result, indent=1).encode())
    print(json.dumps(checks))
    for one in speeds:
        print(json.dumps(one))


def noise_store(folder):
    """Four classes of coloured noise: enough to go through the motions."""
    chance = np.random.default_rng(0)
    for split, count in (("train", 64), ("val", 16)):
        for label in range(4):
            place = folder / "pictures" / split / f"class{label}"
            place.mkdir(parents=True)
            for i in range(count):
                pixels = chance.integers(0, 200, (64, 64, 3)) + 50 * np.eye(4)[label][:3].astype(int)
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / f"{i}.png")
    alexnet.prepare(str(folder / "pictures"), str(folder / "store"), size=64, workers=1)
    return folder / "store"


def check(store, folder, device):
    """A whole run and one that stops early on the device; the first epoch's loss beside the CPU's."""
    settings = dict(recipe="tiny", epochs=2, batch_size=32, precision="float32")
    whole = alexnet.train(store, out=folder / "whole", device=str(device), **settings)
    part = alexnet.train(store, out=folder / "part", device=str(device), stop_minutes=1e-6, **settings)
    cpu = alexnet.train(store, out=folder / "cpu", device="cpu", stop_minutes=1e-6, **settings)
    return {"finished": whole["stopped"], "stopped_after": part["epoch"],
            "first_epoch_loss": rundir.epochs(folder / "whole")[0]["train_loss"], "first_epoch_loss_cpu": cpu["train_loss"],
            "same_loss_twice": part["train_loss"] == rundir.epochs(folder / "whole")[0]["train_loss"],
            "pictures": open_split(store).images}


def speed(name, count, precision, steps, device):
    row = nets.row(name)
    recipe, size = recipes.recipe("modern" if "batch" in name else "paper"), row.crop * 8 // 7
    net = weights.to_device(AlexNet(row, seed=0), device).train()
    rule = optim.optimiser(net, recipe)
    pictures = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, device=device)
    labels = torch.randint(0, row.classes, (count,), device=device)
    colour = argparse.Namespace(mean=np.full(3, 120.0), stdevs=np.array([120.0, 37.0, 20.0]), vectors=np.eye(3))
    split = argparse.Namespace(mean=np.full((size, size, 3), 120.0, np.float32), colour=colour)
    mean = mean_of(split, row.crop, recipe.centring).to(device)
    taken = []
    for step in range(steps + WARM):
        finish(device)
        began = time.perf_counter()
        draws = augment.draw(order.generator(step), count=count, size=size, crop=row.crop, recipe=recipe)
        batch = augment.augment(pictures, draws, crop=row.crop, mean=mean, noise=recipe.noise, colour=colour,
                                resized=recipe.crop == "resized")
        net.draw(step)
        with autocast(device, precision):
            logits = net(batch)
        rule.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), labels).backward()
        rule.step()
        finish(device)
        taken.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated(device) // 2**20 if device.type == "cuda" else None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    middle = median(taken[WARM:])
    return {"row": name, "batch": count, "precision": precision, "seconds_per_step": middle, "fastest": min(taken[WARM:]),
            "pictures_per_second": count / middle, "peak_memory_mb": peak}


def finish(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
