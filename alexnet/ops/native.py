"""The C++ kernels of cpu_kernel.cpp: compiled for this processor the first time they are wanted, kept in the cache folder, and
made known to PyTorch as operations with gradients. Where there is no compiler the plain path of cpu.py stays in use.

ALEXNET_NATIVE=off leaves them out.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from alexnet import processor
from alexnet.places import cache_folder
from alexnet.progress import say

SOURCE = Path(__file__).with_name("cpu_kernel.cpp")
# Not -ffast-math: a NaN has to stay one, and its start-up code changes the rounding of the whole process.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math")
LARGEST = 16  # sides of a pool are smaller: its places are kept as bytes
TYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


# ---- the library ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def library():
    """(the loaded library or None, a sentence about it)."""
    if os.environ.get("ALEXNET_NATIVE") == "off":
        return None, "left out: ALEXNET_NATIVE is off"
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if not sys.platform.startswith("linux") or not compiler:
        return None, "no kernel of our own: it wants Linux and g++ (or CXX=another compiler)"
    try:
        file = built(compiler)
        try:
            return ctypes.CDLL(str(file)), f"our own kernel, {file}"
        except OSError:  # cut off by a crash
            file.unlink(missing_ok=True)
            return ctypes.CDLL(str(built(compiler))), f"our own kernel, {file}"
    except (OSError, subprocess.SubprocessError) as error:
        lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return None, f"no kernel of our own: {compiler} failed ({lines[0] if lines else 'in silence'})"


def built(compiler):
    """The shared library of this source, compiler and processor; compiled where it is not in the cache folder yet."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    what = "\n".join([SOURCE.read_text(encoding="utf-8"), version, *FLAGS, processor.name(), *sorted(processor.flags())])
    file = cache_folder() / "kernels" / f"cpu_kernel-{sha256(what.encode()).hexdigest()[:16]}.so"
    if file.exists():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    say("compiling the CPU kernels, once on this machine ...")
    handle, part = tempfile.mkstemp(suffix=".so", dir=file.parent)
    os.close(handle)
    try:
        subprocess.run([compiler, *FLAGS, "-o", part, str(SOURCE)], capture_output=True, text=True, check=True, timeout=300)
        os.replace(part, file)  # whole or not at all, whoever compiles beside us
    finally:
        Path(part).unlink(missing_ok=True)
    return file


@torch.compiler.assume_constant_result  # torch.compile asks once, while it traces
def ready():
    return library()[0] is not None


@torch.compiler.assume_constant_result
def why():
    return library()[1]


def takes(x):
    """Whether the kernels work on this batch."""
    return x.device.type == "cpu" and x.dim() == 4 and x.dtype in TYPES and x.numel() > 0 and ready()


class Layer(ctypes.Structure):  # as in cpu_kernel.cpp
    _fields_ = [(name, ctypes.c_int64) for name in ("pictures", "height", "width", "channels", "out_height", "out_width", "columns",
                                                    "size", "kernel", "stride", "relu_before", "relu_after", "threads")]
    _fields_ += [(name, ctypes.c_float) for name in ("alpha", "beta", "k")]


def call(name, layer, *tensors):
    function = getattr(library()[0], f"{name}_{TYPES[tensors[0].dtype]}")
    function(ctypes.byref(layer), *(ctypes.c_void_p(t.data_ptr()) if t is not None and t.numel() else None for t in tensors))


# ---- ReLU, norm, pool, ReLU ----------------------------------------------------------------------------------------------


def joined(x, *, relu_before=False, size=0, columns=1, alpha=0.0, beta=0.75, k=1.0, kernel=1, stride=1, ceil=False,
           relu_after=False):
    """What is asked for of ReLU, norm, max pool and ReLU. size 0: no norm; kernel 1: no pool."""
    if x.shape[1] % columns:
        raise ValueError(f"{x.shape[1]} maps do not make {columns} equal columns")
    height, width = (windows(side, kernel, stride, ceil) for side in x.shape[2:])
    whole = [int(relu_before), columns, size, kernel, stride, height, width, int(relu_after)]
    keep = torch.is_grad_enabled() and x.requires_grad  # the places of the maxima, for the gradient
    return joint(channels_last(x), whole, [alpha, beta, k], keep)[0]


def windows(side, kernel, stride, ceil):
    """How many stand along a side; with `ceil` the last may be cut off by the edge, but begins within."""
    count = (side - kernel + (stride - 1 if ceil else 0)) // stride + 1
    return count - 1 if (count - 1) * stride >= side else count


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


def described(x, whole, constants):
    relu_before, columns, size, kernel, stride, height, width, relu_after = whole
    B, C, H, W = x.shape
    return Layer(B, H, W, C, height, width, columns, size, kernel, stride, relu_before, relu_after, torch.get_num_threads(),
                 *constants)


def outputs(x, whole, keep):
    kernel, height, width = whole[3], whole[5], whole[6]
    shape = (*x.shape[:2], height, width)
    out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    if not keep or kernel == 1:
        return out, torch.empty(0, dtype=torch.uint8, device=x.device)
    return out, torch.empty(shape, dtype=torch.uint8, device=x.device, memory_format=torch.channels_last)


@torch.library.custom_op("alexnet::joint", mutates_args=())
def joint(x: Tensor, whole: list[int], constants: list[float], keep: bool) -> tuple[Tensor, Tensor]:
    out, places = outputs(x, whole, keep)
    call("pool", described(x, whole, constants), x, out, places)
    return out, places


@joint.register_fake
def _(x, whole, constants, keep):
    return outputs(x, whole, keep)


@torch.library.custom_op("alexnet::joint_gradient", mutates_args=())
def joint_gradient(x: Tensor, grad: Tensor, places: Tensor, whole: list[int], constants: list[float]) -> Tensor:
    out = torch.empty_like(x)
    call("unpool", described(x, whole, constants), x, grad, places, out)
    return out


@joint_gradient.register_fake
def _(x, grad, places, whole, constants):
    return torch.empty_like(x)


def keep_for_gradient(ctx, inputs, output):
    x, ctx.whole, ctx.constants, _ = inputs
    ctx.save_for_backward(x, output[1])
    ctx.mark_non_differentiable(output[1])


@partial(joint.register_autograd, setup_context=keep_for_gradient)
def _(ctx, grad, _):
    x, places = ctx.saved_tensors
    return joint_gradient(x, channels_last(grad), places, ctx.whole, ctx.constants), None, None, None


# ---- the norm within a map -----------------------------------------------------------------------------------------------


@torch.library.custom_op("alexnet::within_map", mutates_args=())
def within_map(x: Tensor, grad: Tensor | None, size: int, alpha: float, beta: float) -> Tensor:
    """With a gradient of the output: the gradient of the input."""
    B, C, H, W = x.shape
    out = torch.empty_like(x)
    layer = Layer(B, H, W, C, H, W, 1, size, 1, 1, 0, 0, torch.get_num_threads(), alpha, beta, 1.0)
    call("square", layer, x, grad, out)
    return out


@within_map.register_fake
def _(x, grad, size, alpha, beta):
    return torch.empty_like(x)


def keep_constants(ctx, inputs, output):
    x, _, *ctx.constants = inputs
    ctx.save_for_backward(x)


@partial(within_map.register_autograd, setup_context=keep_constants)
def _(ctx, grad):
    (x,) = ctx.saved_tensors
    return within_map(x, channels_last(grad), *ctx.constants), None, None, None, None


# ---- the update rule -----------------------------------------------------------------------------------------------------


def in_step(*tensors):
    """Whether these lie alike in memory, without gaps, and are the kernel's to change."""
    first = tensors[0]
    dense = first.is_contiguous() or first.dim() == 4 and first.is_contiguous(memory_format=torch.channels_last)
    return dense and ready() and all(t.dtype == torch.float32 and t.device.type == "cpu" and t.stride() == first.stride()
                                     for t in tensors)


def momentum(weight, gradient, velocity, *, momentum, decay, rate):
    """v <- momentum v - decay w - rate g;  w <- w + v, in one pass."""
    library()[0].momentum(ctypes.c_int64(weight.numel()), *map(ctypes.c_float, (momentum, decay, rate)), torch.get_num_threads(),
                          *(ctypes.c_void_p(t.data_ptr()) for t in (weight, gradient, velocity)))
