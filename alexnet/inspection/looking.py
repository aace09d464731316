"""Every picture of a store, or of a source as it lies, looked at once: its signature, its sides, or why it cannot be read."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from alexnet.data import likeness, picture, sources
from alexnet.data import store as stores
from alexnet.errors import Refused
from alexnet.progress import Progress

SIZE = 64  # pixels of a picture from a source, as it is compared and shown
BATCH = 256


@dataclass
class Part:
    """One split, looked through."""

    name: str
    path: str
    classes: list  # of Class
    names: list
    labels: np.ndarray
    signatures: np.ndarray
    square: object  # (index, size or None) -> uint8 (s, s, 3), read again
    refused: list = field(default_factory=list)  # {"path", "reason"}
    sides: np.ndarray | None = None  # (N, 2) width and height, from files
    fingerprint: str = ""  # of a store
    left_out: list = field(default_factory=list)  # of a store: lines like refused, of what resembles training pictures


def looked_through(path, workers):
    """-> (what it is, notes, [Part, ...]), in the order train, val, test."""
    names = stores.splits(path)
    if names:
        return "a store", [], [_of_store(path, name, workers) for name in names]
    source = sources.recognise(path)
    if source.unpack:
        raise Refused(f"{path} ({source.kind}) cannot be read in place: alexnet prepare {path} STORE, then alexnet inspect STORE.")
    order = sorted(source.splits, key=lambda name: (stores.SPLITS.index(name) if name in stores.SPLITS else 9, name))
    parts = [_of_source(source, name, workers) for name in order if source.splits[name]]
    if not sum(len(part.names) for part in parts):
        reason = next((one for part in parts for one in part.refused), {"path": path, "reason": "no pictures"})
        raise Refused(f"none of the pictures of {path} can be read ({ascii(reason['path'])[1:-1]}: {reason['reason']}).")
    return source.kind, source.notes, parts


def _of_store(store, name, workers):
    split = stores.open_split(store, name)

    def look(first):
        return likeness.signatures(split.pictures(np.arange(first, min(first + BATCH, len(split)))))

    def square(index, size):
        pixels = split.pictures([index])[0]
        return pixels if size is None else picture.square(pixels, size)

    signed = _each(look, range(0, len(split), BATCH), f"reading {name}", len(split), workers)
    return Part(name, split.path, split.classes, split.names, split.labels, np.concatenate(signed), square,
                split.refusals[0], fingerprint=split.fingerprint, left_out=split.refusals[1])


def _of_source(source, name, workers):
    entries = sorted(source.splits[name], key=lambda entry: entry.name)

    def look(first):
        squares, contents, sides, kept, refused = [], [], [], [], []
        for place, entry in enumerate(entries[first : first + BATCH], first):
            try:
                data = sources.read(entry)[0]
                pixels = np.asarray(picture.upright(data))
                squares.append(picture.square(pixels, SIZE))
            except (Refused, OSError, MemoryError) as error:
                reason = picture.unread(error) if isinstance(error, OSError) else str(error) or "not enough memory"
                refused.append({"path": entry.name, "reason": reason})
                continue
            contents.append(np.ascontiguousarray(data) if isinstance(data, np.ndarray) else data)
            sides.append(pixels.shape[1::-1])
            kept.append(place)
        stacked = np.stack(squares) if squares else np.empty((0, SIZE, SIZE, 3), np.uint8)
        return likeness.signatures(stacked, contents=contents), sides, kept, refused

    found = _each(look, range(0, len(entries), BATCH), f"reading {name}", len(entries), workers)
    signed, sides, kept, refused = zip(*found)
    kept = [entries[place] for some in kept for place in some]
    labels = np.array([entry.label for entry in kept], np.int64)
    sides = np.array([pair for some in sides for pair in some], np.int64).reshape(-1, 2)

    def square(index, size):
        return picture.square(sources.read(kept[index])[0], size or SIZE)

    return Part(name, os.path.join(source.path, name), list(source.classes), [entry.name for entry in kept], labels,
                np.concatenate(signed), square, [one for some in refused for one in some], sides)


def _each(look, firsts, what, count, workers):
    """In threads: decoding leaves Python to the others."""
    found = []
    with Progress(what, count) as bar, ThreadPoolExecutor(workers or os.cpu_count()) as threads:
        for one in threads.map(look, firsts):
            found.append(one)
            bar.advance(min(BATCH, count - BATCH * (len(found) - 1)))
    return found
