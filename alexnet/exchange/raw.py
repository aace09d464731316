"""From a raw picture to the square that the net was trained on, as part of an ONNX graph: uint8 (H, W, 3), RGB and upright, of any
size. It is data/picture.py's step put as matrix products, one a side, whose weights are worked out in the graph from H and W: the
antialiased step, rounded to whole levels behind each product as resamplers on bytes do; or, for nets that were taught so, one
linear sample a cell, behind that step to six sizes where the picture is larger."""

import numpy as np

from alexnet.data.picture import MOST

DOUBLE, FLOAT, INT64 = 11, 1, 7  # ONNX's numbers for kinds


def square(graph, x, size, *, points=False):
    """uint8 (H, W, 3) to float32 (1, 3, size, size), levels 0 to 255."""
    sides = graph.add("Shape", x)
    lengths = [graph.add("Cast", graph.add("Gather", sides, graph.number(np.int64(axis)), axis=0), to=DOUBLE) for axis in (0, 1)]
    side = graph.add("Min", *lengths)
    steps = [(points_across if points else across)(graph, length, side, size) for length in lengths]
    firsts, lasts = ([step[end] for step in steps] for end in (0, 1))
    if points:
        same = graph.add("And", *(graph.add("Equal", length, _number(graph, size)) for length in lengths))
        samples = [sampled(graph, *step[3:], size, same) for step in steps]
    starts, stops = (graph.add("Concat", *(_vector(graph, end) for end in ends), axis=0) for ends in (firsts, lasts))
    x = graph.add("Slice", x, starts, stops, graph.constant(np.array([0, 1], np.int64)))  # what the square can see
    x = graph.add("Cast", graph.add("Transpose", x, perm=[2, 0, 1]), to=FLOAT)  # (3, h, w)
    down, right = (graph.add("Cast", step[2], to=FLOAT) for step in steps)
    x = whole(graph, graph.add("MatMul", down, x))  # the rows first, as cykooz-resizer does
    x = whole(graph, graph.add("MatMul", x, graph.add("Transpose", right, perm=[1, 0])))
    if points:
        x = graph.add("MatMul", samples[0], graph.add("Cast", x, to=DOUBLE))
        x = graph.add("MatMul", x, graph.add("Transpose", samples[1], perm=[1, 0]))
        x = graph.add("Cast", graph.add("Round", x), to=FLOAT)
    return _vector(graph, x)  # (1, 3, size, size)


def across(graph, length, side, size):
    """(first pixel, last pixel + 1, the matrix (size, pixels)) along a side of this length whose middle `side` becomes size."""
    left = graph.add("Mul", graph.add("Sub", length, side), _number(graph, 0.5))
    scale = graph.add("Div", side, _number(graph, size))
    return triangles(graph, length, left, side, scale, graph.constant(np.arange(size, dtype=np.float64)[:, None]))


def triangles(graph, length, left, side, scale, places):
    """The antialiased step from `side` pixels that begin at `left`: places (n, 1) are 0, 1, ..., each `scale` pixels wide."""
    reach = graph.add("Max", scale, _number(graph, 1))
    first = graph.add("Max", graph.add("Floor", graph.add("Sub", left, reach)), _number(graph, 0))
    last = graph.add("Min", graph.add("Ceil", graph.add("Sum", left, side, reach)), length)
    pixels = graph.add("Add", graph.add("Range", first, last, _number(graph, 1)), _number(graph, 0.5))  # (m,) middles
    wanted = graph.add("Add", graph.add("Mul", graph.add("Add", places, _number(graph, 0.5)), scale), left)
    weights = tent(graph, pixels, wanted, reach)
    total = graph.add("ReduceSum", weights, graph.constant(np.array([1], np.int64)), keepdims=1)
    return *(graph.add("Cast", end, to=INT64) for end in (first, last)), graph.add("Div", weights, total)


def points_across(graph, length, side, size):
    """What `across` gives, to six sizes where the square is larger, else pixel for pixel; and of what comes out: its length, where
    the square begins in it, and the square's side."""
    most = _number(graph, MOST * size)
    larger = graph.add("Greater", side, most)
    left = graph.add("Mul", graph.add("Sub", length, side), _number(graph, 0.5))
    near = graph.add("Max", graph.add("Sub", graph.add("Floor", left), _number(graph, 1)), _number(graph, 0))
    far = graph.add("Min", graph.add("Add", graph.add("Ceil", graph.add("Add", left, side)), _number(graph, 1)), length)
    start = graph.add("Where", larger, left, near)
    taken = graph.add("Where", larger, side, graph.add("Sub", far, near))
    count = graph.add("Where", larger, most, taken)
    places = graph.add("Range", _number(graph, 0), count, _number(graph, 1))
    places = graph.add("Unsqueeze", places, graph.constant(np.array([1], np.int64)))
    step = triangles(graph, length, start, taken, graph.add("Div", taken, count), places)
    return *step, count, graph.add("Sub", left, start), graph.add("Where", larger, most, side)


def sampled(graph, count, left, side, size, same):
    """The matrix (size, count) of one linear sample at the corner of each cell; at the cell itself where nothing is to be done."""
    cells = graph.constant(np.arange(size, dtype=np.float64)[:, None])
    places = graph.add("Add", left, graph.add("Mul", cells, graph.add("Div", side, _number(graph, size))))
    places = graph.add("Sub", places, graph.add("Where", same, _number(graph, 0), _number(graph, 0.5)))
    last = graph.add("Sub", count, _number(graph, 1))
    places = graph.add("Max", graph.add("Min", places, last), _number(graph, 0))
    return tent(graph, graph.add("Range", _number(graph, 0), count, _number(graph, 1)), places, _number(graph, 1))


def tent(graph, pixels, wanted, reach):
    """1 at each place that is wanted (n, 1), falling to 0 as far as it reaches: (n, m)."""
    distance = graph.add("Div", graph.add("Abs", graph.add("Sub", pixels, wanted)), reach)
    return graph.add("Max", graph.add("Sub", _number(graph, 1), distance), _number(graph, 0))


def whole(graph, x):
    """The nearest whole number, a half upward."""
    return graph.add("Floor", graph.add("Add", x, graph.constant(np.float32(0.5))))


def _number(graph, value):
    return graph.number(np.float64(value))


def _vector(graph, x):
    return graph.add("Unsqueeze", x, graph.constant(np.array([0], np.int64)))
