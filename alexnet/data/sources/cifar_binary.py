"""CIFAR-10 and CIFAR-100 in their binary versions: records of one length, a label byte (CIFAR-100: the coarse one, then the
fine one) and 32 x 32 pixels, all of red, then green, then blue. The python versions are pickles and are refused."""

import os
from typing import NamedTuple

import numpy as np

from alexnet.data.sources.listing import Class, Entry, Source, licence
from alexnet.errors import Refused

LAYOUT = "CIFAR's binary files (data_batch_1.bin and test_batch.bin, or train.bin, test.bin and fine_label_names.txt)"
SHAPE, PIXELS = (3, 32, 32), 3072


class Kind(NamedTuple):
    name: str
    classes: int
    names: str  # the file of class names, in the order of the labels
    labels: int  # bytes before the pixels; the last of them is the class
    files: dict  # split -> its files, of `pictures` in all
    pictures: dict
    pickles: tuple  # what the python version looks like
    archive: str


KINDS = (
    Kind(
        "CIFAR-10",
        10,
        "batches.meta.txt",
        1,
        {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]},
        {"train": 50_000, "test": 10_000},
        ("data_batch_1", "batches.meta"),
        "cifar-10-binary.tar.gz",
    ),
    Kind(
        "CIFAR-100",
        100,
        "fine_label_names.txt",
        2,
        {"train": ["train"], "test": ["test"]},
        {"train": 50_000, "test": 10_000},
        ("train", "meta"),
        "cifar-100-binary.tar.gz",
    ),
)


def read(path):
    for kind in KINDS:
        there = {split: [name for name in names if _is_file(path, f"{name}.bin")] for split, names in kind.files.items()}
        named = _is_file(path, kind.names)
        if any(there.values()) and (named or kind.name == "CIFAR-10"):  # train.bin alone may be anything
            if not named:
                raise Refused(f"{path} holds {kind.name} without {kind.names}, the names of its classes: put it back.")
            return _source(path, kind, there)
        if all(_is_file(path, name) for name in kind.pickles):
            raise Refused(f"{path} holds {kind.name} as python pickles, which can run code when they are opened: take its "
                          f"binary version, {kind.archive}, from the same page.")
    return None


def _is_file(path, name):
    return os.path.isfile(os.path.join(path, name))


def _source(path, kind, there):
    names = _names(os.path.join(path, kind.names), kind)
    ids = sorted(names)
    label_of = np.array([ids.index(name) for name in names])  # the published lists are sorted already
    splits, notes = {}, []
    for split, files in there.items():
        entries = [entry for name in files for entry in _entries(path, name, kind, label_of)]
        if entries:
            splits[split] = entries
        if entries and len(entries) != kind.pictures[split]:
            notes.append(f"{split} has {len(entries):,} pictures in {', '.join(files)}; {kind.pictures[split]:,} were published")
    return Source(f"{kind.name}, binary", path, tuple(Class(name, name) for name in ids), splits, licence(path), notes)


def _names(path, kind):
    with open(path, encoding="utf-8", errors="replace") as lines:
        names = [line.strip() for line in lines if line.strip()]
    if len(names) != kind.classes or len(set(names)) != kind.classes:
        raise Refused(f"{path} names {len(set(names))} classes in {len(names)} lines, and {kind.name} has {kind.classes}: "
                      f"fetch it again.")
    return names


def _entries(path, name, kind, label_of):
    file, record = os.path.join(path, f"{name}.bin"), kind.labels + PIXELS
    try:
        total = os.path.getsize(file)
        if not total or total % record:
            raise Refused(f"{file} has {total:,} bytes, which is not a whole number of records of {record:,}: fetch it again.")
        labels = np.memmap(file, np.uint8, "r").reshape(-1, record)[:, kind.labels - 1].copy()
    except OSError as error:
        raise Refused(f"{file} cannot be read ({error.strerror or error}): fetch it again.") from None
    if labels.max() >= kind.classes:
        place = int((labels >= kind.classes).argmax())
        raise Refused(f"{file} gives picture {place:,} the label {labels[place]}, and labels are 0 to {kind.classes - 1}: "
                      f"fetch it again.")
    return [
        Entry(f"{name}/{number:05d}", int(label), file, None, number * record + kind.labels, PIXELS, SHAPE)
        for number, label in enumerate(label_of[labels])
    ]
