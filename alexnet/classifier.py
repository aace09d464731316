"""A trained net in use: pictures in, ranked classes out. `alexnet predict`, the report and every service go through
here, and here through data/picture.py, so that a picture means the same everywhere. On a CPU an engine answers (engines.py), and
torch is imported only when the net itself is wanted: for features, or `clf.net`."""

import csv
import glob
import json
import os
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np

from alexnet import cards, predictions
from alexnet.data import picture
from alexnet.data.sources.listing import SUFFIXES
from alexnet.errors import Misused, Refused, nearest
from alexnet.progress import Progress
from alexnet.rundir import placing

BATCH = 64
MANY = 64  # pictures from which on progress is shown


class Ranked(NamedTuple):
    name: str
    id: str
    index: int
    probability: float


class Label(NamedTuple):
    id: str
    name: str


class Classifier:
    """clf("cat.jpg") -> [Ranked, ...] of all classes, the likeliest first; a list of pictures -> a list of such lists.
    A picture is a path, encoded bytes, a PIL image or a uint8 array (H, W, 3)."""

    def __init__(self, net, mean, card, *, device, engine=None, stored=None, digest=None):
        """engine: what answers in the net's place; the net itself is read from the weights file `stored` when it is wanted. digest:
        one name for the weights."""
        self.card, self.engine, self._given, self.stored, self._device = card, engine, (net, mean), stored, device
        self.digest = digest
        self.classes = [Label(*entry) for entry in card["classes"]]

    def __repr__(self):
        """The card, on one screen."""
        return "\n".join(f"{name:<13}{value}" for name, value in cards.told(self.card))

    @cached_property
    def member(self):
        """The net on its device, with its mean and temperature."""
        from alexnet.evaluate.passes import Member

        net, mean = self._read() if self.stored else self._given
        return Member.of(net, mean, self.card, device=self.device)

    def _read(self):
        from alexnet import weights

        with self.stored.again():
            return weights.of(self.stored)[:2]

    @property
    def net(self):
        return self.member.net

    @property
    def last_hidden(self):
        """The name of the layer below the classes."""
        return self.card["row"]["layers"][-2]["name"]

    @property
    def device(self):
        import torch

        return torch.device(self._device)

    def __call__(self, pictures, *, top=None, views=1):
        batches = self._batches(_pictures(pictures))
        ranked = [self.rank(row, top) for squares in batches for row in self.probabilities(squares, views)]
        return ranked if _several(pictures) else ranked[0]

    def square(self, picture_given):
        """Bytes or whatever else to the square that the net was trained on: uint8 (size, size, 3)."""
        return picture.square(picture_given, self.card["size"], self.card.get("resampling"))

    def preprocess(self, pictures):
        """One picture or a list to what `net` takes: float (B, 3, crop, crop), centred on the mean."""
        return self._centred(np.stack([self.square(one) for one in _pictures(pictures)]))

    def probabilities(self, squares, views=1):
        """uint8 (B, size, size, 3) -> float32 (B, classes), the central view. Several are averaged as `evaluate` does, by torch."""
        if self.engine and views == 1:
            return self.engine.probabilities(squares)
        return self.member.probabilities(self._on_device(squares), views).cpu().numpy()

    def features(self, pictures, layer=None):
        """float32 (B, units): what the last hidden layer, or the one named, makes of each picture."""
        found = [self.layer(squares, layer) for squares in self._batches(_pictures(pictures))]
        if not found:
            raise Misused("features wants at least one picture.")
        return np.concatenate(found)

    def layer(self, squares, name=None):
        """The same of uint8 (B, size, size, 3). Layers above the one that is wanted are not run."""
        import torch

        name, layers = name or self.last_hidden, [layer.name for layer in self.net.row.layers]
        if name not in (*layers, "prob"):
            raise Misused(f"{self.card['net']} has no layer {name!r}: {nearest(name, layers)}")
        inside = {behind for names, _ in self.net.joints.values() for behind in names} | self.net.joints.keys()
        with torch.inference_mode():
            for last, activation in self.net.layer_by_layer(self._centred(squares), joined=name not in inside):
                if last == name:
                    break
            activation = activation.float().softmax(1) if name == "prob" else activation
        return activation.flatten(1).float().cpu().numpy()

    def rank(self, probabilities, top=None):
        """A row of probabilities to [Ranked, ...]; of equals the lower index stands first."""
        order = np.argsort(-probabilities, kind="stable")[:top]
        return [Ranked(self.classes[i].name, self.classes[i].id, int(i), float(probabilities[i])) for i in order]

    def answer(self, name, probabilities, top=None):
        """What predict tells of a picture with this row of probabilities."""
        ranked, text = self.rank(probabilities, top), predictions.as_text
        return {
            "path": text(name),
            **({"unknown": True} if self.is_unknown(ranked) else {}),
            "top": [{"index": one.index, "id": text(one.id), "name": text(one.name), "probability": one.probability}
                    for one in ranked],
        }

    def is_unknown(self, ranked):
        """Whether the likeliest class is too unlikely to be believed: below the threshold that `alexnet transfer` found."""
        return ranked[0].probability < self.card.get("unknown_below", 0)

    def _on_device(self, squares):
        import torch

        return torch.from_numpy(np.ascontiguousarray(squares)).to(self.device)

    def _centred(self, squares):
        from alexnet.data import augment

        return augment.views(self._on_device(squares), mean=self.member.mean, crop=self.card["crop"], count=1)[0]

    def _batches(self, pictures):
        for first in range(0, len(pictures), BATCH):
            yield np.stack([self.square(one) for one in pictures[first : first + BATCH]])


def _pictures(given):
    """One picture becomes a list of one."""
    return list(given) if _several(given) else [given]


def _several(given):
    return isinstance(given, list | tuple) or (isinstance(given, np.ndarray) and given.ndim == 4)


def load(model=None, *, device="auto", precision="auto"):
    """The model in use: a run folder, a weights file, or a name that ships; without one, `default`. precision is for a CPU: auto
    is what the processor has units for, int8 only where these weights passed its gate."""
    from alexnet import engines

    if not engines.on_cpu(device):
        from alexnet.device import pick

        device = pick(device)
        if device.type != "cpu":
            from alexnet import weights

            with cards.WeightsFile(model) as stored:
                return Classifier(*weights.of(stored), device=device, digest=stored.digest)
    with cards.WeightsFile(model, kept=True) as stored:
        engine = engines.of(stored, precision=precision)
        return Classifier(None, None, stored.card, device="cpu", engine=engine, digest=stored.digest, stored=stored)


def predict(
    *images: Annotated[str, "picture files, folders (read through), globs, or - for paths on stdin"],
    model: Annotated[str | None, "a run folder, a weights file or a name that ships (default: default)"] = None,
    top: Annotated[int, "how many classes of each picture"] = 5,
    views: Annotated[int, "1, 2, 5, 9 or 10 crops and reflections of each picture, averaged: slower, and errs less"] = 1,
    out: Annotated[str | None, "also write the answers to this .jsonl, .csv or .parquet file"] = None,
    device="auto",
    on_answer=None,
):
    """What is in these pictures, in the order given: {"path", "top": [{"index", "id", "name", "probability"}, ...]} for
    each, {"path", "error"} for one that cannot be read."""
    if not images:
        raise Misused("predict wants pictures: files, folders, globs, or - for paths on stdin.")
    if top < 1:
        raise Misused(f"--top is {top}; it wants 1 or more.")
    if views != 1:
        from alexnet.data.augment import check_views

        check_views(views)
    classifier, found = load(model, device=device), []
    with writing(out) if out else nullcontext() as writer:
        for answer in answers(classifier, paths(images), top=top, views=views):
            found.append(answer)
            for receive in (on_answer, writer):
                if receive:
                    receive(answer)
    return found


def answers(classifier, named, *, top=5, views=1) -> Iterator[dict]:
    """Decoding in threads beside the net, a batch ahead of it; answers come in the order of the paths. Every core decodes: small
    nets take less time than their pictures, and while the net works the threads of both share the cores."""
    for batch in squares_of(classifier, named, "predicting"):
        yield from _answer(classifier, batch, top, views)


def squares_of(classifier, named, doing, *, start=0) -> Iterator[list]:
    """Batches of (path, its square, or the sentence that says why there is none), in the order of the paths."""
    named = list(named)
    rest, waiting = islice(named, start, None), deque()
    shown = Progress(doing, len(named), start=start) if len(named) > MANY else nullcontext()
    with ThreadPoolExecutor(picture.decoders()) as decoders, shown as bar:
        try:
            while True:
                while len(waiting) < 2 and (batch := list(islice(rest, BATCH))):
                    waiting.append([(path, decoders.submit(_read, classifier, path, error)) for path, error in batch])
                if not waiting:
                    return
                yield (batch := [(path, job.result()) for path, job in waiting.popleft()])
                if bar:
                    bar.advance(len(batch))
        finally:
            decoders.shutdown(wait=False, cancel_futures=True)


def _read(classifier, path, error):
    """The square, or the sentence that says why there is none."""
    try:
        return error or classifier.square(Path(path))
    except (Refused, OSError, MemoryError, ValueError) as refusal:  # ValueError: a path with a zero byte in it
        return str(refusal) or "there is not enough memory to read it"


def _answer(classifier, batch, top, views=1):
    whole = [square for _, square in batch if not isinstance(square, str)]
    rows = iter(classifier.probabilities(np.stack(whole), views) if whole else ())
    for path, square in batch:
        if isinstance(square, str):
            yield {"path": predictions.as_text(path), "error": predictions.as_text(square)}
        else:
            yield classifier.answer(path, next(rows), top)


def paths(images):
    """Every (path, None) that the words name, or (word, error): folders are read through in sorted order without what
    is hidden in them, globs are opened, - reads paths from stdin."""
    for word in images:
        word = os.fspath(word)
        if word == "-":
            for line in sys.stdin.buffer:
                if line := line.rstrip(b"\r\n"):
                    yield os.fsdecode(line), None
        elif os.path.isdir(word):
            inside = list(_inside(word))
            yield from inside or [(word, "there is no picture in this folder")]
        elif not os.path.exists(word) and glob.has_magic(word):
            matches = sorted(glob.glob(word, recursive=True), key=os.fsencode)
            yield from paths(matches) if matches else [(word, "nothing matches this pattern")]
        else:
            yield word, None


def _inside(folder):
    for here, folders, files in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=os.fsencode)
        for name in sorted(files, key=os.fsencode):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield os.path.join(here, name), None


@contextmanager
def writing(path):
    """with writing("out.csv") as write: write(answer). The ending says the format; half a file is never left behind."""
    predictions.check(path, option="--out", endings=(".jsonl", ".csv", ".parquet"))
    ending, rows = Path(path).suffix.lower(), []
    with placing(Path(path)) as new:
        if ending == ".parquet":
            yield lambda answer: rows.append({key: answer.get(key) for key in ("path", "top", "error", "unknown")})
            _write_parquet(rows, new)
            return
        with open(new, "w", encoding="utf-8", newline="") as file:
            if ending == ".jsonl":
                yield lambda answer: file.write(json.dumps(answer, ensure_ascii=False) + "\n")
            else:
                table = csv.writer(file)
                table.writerow(("path", "rank", "index", "id", "name", "probability", "error", "unknown"))
                yield lambda answer: table.writerows(_flat(answer))


def _flat(answer):
    """A line a class; one line for a picture that could not be read."""
    if "error" in answer:
        return [(answer["path"], "", "", "", "", "", answer["error"], "")]
    unknown = "true" if answer.get("unknown") else ""
    return [
        (answer["path"], rank, one["index"], one["id"], one["name"], f"{one['probability']:.6g}", "", unknown)
        for rank, one in enumerate(answer["top"], 1)
    ]


def _write_parquet(rows, path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    one = pa.struct([("index", pa.int32()), ("id", pa.string()), ("name", pa.string()), ("probability", pa.float32())])
    schema = pa.schema([("path", pa.string()), ("top", pa.list_(one)), ("error", pa.string()), ("unknown", pa.bool_())])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
