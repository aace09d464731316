"""A smaller store out of a store: some of its classes, some pictures of each, and a fixed sample of train beside the splits, on
which training error is measured in test mode. What a picture was set apart for it stays set apart for."""

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import alexnet
from alexnet.data import packing
from alexnet.data.order import generator
from alexnet.data.prepare import Plan
from alexnet.data.sources import prepared
from alexnet.data.store import CARD, open_split, splits
from alexnet.errors import Refused
from alexnet.progress import Progress

CLEAN = "clean"
WANTED = ("train", "tune", "claims")
HOLDOUT = "tune=0.05,claims=0.1"


def subset(store, out, *, classes=None, others=False, a_class=None, clean=2000):
    """classes: how many, evenly spaced in the order of their ids (others: all but these); a_class: pictures of each in train.
    -> the folder `out`; a finished one is taken as it is."""
    missing = [name for name in WANTED if name not in splits(store)]
    if missing:
        raise Refused(f"{store} has no split {' and '.join(missing)}: choices are made on tune and errors reported on claims; "
                      f"alexnet prepare SOURCE STORE --holdout {HOLDOUT} makes both.")
    found = prepared.read(os.fspath(store))
    chosen = evenly(len(found.classes), classes, others)
    place = {label: number for number, label in enumerate(chosen)}
    for name in (*WANTED, CLEAN):
        folder = out / name
        if (folder / CARD).is_file():
            continue
        entries = found.splits["train" if name == CLEAN else name]
        kept = [entry._replace(label=place[entry.label]) for entry in entries if entry.label in place]
        kept = limited(kept, a_class) if name in ("train", CLEAN) else kept
        if name == CLEAN:
            kept = kept[:clean]
        if len(kept) == len(found.splits.get(name, ())):
            link(Path(store).resolve() / name, folder)
            continue
        some = replace(found, classes=tuple(found.classes[label] for label in chosen), splits={name: kept})
        pack(some, kept, folder, found.size, found.encoding)
    return out


def evenly(count, wanted, others=False):
    chosen = range(count) if not wanted or wanted >= count else sorted({i * count // wanted for i in range(wanted)})
    return [label for label in range(count) if (label in set(chosen)) != others]


def limited(entries, a_class):
    """The first of each class: the store's order is a fixed shuffle."""
    seen, kept = {}, []
    for entry in entries:
        seen[entry.label] = seen.get(entry.label, 0) + 1
        if not a_class or seen[entry.label] <= a_class:
            kept.append(entry)
    return kept


def link(there, folder):
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(there)


def pack(source, entries, folder, size, encoding):
    """Under its name when it is whole: another experiment may set the same pictures apart at this moment."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = tempfile.mkdtemp(prefix=f"{folder.parent.name}-", dir=folder.parent.parent)
    plan = Plan(aside, size, False, encoding, encoding == "jpeg")
    shards = [entries[first : first + 1024] for first in range(0, len(entries), 1024)]
    with Progress(f"setting {folder.name} apart", len(entries)) as bar:
        for number, shard in enumerate(shards):
            packing.pack(number, shard, packing.key(shard, plan), plan, tick=bar.advance)
    packing.finish(source, shards, plan, "a subset")
    try:
        os.replace(aside, folder)
    except OSError:
        shutil.rmtree(aside)
        if not (folder / CARD).is_file():  # else the other was there first, with the same
            raise


# ---- a store for rehearsals --------------------------------------------------------------------------------------------


def toy(out, *, size, classes=6, pictures=24):
    """Striped squares: a class is a direction and a colour, easily told apart, drawn here."""
    store = out / f"toy-{size}"
    if set(WANTED) <= set(splits(store)):
        return store
    folder = out / f"pictures-{size}"
    rows, columns = np.mgrid[:size, :size] / size
    for label in range(classes):
        random = generator("toy", size, label)
        angle, hue = np.pi * label / classes, random.uniform(-1, 1, 3)
        (folder / f"stripes{label}").mkdir(parents=True, exist_ok=True)
        for number in range(pictures):
            wave = np.sin(2 * np.pi * (random.uniform(2, 5) * (rows * np.sin(angle) + columns * np.cos(angle)) + random.random()))
            colours = 128 + 50 * wave[..., None] * hue + 30 * random.standard_normal((size, size, 3))
            Image.fromarray(colours.clip(0, 255).astype(np.uint8)).save(folder / f"stripes{label}" / f"{number}.png")
    alexnet.prepare(str(folder), str(store), size=size, workers=1, holdout="tune=0.2,claims=0.3")
    shutil.rmtree(folder)
    return store


def fitting(stores, row):
    """The store whose pictures the row takes; of several the one that leaves its crop the least room, so that nets of 32 pixels
    are given CIFAR-10 whatever is named beside it."""
    low, high = row.sizes
    sizes = {store: open_split(store, "train").size for store in stores}
    fit = [store for store in stores if low <= sizes[store] <= high]
    if fit:
        return min(fit, key=sizes.get)
    raise Refused(f"{row.name} takes pictures of {low} to {high} pixels, and none of the stores has them: name one prepared with "
                  f"--size {low * 8 // 7} --holdout {HOLDOUT} too.")
