"""The convolutions of the paper in other forms that may run faster on a card, equal by test: the first by space-to-depth or with
more channels, grouped ones as two, as one batched product, as a dense one with zeros. What the
package uses is in alexnet/ops/forms.py.
"""

import torch
import torch.nn.functional as F

from alexnet.ops.forms import a_group_each, by_depth, deep

__all__ = ["GROUPED", "by_depth", "deep", "turned", "with_more_channels"]

# ---- the first convolution: 11 x 11, stride 4, three colours ---------------------------------------------------------------


def with_more_channels(x, weight, channels, bias=None, stride=4):
    """With channels of zeros: matrix units take 4 or 8 at once."""
    more = (0, 0, 0, 0, 0, channels - x.shape[1])
    x, weight = (F.pad(one, more).contiguous(memory_format=torch.channels_last) for one in (x, weight))
    return F.conv2d(x, weight, bias, stride)


# ---- convolutions within two columns ---------------------------------------------------------------------------------------


def batched(x, weight, pad):
    """Patches written down, and one batched product."""
    B, C, H, W = x.shape
    kernel = weight.shape[2]
    patches = F.unfold(x, kernel, padding=pad).view(B, 2, C // 2 * kernel**2, H * W)
    return torch.matmul(weight.reshape(2, len(weight) // 2, -1), patches).view(B, len(weight), H, W)


def with_zeros(x, weight, pad):
    """One column, its kernels zero where the other column's maps are: twice the arithmetic."""
    first, second = weight.chunk(2)
    whole = torch.cat([torch.cat([first, torch.zeros_like(first)], 1), torch.cat([torch.zeros_like(second), second], 1)])
    return F.conv2d(x, whole, None, 1, pad)


def turned(weight, groups=1):
    """The kernels whose convolution (stride 1, pad kernel - 1 - pad) is the gradient of this one's input."""
    maps, inputs, kernel, _ = weight.shape
    weight = weight.reshape(groups, maps // groups, inputs, kernel, kernel).transpose(1, 2).flip(3, 4)
    return weight.reshape(groups * inputs, maps // groups, kernel, kernel).contiguous(memory_format=torch.channels_last)


GROUPED = {
    "grouped": lambda x, weight, pad: F.conv2d(x, weight, None, 1, pad, 1, 2),
    "two dense": lambda x, weight, pad: a_group_each(x, weight, None, 1, pad, 2),
    "batched product": batched,
    "dense with zeros": with_zeros,
}
