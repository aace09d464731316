"""From a raw picture to the square that the net was trained on, as part of an ONNX graph: uint8 (H, W, 3), RGB and upright, of any
size. It is data/picture.py's one step put as two matrix products, one a side, whose antialiasing triangles are worked out in the
graph from H and W; both products are rounded to whole levels, as resamplers on bytes do."""

import numpy as np

DOUBLE, FLOAT, INT64 = 11, 1, 7  # ONNX's numbers for kinds


def square(graph, x, size):
    """uint8 (H, W, 3) to float32 (1, 3, size, size), levels 0 to 255."""
    sides = graph.add("Shape", x)
    height, width = (graph.add("Cast", _at(graph, sides, place), to=DOUBLE) for place in (0, 1))
    side = graph.add("Min", height, width)
    ends, matrices = [], []
    for length in (height, width):
        first, last, matrix = across(graph, length, side, size)
        ends.append((first, last))
        matrices.append(matrix)
    starts, stops = (graph.add("Concat", *(_vector(graph, pair[i]) for pair in ends), axis=0) for i in (0, 1))
    x = graph.add("Slice", x, starts, stops, graph.constant(np.array([0, 1], np.int64)))  # what the square can see
    x = graph.add("Cast", graph.add("Transpose", x, perm=[2, 0, 1]), to=FLOAT)  # (3, h, w)
    x = whole(graph, graph.add("MatMul", matrices[0], x))  # (3, size, w): the rows first, as cykooz-resizer does
    x = whole(graph, graph.add("MatMul", x, graph.add("Transpose", matrices[1], perm=[1, 0])))  # (3, size, size)
    return graph.add("Unsqueeze", x, graph.constant(np.array([0], np.int64)))


def across(graph, length, side, size):
    """(first pixel, last pixel + 1, the matrix (size, pixels)) along a side of this length whose middle `side` becomes size."""
    def number(value):
        return graph.number(np.float64(value))

    scale = graph.add("Div", side, number(size))
    reach = graph.add("Max", scale, number(1))
    left = graph.add("Mul", graph.add("Sub", length, side), number(0.5))
    far = graph.add("Add", left, side)
    first = graph.add("Max", graph.add("Floor", graph.add("Sub", left, reach)), number(0))
    last = graph.add("Min", graph.add("Ceil", graph.add("Add", far, reach)), length)
    first, last = (graph.add("Cast", one, to=INT64) for one in (first, last))
    pixels = graph.add("Range", first, last, graph.number(np.int64(1)))
    middles = graph.add("Add", graph.add("Cast", pixels, to=DOUBLE), number(0.5))  # (n,)
    wanted = graph.constant((np.arange(size, dtype=np.float64) + 0.5)[:, None])  # (size, 1)
    wanted = graph.add("Add", graph.add("Mul", wanted, scale), left)
    distance = graph.add("Div", graph.add("Abs", graph.add("Sub", middles, wanted)), reach)
    triangle = graph.add("Max", graph.add("Sub", number(1), distance), number(0))
    total = graph.add("ReduceSum", triangle, graph.constant(np.array([1], np.int64)), keepdims=1)
    return first, last, graph.add("Cast", graph.add("Div", triangle, total), to=FLOAT)


def whole(graph, x):
    """The nearest whole number, a half upward."""
    return graph.add("Floor", graph.add("Add", x, graph.constant(np.float32(0.5))))


def _at(graph, x, place):
    return graph.add("Gather", x, graph.number(np.int64(place)), axis=0)


def _vector(graph, x):
    return graph.add("Unsqueeze", x, graph.constant(np.array([0], np.int64)))
