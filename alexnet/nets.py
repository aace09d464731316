"""Every network as a row of a table: its layers as data, from the picture to the classes. `paper` reads like section 3.5
of the paper, a line a layer. A variant is one more row here; net.py turns any row into a module. Listed by `alexnet nets`.

A layer's `then` and `dropout` belong to it: what its name stands for is what the next layer sees.
"""

from dataclasses import asdict, dataclass, fields
from math import ceil, prod
from typing import Annotated

from alexnet.errors import Misused, nearest


@dataclass(frozen=True)
class Layer:
    name: str


@dataclass(frozen=True)
class Conv(Layer):
    maps: int
    kernel: int
    stride: int = 1
    pad: int = 0
    sees: str = "column"  # its own column's maps; or "both"; conv1 sees the "picture"
    bias: float | None = 0.0  # initial value; None: no bias at all
    std: float | None = 0.01  # initial weights are N(0, std^2); None: variance-preserving, std^2 = 2 / inputs
    then: str = "relu"
    dropout: float = 0.0


@dataclass(frozen=True)
class Dense(Layer):
    units: int  # 0: one for each class
    bias: float | None = 0.0
    std: float | None = 0.01
    then: str = "relu"
    dropout: float = 0.0


@dataclass(frozen=True)
class Pool(Layer):
    kernel: int = 3  # 3 / 2 overlaps, paper 3.4
    stride: int = 2
    then: str = "linear"
    dropout: float = 0.0


@dataclass(frozen=True)
class ResponseNorm(Layer):
    """x / (k + alpha * sum over `size` neighbouring maps of x^2)^beta, inside one column. Paper 3.3."""

    size: int = 5
    alpha: float = 1e-4  # on the plain sum, as the text has it; the source divides by `size` first
    beta: float = 0.75
    k: float = 2.0
    then: str = "linear"
    dropout: float = 0.0


@dataclass(frozen=True)
class WithinMapNorm(Layer):
    """The same with k = 1 over a square of neighbours in one map. In the source of 2012, not in the paper."""

    size: int = 5
    alpha: float = 0.001 / 25
    beta: float = 0.75
    then: str = "linear"
    dropout: float = 0.0


@dataclass(frozen=True)
class BatchNorm(Layer):
    then: str = "relu"
    dropout: float = 0.0


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    layers: tuple
    crop: int = 224  # side of what the network sees, cut from a stored picture of about 8/7 of it
    classes: int = 1000
    columns: int = 2
    rounding: str = "ceil"  # of output sizes; what a window reads beyond the right and bottom edge is zero, as in the source
    dropout_scales: str = "test"  # 2012: outputs times the share kept, at test time; "train": the inverse, in training
    input_scale: float = 1.0  # 2012: centred pictures go in at 0-255 scale

    @property
    def sizes(self):
        """Sides of stored pictures this row fits, smallest and largest."""
        return self.crop, self.crop * 3 // 2

    def spec(self):
        """The row as plain data, for the weights' card."""
        layers = [{"kind": type(layer).__name__, **asdict(layer)} for layer in self.layers]
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "layers": layers}


def small(name, title, widths, *, crop, conv1):
    """The 2012 anatomy for small pictures: the same eight layers, crossings and norms, fewer units."""
    conv1_maps, conv2_maps, middle, last, hidden = widths
    return Row(name, title, crop=crop, classes=200, layers=(
        Conv("conv1", conv1_maps, 5, **conv1, sees="picture"),
        ResponseNorm("norm1", alpha=1e-4 / 5),
        Pool("pool1"),
        Conv("conv2", conv2_maps, 5, pad=2, std=None),
        ResponseNorm("norm2", alpha=1e-4 / 5),
        Pool("pool2"),
        Conv("conv3", middle, 3, pad=1, sees="both", std=None),
        Conv("conv4", middle, 3, pad=1, std=None),
        Conv("conv5", last, 3, pad=1, std=None),
        Pool("pool5"),
        Dense("fc6", hidden, std=None, dropout=0.5),
        Dense("fc7", hidden, std=None, dropout=0.5),
        Dense("fc8", 0, then="linear"),
    ))


def with_batch_norm(row, *, name, title):
    """The same row of 2012 with batch normalisation behind every hidden layer, in the place of response norm."""
    layers = []
    for layer in row.layers:
        if isinstance(layer, (ResponseNorm, WithinMapNorm)):
            continue
        weighted = isinstance(layer, (Conv, Dense)) and layer.name != "fc8"
        if not weighted:
            layers.append(layer)
            continue
        bare = {**asdict(layer), "bias": None, "std": None, "then": "linear", "dropout": 0.0}
        layers.append(type(layer)(**bare))
        layers.append(BatchNorm("norm" + layer.name[-1], then="relu", dropout=layer.dropout))
    kept = {f.name: getattr(row, f.name) for f in fields(row)}
    return Row(**{**kept, "name": name, "title": title, "layers": tuple(layers), "dropout_scales": "train"})


PAPER = Row("paper", "the network as the text of the paper has it", layers=(
    Conv("conv1", 96, 11, stride=4, sees="picture"),
    ResponseNorm("norm1"),
    Pool("pool1"),
    Conv("conv2", 256, 5, pad=2, bias=1.0),
    ResponseNorm("norm2"),
    Pool("pool2"),
    Conv("conv3", 384, 3, pad=1, sees="both"),
    Conv("conv4", 384, 3, pad=1, bias=1.0),
    Conv("conv5", 256, 3, pad=1, bias=1.0),
    Pool("pool5"),
    Dense("fc6", 4096, bias=1.0, dropout=0.5),
    Dense("fc7", 4096, bias=1.0, dropout=0.5),
    Dense("fc8", 0, then="linear"),
))

AS_RUN = Row("as_run", "net #145 of the source: the network whose errors the paper reports", layers=(
    Conv("conv1", 96, 11, stride=4, sees="picture", then="linear"),
    ResponseNorm("norm1", alpha=1e-4 / 5),
    Pool("pool1", then="relu"),
    Conv("conv2", 256, 5, pad=2, bias=1.0),
    ResponseNorm("norm2", alpha=1e-4 / 5),
    WithinMapNorm("wnorm2"),
    Pool("pool2"),
    Conv("conv3", 384, 3, pad=1, sees="both", std=0.03),
    Conv("conv4", 384, 3, pad=1, bias=1.0, std=0.03),
    Conv("conv5", 256, 3, pad=1, bias=1.0, std=0.03, then="linear"),
    Pool("pool5", then="relu"),
    Dense("fc6", 4096, bias=1.0, dropout=0.5),
    Dense("fc7", 4096, bias=1.0, dropout=0.5),
    Dense("fc8", 0, then="linear"),
))

SINGLE_TOWER = Row("single_tower", "the one-column net of 2014, in torchvision's layout", columns=1, rounding="floor",
                   dropout_scales="train", input_scale=1 / 58, layers=(
    Conv("conv1", 64, 11, stride=4, pad=2, sees="picture", std=None),
    Pool("pool1"),
    Conv("conv2", 192, 5, pad=2, std=None),
    Pool("pool2"),
    Conv("conv3", 384, 3, pad=1, std=None),
    Conv("conv4", 256, 3, pad=1, std=None),
    Conv("conv5", 256, 3, pad=1, std=None),
    Pool("pool5", dropout=0.5),
    Dense("fc6", 4096, std=None, dropout=0.5),
    Dense("fc7", 4096, std=None),
    Dense("fc8", 0, then="linear"),
))

SMALL64 = small("small64", "the anatomy of 2012 for 64-pixel pictures", (64, 192, 384, 256, 1024), crop=56,
                conv1={"stride": 2, "pad": 2})
SMALL32 = small("small32", "the anatomy of 2012 for 32-pixel pictures", (64, 128, 192, 128, 512), crop=28,
                conv1={"pad": 2})
TINY64 = small("tiny64", "half as wide as small64 and quick: the demo's net", (32, 96, 192, 128, 256), crop=56,
               conv1={"stride": 2, "pad": 2})

ROWS = {row.name: row for row in (
    PAPER,
    AS_RUN,
    SINGLE_TOWER,
    with_batch_norm(PAPER, name="batchnorm", title="the paper's network with batch norm instead of response norm"),
    SMALL64,
    with_batch_norm(SMALL64, name="small64_batchnorm", title="small64 with batch norm"),
    SMALL32,
    with_batch_norm(SMALL32, name="small32_batchnorm", title="small32 with batch norm"),
    TINY64,
)}


KINDS = {kind.__name__: kind for kind in (Conv, Dense, Pool, ResponseNorm, WithinMapNorm, BatchNorm)}


def from_spec(spec):
    """The row that spec() wrote, from a card: weights stay readable when this table changes."""
    layers = tuple(KINDS[layer["kind"]](**{k: v for k, v in layer.items() if k != "kind"}) for layer in spec["layers"])
    return Row(**{**spec, "layers": layers})


def row(name):
    if isinstance(name, Row):
        return name
    if name not in ROWS:
        raise Misused(f"there is no net {name!r}: {nearest(name, ROWS)}")
    return ROWS[name]


@dataclass(frozen=True)
class Shape:
    """What one layer does to its input (channels, height, width), worked out without building anything."""

    layer: Layer
    input: tuple
    output: tuple
    groups: int = 1
    parameters: int = 0
    multiply_adds: int = 0
    neurons: int = 0


def shapes(row, classes=None):
    """The Shape of every layer, in order."""
    size, found = (3, row.crop, row.crop), []
    for layer in row.layers:
        found.append(_shape(row, layer, size, classes or row.classes))
        size = found[-1].output
    return found


def _shape(row, layer, size, classes):
    channels, height, width = size
    if isinstance(layer, Conv):
        groups = row.columns if layer.sees == "column" else 1
        out = (layer.maps, _windows(row, layer, height), _windows(row, layer, width))
        weights = layer.maps * channels // groups * layer.kernel**2
        biases = 0 if layer.bias is None else layer.maps
        return Shape(layer, size, out, groups, weights + biases, weights * out[1] * out[2], prod(out))
    if isinstance(layer, Dense):
        units, inputs = layer.units or classes, prod(size)
        biases = 0 if layer.bias is None else units
        return Shape(layer, size, (units, 1, 1), 1, units * inputs + biases, units * inputs, units)
    if isinstance(layer, Pool):
        return Shape(layer, size, (channels, _windows(row, layer, height), _windows(row, layer, width)), row.columns)
    if isinstance(layer, BatchNorm):
        return Shape(layer, size, size, row.columns, 2 * channels)
    return Shape(layer, size, size, row.columns)


def _windows(row, layer, side):
    """How many windows of a convolution or pool stand along a side. 224 at 11 / 4 makes 55: (224 - 11) / 4 rounded up."""
    steps = (side + 2 * getattr(layer, "pad", 0) - layer.kernel) / layer.stride
    return 1 + (ceil(steps) if row.rounding == "ceil" else int(steps))


def fitting(size, names=None):
    """The names of the rows whose network fits stored pictures of this side."""
    return [name for name in names or ROWS if ROWS[name].sizes[0] <= size <= ROWS[name].sizes[1]]


def nets(name: Annotated[str, "one row: its layers, a line each"] = None):
    """The table of networks as plain data: a dict a row, with a dict a layer."""
    table = []
    for one in [row(name)] if name else ROWS.values():
        layers = [{"name": s.layer.name, "kind": type(s.layer).__name__, "output": list(s.output), "parameters": s.parameters,
                   "multiply_adds": s.multiply_adds, "neurons": s.neurons} for s in shapes(one)]
        totals = {key: sum(layer[key] for layer in layers) for key in ("parameters", "multiply_adds", "neurons")}
        table.append({"name": one.name, "title": one.title, "crop": one.crop, "classes": one.classes, **totals, "layers": layers})
    return table
