"""Slim nets of the published anatomy and what two weights files have in common, for the tests of other programs' files."""

import numpy as np
import torch

import alexnet
from alexnet import nets, weights
from alexnet.exchange.found import widened
from alexnet.net import AlexNet

RANDOM = np.random.default_rng(5)
WIDTHS = {"conv1": 8, "conv2": 12, "conv3": 16, "conv4": 12, "conv5": 8, "fc6": 24, "fc7": 20, "low2": 12}


def values(*shape):
    inputs = np.prod(shape[1:]) if len(shape) > 1 else 1
    return (RANDOM.normal(0, 1, shape) * (1.5 / inputs) ** 0.5).astype(np.float32)


def kernels(columns=1, first=11, places=36, classes=7):
    """Layer -> (weight, bias) for a slim net of the published anatomy."""
    found, below = {}, 3
    for name, side in (("conv1", first), ("conv2", 5), ("conv3", 3), ("conv4", 3), ("conv5", 3)):
        groups = 2 if columns == 2 and name in ("conv2", "conv4", "conv5") else 1
        found[name] = values(WIDTHS[name], below // groups, side, side), values(WIDTHS[name])
        below = WIDTHS[name]
    below *= places
    for name, units in (("fc6", WIDTHS["fc6"]), ("fc7", WIDTHS["fc7"]), ("fc8", classes)):
        found[name] = values(units, below), values(units)
        below = units
    return found


def made(path, row, classes=7, seed=3, mean="image", temperature=1.3, size=None, **facts):
    """A weights file of ours with a slim net of this row."""
    row = widened(nets.row(row), WIDTHS)
    net, size = AlexNet(row, classes=classes, seed=seed), size or row.crop + 9
    for value in net.parameters():
        inputs = value[0].numel() if value.dim() > 1 else 1
        torch.nn.init.normal_(value, 0, (1.5 / inputs) ** 0.5, generator=torch.Generator().manual_seed(seed))
    middle = torch.rand((3, row.crop, row.crop) if mean == "image" else (3, 1, 1), generator=torch.Generator().manual_seed(1)) * 200
    named = [(f"n{i:04}", f"thing {i}") for i in range(classes)]
    card = weights.card(net, classes=named, size=size, centring=mean, temperature=temperature, **facts)
    weights.write(path, net, middle, card)
    return path


def square(size):
    return RANDOM.integers(0, 256, (1, size, size, 3), dtype=np.uint8)


def probabilities(path, squares):
    return weights.read(path)[0], alexnet.load(path, precision="float32").probabilities(squares)[0]


def same(one, two):
    """Two weights files hold the same bits, and mean the same."""
    (a, mean_a, card_a), (b, mean_b, card_b) = weights.read(one), weights.read(two)
    assert a.state_dict().keys() == b.state_dict().keys()
    assert all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())
    assert torch.equal(mean_a, mean_b) and mean_a.dtype == mean_b.dtype
    for key in ("classes", "size", "crop", "temperature", "centring"):
        assert card_a[key] == card_b[key], key
    assert all(card_a.get(key) == card_b.get(key) for key in ("unknown_below", "resampling"))
