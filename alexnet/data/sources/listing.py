"""What every source is made of: classes, entries (a picture's name, label and place), how an entry is read, and the walk
that finds pictures below a folder."""

import functools
import gzip
import hashlib
import os
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from alexnet.errors import Refused

# .heic is not read, but a picture that is refused by name is better than one passed over
SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .dib .ppm .pgm .pbm .pnm .tif .tiff .jp2 .avif .heic .heif".split()
)
SPLITS = ("train", "val", "test")  # the order in which splits are listed
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "LICENCE.md")


class Class(NamedTuple):
    id: str
    name: str


class Entry(NamedTuple):
    name: str  # relative to the source, / between folders; never changes when the source moves
    label: int
    path: str  # the file that holds it
    box: tuple | None = None  # x0, y0, x1, y1 in source pixels, as the source gives them
    offset: int = 0  # where it begins in that file, and
    length: int | None = None  # how long it is; None: the file is the picture
    raw: tuple | None = None  # bytes that are the pixels themselves, of this shape: (H, W) grey, (3, H, W) or (H, W, 3)


@dataclass
class Source:
    kind: str
    path: str
    classes: tuple  # of Class, sorted by id
    splits: dict  # split -> list of Entry, in no promised order
    licence: str = ""
    notes: list = field(default_factory=list)  # sentences on what was left out
    unpack: object = None  # (folder, tell) -> Source: for pictures that cannot be read where they lie; writes them, encoded as
    # they are, into files of folder (reusing what an earlier call finished) and returns the Source whose entries point there
    bytes: int = 0  # the room that unpack takes in folder; 0 without it
    size: int | None = None  # of a store: the side of its squares, and
    encoding: str | None = None  # how they are kept
    resampling: str | None = None  # and were made small


def in_store_order(entries):
    """A fixed shuffle: sorted by a hash of the name alone, the same on every machine, and a picture added moves no
    other past its neighbours. Shuffled because training may read in this order (the 2012 system did), and a class must
    not come in one piece."""
    return sorted(
        entries, key=lambda entry: (hashlib.blake2b(os.fsencode(entry.name), digest_size=16).digest(), entry.name)
    )


def read(entry):
    """-> (an entry's bytes, or its pixels as uint8 (H, W) or (H, W, 3); (size, modified) of its file); OSError is the
    caller's."""
    handle = os.open(entry.path, os.O_RDONLY)
    try:
        status = os.fstat(handle)
        stamp = status.st_size, status.st_mtime_ns
        if entry.raw and entry.path.endswith(".gz"):
            return _pixels(unpacked(entry.path, stamp)[entry.offset : entry.offset + entry.length], entry), stamp
        length = status.st_size if entry.length is None else entry.length
        data = os.pread(handle, length, entry.offset)
        while len(data) < length and (more := os.pread(handle, length - len(data), entry.offset + len(data))):
            data += more  # one read returns at most 2 GB
        return (_pixels(data, entry) if entry.raw else data), stamp
    finally:
        os.close(handle)


def _pixels(data, entry):
    if len(data) != entry.length:
        raise Refused(f"truncated: {len(data):,} of its {entry.length:,} bytes are there")
    pixels = np.frombuffer(data, np.uint8).reshape(entry.raw)
    return pixels if pixels.ndim == 2 or entry.raw[2] == 3 else pixels.transpose(1, 2, 0)


@functools.lru_cache(maxsize=2)
def unpacked(path, stamp):
    """What a .gz file holds, kept: it cannot be read from the middle, and its pictures are read one by one."""
    try:
        with gzip.open(path) as file:
            return file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Refused(f"{path} is no whole gzip file ({error}): fetch it again.") from None


class Walk:
    """Finds the pictures below folders, counts the other files, and reads every real folder once, so that links in
    circles end."""

    def __init__(self):
        self.others, self.loops = Counter(), 0

    def folders(self, path):
        """Names of the folders directly inside, sorted, hidden ones left out."""
        return sorted(item.name for item in _items(path) if _is(item.is_dir))

    def pictures(self, path, *, deep=True, seen=()):
        """-> names of the pictures inside, relative to path."""
        seen = set(seen)
        found, pending = [], [""]
        while pending:
            inside = pending.pop()
            here = os.path.join(path, inside) if inside else path
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in seen:
                self.loops += 1
                continue
            seen.add((status.st_dev, status.st_ino))
            for item in _items(here):
                name = f"{inside}/{item.name}" if inside else item.name
                if _is(item.is_dir):
                    if deep:
                        pending.append(name)
                elif os.path.splitext(item.name)[1].lower() in SUFFIXES and (_is(item.is_file) or item.is_symlink()):
                    found.append(name)  # a broken link is named as refused later
                else:
                    self.others[os.path.splitext(item.name)[1].lower() or "no suffix"] += 1
        return found

    def notes(self):
        if self.others:
            most = ", ".join(f"{count:,} {suffix}" for suffix, count in self.others.most_common(3))
            yield f"{sum(self.others.values()):,} files that are no pictures were left out ({most})"
        if self.loops:
            yield f"{self.loops} links to folders already read were not followed"


def identity(path):
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _items(path):
    try:
        with os.scandir(path) as items:
            return [item for item in items if not (item.name.startswith(".") or item.name == "__MACOSX")]
    except OSError as error:
        raise Refused(
            f"the folder {path} cannot be read ({error.strerror}): make it readable, or move it out of the source."
        ) from None


def _is(test):
    try:
        return test()
    except OSError:  # a link to itself
        return False


def words(path):
    """id -> name from a words file, a line each: the id, a tab, synonyms after commas; the first synonym is the
    name."""
    if not os.path.isfile(path):
        return {}
    with open(path, encoding="utf-8", errors="surrogateescape") as lines:
        pairs = (line.rstrip("\r\n").split("\t", 1) for line in lines)
        return {pair[0]: pair[1].split(",")[0].strip() for pair in pairs if len(pair) == 2}


def licence(path):
    """The first line of a licence file beside the pictures, or nothing."""
    for name in LICENCE_FILES:
        if os.path.isfile(os.path.join(path, name)):
            with open(os.path.join(path, name), encoding="utf-8", errors="replace") as lines:
                return next((line.strip() for line in lines if line.strip()), "")
    return ""


def is_wnid(name):
    return re.fullmatch(r"n\d{8}", name) is not None
