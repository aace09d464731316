"""A row as the stages of a drawing: plain numbers and words, read off the row's shapes and nothing else. drawing.py, which knows
no nets, makes the picture of them; matplotlib is loaded for that alone."""

from pathlib import Path

from alexnet.errors import Misused, Refused
from alexnet.nets.layers import BatchNorm, Blur, ContrastNorm, Conv, Dense, Local, Nails, Pool, ResponseNorm, WithinMapNorm
from alexnet.nets.shapes import shapes

SUFFIXES = (".png", ".svg")
CALLED = {ResponseNorm: "response norm", WithinMapNorm: "within-map norm", ContrastNorm: "contrast norm", BatchNorm: "batch norm",
          Blur: "blur"}
THEN = {"relu": "ReLU", "tanh": "tanh", "leaky": "leaky ReLU"}


def row_and_file(draw, name):
    """`--draw ROW FILE` and `ROW --draw FILE` -> (ROW, FILE): the file is the word with an ending, which no row's name has."""
    if name is None or Path(draw).suffix and Path(name).suffix:
        given = " and ".join(repr(str(word)) for word in (draw, name) if word is not None)
        raise Misused(f"--draw was given {given}; it wants a row and a file: alexnet nets --draw ROW FILE.svg")
    return (name, draw) if Path(draw).suffix else (draw, name)


def drawn(rows, file):
    """Draws the rows below each other on one scale; -> what the command answers."""
    if Path(file).suffix not in SUFFIXES:
        raise Misused(f"a drawing's file ends in .png or .svg, {str(file)!r} does not: alexnet nets --draw ROW FILE.svg")
    from alexnet import drawing, figures

    try:
        figures.save(drawing.networks([described(row) for row in rows]), file)
    except OSError as error:
        raise Refused(f"{file} cannot be written ({error.strerror}): name a file in a folder that is there.") from None
    return {"file": str(file), "nets": [row.name for row in rows]}


def described(row):
    found = shapes(row)
    parameters, products, neurons = (sum(getattr(s, key) for s in found) for key in ("parameters", "multiply_adds", "neurons"))
    about = f"{parameters:,} parameters  ·  {neurons:,} neurons  ·  {products:,} multiply-adds"
    return {"name": row.name, "title": row.title, "about": about, "columns": row.columns, "stages": stages(row)}


def stages(row):
    """The picture and every layer that makes new maps or units, each with what it reads and by which way.

    size: of one part, (maps, height, width); parts: boxes above each other; source: the number of the stage it reads; links: pairs
    (part of the source, own part); path: what lies between; over: side of the maps that its kernel is laid on; added: the number
    of the stage whose output is added; side: whether it stands on a path beside the main one."""
    found = [_stage("picture", "picture", (row.channels, row.crop, row.crop))]
    number, path = {}, []  # of the stage a layer's output belongs to; words since the last stage
    source = 0
    begins = max((i for i, layer in enumerate(row.layers) if getattr(layer, "sees", "") == "picture"), default=0)
    for place, shape in enumerate(shapes(row)):
        layer = shape.layer
        if getattr(layer, "sees", "") == "picture" or place == begins:
            source, path = 0, []
        if isinstance(layer, (Conv, Local, Dense, Nails)):
            found.append(_read(row, shape, found, source=source, side=place < begins, path=path))
            if plus := getattr(layer, "plus", ""):
                found[-1]["added"] = number[plus]
            source, path = len(found) - 1, []
        else:
            path += _words(row, shape)
        number[layer.name] = source
        path += [THEN[layer.then]] if layer.then in THEN else []
        path += [f"dropout {layer.dropout:g}"] if layer.dropout else []
    return found


def _stage(name, kind, size, **fields):
    return {"name": name, "kind": kind, "size": tuple(size), "parts": 1, "source": None, "links": [], "path": [], "kernel": None,
            "stride": 1, "over": None, "both": False, "added": None, "side": False, **fields}


def _read(row, shape, found, *, source, side, path):
    layer, before = shape.layer, found[source]["parts"]
    last = isinstance(layer, Dense) and layer is row.layers[-1] and shape.groups == 1  # the classes stand in one bar
    parts = 1 if side or last else row.columns
    maps, *sides = shape.output
    links = [(a, b) for a in range(before) for b in range(parts) if shape.groups == 1 or before == 1 or a == b]
    kind = "picture" if isinstance(layer, Nails) else type(layer).__name__.lower()
    return _stage(layer.name, kind, (maps // parts, *sides), parts=parts, source=source, links=links, path=path, side=side,
                  kernel=getattr(layer, "kernel", None), stride=getattr(layer, "stride", 1), over=shape.input[1],
                  both=before > 1 and shape.groups == 1)


def _words(row, shape):
    layer = shape.layer
    if isinstance(layer, Pool):
        by = "learned" if layer.by == "convolution" else layer.by
        return [f"{by} pool {layer.kernel}/{layer.stride}", f"→ {shape.output[1]} × {shape.output[2]}"]
    across = isinstance(layer, ResponseNorm) and row.columns > shape.groups
    return [CALLED[type(layer)]] + (["over both columns"] if across else [])
