"""Rows made from rows: a control differs from the net it controls in what is named here and in nothing else."""

from dataclasses import replace

from alexnet.errors import Misused, nearest
from alexnet.nets.layers import BatchNorm, ContrastNorm, Conv, Dense, Local, Pool, ResponseNorm, WithinMapNorm

NORMS = (ResponseNorm, WithinMapNorm, ContrastNorm, BatchNorm)
VALUES = {  # `ROW,field=value` -> what the field may be
    "nonlinearity": ("relu", "tanh", "leaky"),
    "pooling": ("max", "average", "convolution"),
    "norm": ("none", "batch"),
    "dropout": ("test", "train", "none"),
}


def changed(row, name, title, *, without=(), after=None, layers=None, **fields):
    """The same row under another name. without: layers left out; layers: name -> its changed fields; after: name -> layers
    that come behind it; fields: of the row itself."""
    after, layers = after or {}, layers or {}
    kept = []
    for layer in row.layers:
        if layer.name not in without:
            kept.append(replace(layer, **layers.get(layer.name, {})))
        kept += after.get(layer.name, ())
    return replace(row, name=name, title=title, layers=tuple(kept), **fields)


def varied(row, **choices):
    """The row with another nonlinearity, pooling, norm or dropout convention throughout; the same as 'ROW,field=value,...'."""
    for key, value in choices.items():
        if key not in VALUES:
            raise Misused(f"a row has no field {key!r} to vary: {nearest(key, VALUES)}")
        if value not in VALUES[key]:
            raise Misused(f"{key} is {value!r}; it may be {', '.join(VALUES[key])}.")
    if choices.get("norm") == "batch":
        row = with_batch_norm(row, row.name, row.title)
    layers = [layer for layer in row.layers if choices.get("norm") != "none" or not isinstance(layer, NORMS)]
    if len(layers) < len(row.layers):  # a batch norm that is taken out leaves its nonlinearity and dropout to the layer it served
        layers = list(_bared(row.layers))
    if pooling := choices.get("pooling"):
        layers = [_pooling(layer, pooling) for layer in layers]
    if nonlinearity := choices.get("nonlinearity"):
        layers = [replace(layer, then=nonlinearity) if layer.then != "linear" else layer for layer in layers]
    if choices.get("dropout") == "none":
        layers = [replace(layer, dropout=0.0) for layer in layers]
    elif "dropout" in choices:
        row = replace(row, dropout_scales=choices["dropout"])
    text = ",".join([row.name, *(f"{key}={value}" for key, value in choices.items())])
    said = ", ".join(f"{key} {value}" for key, value in choices.items())
    return replace(row, name=text, title=f"{row.title}; {said}", layers=tuple(layers))


def _pooling(layer, by):
    if not isinstance(layer, Pool):
        return layer
    return replace(layer, by=by, then="relu" if by == "convolution" else layer.then)


def _bared(layers):
    kept = []
    for layer in layers:
        if isinstance(layer, BatchNorm):
            bias = {"bias": 0.0} if isinstance(kept[-1], (Conv, Dense)) else {}
            kept[-1] = replace(kept[-1], then=layer.then, dropout=layer.dropout, **bias)
        elif not isinstance(layer, NORMS):
            kept.append(layer)
    return kept


def with_batch_norm(row, name, title):
    """The same row with batch normalisation behind every hidden layer that has weights, in the place of other norms."""
    layers = []
    for layer in row.layers:
        if isinstance(layer, NORMS):
            continue
        weighted = isinstance(layer, (Conv, Dense)) and layer is not row.layers[-1] and not getattr(layer, "plus", "")
        if not weighted or isinstance(layer, Local):
            layers.append(layer)
            continue
        layers.append(replace(layer, bias=None, std=None, then="linear", dropout=0.0))
        layers.append(BatchNorm("norm" + layer.name.lstrip("abcdefghijklmnopqrstuvwxyz"), then=layer.then if layer.then != "linear"
                                else "relu", dropout=layer.dropout))
    return replace(row, name=name, title=title, layers=tuple(layers), dropout_scales="train")
