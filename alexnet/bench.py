"""Where the time goes on this machine, stage by stage (stages.py), each alone and together, beside what the machine does at best
(machine.py); and one sentence on the bottleneck.

    alexnet bench [--net ROW] [--recipe NAME] [--inference | --training] [--pictures FOLDER_OR_STORE]
"""

import tempfile
import time
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch

from alexnet import device as devices
from alexnet import gate as gates
from alexnet import machine, nets, recipes, rundir, stages, weights
from alexnet.classifier import BATCH
from alexnet.data import picture
from alexnet.data import store as stores
from alexnet.data.prepare import prepare
from alexnet.errors import Misused, Refused
from alexnet.net import AlexNet
from alexnet.nets.layers import BatchNorm
from alexnet.parts import Part, choose_row
from alexnet.progress import say

SHARES = {"ceiling": 0.04, "pictures": 0.1, "parts": 0.25, "training": 0.35, "inference": 0.2}  # of the seconds
PARTS = ("augment", "forward", "backward", "optimiser")  # of a step
WAITING = 0.05  # of a step: less is no bottleneck


def bench(
    *,
    net: Annotated[str | None, "a row of `alexnet nets`; the recipe's first that fits when left out"] = None,
    recipe: Annotated[str, "how it is trained: batch, crops, update, averaging"] = "modern",
    batch_size: Annotated[int | None, "pictures a step, and a batch of the net in use (default: the recipe's; 64 in use)"] = None,
    model: Annotated[str | None, "this MODEL's net, with its weights in use; without it weights are random"] = None,
    inference: Annotated[bool, "only the net in use"] = False,
    training: Annotated[bool, "only training"] = False,
    pictures: Annotated[str | None, "a folder of pictures or a store to read; without it embedded photographs"] = None,
    precision: Annotated[Literal["auto", "float32", "bfloat16"], "auto: bfloat16 where the machine has units for it"] = "auto",
    gate: Annotated[str | None, "with --model: may it answer in bfloat16 and int8? measured on this store", "STORE"] = None,
    seconds: Annotated[float, "about how long to measure; a few steps are timed however long they take"] = 30.0,
    workers: Annotated[int, "threads that read ahead of training"] = 2,
    device="auto",
) -> dict:
    """One object: the ceiling, the stages, training, inference, the bottleneck, and the conditions that they hold under."""
    began, load, both = time.monotonic(), machine.load(), inference == training
    check(batch_size, seconds, net, model, gate)
    device, spend = devices.pick(device), {name: share * seconds for name, share in SHARES.items()}
    kind, chosen, split = devices.precision(precision, device), recipes.recipe(recipe), opened(pictures)
    spend["inference"] *= 1 if both else 2.5
    trained = weights.read(model) if model else None
    row, size, classes = subject(net, trained, chosen, split)
    if batch_size == 1 and not (inference and not training) and any(isinstance(layer, BatchNorm) for layer in row.layers):
        raise Misused(f"--batch-size is 1, and the batch norm of {row.name} cannot learn from one picture: take 2, or --inference.")
    say(f"bench: {row.name} on {device} in {kind}; pictures")
    encoded, about, found = stages.photographs(None if split else pictures)
    found |= stages.pictures_alone(encoded, size, seconds=spend["pictures"])
    answer = {"bottleneck": "", "net": row.name, "recipe": recipe, "classes": classes, "size": size, "pictures": about,
              "stages": found}
    if training or both:
        count = batch_size or chosen.batch_size or 128
        say(f"bench: training, {count} pictures a step; the first is not counted")
        with training_part(split, encoded, row, size=size, count=count) as part:
            parts, answer["training"] = stages.train_alone(part, row, chosen, batch_size=count, device=device, precision=kind,
                                                           workers=workers, spend=spend)
        found |= parts
    if inference or both:
        say("bench: the net in use")
        squares = squares_of(split, encoded, size, batch_size or BATCH)
        answer["inference"] = stages.use_alone(model, trained or initial(row, size), squares, device=device, precision=precision,
                                               seconds=spend["inference"])
    if gate:
        say("bench: errors in bfloat16 and int8, beside float32")
        answer["gate"] = gates.gate(model, gate)
    answer["peak_memory_mb"] = (machine.peak_memory() or 0) >> 20
    say("bench: what the machine does at best")
    best = answer["ceiling"] = machine.ceiling(device, kind, seconds=spend["ceiling"])
    with_shares(answer, row, best=best, kind=kind, averaging=bool(chosen.averaging))
    answer["bottleneck"] = bottleneck(found, training=answer.get("training"), inference=answer.get("inference"))
    answer["conditions"] = {**rundir.environment(device), "load": load, "precision": kind, "units": machine.units(),
                            "layout": "channels last", "allocator": machine.allocator(), "compile": chosen.compile,
                            "workers": workers}
    return {**answer, "seconds": time.monotonic() - began}


# ---- what is measured ----------------------------------------------------------------------------------------------------


def check(batch_size, seconds, net, model, gate):
    if gate and not model:
        raise Misused("--gate measures a model's weights: name it with --model, like --model default.")
    if batch_size is not None and batch_size < 1:
        raise Misused(f"--batch-size is {batch_size}; it wants 1 or more.")
    if not seconds > 0:
        raise Misused(f"--seconds is {seconds:g}; it wants a number above zero.")
    if net and model:
        raise Misused("--net and --model both name a net: leave one out.")


def opened(place):
    """The split to train on, where the place is a store; None for a folder of pictures."""
    if place and not Path(place).is_dir():
        raise Misused(f"--pictures is {str(place)!r}; it wants a folder of pictures or a store.")
    found = stores.splits(place) if place else ()
    return stores.open_split(place, "train" if "train" in found else found[0]) if found else None


def subject(net, trained, recipe, split):
    """-> (row, side of the stored squares, how many classes it tells apart)"""
    if trained:
        row, size, classes = trained[0].row, trained[2]["size"], len(trained[2]["classes"])
        if split and (split.size, len(split.classes)) != (size, classes):
            raise Refused(f"the model takes pictures of {size} pixels and {classes} classes, {split.path} holds {split.size} and "
                          f"{len(split.classes)}: leave --pictures out, or prepare a store that fits.")
        return row, size, classes
    if split:
        return nets.row(choose_row(recipe.nets, net, Part(split))), split.size, len(split.classes)
    row = nets.row(net or recipe.nets[0])
    return row, row.crop * 8 // 7, row.classes


@contextmanager
def training_part(split, encoded, row, *, size, count):
    """The store's split; or a small store that prepare makes of the pictures, as often as a step needs them."""
    if split:
        yield Part(split)
        return
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place, "pictures", "train", label) for label in ("one", "two")]
        for folder in folders:
            folder.mkdir(parents=True)
        for number, content in zip(range(max(count, 2)), cycle(encoded)):
            (folders[number % 2] / f"{number}.jpg").write_bytes(content)
        prepare(str(folders[0].parents[1]), str(Path(place, "store")), size=size, workers=1)
        split = stores.open_split(Path(place, "store"))
        split.classes = range(row.classes)  # as many as the net tells apart: its last layer is timed too
        yield Part(split)


def squares_of(split, encoded, size, count):
    """uint8 (count, size, size, 3)"""
    if split:
        return split.pictures(np.arange(count) % len(split))
    return np.stack(list(islice(cycle([picture.square(one, size) for one in encoded[:count]]), count)))


def initial(row, size):
    """What weights.read gives of a trained net, of initial values."""
    net = AlexNet(row, seed=0).eval()
    card = weights.card(net, classes=[(f"{i}", f"{i}") for i in range(row.classes)], size=size, centring="colour")
    return net, torch.full((3, 1, 1), 120.0), card


# ---- what it comes to ----------------------------------------------------------------------------------------------------


def products(row, classes):
    """Multiply-adds a picture: of the forward pass, and of the gradients of the picture itself, which nobody needs."""
    shapes = nets.shapes(row, classes)
    first = sum(s.multiply_adds for i, s in enumerate(shapes) if i == 0 or getattr(s.layer, "sees", "") == "picture")
    return sum(s.multiply_adds for s in shapes), first


def share(work, seconds, best, of):
    """Of the machine's ceiling: how much of it so much work (operations, or bytes read and written) in so many seconds is."""
    return {"share_of_ceiling": work / seconds / best[of], "ceiling": of} if of else {}


def with_shares(answer, row, *, best, kind, averaging):
    """Products are compared with products; what only moves numbers, with copying: at least its inputs and outputs have to move."""
    forward, unneeded = (2 * one for one in products(row, answer["classes"]))
    if whole := answer.get("training"):
        found, pictures = answer["stages"], whole["batch_size"]
        moved = {"augment": pictures * 3 * (answer["size"] ** 2 + 4 * row.crop**2),  # bytes in, floats out
                 "optimiser": sum(s.parameters for s in nets.shapes(row, answer["classes"])) * 4 * (8 if averaging else 5)}
        whole |= share(pictures * (3 * forward - unneeded), whole["seconds_per_step"], best, kind)
        found["forward"] |= share(pictures * forward, found["forward"]["seconds"], best, kind)
        found["backward"] |= share(pictures * (2 * forward - unneeded), found["backward"]["seconds"], best, kind)
        for name, count in moved.items():
            found[name] |= share(count, found[name]["seconds"], best, "copy")
    if used := answer.get("inference"):
        of = next((name for name in best if name in used["engine"]), None)  # of int8 products there is no measure here
        used |= share(used["batch_size"] * forward, used["seconds_per_batch"], best, of)


def bottleneck(found, *, training=None, inference=None):
    """One sentence."""
    said, decoding = [], found["all_cores"]["pictures_per_second"]
    if training:
        took, waiting = told(training["seconds_per_step"]), training["waiting"]
        slowest = max(PARTS, key=lambda name: found[name]["seconds"])
        of = found[slowest]["seconds"] / sum(found[name]["seconds"] for name in PARTS)
        if waiting > WAITING:
            said.append(f"training waits for the store: {waiting:.0%} of a step's {took} goes by before its batch is there; "
                        "more --workers, or a raw store, would help".replace("%", " %"))
        else:
            said.append(f"training waits for nothing: the step takes {took}, of which {of:.0%} is {slowest}".replace("%", " %"))
        said.append(f"decoding could feed {times(decoding / training['pictures_per_second'])} that")
    if inference:
        ratio = decoding / inference["pictures_per_second"]
        if ratio < 1:
            said.append(f"prediction waits for decoding, {decoding:,.0f} pictures a second on all cores: the network could take "
                        f"{times(1 / ratio)} that")
        else:
            said.append(f"prediction waits for the network: {inference['batch_size']} pictures take "
                        f"{told(inference['seconds_per_batch'])}, decoding could feed {times(ratio)} that")
    return f"{said[0][:1].upper()}{'; '.join(said)[1:]}."


def told(seconds):
    """812 ms, or 3.91 s."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def times(ratio):
    return f"{ratio:,.{0 if ratio >= 10 else 1}f} times"
