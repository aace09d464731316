"""Convolutions of 3 x 3 and 5 x 5 in Winograd's way on the CPU, in float32: cpu_winograd.cpp made an operation with a gradient, and
where it pays. Everywhere else a convolution is the library's own.

ALEXNET_WINOGRAD=off leaves it out.
"""

import ctypes
import os

import torch

from alexnet.ops import native

STEP = {3: 4, 5: 2}  # kernel -> outputs of a tile, along a side
PLANES = 36
# What has to be there for it to pay, in training and in use, where there is no gradient, which gains most (docs/performance.md):
FEWER = 1.5, 2.2  # times fewer multiplications, at least: there and back between pixels and planes costs too
NARROWEST = 16, 32  # channels and maps of a group: thinner products are slow
MOST_THREADS = 16  # each has a gradient of the kernels of its own


def usable():
    """(whether this way is to be had, a sentence about it)."""
    if os.environ.get("ALEXNET_WINOGRAD") == "off":
        return False, "left out: ALEXNET_WINOGRAD is off"
    return (True, "tiles of 6 x 6") if native.ready() else (False, native.why())


def takes(x, weight, *, stride, pad, groups):
    """Whether this convolution is faster so."""
    kernel = weight.shape[2]
    if x.device.type != "cpu" or torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        return False
    if kernel not in STEP or weight.shape[3] != kernel or stride != 1 or x.dim() != 4 or not x.numel():
        return False
    if x.dtype != torch.float32 or weight.dtype != torch.float32:
        return False
    in_use = not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
    if min(weight.shape[1], weight.shape[0] // groups) < NARROWEST[in_use] or torch.get_num_threads() > MOST_THREADS:
        return False
    height, width = outputs(x, kernel, pad)
    if min(height, width) < 1 or not x.is_contiguous(memory_format=torch.channels_last):
        return False
    tiles = -(-height // STEP[kernel]) * -(-width // STEP[kernel])
    return height * width * kernel**2 >= FEWER[in_use] * PLANES * tiles and usable()[0]


def outputs(x, kernel, pad):
    return tuple(side + 2 * pad - kernel + 1 for side in x.shape[2:])


class Layer(ctypes.Structure):  # Conv in cpu_winograd.cpp
    _fields_ = [(name, ctypes.c_int64) for name in ("pictures", "height", "width", "channels", "maps", "groups", "out_height",
                                                    "out_width", "kernel", "pad", "threads")]


def call(name, layer, *tensors):
    at = (ctypes.c_void_p(tensor.data_ptr()) if tensor is not None else None for tensor in tensors)
    getattr(native.library()[0], f"winograd_{name}")(ctypes.byref(layer), *at)


def room(name, layer):
    """Floats of the kernels' planes, or of a thread's sums."""
    count = getattr(native.library()[0], f"winograd_{name}")
    count.restype = ctypes.c_int64
    return count(ctypes.byref(layer))


class Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, pad, groups):
        B, C, H, W = x.shape
        K, _, kernel, _ = weight.shape
        layer = Layer(B, H, W, C, K, groups, *outputs(x, kernel, pad), kernel, pad, torch.get_num_threads())
        weight = weight.contiguous(memory_format=torch.channels_last)
        out = torch.empty(B, K, *outputs(x, kernel, pad), dtype=x.dtype, memory_format=torch.channels_last)
        call("forward", layer, x, weight, bias, x.new_empty(room("planes", layer)), out)
        ctx.save_for_backward(x, weight)
        ctx.layer = layer
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (x, weight), layer = ctx.saved_tensors, ctx.layer
        grad = grad.contiguous(memory_format=torch.channels_last)
        to_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        to_weight = torch.empty_like(weight, memory_format=torch.channels_last)
        sums = x.new_zeros(layer.threads * room("sums", layer))
        call("backward", layer, x, grad, weight, x.new_empty(room("planes", layer)), sums, to_x, to_weight)
        return to_x, to_weight, grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None, None, None
