"""MNIST as it is handed out, and what has taken its format (Fashion-MNIST, KMNIST): idx files of grey pictures and of labels,
plain or as .gz. An idx file is a magic number, the sizes as big-endian 32-bit numbers, then unsigned bytes."""

import os

import numpy as np

from alexnet.data.sources.listing import Class, Entry, Source, licence, unpacked
from alexnet.errors import Refused

LAYOUT = "MNIST's idx files (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-..., also .gz)"
SPLIT_OF = {"train": "train", "t10k": "test"}
CLASSES = tuple(Class(digit, digit) for digit in "0123456789")


def read(path):
    splits = {}
    for part, split in SPLIT_OF.items():
        pictures, labels = (_find(path, f"{part}-{kind}") for kind in ("images-idx3", "labels-idx1"))
        if pictures and labels:
            splits[split] = _entries(split, pictures, labels)
        elif pictures or labels:
            kind = "images-idx3" if labels else "labels-idx1"
            raise Refused(f"{pictures or labels} has no {part}-{kind}-ubyte beside it: put it (or its .gz) into {path}.")
    return Source("MNIST's idx files", path, CLASSES, splits, licence(path)) if splits else None


def _find(path, name):
    """The plain file before the .gz; both spellings are about."""
    for suffix in ("", ".gz"):
        for spelling in (name, name.replace("-idx", ".idx")):
            file = os.path.join(path, f"{spelling}-ubyte{suffix}")
            if os.path.isfile(file):
                return file
    return None


def _entries(split, pictures, labels):
    (count, height, width), _ = _idx(pictures, dimensions=3)
    (labelled,), content = _idx(labels, dimensions=1)
    if count != labelled:
        raise Refused(f"{pictures} holds {count:,} pictures and {labels} {labelled:,} labels: fetch both again.")
    values = np.frombuffer(content, np.uint8)
    if values.max() > 9:
        place = int((values > 9).argmax())
        raise Refused(f"{labels} gives picture {place:,} the label {values[place]}, and labels are 0 to 9: fetch it again.")
    length = height * width
    return [
        Entry(f"{split}/{number:05d}", int(label), pictures, None, 16 + number * length, length, (height, width))
        for number, label in enumerate(values)
    ]


def _idx(path, *, dimensions):
    """-> (sizes, the bytes behind them; of plain pictures, which are read one by one later, none)."""
    head = 4 + 4 * dimensions
    try:
        status = os.stat(path)
        if path.endswith(".gz"):
            data = unpacked(path, (status.st_size, status.st_mtime_ns))
            total = len(data)
        else:
            with open(path, "rb") as file:
                data = file.read(None if dimensions == 1 else head)
            total = status.st_size
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror or error}): fetch it again.") from None
    magic = bytes((0, 0, 8, dimensions))  # 8: unsigned bytes
    if data[:4] != magic or len(data) < head:
        raise Refused(f"{path} begins with {data[:4].hex() or 'nothing'} where an idx file of {dimensions} dimensions has "
                      f"{magic.hex()} and its sizes: fetch it again.")
    sizes = [int(size) for size in np.frombuffer(data[4:head], ">u4")]
    content = int(np.prod(sizes, dtype=object))
    if not content or total != head + content:
        raise Refused(f"{path} has {total:,} bytes where {' x '.join(map(str, sizes))} bytes and a head of {head} belong: "
                      f"fetch it again.")
    return sizes, data[head:] if dimensions == 1 else b""
