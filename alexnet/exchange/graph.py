"""A row and its weights as an ONNX graph, worked out from the row's data, so that torch is not needed: what the engines run and
what `alexnet export` writes. The graph takes stored pictures and answers with probabilities; `bare`, it is the network alone.

Two things are put differently from net.py because runtimes are fast at them. The response norm's sum over neighbouring maps is a
1x1 convolution with a banded matrix, a group a column, which also keeps the columns apart (ONNX's own LRN knows no columns and
costs more than the convolution in front of it). And in int8 a value is rounded before a largest-pool instead of behind it, which
is the same and lets the pool work on bytes.
"""

from math import prod
from typing import NamedTuple

import numpy as np

from alexnet import nets
from alexnet.errors import Refused
from alexnet.exchange.raw import square
from alexnet.nets import layers

OPSET, IR = 17, 8
FORM = 1  # of our graph: another number makes compiled engines anew
NONLINEAR = {"relu": "Relu", "tanh": "Tanh", "leaky": "LeakyRelu"}
PRODUCTS = (layers.Conv, layers.Dense)  # what int8 is worth it for


class Weights(NamedTuple):
    """A trained network as plain arrays: what graphs are made of."""

    row: layers.Row
    tensors: dict  # name in the file -> float32 array
    mean: np.ndarray  # (3, crop, crop) or (3, 1, 1)
    size: int  # side of a stored picture
    classes: int
    temperature: float = 1.0
    points: bool = False  # raw pictures become squares as picture.POINTS has it


def model(weights, *, bare=False, raw=False, ranges=None, watched=False, norm="band", apart=None):
    """The onnx.ModelProto. uint8 (B, size, size, 3) "pictures" -> float32 (B, classes) "probabilities"; bare: centred float32
    (B, 3, crop, crop) "batch" -> "logits"; raw: one uint8 (H, W, 3) "picture" of any size -> (1, classes).
    ranges: layer -> (least, largest) of what it sees; those layers work in int8. watched: what each product
    sees is an output too, under `sees(layer)`, for the ranges. norm: "band", or ONNX's own "lrn".
    apart: what standing_apart gives, weights that are inputs of the graph then, so that they are not copied."""
    check(weights)
    return _Graph(weights, norm=norm, ranges=ranges or {}, watched=watched, apart=apart).whole(bare, raw)


def standing_apart(weights, ranges=None):
    """Name -> array of what is large: the dense layers' weights, a column at a time, but for those that become bytes."""
    found = {}
    for shape in nets.shapes(weights.row, weights.classes):
        if isinstance(shape.layer, layers.Dense) and shape.layer.name not in (ranges or {}):
            parts = np.split(weights.tensors[f"{shape.layer.name}.weight"], shape.groups)
            found |= {column(f"{shape.layer.name}.weight", i, shape.groups): part for i, part in enumerate(parts)}
    return found


def column(name, number, groups):
    return f"{name}.{number}" if groups > 1 else name


def pointed(made, apart):
    """The same model with the weights that stand apart as constants kept elsewhere, for runtimes that take them beside it."""
    from onnx import TensorProto

    kept = [one for one in made.graph.input if one.name not in apart]
    del made.graph.input[:]
    made.graph.input.extend(kept)
    for name, value in apart.items():
        constant = TensorProto(name=name, dims=value.shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
        constant.external_data.add(key="location", value="beside")
        made.graph.initializer.append(constant)
    return made


def sees(layer):
    return f"{layer}.sees"


def parameters(row, classes=None):
    """Name -> shape of every tensor of a weights file but the mean, as net.py names them."""
    found = {}
    for shape in nets.shapes(row, classes):
        layer, inputs, maps = shape.layer, shape.input[0] // shape.groups, shape.output[0]
        if isinstance(layer, layers.Conv) or isinstance(layer, layers.Pool) and layer.by == "convolution":
            sizes = {"weight": (maps, inputs, layer.kernel, layer.kernel), "bias": (maps,)}
        elif isinstance(layer, layers.Dense):
            sizes = {"weight": (maps, prod(shape.input) // shape.groups), "bias": (maps,)}
        elif isinstance(layer, layers.Local):
            places = prod(shape.output[1:])
            sizes = {"weight": (places, maps, shape.input[0] * layer.kernel**2), "bias": (places, maps)}
        elif isinstance(layer, layers.BatchNorm):
            sizes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (maps,)) | {"num_batches_tracked": ()}
        else:
            sizes = {}
        if getattr(layer, "bias", 0.0) is None:
            del sizes["bias"]
        found |= {f"{layer.name}.{name}": size for name, size in sizes.items()}
    return found


def check(weights):
    """Refused, naming the first tensor that is not the row's."""
    own = parameters(weights.row, weights.classes)
    for name in sorted(own.keys() | weights.tensors.keys()):
        here = list(own[name]) if name in own else "nothing"
        there = list(weights.tensors[name].shape) if name in weights.tensors else "nothing"
        if here != there:
            raise Refused(f"these weights do not fit the row {weights.row.name}: {name} has {there} in the file and {here} in the "
                          "net; train or convert them again.")


class _Graph:
    """The nodes so far. A value is known by its name."""

    def __init__(self, weights, *, norm, ranges, watched, apart):
        self.weights, self.row, self.norm, self.ranges, self.watched = weights, weights.row, norm, ranges, watched
        self.apart = apart
        self.shapes = nets.shapes(self.row, weights.classes)
        self.nodes, self.constants, self.outputs = [], [], []

    def whole(self, bare, raw=False):
        from onnx import TensorProto, helper

        crop, size = self.row.crop, self.weights.size
        if bare:
            given, x = helper.make_tensor_value_info("batch", TensorProto.FLOAT, ["B", 3, crop, crop]), "batch"
        elif raw:
            given = helper.make_tensor_value_info("picture", TensorProto.UINT8, ["H", "W", 3])
            x = self.cut(square(self, "picture", size, points=self.weights.points), [2, 3])
        else:
            given, x = helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["B", size, size, 3]), self.centred("pictures")
        answer, x = ("logits" if bare else "probabilities"), self.layers(x)
        if not bare:
            if self.weights.temperature != 1:
                x = self.add("Div", x, self.constant(np.float32(self.weights.temperature)))
            x = self.add("Softmax", x, axis=1)
        self.add("Identity", x, name=answer)
        outputs = [helper.make_tensor_value_info(answer, TensorProto.FLOAT, [1 if raw else "B", self.weights.classes])]
        outputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs]
        inputs = [given, *(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
                           for name, value in (self.apart or {}).items())]
        graph = helper.make_graph(self.nodes, self.row.name, inputs, outputs, self.constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="alexnet")
        return made

    def add(self, kind, *inputs, name=None, **attributes):
        from onnx import helper

        name = name or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [one for one in inputs if one is not None], [name], name, **attributes))
        return name

    def constant(self, value, name=None):
        """A single number becomes a list of one."""
        return self.number(np.ascontiguousarray(value), name)

    def number(self, value, name=None):
        from onnx import numpy_helper

        name = name or f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def part(self, x, first, last, axes, steps=None):
        values = [[first] * len(axes), [last] * len(axes), axes] + ([[steps] * len(axes)] if steps else [])
        return self.add("Slice", x, *(self.constant(np.array(value, np.int64)) for value in values))

    def tensor(self, layer, name):
        """A tensor of the file, or None where the layer has none."""
        return self.weights.tensors.get(f"{layer.name}.{name}")

    def centred(self, x):
        """Stored pictures to the central crop minus the mean: (B, S, S, 3) to (B, 3, crop, crop)."""
        return self.cut(x, [1, 2])

    def cut(self, x, axes):
        """The central crop minus the mean, where rows and columns are these axes."""
        far = self.weights.size - self.row.crop
        if far:
            x = self.part(x, far // 2, far // 2 + self.row.crop, axes)
        if axes == [1, 2]:
            x = self.add("Transpose", self.add("Cast", x, to=1), perm=[0, 3, 1, 2])  # 1: float32
        return self.add("Sub", x, self.constant(self.weights.mean[None].astype(np.float32)))

    # ---- the row, downward, as in net.py ---------------------------------------------------------------------------------

    def layers(self, x):
        if self.row.input_scale != 1:
            x = self.add("Mul", x, self.constant(np.float32(self.row.input_scale)))
        if self.row.channels == 1:
            x = self.add("ReduceMean", x, axes=[1], keepdims=1)
        picture, named = x, {}
        early = self.rounded_early()
        for shape in self.shapes:
            layer = shape.layer
            x = picture if getattr(layer, "sees", "") == "picture" else x
            if layer.name in self.ranges and layer.name not in early.values():
                x = self.rounded(x, layer.name)
            if self.watched and isinstance(layer, PRODUCTS):
                self.outputs.append(self.add("Identity", x, name=sees(layer.name)))
            x = KINDS[type(layer)](self, x, shape)
            if plus := getattr(layer, "plus", ""):
                x = self.add("Add", x, named.pop(plus))
            if layer.then != "linear":
                x = self.add(NONLINEAR[layer.then], x, **({"alpha": 0.01} if layer.then == "leaky" else {}))
            if layer.dropout and self.row.dropout_scales == "test":
                x = self.add("Mul", x, self.constant(np.float32(1 - layer.dropout)))
            named[layer.name] = x
            if layer.name in early:
                x = self.rounded(x, early[layer.name])
        return x

    def rounded_early(self):
        """Layer behind which a value is rounded already -> the product behind the largest-pool that follows, whose range counts."""
        found = {}
        for before, pool, after in zip(self.shapes, self.shapes[1:], self.shapes[2:]):
            plain = isinstance(pool.layer, layers.Pool) and pool.layer.by == "max" and pool.layer.then in ("linear", "relu")
            if plain and not pool.layer.dropout and after.layer.name in self.ranges and after.layer.sees != "picture":
                found[before.layer.name] = after.layer.name
        return found

    def rounded(self, x, layer):
        """To bytes and back: unsigned where nothing is below zero, else signed, zero being zero in both."""
        least, largest = self.ranges[layer]
        kind, steps = (np.uint8, 255) if least >= 0 else (np.int8, 127)
        scale = self.constant(np.float32(max(largest, -least) / steps or 1.0))
        zero = self.constant(kind(0))
        return self.add("DequantizeLinear", self.add("QuantizeLinear", x, scale, zero), scale, zero)

    def kernels(self, layer, values, name):
        """Weights as a constant; of a layer that works in int8 as bytes, a scale for each output map."""
        if layer.name not in self.ranges:
            return name if name in (self.apart or ()) else self.constant(values, name)
        largest = np.abs(values).reshape(len(values), -1).max(1)
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        bytes_ = np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
        return self.add("DequantizeLinear", self.constant(bytes_, name), self.constant(scale),
                        self.constant(np.zeros(len(scale), np.int8)), axis=0)

    def conv(self, x, shape):
        layer = shape.layer
        bias, stride, pad = self.tensor(layer, "bias"), layer.stride, getattr(layer, "pad", 0)
        return self.add("Conv", x, self.kernels(layer, self.tensor(layer, "weight"), f"{layer.name}.weight"),
                        None if bias is None else self.constant(bias, f"{layer.name}.bias"), group=shape.groups,
                        kernel_shape=[layer.kernel] * 2, strides=[stride] * 2, pads=[pad, pad, *(pad + o for o in overhang(shape))])

    def local(self, x, shape):
        """One product a place: windows are gathered, (B, C*k*k, places), then multiplied with their own kernels."""
        layer, (C, _, W), (_, rows, columns) = shape.layer, shape.input, shape.output
        if layer.pad:
            x = self.add("Pad", x, self.constant(np.array([0, 0, layer.pad, layer.pad] * 2, np.int64)))
        wide, k = W + 2 * layer.pad, layer.kernel
        corner = np.arange(rows)[:, None] * wide + np.arange(columns)  # (rows, columns)
        inside = np.arange(k)[:, None] * wide + np.arange(k)  # (k, k)
        index = inside.reshape(-1, 1) + corner.reshape(1, -1)  # (k*k, places)
        x = self.reshape(x, [0, C, -1])
        x = self.reshape(self.add("Gather", x, self.constant(index.astype(np.int64)), axis=2), [0, C * k * k, index.shape[1]])
        x = self.add("Transpose", x, perm=[2, 1, 0])  # (places, C*k*k, B)
        x = self.add("MatMul", self.constant(self.tensor(layer, "weight"), f"{layer.name}.weight"), x)  # (places, maps, B)
        x = self.add("Add", x, self.constant(self.tensor(layer, "bias")[:, :, None], f"{layer.name}.bias"))
        return self.reshape(self.add("Transpose", x, perm=[2, 1, 0]), [0, *shape.output])

    def reshape(self, x, sizes):
        return self.add("Reshape", x, self.constant(np.array(sizes, np.int64)))

    def dense(self, x, shape):
        layer, groups = shape.layer, shape.groups
        weight, bias = self.tensor(layer, "weight"), self.tensor(layer, "bias")
        x = self.add("Flatten", x)
        parts = [x]
        if groups > 1:
            parts = [self.part(x, i * weight.shape[1], (i + 1) * weight.shape[1], [1]) for i in range(groups)]
        biases = [None] * groups if bias is None else np.split(bias, groups)
        found = [self.add("Gemm", part, self.kernels(layer, own, column(f"{layer.name}.weight", i, groups)),
                          None if b is None else self.constant(b, column(f"{layer.name}.bias", i, groups)), transB=1)
                 for i, (part, own, b) in enumerate(zip(parts, np.split(weight, groups), biases))]
        return found[0] if groups == 1 else self.add("Concat", *found, axis=1)

    def pool(self, x, shape):
        layer = shape.layer
        if layer.by == "convolution":
            return self.conv(x, shape)
        kind, more = ("MaxPool", {}) if layer.by == "max" else ("AveragePool", {"count_include_pad": 0})
        return self.add(kind, x, kernel_shape=[layer.kernel] * 2, strides=[layer.stride] * 2, pads=[0, 0, *overhang(shape)], **more)

    def response_norm(self, x, shape):
        layer, C, columns = shape.layer, shape.input[0], shape.groups
        if self.norm == "lrn":
            parts = [x] if columns == 1 else [
                self.part(x, i * C // columns, (i + 1) * C // columns, [1]) for i in range(columns)]
            parts = [self.add("LRN", part, alpha=layer.alpha * layer.size, beta=layer.beta, bias=layer.k, size=layer.size)
                     for part in parts]
            return parts[0] if columns == 1 else self.add("Concat", *parts, axis=1)
        index = np.arange(C // columns)
        band = (np.abs(index[:, None] - index) <= layer.size // 2) * layer.alpha  # (C / columns, C / columns)
        kernel = np.tile(band.astype(np.float32), (columns, 1))[:, :, None, None]
        total = self.add("Conv", self.add("Mul", x, x), self.constant(kernel), self.constant(np.full(C, layer.k, np.float32)),
                         group=columns, kernel_shape=[1, 1])
        return self.add("Div", x, self.power(total, layer.beta))

    def power(self, d, beta):
        """d^beta; 0.75 by square roots, a sixth of the time of a power."""
        if beta != 0.75:
            return self.add("Pow", d, self.constant(np.float32(beta)))
        root = self.add("Sqrt", d)
        return self.add("Mul", root, self.add("Sqrt", root))

    def within_map_norm(self, x, shape):
        layer = shape.layer
        mean = self.near(self.add("Mul", x, x), layer.size, count_include_pad=1)
        total = self.add("Mul", mean, self.constant(np.float32(layer.alpha * layer.size**2)))
        total = self.add("Add", total, self.constant(np.float32(1)))
        return self.add("Div", x, self.power(total, layer.beta))

    def near(self, x, size, *, count_include_pad):
        """The mean of the square around each pixel."""
        return self.add("AveragePool", x, kernel_shape=[size] * 2, pads=[size // 2] * 4, count_include_pad=count_include_pad)

    def contrast_norm(self, x, shape):
        return self.within_map_norm(self.add("Sub", x, self.near(x, shape.layer.size, count_include_pad=0)), shape)

    def batch_norm(self, x, shape):
        scale, offset = affine(*(self.tensor(shape.layer, n) for n in ("weight", "bias", "running_mean", "running_var")))
        form = (-1,) if shape.input[1:] == (1, 1) else (-1, 1, 1)  # behind a fully connected layer: one value a map
        x = self.add("Mul", x, self.constant(scale.reshape(form)))
        return self.add("Add", x, self.constant(offset.reshape(form)))

    def blur(self, x, shape):
        layer, C = shape.layer, shape.input[0]
        place = np.arange(layer.taps) - layer.taps // 2
        kernel = np.exp(-(place**2) / (2 * layer.std**2))
        kernel, reach = (kernel / kernel.sum()).astype(np.float32), layer.taps // 2
        for form, pads in (((C, 1, layer.taps, 1), [reach, 0] * 2), ((C, 1, 1, layer.taps), [0, reach] * 2)):
            taps = np.broadcast_to(kernel.reshape(1, *form[1:]), form)
            x = self.add("Conv", x, self.constant(taps), group=C, kernel_shape=form[2:], pads=pads)
        return x

    def nails(self, x, shape):
        stride = shape.layer.stride
        first = (shape.input[1] - stride * (shape.output[1] - 1)) // 2
        return self.part(x, first, shape.input[1], [2, 3], stride)


def overhang(shape):
    """How far the last windows hang over the map: (bottom, right)."""
    layer = shape.layer
    reach = [(side - 1) * layer.stride + layer.kernel - 2 * getattr(layer, "pad", 0) for side in shape.output[1:]]
    return [max(0, far - side) for far, side in zip(reach, shape.input[1:])]


def affine(weight, bias, mean, variance, epsilon=1e-5):
    """Batch norm in use: x * scale + offset."""
    scale = weight / np.sqrt(variance + epsilon)
    return scale.astype(np.float32), (bias - mean * scale).astype(np.float32)


KINDS = {
    layers.Conv: _Graph.conv,
    layers.Local: _Graph.local,
    layers.Dense: _Graph.dense,
    layers.Pool: _Graph.pool,
    layers.ResponseNorm: _Graph.response_norm,
    layers.WithinMapNorm: _Graph.within_map_norm,
    layers.ContrastNorm: _Graph.contrast_norm,
    layers.BatchNorm: _Graph.batch_norm,
    layers.Blur: _Graph.blur,
    layers.Nails: _Graph.nails,
}
