"""Every network as a row of a table: its layers as data, from the picture to the classes. imagenet.py begins with `paper`, a
line a layer. A variant is one more row, or `ROW,field=value`; net.py turns any row into a module. Listed by `alexnet nets`."""

from typing import Annotated

from alexnet.errors import Misused, nearest
from alexnet.nets.changes import changed, varied, with_batch_norm
from alexnet.nets.drawing import drawn, row_and_file
from alexnet.nets.imagenet import AS_RUN, CONTROLS, ENSEMBLE, PAPER, SIX
from alexnet.nets.later import LATER
from alexnet.nets.layers import Row, from_spec
from alexnet.nets.shapes import Shape, shapes
from alexnet.nets.small import CIFAR, FINE64, LENET, QUICK64, SMALL32, SMALL64, TINY36, TINY64, WHOLE64
from alexnet.nets.small import SIX as SMALL_SIX

__all__ = ["AS_RUN", "PAPER", "ROWS", "Row", "Shape", "changed", "draw", "fitting", "from_spec", "nets", "row", "shapes", "varied"]

ROWS = {row.name: row for row in (
    PAPER,
    AS_RUN,
    *CONTROLS,
    *ENSEMBLE,
    *SIX,
    *LATER,
    with_batch_norm(PAPER, "batchnorm", "the paper's network with batch norm instead of response norm"),
    SMALL64,
    with_batch_norm(SMALL64, "small64_batchnorm", "small64 with batch norm"),
    with_batch_norm(WHOLE64, "whole64_batchnorm", "whole64 with batch norm: a quarter of fine64's work"),
    with_batch_norm(FINE64, "fine64_batchnorm", "fine64 with batch norm: the net that ships"),
    SMALL32,
    with_batch_norm(SMALL32, "small32_batchnorm", "small32 with batch norm"),
    QUICK64,
    TINY64,
    TINY36,
    *SMALL_SIX,
    *CIFAR,
    LENET,
)}


def row(name):
    """The row of this name; `small64,nonlinearity=tanh,pooling=average` is small64 with these fields varied."""
    if isinstance(name, Row):
        return name
    name, *choices = str(name).split(",")
    if name not in ROWS:
        raise Misused(f"there is no net {name!r}: {nearest(name, ROWS)}")
    pairs = [choice.strip().partition("=")[::2] for choice in choices]
    if len(dict(pairs)) < len(pairs):
        raise Misused(f"{','.join(choices)} says the same field twice.")
    return varied(ROWS[name], **dict(pairs)) if pairs else ROWS[name]


def fitting(size, names=None):
    """The names of the rows whose network fits stored pictures of this side."""
    return [name for name in names or ROWS if row(name).sizes[0] <= size <= row(name).sizes[1]]


def draw(names, file):
    """The architecture of a row, or of several joined by +, as a .png or .svg; -> the file and the rows."""
    names = [names] if isinstance(names, Row) else str(names).split("+")
    return drawn([row(name) for name in names], file)


_draw = draw  # nets() has an option of this name


def nets(name: Annotated[str, "one row: its layers, a line each; with --draw the file"] = None, *,
         draw: Annotated[str, "draw a row, or several joined by +, as in Figure 2: --draw ROW FILE, .png or .svg", "ROW"] = None):
    """The table of networks as plain data: a dict a row, with a dict a layer. With draw, what was drawn and where."""
    if draw is not None:
        return _draw(*row_and_file(draw, name))
    table = []
    for one in [row(name)] if name else ROWS.values():
        layers = [{"name": s.layer.name, "kind": type(s.layer).__name__, "output": list(s.output), "parameters": s.parameters,
                   "multiply_adds": s.multiply_adds, "neurons": s.neurons} for s in shapes(one)]
        totals = {key: sum(layer[key] for layer in layers) for key in ("parameters", "multiply_adds", "neurons")}
        table.append({"name": one.name, "title": one.title, "crop": one.crop, "classes": one.classes, **totals, "layers": layers})
    return table
