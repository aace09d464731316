"""The nets of an ordinary script: what one writes first, of PyTorch's own layers. Of benches/step.py and gpu_step.py."""

import numpy as np
import torch.nn as nn

from alexnet import nets
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


def net(row):
    """The row of PyTorch's own layers; its norm knows no columns, and the norm within a map is composed."""
    found, kinds = [], nets.layers
    for shape in nets.shapes(row):
        layer, ahead = shape.layer, shape.input[0]
        if isinstance(layer, kinds.Conv):
            found.append(nn.Conv2d(ahead, layer.maps, layer.kernel, layer.stride, layer.pad, groups=shape.groups))
        elif isinstance(layer, kinds.ResponseNorm):
            found.append(nn.LocalResponseNorm(layer.size, layer.alpha * layer.size, layer.beta, layer.k))
        elif isinstance(layer, kinds.WithinMapNorm):
            found.append(WithinMap(layer))
        elif isinstance(layer, kinds.Pool):
            found.append(nn.MaxPool2d(layer.kernel, layer.stride, ceil_mode=row.rounding == "ceil"))
        else:
            found += [nn.Flatten()] * (shape.input[1] > 1) + [nn.Linear(int(np.prod(shape.input)), shape.output[0])]
        found += [nn.ReLU(inplace=True)] * (layer.then == "relu") + [nn.Dropout(layer.dropout)] * (layer.dropout > 0)
    return nn.Sequential(*found)
