"""One model as a service has it: loaded, tried out before anybody may ask, with a queue of its own for each thing that is asked of
it. Another model is another object, so that a swap leaves those who are under way with the one they came to."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet import classifier, nets, predictions
from alexnet.errors import Refused
from alexnet.serve.batching import Batcher
from alexnet.serve.problems import Problem

KERNEL = 48  # pixels of a first-layer kernel on the page, at least
FEW = 8  # pictures that go through at once for an explanation
LOOKS = 8  # explanations that wait for their turn


def load(settings, counts=None):
    """The model of the settings, refused where it does not answer with numbers."""
    clf = classifier.load(settings.model, device=settings.device)
    size = clf.card["size"]
    square = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    row = clf.probabilities(square, settings.views)
    if row.shape != (1, len(clf.classes)) or not np.isfinite(row).all() or abs(float(row.sum()) - 1) > 1e-3:
        raise Refused(f"{settings.model or 'default'} does not answer with probabilities: train it again, or name another.")
    index = None
    if settings.index:
        from alexnet import search

        index = search.Index.open(settings.index, clf)
        index.nearest(clf.layer(square), top=1)  # so that nobody waits for what this imports
    return Model(clf, settings, index=index, counts=counts)


class Model:
    def __init__(self, clf, settings, *, index=None, counts=None):
        self.clf, self.index, self.settings = clf, index, settings
        self.size, self.resampling = clf.card["size"], clf.card.get("resampling")
        self.name = Path(settings.model).stem if settings.model else "default"
        self.slow, self.looks = ThreadPoolExecutor(1, "features"), 0
        self.on_batch = counts.batches.observe if counts else lambda count: None
        self.net = Batcher(partial(clf.probabilities, views=settings.views), most=settings.batch, wait=settings.wait,
                           on_batch=self.on_batch)
        self.layers = {}  # layer -> the Batcher that makes its features

    def features(self, layer=None):
        """The Batcher of a layer's values; the last hidden one's unless named."""
        layer = layer or self.last_hidden
        self.values(layer)  # or there is no such layer
        if layer not in self.layers:
            self.layers[layer] = Batcher(lambda squares: self.clf.layer(squares, layer), most=self.settings.batch,
                                         wait=self.settings.wait, thread=self.slow)
        return self.layers[layer]

    def values(self, layer):
        """How many of them a picture has there."""
        if layer not in self.names:
            raise Problem(422, f"layer: {self.card['net']} has no layer {layer[:60]!r}; it has {', '.join(self.names)}.")
        return self.names[layer]

    @property
    def card(self):
        return self.clf.card

    @cached_property
    def row(self):
        return nets.from_spec(self.card["row"])

    @cached_property
    def names(self):
        """Layer -> how many values it makes of a picture."""
        classes = len(self.clf.classes)
        return {shape.layer.name: prod(shape.output) for shape in nets.shapes(self.row, classes)} | {"prob": classes}

    @cached_property
    def last_hidden(self):
        return self.row.layers[-2].name

    def neighbours(self, features, top):
        """[[{"position", "distance", "id", "name", ...}, ...], ...] a row of features each."""
        distances, positions = self.index.nearest(features, top=min(top, len(self.index)))
        return [[self._neighbour(float(d), int(p)) for d, p in zip(*two)] for two in zip(distances, positions)]

    def _neighbour(self, distance, position):
        entry = self.index.entry(position)
        told = {key: entry[key] for key in ("id", "class") if key in entry}
        return {"position": position, "distance": distance, "file": entry["path"].replace("\\", "/").rpartition("/")[2], **told}

    def explanation(self, name, square, *, index=None, how="occlusion"):
        """Where the net looked, as two pictures of the same square."""
        from alexnet import maps

        row = self.clf.probabilities(square[None])[0]
        index = int(row.argmax()) if index is None else index
        heat = (maps.gradient if how == "gradient" else maps.occlusion)(Gentle(self.clf), square, index=index)
        label = self.clf.classes[index]
        return {"path": predictions.as_text(name), "index": index, "id": label.id, "name": label.name,
                "probability": float(row[index]), "how": how, "square": png(square),
                "overlay": png(maps.overlay(square, heat)), "heat": png(_mask(heat))}

    @cached_property
    def kernels(self):
        """The first layer's kernels as one PNG, or None where they are no pictures."""
        name = f"{self.row.layers[0].name}.weight"
        if self.clf.stored:
            with self.clf.stored.again() as stored:
                found = stored.arrays().get(name)
        else:
            found = self.clf.net.state_dict()[name].float().cpu().numpy()
        return _sheet(found) if found is not None and found.ndim == 4 and found.shape[1] == 3 else None

    @cached_property
    def described(self):
        """GET /v1/model: what it is, what it knows, how well, and under which licence."""
        card, views = self.card, self.settings.views
        engine = self.clf.engine if views == 1 else None  # several views go through torch
        known = ("note", "epoch", "errors", "temperature", "unknown_below", "size", "crop", "resampling")
        return {"name": self.name, "net": card["net"], "title": self.row.title, "licence": card.get("data", {}).get("licence"),
                "engine": getattr(engine, "name", str(self.clf._device)), "views": views, "features": self.last_hidden,
                "layers": list(self.names), "index": {"pictures": len(self.index)} if self.index is not None else None,
                "limits": {name: getattr(self.settings.limits, name)
                           for name in ("bytes", "pixels", "frames", "items", "values", "seconds")},
                **{key: card[key] for key in known if key in card},
                "classes": [{"index": i, "id": one.id, "name": one.name} for i, one in enumerate(self.clf.classes)]}


class Gentle:
    """The classifier for work that may take its time: a few pictures at once, so that who only asks for classes gets in between."""

    def __init__(self, clf):
        self.clf = clf

    def __getattr__(self, name):
        return getattr(self.clf, name)

    def probabilities(self, squares):
        return np.concatenate([self.clf.probabilities(squares[first : first + FEW]) for first in range(0, len(squares), FEW)])


def png(square):
    file = io.BytesIO()
    Image.fromarray(square, "LA" if square.shape[2] == 2 else "RGB").save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _mask(heat):
    """(S, S) -> grey with alpha: opaque where it is hottest, so that a page may lay it over the picture itself."""
    level = np.clip(heat, 0, None) / max(float(np.max(heat)), 1e-12)
    return np.stack([np.full(heat.shape, 255, np.uint8), np.round(255 * level**0.7).astype(np.uint8)], axis=2)


def _sheet(kernels):
    """(N, 3, k, k) -> PNG bytes: each kernel on its own scale, as in the paper's figure 3, in rows of sixteen."""
    count, side = len(kernels), kernels.shape[-1]
    columns = 16 if count > 40 else 8
    scale, gap = max(1, -(-KERNEL // side)), 1
    sheet = np.zeros((-(-count // columns) * (side + gap), columns * (side + gap), 4), np.uint8)
    for place, kernel in enumerate(kernels.transpose(0, 2, 3, 1)):
        low, high = kernel.min(), kernel.max()
        top, left = (place // columns) * (side + gap), (place % columns) * (side + gap)
        sheet[top : top + side, left : left + side, :3] = np.round(255 * (kernel - low) / max(high - low, 1e-12))
        sheet[top : top + side, left : left + side, 3] = 255
    whole = Image.fromarray(sheet).resize((sheet.shape[1] * scale, sheet.shape[0] * scale), Image.Resampling.NEAREST)
    file = io.BytesIO()
    whole.save(file, "PNG")
    return file.getvalue()
