"""The nets of an ordinary script: what one writes first, of PyTorch's own layers. Of benches/step.py, gpu_step.py, inference.py."""

import numpy as np
import torch
import torch.nn as nn

from alexnet import nets
from alexnet.exchange import graph
from alexnet.ops import reference


def input_side(row):
    """Where a row's windows hang over the edge, the script takes the larger picture: 227 for 224."""
    first = nets.shapes(row)[0]
    return max(row.crop, (first.output[1] - 1) * first.layer.stride + first.layer.kernel - 2 * first.layer.pad)


class WithinMap(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.constants = {"size": layer.size, "alpha": layer.alpha, "beta": layer.beta}

    def forward(self, x):
        return reference.within_map_norm(x, **self.constants)


def net(row, classes=None, *, padded=False):
    """The row of PyTorch's own layers; its norm knows no columns, and the norm within a map is composed. padded: windows that hang
    over the edge are given zeros there, in the place of a larger picture."""
    found, kinds = [], nets.layers
    for shape in nets.shapes(row, classes):
        layer, ahead = shape.layer, shape.input[0]
        hangs = graph.overhang(shape)[0] if hasattr(layer, "kernel") else 0
        if isinstance(layer, kinds.Conv):
            found += [nn.ZeroPad2d((0, hangs, 0, hangs))] * bool(padded and hangs)
            found.append(nn.Conv2d(ahead, layer.maps, layer.kernel, layer.stride, layer.pad, groups=shape.groups,
                                   bias=layer.bias is not None))
        elif isinstance(layer, kinds.ResponseNorm):
            found.append(nn.LocalResponseNorm(layer.size, layer.alpha * layer.size, layer.beta, layer.k))
        elif isinstance(layer, kinds.WithinMapNorm):
            found.append(WithinMap(layer))
        elif isinstance(layer, kinds.BatchNorm):
            found.append(nn.BatchNorm2d(ahead) if shape.input[1] > 1 else nn.BatchNorm1d(ahead))
        elif isinstance(layer, kinds.Pool):
            found.append(nn.MaxPool2d(layer.kernel, layer.stride, ceil_mode=hangs > 0))
        elif isinstance(layer, kinds.Dense):
            found += [nn.Flatten()] * (shape.input[1] > 1)
            found.append(nn.Linear(int(np.prod(shape.input)), shape.output[0], bias=layer.bias is not None))
        else:
            raise SystemExit(f"the ordinary script has no {type(layer).__name__}: take a row of the published anatomy")
        found += [nn.ReLU(inplace=True)] * (layer.then == "relu") + [nn.Dropout(layer.dropout)] * (layer.dropout > 0)
    return nn.Sequential(*found)


def filled(net, tensors):
    """With the tensors of a weights file, which stand in the same order."""
    own = net.state_dict()
    given = [value for name, value in tensors.items() if name != "mean"]
    assert [tuple(value.shape) for value in own.values()] == [np.shape(value) for value in given]
    net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in zip(own, given)})
    return net
