"""Convolutions of 3 x 3 and 5 x 5 in Winograd's way on the CPU, in float32: cpu_winograd.cpp made an operation with a gradient, and
where it pays. Everywhere else a convolution is the library's own.

ALEXNET_WINOGRAD=off leaves it out.
"""

import ctypes
import os
from functools import lru_cache

import torch

from alexnet.ops import native

STEP = {3: 4, 5: 2}  # kernel -> outputs of a tile, along a side
PLANES = 36
# What has to be there for it to pay, in training and in use, where there is no gradient, which gains most (docs/performance.md):
FEWER = 1.5, 2.2  # times fewer multiplications, at least: there and back between pixels and planes costs too
NARROWEST = 16, 32  # channels and maps of a group: thinner products are slow
MOST_THREADS = 16  # each has a gradient of the kernels of its own


def sgemm():
    """The address of PyTorch's own matrix product, and a sentence about it; None where this way is not to be had."""
    if os.environ.get("ALEXNET_WINOGRAD") == "off":
        return None, "left out: ALEXNET_WINOGRAD is off"
    return address() if native.ready() else (None, native.why())


@lru_cache(maxsize=1)
def address():
    file = os.path.join(os.path.dirname(torch.__file__), "lib", "libtorch_cpu.so")
    try:
        return ctypes.cast(ctypes.CDLL(file).sgemm_, ctypes.c_void_p).value, "tiles of 6 x 6, products by PyTorch's own BLAS"
    except (OSError, AttributeError):
        return None, "this PyTorch shows no sgemm"


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
    return height * width * kernel**2 >= FEWER[in_use] * PLANES * tiles and sgemm()[0] is not None


def outputs(x, kernel, pad):
    return tuple(side + 2 * pad - kernel + 1 for side in x.shape[2:])


class Layer(ctypes.Structure):  # Conv in cpu_winograd.cpp
    _fields_ = [(name, ctypes.c_int64) for name in ("pictures", "height", "width", "channels", "maps", "groups", "out_height",
                                                    "out_width", "kernel", "pad", "threads")]
    _fields_ += [("sgemm", ctypes.c_void_p)]


def call(name, layer, *tensors):
    at = (ctypes.c_void_p(tensor.data_ptr()) if tensor is not None else None for tensor in tensors)
    getattr(native.library()[0], f"winograd_{name}")(ctypes.byref(layer), *at)


class Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, pad, groups):
        B, C, H, W = x.shape
        K, _, kernel, _ = weight.shape
        layer = Layer(B, H, W, C, K, groups, *outputs(x, kernel, pad), kernel, pad, torch.get_num_threads(), sgemm()[0])
        weight = weight.contiguous(memory_format=torch.channels_last)
        library = native.library()[0]
        library.winograd_planes.restype = ctypes.c_int64
        kernels = x.new_empty(library.winograd_planes(ctypes.byref(layer)))
        out = torch.empty(B, K, *outputs(x, kernel, pad), dtype=x.dtype, memory_format=torch.channels_last)
        call("forward", layer, x, weight, bias, kernels, out)
        ctx.save_for_backward(x, kernels)
        ctx.layer, ctx.shape = layer, weight.shape
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        x, kernels = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        to_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        to_weight = torch.empty(ctx.shape, dtype=x.dtype, memory_format=torch.channels_last)
        sums = x.new_zeros(ctx.layer.threads * len(kernels))
        call("backward", ctx.layer, x, grad, kernels, sums, to_x, to_weight)
        return to_x, to_weight, grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None, None, None
