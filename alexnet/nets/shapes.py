"""What each layer of a row does to its input, worked out without building anything: sizes, parameters, multiply-adds, neurons."""

from dataclasses import dataclass, replace
from math import ceil, prod

from alexnet.nets.layers import BatchNorm, Conv, Dense, Layer, Local, Nails, Pool


@dataclass(frozen=True)
class Shape:
    layer: Layer
    input: tuple  # (channels, height, width)
    output: tuple
    groups: int = 1
    parameters: int = 0
    multiply_adds: int = 0
    neurons: int = 0


def shapes(row, classes=None):
    """The Shape of every layer, in order."""
    picture = (row.channels, row.crop, row.crop)
    size, found = picture, {}
    for layer in row.layers:
        input = picture if getattr(layer, "sees", "") == "picture" else size
        found[layer.name] = _shape(row, layer, input, classes or row.classes)
        size = found[layer.name].output
        if (plus := getattr(layer, "plus", "")) and found[plus].output != size:
            raise ValueError(f"{row.name}: {plus} makes {found[plus].output}, {layer.name} makes {size}: they cannot be added")
    sides = {getattr(layer, "plus", "") for layer in row.layers}  # parts of other layers' sums, no neurons of their own
    return [replace(shape, neurons=0) if name in sides else shape for name, shape in found.items()]


def _shape(row, layer, size, classes):
    channels, height, width = size
    groups = row.columns if getattr(layer, "sees", "column") == "column" else 1
    if isinstance(layer, Dense):
        units, inputs = layer.units or classes, prod(size)
        weights = units * inputs // groups
        return Shape(layer, size, (units, 1, 1), groups, weights + _biases(layer, units), weights, units)
    if isinstance(layer, Nails):
        return Shape(layer, size, (channels, -(-height // layer.stride), -(-width // layer.stride)))
    if isinstance(layer, BatchNorm):
        return Shape(layer, size, size, groups, 2 * channels)
    if not isinstance(layer, (Conv, Local, Pool)):
        return Shape(layer, size, size, groups)
    maps = getattr(layer, "maps", channels)
    out = (maps, _windows(row, layer, height), _windows(row, layer, width))
    kernels = maps * channels // groups * layer.kernel**2
    places = out[1] * out[2]
    if isinstance(layer, Local):
        return Shape(layer, size, out, 1, (maps * channels * layer.kernel**2 + maps) * places,
                     maps * channels * layer.kernel**2 * places, prod(out))
    if isinstance(layer, Pool) and layer.by != "convolution":
        return Shape(layer, size, out, groups)
    return Shape(layer, size, out, groups, kernels + _biases(layer, maps), kernels * places, prod(out))


def _biases(layer, units):
    return 0 if getattr(layer, "bias", 0.0) is None else units


def _windows(row, layer, side):
    """How many windows of a convolution or pool stand along a side. 224 at 11 / 4 makes 55: (224 - 11) / 4 rounded up."""
    steps = (side + 2 * getattr(layer, "pad", 0) - layer.kernel) / getattr(layer, "stride", 1)
    return 1 + (ceil(steps) if row.rounding == "ceil" else int(steps))
