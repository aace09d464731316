"""What a row of the table is made of: kinds of layers as frozen data, and the row itself. Nothing here knows how a layer is
computed (net.py) or how large it is (shapes.py).

A layer's `then` and `dropout` belong to it: what its name stands for is what the next layer sees.
"""

from dataclasses import asdict, dataclass, field, fields

PARTS = "parts."  # in a weights file, before the name of a statistic of batch norm that is of enlarged parts


def last(default):
    """A field given by name only, so that the kinds' own numbers come first."""
    return field(default=default, kw_only=True)


@dataclass(frozen=True)
class Layer:
    name: str
    then: str = last("linear")  # what follows at once: linear, relu, tanh, leaky
    dropout: float = last(0.0)  # share of the outputs that training leaves out


@dataclass(frozen=True)
class Conv(Layer):
    maps: int
    kernel: int
    stride: int = 1
    pad: int = 0
    sees: str = "column"  # its own column's maps; or "both"; or the "picture", wherever in the row it stands
    bias: float | None = 0.0  # initial value; None: no bias at all
    std: float | None = 0.01  # initial weights are N(0, std^2); None: variance-preserving, std^2 = 2 / inputs
    then: str = last("relu")
    plus: str = last("")  # the name of an earlier layer whose output is added before `then`: a side path ends here


@dataclass(frozen=True)
class Local(Layer):
    """A convolution whose weights are not shared: every place has its own kernels and biases."""

    maps: int
    kernel: int
    pad: int = 0
    bias: float = 0.0
    std: float = 0.01
    then: str = last("relu")


@dataclass(frozen=True)
class Dense(Layer):
    units: int  # 0: one for each class
    bias: float | None = 0.0
    std: float | None = 0.01
    sees: str = "both"  # or its own "column" only
    then: str = last("relu")


@dataclass(frozen=True)
class Pool(Layer):
    kernel: int = 3  # 3 / 2 overlaps, paper 3.4
    stride: int = 2
    by: str = "max"  # or "average", of what lies inside the map; or a learned "convolution" within the column


@dataclass(frozen=True)
class ResponseNorm(Layer):
    """x / (k + alpha * sum over `size` neighbouring maps of x^2)^beta. Paper 3.3."""

    size: int = 5
    alpha: float = 1e-4  # on the plain sum, as the text has it; the source divides by `size` first
    beta: float = 0.75
    k: float = 2.0
    sees: str = "column"  # neighbours in its own column; in "both" as one row of maps, as Caffe has it


@dataclass(frozen=True)
class WithinMapNorm(Layer):
    """The same with k = 1 over a square of neighbours in one map. In the source of 2012, not in the paper."""

    size: int = 5
    alpha: float = 0.001 / 25
    beta: float = 0.75


@dataclass(frozen=True)
class ContrastNorm(Layer):
    """The within-map norm of what is left when the mean of the square is taken off. Layer 2 of the nets up to #135."""

    size: int = 5
    alpha: float = 0.001 / 25
    beta: float = 0.75


@dataclass(frozen=True)
class BatchNorm(Layer):
    then: str = last("relu")


@dataclass(frozen=True)
class Blur(Layer):
    """A Gaussian over `taps` pixels each way; zeros beyond the edge. The low-resolution side path begins with it."""

    std: float = 4.0
    taps: int = 9


@dataclass(frozen=True)
class Nails(Layer):
    """A bed of nails: every stride-th pixel, as far from one edge as from the other."""

    stride: int = 4


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
    channels: int = 3  # 1: the network sees the mean of the colours

    @property
    def sizes(self):
        """Sides of stored pictures this row fits, smallest and largest."""
        return self.crop, self.crop * 3 // 2

    def spec(self):
        """The row as plain data, for the weights' card."""
        layers = [{"kind": type(layer).__name__, **asdict(layer)} for layer in self.layers]
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "layers": layers}


KINDS = {kind.__name__: kind for kind in (
    Conv, Local, Dense, Pool, ResponseNorm, WithinMapNorm, ContrastNorm, BatchNorm, Blur, Nails)}


def from_spec(spec):
    """The row that spec() wrote, from a card: weights stay readable when the table changes."""
    layers = tuple(KINDS[layer["kind"]](**{k: v for k, v in layer.items() if k != "kind"}) for layer in spec["layers"])
    return Row(**{**spec, "layers": layers})
