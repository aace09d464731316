"""The kernels for graphics cards: what each takes, how it is launched, and what PyTorch has to know to trace it and to find its
gradient. Imported by ops/__init__.py where a batch lies on a card and Triton is there; tested on a CPU by Triton's interpreter.
"""

from functools import partial

import torch
from torch import Tensor

from alexnet.ops import traced
from alexnet.ops.traced import LARGEST, channels_last
from alexnet.ops.triton import convolution, dense, implicit, joint, maps, pictures, update

TYPES = (torch.float32, torch.bfloat16, torch.float16)
TILE = {"pool": (128, 4), "unpool": (128, 4)}  # rows of eight maps in a tile, warps
STRIP = 9  # rows of windows that a program goes down
DECIDES = ("size", "columns", "kernel", "stride")  # whether there is a kernel


def takes(x, *, size=0, columns=1, kernel=1, stride=1):
    """Whether there is a kernel for this: eight maps are read at once, and five are summed."""
    C = x.shape[1]
    norm = size == 5 and C % columns == 0 and C // columns % 8 == 0 if size else True
    return x.dim() == 4 and x.dtype in TYPES and x.numel() > 0 and C % 8 == 0 and norm and kernel < LARGEST and stride <= kernel


def tile(kernel, channels):
    """(rows, warps), no fewer rows than one pixel has."""
    rows, warps = TILE[kernel]
    while rows < channels // 8:
        rows *= 2
    return rows, warps


def over(a, b):
    return -(-a // b)


# ---- ReLU, norm, pool, ReLU ----------------------------------------------------------------------------------------------


def fixed(x, whole, constants):
    """What both kernels are compiled for."""
    relu_before, columns, size, kernel, stride, _, width, _ = whole
    C, W = x.shape[1], x.shape[3]
    return dict(W=W, OW=width, C=C, GROUPS=C // columns // 8 if size else 1, K=kernel, S=stride, NORM=size > 0,
                PAPER=constants[1] == 0.75, RELU=bool(relu_before))


def pool(x, out, places, whole, constants):
    (B, C, H, W), (kernel, stride, height, width) = x.shape, whole[3:7]
    rows, warps = tile("pool", C)
    cut = (height - 1) * stride + kernel > H or (width - 1) * stride + kernel > W
    grid = over(B * width, rows // (C // 8)), over(height, STRIP)
    joint.pool[grid](x, out, places, *constants, B * width, H=H, OH=height, **fixed(x, whole, constants), CUT=cut, STRIP=STRIP,
                     RELU_AFTER=bool(whole[7]), KEEP=places.numel() > 0, R=rows, num_warps=warps)


def unpool(x, grad, places, out, whole, constants):
    (B, C, H, W), stride = x.shape, whole[4]
    rows, warps = tile("unpool", C)
    blocks = B * over(H, stride) * over(W, stride)
    joint.unpool[(over(blocks, rows // (C // 8)),)](
        x, grad, places, out, *constants, blocks, H=H, OH=whole[5], **fixed(x, whole, constants), POOLED=places.numel() > 0,
        R=rows, num_warps=warps)


pooled = traced.joint("pooled", pool, unpool, keeps=lambda kernel, relu_after: kernel > 1 or relu_after)
joined = partial(traced.joined, pooled)


# ---- the norm within a map -----------------------------------------------------------------------------------------------

BLOCK = 1024  # values a program works on


def shape_and_grid(x):
    B, C, H, W = x.shape
    return (H, W, C, x.numel() // 8), (over(x.numel(), BLOCK),)


def norm(x, out, size, alpha, beta):
    shape, grid = shape_and_grid(x)
    maps.forward[grid](x, out, alpha, beta, *shape, SIZE=size, PAPER=beta == 0.75, R=BLOCK // 8)


def unnorm(x, grad, out, size, alpha, beta):
    sent, direct = (torch.empty_like(x, dtype=torch.float32) for _ in range(2))
    shape, grid = shape_and_grid(x)
    maps.through[grid](x, grad, sent, direct, alpha, beta, *shape, SIZE=size, PAPER=beta == 0.75, R=BLOCK // 8)
    maps.backward[grid](x, sent, direct, out, alpha, beta, *shape, SIZE=size, R=BLOCK // 8)


within_map = traced.within_map("within_map_on_card", norm, unnorm)


# ---- pictures, the update rule ------------------------------------------------------------------


@torch.library.custom_op("alexnet::cut", mutates_args=())
def cut(stored: Tensor, corners: Tensor, mirrored: Tensor, shifts: Tensor | None, mean: Tensor, crop: int, divisor: float,
        dtype: torch.dtype, depth: int, side: int) -> Tensor:
    """uint8 (B, S, S, 3), or (B, 3 S / 2, S) as cut_yuv has it, to (B, 3 depth^2, side, side), channels last: each of its pixels is
    depth x depth of the crop's; zeros where it reaches beyond. corners: int64 rows that begin with top and left."""
    out, maps, (B, _, S) = batch_of(stored, dtype, depth, side), 3 * depth**2, stored.shape[:3]
    strides = [step if size > 1 else 0 for step, size in zip(mean.stride(), mean.shape)]
    shifts, noise = (mean, False) if shifts is None else (shifts, True)
    kernel = pictures.cut if stored.dim() == 4 else pictures.cut_yuv
    kernel[(over(side * side * maps, BLOCK), B)](
        stored, corners, mirrored, shifts, mean, out, divisor, corners.stride(0), *strides, S, CROP=crop, SIDE=side, DEPTH=depth,
        NOISE=noise, BLOCK=BLOCK)
    return out


def batch_of(stored, dtype, depth, side):
    return torch.empty((len(stored), 3 * depth**2, side, side), dtype=dtype, device=stored.device,
                       memory_format=torch.channels_last)


@cut.register_fake
def _(stored, corners, mirrored, shifts, mean, crop, divisor, dtype, depth, side):
    return batch_of(stored, dtype, depth, side)


def momentum(weight, gradient, velocity, *, momentum, decay, rate):
    """v <- momentum v - decay w - rate g;  w <- w + v, in one pass."""
    count = weight.numel()
    update.step[(over(count, BLOCK),)](weight, gradient, velocity, momentum, decay, rate, count, BLOCK=BLOCK)


# ---- for the benches alone: convolutions, a layer of bytes -----------------------------------------------------------------


def convolved(x, weight, bias, *, stride=1, pad=0, groups=1, relu=True, places=128, outputs=128, inputs=32):
    """The convolution of convolution.py, with bias and ReLU. places, outputs, inputs: sides of the products it is made of."""
    out, count = outputs_of(x, weight, stride, pad)
    shape, how = for_convolutions(x, weight, out, stride=stride, pad=pad, groups=groups, relu=relu)
    grid = over(count, places), over(len(weight) // groups, outputs), groups
    convolution.convolution[grid](channels_last(x), channels_last(weight), bias, out, *shape, **how, PLACES=places, OUTPUTS=outputs,
                                  INPUTS=inputs, num_warps=8 if places * outputs > 8192 else 4)
    return out


def multiplied(x, weight, bias, *, stride=1, pad=0, groups=1, relu=True, tile=implicit.TILES[0]):
    """The same by implicit.py. tile: one of its TILES."""
    out, count = outputs_of(x, weight, stride, pad)
    shape, how = for_convolutions(x, weight, out, stride=stride, pad=pad, groups=groups, relu=relu)
    places, outputs, inputs, warps, stages = tile
    grid = (over(count, places) * over(len(weight) // groups, outputs) * groups,)
    implicit.implicit[grid](channels_last(x), channels_last(weight), bias, out, *shape, **how, PLACES=places, OUTPUTS=outputs,
                            INPUTS=inputs, num_warps=warps, num_stages=stages)
    return out


def outputs_of(x, weight, stride, pad):
    """Memory for a convolution's answer; how many places it has."""
    height, width = ((side + 2 * pad - weight.shape[2]) // stride + 1 for side in x.shape[2:])
    out = torch.empty((len(x), len(weight), height, width), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    return out, len(x) * height * width


def for_convolutions(x, weight, out, *, stride, pad, groups, relu):
    """What both are told of shapes, and what they are compiled for."""
    (B, C, H, W), (_, maps, height, width) = x.shape, out.shape
    return (H, W, height, width, B * height * width), dict(C=C, MAPS=maps, KERNEL=weight.shape[2], STRIDE=stride, PAD=pad,
                                                           GROUPS=groups, RELU=relu)


FEW = 8  # rows that `thin` takes


@torch.library.custom_op("alexnet::thin", mutates_args=())
def thin(x: Tensor, words: Tensor, scale: Tensor, bias: Tensor, relu: bool) -> Tensor:
    """x (rows, inputs), no more than FEW rows, in float32: so a thread holds as many of its values as of weights, and none moves to
    another. words, scale: dense.py's weights."""
    rows, outputs = len(x), len(words)
    out, most = x.new_empty((rows, outputs)), 1 << (rows - 1).bit_length()
    dense.thin[(over(outputs, 4),)](x.contiguous(), words, scale, bias, out, rows, outputs, WORDS=words.shape[1], RELU=relu,
                                    ROWS=most, OUTPUTS=4, PIECE=256 if most == 1 else 128, num_warps=1)
    return out


@thin.register_fake
def _(x, words, scale, bias, relu):
    return x.new_empty((len(x), len(words)))
