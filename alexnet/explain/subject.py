"""What a report is about: a net, its run, and the pictures to show it with. Each thing is found when it is first asked for, and
once, so that a single figure costs no more than it needs."""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alexnet import classifier, nets, rundir, weights
from alexnet.data import order
from alexnet.data import store as stores
from alexnet.errors import Misused, Refused
from alexnet.progress import Progress

PICTURES = 8  # of Figure 4
SEED = 2012
BATCH = 256
BUDGET, LEAST = 8e11, 1000  # multiply-adds of a pass over many pictures, about a minute on two cores; pictures at least
FASTER = 50  # times as much on a GPU


class Gallery(NamedTuple):
    """Pictures to draw examples from."""

    split: stores.Split
    places: np.ndarray
    name: str


class Seen(NamedTuple):
    """What the net made of many pictures of the gallery, a row a picture."""

    places: np.ndarray  # in the split
    labels: np.ndarray
    top: np.ndarray  # (N, 5) the likeliest classes
    likely: np.ndarray  # (N, 5) their probabilities

    @property
    def right(self):
        return self.top[:, 0] == self.labels

    @property
    def among(self):
        return (self.top == self.labels[:, None]).any(axis=1)


class Example(NamedTuple):
    """A picture with the net's five likeliest classes."""

    square: np.ndarray
    truth: int | None  # unknown for a picture of one's own
    name: str  # of the true class, or of the file
    top: list  # Ranked


class Subject:
    def __init__(self, model, *, store=None, split=None, errors=False, picture=None, searched=None, index=None, device="auto"):
        if searched is not None and searched < 0:
            raise Misused(f"--searched is {searched}; it wants a number of training pictures, or 0 for no neighbours.")
        self.model, self.run = model, Path(model) if model and Path(model).is_dir() else None
        self.errors, self.searched, self.split_name = errors, searched, split
        self.clf = classifier.load(model, device=device)
        self.index = self._index(index) if index else None
        self.card, self.row = self.clf.card, nets.from_spec(self.clf.card["row"])
        self.config, self.environment = (self._told(name) for name in ("config", "environment"))
        self.log = rundir.read_log(self.run) if self.run else []
        self.lines = [event for event in self.log if event["event"] == "epoch"]
        self.learnt = self.config.get("fingerprint") or self.card.get("data", {}).get("fingerprint")  # of what it was trained on
        self.doubt = None  # a sentence where the store is not as it was
        self.gallery, self.note = self._gallery(store)
        self.own, self.made = self._own(picture) if picture else None, {}

    def _told(self, name):
        return (rundir.RunDir(self.run).read(f"{name}.json") or {}) if self.run else {}

    def _gallery(self, named):
        """-> (what to draw from, why there is nothing). A store that was named has to be there and to fit."""
        store = named or self._store()
        if not store:
            return None, "No pictures are shown: the weights do not say where their store is; name one with --store."
        try:
            names = stores.splits(store)
            name = self.split_name or next((name for name in ("val", "test") if name in names), (names or ["val"])[0])
            split = stores.open_split(store, name)
            weights.same_classes(self.card, split, "the net")
            self.doubt = None if named else self._doubt(store, names)
        except (Refused, OSError) as error:
            if named or self.split_name:
                raise
            return None, f"No pictures are shown: {str(error).rstrip('.')}."
        if split.fingerprint != self.learnt:
            return Gallery(split, np.arange(len(split)), name), None
        if self.config.get("holdout"):
            held = order.holdout(split.labels, self.config["holdout"], self.config["seed"])[1]
            return Gallery(split, held, f"the part of {name} that was held out"), None
        return Gallery(split, np.arange(len(split)), f"{name}, which the net was trained on"), None

    def _store(self):
        """The run's store: where it was, or as far from the run's folder as it was then; None where nothing says."""
        kept = self.config.get("store")
        near = kept and str((self.run / self.config.get("store_from_run", kept)).resolve())
        return near if near and stores.splits(near) and not stores.splits(kept) else kept

    def _doubt(self, store, names):
        """A word where splits of the run's store hold other pictures than when the run was made."""
        known = {"train": self.learnt, **{one["split"]: one.get("fingerprint") for one in self.card["errors"]}}
        if not self.config.get("holdout"):
            known[self.config.get("select")] = self.config.get("select_fingerprint")
        odd = [name for name in names if known.get(name) not in (None, stores.open_split(store, name).fingerprint)]
        return (f"{store} holds other pictures in {' and '.join(odd)} than when the run was made: it is not known whether the net "
                "was trained on those shown.") if odd else None

    def _index(self, folder):
        from alexnet.search.index import Index

        return Index.open(folder, self.clf)

    def _own(self, picture):
        square = self.clf.square(Path(picture))
        ranked = self.clf.rank(self.clf.probabilities(square[None])[0], 5)
        return Example(square, None, Path(picture).name, ranked)

    def once(self, make):
        """make(self), worked out the first time: a figure and the page both ask."""
        if make not in self.made:
            self.made[make] = make(self)
        return self.made[make]

    @property
    def title(self):
        path = self.run.resolve() if self.run else Path(self.model or "default")
        return f"{path.parent.name}/run" if path.name == "run" else path.name

    @property
    def unfinished(self):
        """Is the run still to go on?"""
        loop = rundir.RunDir(self.run).read("checkpoints/last/loop.json") if self.run else None
        return bool(loop) and not loop.get("finished")

    @cached_property
    def training(self):
        """(split, places) of what the net was trained on, as far as it is there."""
        if not self.gallery or "train" not in stores.splits(self.gallery.split.store):
            return None
        split = stores.open_split(self.gallery.split.store, "train")
        if self.config.get("holdout") and split.fingerprint == self.learnt:
            return split, order.holdout(split.labels, self.config["holdout"], self.config["seed"])[0]
        return split, np.arange(len(split))

    def affordable(self, places):
        """A part of them drawn by seed, where all would take the net too long."""
        work = sum(shape.multiply_adds for shape in nets.shapes(self.row, len(self.clf.classes)))
        most = int(max(LEAST, BUDGET * (FASTER if self.clf.device.type == "cuda" else 1) / work))
        if len(places) <= most:
            return places
        return np.sort(np.random.default_rng(SEED).choice(places, most, replace=False))

    @cached_property
    def seen(self):
        """One pass over the gallery, or over as much of it as can be afforded."""
        places, kept = self.affordable(self.gallery.places), []
        with Progress("looking at pictures", len(places)) as bar:
            for first in range(0, len(places), BATCH):
                found = self.clf.probabilities(self.gallery.split.pictures(places[first : first + BATCH]))
                top = np.argsort(-found, axis=1, kind="stable")[:, :5]
                kept.append((top, np.take_along_axis(found, top, 1)))
                bar.advance(len(found))
        top, likely = (np.concatenate(column) for column in zip(*kept))
        return Seen(places, self.gallery.split.labels[places], top, likely)

    @cached_property
    def examples(self):
        """Eight pictures drawn at random, of those the net gets wrong if only errors are wanted."""
        if not self.gallery:
            return []
        places = self.seen.places[~self.seen.right] if self.errors else self.gallery.places
        return self.shown(np.random.default_rng(SEED).choice(places, min(PICTURES, len(places)), replace=False))

    def shown(self, places):
        squares = self.gallery.split.pictures(places)
        labels = self.gallery.split.labels[places].tolist()
        rows = self.clf.probabilities(squares) if len(squares) else []
        return [Example(square, label, self.clf.classes[label].name, self.clf.rank(row, 5))
                for square, label, row in zip(squares, labels, rows)]
