"""Rows made from rows: a control differs from the net it controls in what is named here and in nothing else."""

from dataclasses import replace

from alexnet.errors import Misused, nearest
from alexnet.nets.layers import BatchNorm, ContrastNorm, Conv, Dense, Pool, ResponseNorm, WithinMapNorm

NORMS = (ResponseNorm, WithinMapNorm, ContrastNorm, BatchNorm)
VALUES = {  # `ROW,field=value` -> what the field may be
    "nonlinearity": ("relu", "tanh", "leaky"),
    "pooling": ("max", "average", "convolution"),
    "norm": ("none", "batch"),
    "dropout": ("test", "train", "none"),  # or the share that is dropped, where a layer drops any
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
    _check(choices)
    name, title = row.name, row.title
    if choices.get("norm") == "batch":
        row = with_batch_norm(row, name, title)
    layers = _bared(row.layers) if choices.get("norm") == "none" else row.layers
    if pooling := choices.get("pooling"):
        own = next((layer.then for layer in layers if layer.then != "linear"), "relu")  # a learned pool is rectified as the rest is
        layers = [_pooling(layer, pooling, own) for layer in layers]
    if nonlinearity := choices.get("nonlinearity"):
        layers = [replace(layer, then=nonlinearity) if layer.then != "linear" else layer for layer in layers]
    if choices.get("dropout") == "none":
        layers = [replace(layer, dropout=0.0) for layer in layers]
    elif "dropout" in choices:
        share = _share(choices["dropout"])
        if share is None:
            row = replace(row, dropout_scales=choices["dropout"])
        elif share and not any(layer.dropout for layer in layers):
            raise Misused(f"{name} has no layer that drops units: dropout=none is all that it can be.")
        else:
            layers = [replace(layer, dropout=layer.dropout and share) for layer in layers]
    text = ",".join([name, *(f"{key}={value}" for key, value in choices.items())])
    said = ", ".join(f"{key} {value}" for key, value in choices.items())
    return replace(row, name=text, title=f"{title}; {said}", layers=tuple(layers))


def _check(choices):
    for key, value in choices.items():
        if value == "":  # 'small64,tanh' or 'small64,norm='
            pairs = [(field, one) for field, values in VALUES.items() for one in values]
            meant = [pair for pair in pairs if key in pair] or [(field, values[0]) for field, values in VALUES.items()]
            raise Misused(f"{key!r} is no choice for a row; write field=value, such as {' or '.join(map('='.join, meant))}.")
        if key not in VALUES:
            raise Misused(f"a row has no field {key!r} to vary: {nearest(key, VALUES)}")
        if value not in VALUES[key] and not (key == "dropout" and _share(value) is not None):
            raise Misused(f"{key} is {value!r}; it may be {', '.join(VALUES[key])}{' or a share' * (key == 'dropout')}.")


def _share(value):
    """0.3 of '0.3'; None of what is no share of a layer's units."""
    try:
        share = float(value)
    except ValueError:
        return None
    return share if 0 <= share < 1 else None


def _pooling(layer, by, own):
    if not isinstance(layer, Pool):
        return layer
    return replace(layer, by=by, then=own if by == "convolution" and layer.then == "linear" else layer.then)


def _bared(layers):
    """Without norms. A batch norm leaves its nonlinearity and dropout, and a bias, to the layer that it served."""
    kept = []
    for layer in layers:
        if isinstance(layer, BatchNorm):
            kept[-1] = replace(kept[-1], then=layer.then, dropout=layer.dropout, bias=0.0)
        elif not isinstance(layer, NORMS):
            kept.append(layer)
    return kept


def with_batch_norm(row, name, title):
    """The same row with batch normalisation behind every hidden convolution and dense layer, in the place of other norms. A side
    path is not normalised by itself but as part of the sum that it ends in."""
    bared, layers = _bared(row.layers), []
    sides = {getattr(layer, "plus", "") for layer in bared}
    for layer in bared:
        if not isinstance(layer, (Conv, Dense)) or layer is bared[-1] or layer.name in sides:
            layers.append(layer)
            continue
        layers.append(replace(layer, bias=None, std=None, then="linear", dropout=0.0))
        number = layer.name.lstrip("abcdefghijklmnopqrstuvwxyz")
        taken = not number or f"norm{number}" in {one.name for one in layers}  # six_conv has a conv6 and an fc6
        layers.append(BatchNorm(f"norm_{layer.name}" if taken else f"norm{number}", then=layer.then, dropout=layer.dropout))
    return replace(row, name=name, title=title, layers=tuple(layers), dropout_scales="train")
