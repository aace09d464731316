"""A store: pictures made equal once and packed, to be read without decoding a file each. One folder a split, written by
prepare.py: store.json, shards of up to 1,024 pictures (raw bytes, or JPEG one after the other), labels.npy, mean.npy,
names.json, refused.jsonl, boxes.npy where the source has boxes, offsets.npy where the shards are JPEG. docs/data.md
describes each."""

import functools
import hashlib
import io
import json
import os
import re
from typing import NamedTuple

import numpy as np

from alexnet.data.sources.listing import SPLITS, Class
from alexnet.errors import Misused, Refused, nearest

FORMAT = 1
SHARD = 1024  # pictures of the source a shard, as in the 2012 batches; refused ones leave it shorter
CARD, UNFINISHED = "store.json", "unfinished.json"
REMEDY = "delete the split's folder and prepare it again."
LEFT_OUT = re.compile("(exact|near) duplicate of .*, which is in train", re.DOTALL)  # where a line does not say it by itself


class Colour(NamedTuple):
    """The RGB values of all pixels of a split as a Gaussian: paper 4.1."""

    mean: np.ndarray  # (3,)
    stdevs: np.ndarray  # (3,) square roots of the eigenvalues of the covariance, largest first
    vectors: np.ndarray  # (3, 3) a column an eigenvector


def splits(store):
    """Names of the finished splits: train, val, test, then others."""
    try:
        found = [name for name in os.listdir(store) if os.path.isfile(os.path.join(store, name, CARD))]
    except OSError:
        return []
    return sorted(found, key=lambda name: (SPLITS.index(name) if name in SPLITS else len(SPLITS), name))


def open_split(store, split="train"):
    store = os.fspath(store)
    path = os.path.join(store, split)
    if os.path.isfile(os.path.join(path, CARD)):
        return Split(store, split)
    if os.path.isfile(os.path.join(path, UNFINISHED)):
        with open(os.path.join(path, UNFINISHED)) as file:
            command = json.load(file)["command"]
        raise Refused(f"{path} is unfinished: run `{command}` again, it goes on where it stopped.")
    known = splits(store)
    if known:
        raise Misused(f"the store {store} has no split {split!r}: {nearest(split, known)}")
    raise Refused(f"{store} is no store: make one with `alexnet prepare SOURCE {store}`.")


class Split:
    def __init__(self, store, name):
        self.store, self.name, self.path = store, name, os.path.join(store, name)
        card = self.card = read_card(self.path)
        self.size, self.encoding = card["size"], card["encoding"]
        self.classes = [Class(*pair) for pair in card["classes"]]
        self.fingerprint, self.images = card["fingerprint"], card["images"]
        for file, facts in self._files():
            self._check_length(file, facts["bytes"])
        self.labels = np.load(os.path.join(self.path, "labels.npy"))  # (N,) int64
        self.mean = np.load(os.path.join(self.path, "mean.npy"))  # (size, size, 3) float32
        self.boxes = (
            np.load(os.path.join(self.path, "boxes.npy")) if "boxes.npy" in card["files"] else None
        )  # (N, 4) int32
        self.colour = Colour(*(np.array(card["colour"][key]) for key in Colour._fields))
        counts = [shard["pictures"] for shard in card["shards"]]
        self._first = np.concatenate([[0], np.cumsum(counts)])  # of each shard, its first picture; then the end
        self._offsets = np.load(os.path.join(self.path, "offsets.npy")) if self.encoding == "jpeg" else None
        # a mapped file holds a descriptor, and a process often may have no more than 1,024 of them
        self._shard = functools.lru_cache(maxsize=_descriptors() // 2)(self._map)

    def __len__(self):
        return self.images

    def __reduce__(self):
        return open_split, (self.store, self.name)

    @functools.cached_property
    def names(self):
        """Each picture's name in its source, / between folders."""
        with open(os.path.join(self.path, "names.json")) as file:
            return json.load(file)

    @functools.cached_property
    def refusals(self):
        return refusals(self.path)

    @property
    def resampling(self):
        """How its pictures were made small, for a weights file's card and `picture.square`; None where they were not."""
        return None if self.card["resampling"] == "none" else self.card["resampling"]

    @property
    def refused(self):
        return len(self.refusals[0])

    @property
    def left_out(self):
        return len(self.refusals[1])

    def pictures(self, indices, *, out=None):
        """-> uint8 (n, size, size, 3), in the order of the indices; any number of threads may call this."""
        indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(indices) and not 0 <= indices.min() <= indices.max() < self.images:
            raise IndexError(f"{self.path} has pictures 0 to {self.images - 1}, not {indices.min()} to {indices.max()}")
        if out is None:
            out = np.empty((len(indices), self.size, self.size, 3), np.uint8)
        shards = np.searchsorted(self._first, indices, side="right") - 1
        if self._offsets is None:
            for row, shard, place in zip(out, shards.tolist(), (indices - self._first[shards]).tolist()):
                row[...] = self._shard(shard)[place]
        else:
            for row, shard, (start, length) in zip(out, shards.tolist(), self._offsets[indices].tolist()):
                decode_jpeg(self._shard(shard)[start : start + length], row)
        return out

    def _map(self, shard):
        facts = self.card["shards"][shard]
        shape = (facts["pictures"], self.size, self.size, 3) if self._offsets is None else (facts["bytes"],)
        return np.memmap(os.path.join(self.path, facts["file"]), np.uint8, "r", shape=shape).view(np.ndarray)

    def places(self):
        """Of each picture: its file, where it begins there, how long it is."""
        each = self.size**2 * 3
        for shard, facts in enumerate(self.card["shards"]):
            path = os.path.join(self.path, facts["file"])
            for index in range(self._first[shard], self._first[shard + 1]):
                inside = index - self._first[shard]
                start, length = (inside * each, each) if self._offsets is None else self._offsets[index].tolist()
                yield path, int(start), length

    def verify(self):
        """Reads every byte and compares it with the checksums; Refused names the first file that differs."""
        for file, facts in self._files():
            if checksum(os.path.join(self.path, file)) != facts["sha256"]:
                raise Refused(
                    f"{os.path.join(self.path, file)} is damaged: its checksum is not the one in {CARD}; {REMEDY}"
                )

    def _files(self):
        yield from ((shard["file"], shard) for shard in self.card["shards"])
        yield from self.card["files"].items()

    def _check_length(self, file, expected):
        path = os.path.join(self.path, file)
        try:
            found = os.stat(path).st_size
        except OSError:
            raise Refused(f"{path} is missing from the store; {REMEDY}") from None
        if found != expected:
            raise Refused(f"{path} is damaged: it has {found:,} bytes where {expected:,} belong; {REMEDY}")


def read_card(path):
    try:
        with open(os.path.join(path, CARD)) as file:
            card = json.load(file)
        version = card["format"]
    except (OSError, ValueError, KeyError, TypeError):
        raise Refused(f"{os.path.join(path, CARD)} cannot be read; {REMEDY}") from None
    if version != FORMAT:
        raise Refused(f"{path} is of store format {version}, and this version reads format {FORMAT}: prepare it again.")
    return card


def refusals(path):
    """A split's refused.jsonl -> (lines of pictures that cannot be read, of those that --holdout left out)."""
    try:
        with open(os.path.join(path, "refused.jsonl"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
    except FileNotFoundError:
        return [], []
    alike = [bool(line.get("left_out") or LEFT_OUT.fullmatch(line["reason"])) for line in lines]
    return tuple([line for line, like in zip(lines, alike) if like == which] for which in (False, True))


def checksum(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(shards, labels, classes, size, encoding):
    """One name for what training sees: pixels, labels, classes. Equal stores have equal fingerprints wherever they were
    made."""
    facts = [FORMAT, size, encoding, [list(pair) for pair in classes], [shard["sha256"] for shard in shards]]
    return hashlib.sha256(json.dumps(facts).encode() + labels.astype("<i8").tobytes()).hexdigest()[:32]


def decode_jpeg(stream, out):
    """A picture of a jpeg shard into its place, (size, size, 3)."""
    try:
        import simplejpeg
    except ImportError:
        from PIL import Image

        out[...] = np.asarray(Image.open(io.BytesIO(stream)))
    else:
        simplejpeg.decode_jpeg(stream, "RGB", buffer=out)


def _descriptors():
    try:
        import resource
    except ImportError:
        return 512
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 4096 if limit < 0 else min(max(limit, 8), 4096)
