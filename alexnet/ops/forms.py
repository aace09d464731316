"""Convolutions in forms that a graphics card is faster at, the same function: grouped ones a group at a time, the first of 2012
(11 x 11, stride 4, three colours) on pictures made deep. What each brings: docs/performance.md."""

import torch
import torch.nn.functional as F

FLAT = 4  # channels, at most, of a picture that is worth making deep


def on_card(x, weight, bias, *, stride, pad, groups):
    if groups > 1:
        return a_group_each(x, weight, bias, stride, pad, groups)
    if stride > 1 and not pad and x.shape[1] <= FLAT:
        return by_depth(x, weight, bias, stride)
    return F.conv2d(x, weight, bias, stride, pad)


def a_group_each(x, weight, bias, stride, pad, groups):
    """The library's grouped convolutions turn a channels-last batch over and back."""
    biases = [None] * groups if bias is None else bias.chunk(groups)
    parts = zip(x.chunk(groups, 1), weight.chunk(groups), biases)
    return torch.cat([F.conv2d(part, kernels, own, stride, pad) for part, kernels, own in parts], 1)


def by_depth(x, weight, bias, stride):
    """stride x stride pixels become one, with all their colours: the library is slow with three channels. Kernels grow by zeros to
    whole blocks, and what no window reaches is cut off."""
    high, wide = ((side - kernel) // stride * stride + kernel for side, kernel in zip(x.shape[2:], weight.shape[2:]))
    return F.conv2d(deep(x[:, :, :high, :wide], stride), deep(weight, stride), bias)


def deep(x, depth, side=0):
    """(B, C, H, W) to (B, depth^2 C, side, side), channels last, in the order (row, column, colour); zero beyond the edge."""
    B, C, H, W = x.shape
    x = F.pad(x, (0, side * depth - W if side else -W % depth, 0, side * depth - H if side else -H % depth))
    x = x.reshape(B, C, x.shape[2] // depth, depth, x.shape[3] // depth, depth)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(B, x.shape[2], x.shape[4], depth * depth * C).permute(0, 3, 1, 2)
