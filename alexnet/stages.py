"""The stages between a picture's file and a net at work, each timed on its own: reading, decoding, resizing, batches out of a
store, the parts of a training step, steps as training takes them, the net in use. A step is the loop's one_step and batches are
those of its feed, with a stopwatch in between: nothing is done here in a second way. `alexnet bench` puts them together.
"""

import importlib.util
import io
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from statistics import median

import torch
from PIL import Image

from alexnet import engines, machine, rundir
from alexnet.classifier import Classifier, paths
from alexnet.data import order, picture, sample
from alexnet.errors import Refused
from alexnet.machine import finish, middle, repeated
from alexnet.train import Loop

PHOTOGRAPH, QUALITY = 375, 92  # shorter side and JPEG quality: about what ImageNet's photographs have
SAMPLED = 64  # pictures of a folder, evenly spread
STILL = 1e-6  # a rate at which weights hardly move: what is timed must not depend on how far they ran away
CPU = torch.device("cpu")


def rate(taken, pictures, **facts):
    """Repeated timings of so many pictures, as a stage."""
    return middle(taken, pictures=pictures, pictures_per_second=pictures / median(taken), **facts)


def photographs(folder):
    """-> (encoded pictures, what they are, the stage of reading them)"""
    if not folder:
        encoded = [_enlarged(one) for one in sample.PHOTOGRAPHS]
        with tempfile.TemporaryDirectory() as place:
            files = [Path(place, str(number)) for number in range(len(encoded))]
            for file, content in zip(files, encoded):
                file.write_bytes(content)
            taken = repeated(lambda: [picture.read(file) for file in files], seconds=0.1, device=CPU)
        about = f"{len(encoded)} embedded photographs, made {PHOTOGRAPH} pixels on the shorter side, JPEG, out of the page cache"
    else:
        files = [path for path, refused in paths([folder]) if not refused]
        files = [path for path in files if os.access(path, os.R_OK)]
        files = files[:: max(len(files) // SAMPLED, 1)][:SAMPLED]
        began = time.perf_counter()
        every = [picture.read(file) for file in files]
        taken, encoded = [time.perf_counter() - began], [one for one in every if _sound(one)]
        if not encoded:
            raise Refused(f"--pictures {folder}: no picture in it can be read, nor is it a store.")
        about = f"{len(encoded)} pictures of {folder}, read once, off the disk or out of the page cache as they were"
    size = sum(map(len, encoded)) / len(encoded)
    return encoded, {"what": about, "count": len(encoded), "bytes": round(size)}, {"read": rate(taken, len(files), threads=1)}


def _sound(content):
    try:
        return picture.upright(content) is not None
    except Refused:
        return False


def _enlarged(photograph):
    package = importlib.util.find_spec(photograph.package)  # found, not imported: that would take seconds and memory
    file = package and Path(package.origin).parent / photograph.file
    if not file or not file.is_file():
        raise Refused(f"the photograph {photograph.name} of {photograph.package} is not there: name --pictures FOLDER.")
    whole = picture.upright(file)
    scale, out = PHOTOGRAPH / min(whole.size), io.BytesIO()
    whole.resize([round(side * scale) for side in whole.size], Image.Resampling.BICUBIC).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def pictures_alone(encoded, size, *, seconds):
    """Decoding and resizing on one core, both in one as the commands do it, and that on all cores."""
    threads = max(1, round(machine.cores()["allowed"]))
    decoded = [picture.upright(one) for one in encoded]

    def timed(work, share):
        return rate(repeated(work, seconds=share * seconds, device=CPU, least=2), len(encoded), threads=1)

    stages = {"decode": timed(lambda: [picture.upright(one) for one in encoded], 0.3),
              "resize": timed(lambda: [picture.square(one, size) for one in decoded], 0.2),
              "decode_and_resize": timed(lambda: [picture.square(one, size) for one in encoded], 0.25)}
    with ThreadPoolExecutor(threads) as pool:
        all_cores = timed(lambda: list(pool.map(picture.square, encoded * 2, [size] * len(encoded) * 2)), 0.25)
    taken = {key: all_cores[key] / 2 for key in ("seconds", "fastest", "slowest")}
    stages["all_cores"] = all_cores | taken | {"pictures_per_second": len(encoded) / taken["seconds"], "threads": threads}
    return stages


def train_alone(part, row, recipe, *, batch_size, device, precision, workers, spend):
    """-> (the parts of a step as stages, the whole of it). The parts with nothing beside them, then steps as training takes them,
    fed by threads that read ahead; and both once more, so that whatever else the machine does meets both."""
    split, batch_size = part.split, min(batch_size, len(part.split))
    whole = max(len(split) // batch_size, 1)  # batches of full size
    plan = (order.batch(len(split), batch_size, seed=0, epoch=epoch, step=step)[:batch_size]
            for epoch in count() for step in range(whole))
    places = next(plan)
    taken = repeated(lambda: split.pictures(places), seconds=0.05 * spend["parts"], device=CPU)
    parts = {"store": rate(taken, batch_size, threads=1)}
    pixels, labels = torch.from_numpy(split.pictures(places)), torch.from_numpy(split.labels[places])
    if device.type == "cuda":
        pinned = pixels.pin_memory()
        parts["copy"] = rate(repeated(lambda: pinned.to(device, non_blocking=True), seconds=0.1, device=device), batch_size)
    began, batch = time.monotonic(), (pixels.to(device), labels.to(device))
    loop = still_loop(part, row, replace(recipe, batch_size=batch_size), device=device, precision=precision, workers=workers)
    loop.one_step(*batch)
    finish(device)
    first = time.monotonic() - began
    stepped, steps, waits, start = [], [], [], time.perf_counter()
    while not steps or time.perf_counter() - start < 0.7 * (spend["parts"] + spend["training"]):  # twice, of a slow net once
        _until(spend["parts"] / 2, stepped, lambda: stopwatch(loop, batch, device))
        _fed(loop, plan, device, spend["training"] / 2, steps, waits)
    parts |= {name: rate([one[name] for one in stepped], batch_size) for name in stepped[0]}
    return parts, {"seconds_per_step": median(steps), "fastest": min(steps), "slowest": max(steps), "steps": len(steps),
                   "pictures_per_second": batch_size / median(steps), "batch_size": batch_size, "waiting": sum(waits) / sum(steps),
                   "seconds_to_first_step": first, "weights": "random", "includes": "augmentation and optimiser",
                   "device_memory_mb": torch.cuda.max_memory_allocated(device) >> 20 if device.type == "cuda" else None}


def still_loop(part, row, recipe, *, device, precision, workers):
    """A training loop whose steps are whole and leave the weights where they are; it keeps nothing."""
    still = replace(recipe, schedule="constant", phases=(), rates="", rate=STILL, bias_rate=0.0)
    with tempfile.TemporaryDirectory() as place:
        return Loop(rundir.RunDir(place), still, {"net": row, "seed": 0, "precision": precision}, part, part, device=device,
                    workers=workers, signals=None, environment={}, began=time.monotonic())


def _until(seconds, found, work):
    began, most = time.perf_counter(), len(found) + 50
    while True:
        found.append(work())
        if time.perf_counter() - began > seconds or len(found) >= most:
            return


def _fed(loop, plan, device, seconds, steps, waits, most=50):
    """Steps through the feed, as an epoch has them, two at least: of each its seconds from batch to batch, and of these those in
    which it waited. What the first one waits is left out: nothing was read ahead of it."""
    began = start = time.perf_counter()
    waited, count = loop.feed.waited, 0
    for pictures, labels in loop.feed.batches(plan):
        loop.one_step(pictures, labels)
        finish(device)
        now, wait = time.perf_counter(), loop.feed.waited - waited
        steps.append(now - start - (0 if count else wait))
        waits.append(wait if count else 0.0)
        start, waited, count = now, loop.feed.waited, count + 1
        if count > 1 and (now - began > seconds or count >= most):
            return


def stopwatch(loop, batch, device):
    """Seconds of a step's parts: the network and the optimiser are where they touch."""
    marks, net = [], loop.compiled

    def mark(*_):
        finish(device)
        marks.append(time.perf_counter())

    def forward(augmented):
        mark()
        logits = net(augmented)
        mark()
        return logits

    loop.compiled = forward
    hooks = [loop.optimiser.register_step_pre_hook(mark), loop.optimiser.register_step_post_hook(mark)]
    try:
        mark()
        loop.one_step(*batch)
        mark()
    finally:
        loop.compiled = net
        for hook in hooks:
            hook.remove()
    began, before, behind, graded, stepped, ended = marks
    return {"augment": before - began, "forward": behind - before, "backward": graded - behind, "optimiser": ended - graded}


def use_alone(model, trained, squares, *, device, precision, seconds):
    """Squares to probabilities, by the engine that load() would pick; without a model, by the same on the values given."""
    began = time.monotonic()
    if device.type != "cpu":
        made = Classifier(*trained, device=device)
        name, why = f"torch {made.member.precision}", f"{device} is no CPU"
    else:
        net, mean, card = trained
        tensors = {key: value.numpy() for key, value in net.state_dict().items()}
        made = engines.engine(model, precision=precision) if model else engines.build(
            engines.weights_of(card, mean.numpy(), tensors), precision=precision)
        name, why = made.name, made.why
    built = time.monotonic() - began
    taken = repeated(lambda: made.probabilities(squares), seconds=seconds, device=device)
    return {"engine": name, "why": why, "seconds_per_batch": median(taken), "fastest": min(taken), "slowest": max(taken),
            "runs": len(taken), "batch_size": len(squares), "pictures_per_second": len(squares) / median(taken),
            "seconds_to_build": built, "weights": str(model) if model else "random"}
