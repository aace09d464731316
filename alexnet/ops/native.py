"""The C++ kernels of cpu_kernel.cpp and cpu_winograd.cpp: compiled for this processor the first time they are wanted, kept in the
cache folder, and made known to PyTorch as operations with gradients. Where there is no compiler the plain path of cpu.py stays
in use.

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

from alexnet import processor
from alexnet.ops import traced
from alexnet.places import cache_folder
from alexnet.progress import say

SOURCES = [Path(__file__).with_name(name) for name in ("cpu_kernel.cpp", "cpu_winograd.cpp")]
HEADER = Path(__file__).with_name("cpu_vectors.h")
# Not -ffast-math: a NaN has to stay one, and its start-up code changes the rounding of the whole process.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fopenmp", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math")
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
    texts = [file.read_text(encoding="utf-8") for file in (HEADER, *SOURCES)]
    what = "\n".join([*texts, version, *FLAGS, processor.name(), *sorted(processor.flags())])
    file = cache_folder() / "kernels" / f"cpu-{sha256(what.encode()).hexdigest()[:16]}.so"
    if file.exists():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    say("compiling the CPU kernels, once on this machine ...")
    handle, part = tempfile.mkstemp(suffix=".so", dir=file.parent)
    os.close(handle)
    try:
        subprocess.run([compiler, *FLAGS, "-o", part, *map(str, SOURCES)], capture_output=True, text=True, check=True, timeout=300)
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


# ---- ReLU, norm, pool, ReLU; the norm within a map -----------------------------------------------------------------------


def described(x, whole, constants):
    relu_before, columns, size, kernel, stride, height, width, relu_after = whole
    B, C, H, W = x.shape
    return Layer(B, H, W, C, height, width, columns, size, kernel, stride, relu_before, relu_after, torch.get_num_threads(),
                 *constants)


def pool(x, out, places, whole, constants):
    call("pool", described(x, whole, constants), x, out, places)


def unpool(x, grad, places, out, whole, constants):
    call("unpool", described(x, whole, constants), x, grad, places, out)


def square(x, grad, out, size, alpha, beta):
    """grad: of the output, and out is the gradient of the input; or None."""
    call("square", described(x, [0, 1, size, 1, 1, *x.shape[2:], 0], [alpha, beta, 1.0]), x, grad, out)


joint = traced.joint("joint", pool, unpool, keeps=lambda kernel, relu_after: kernel > 1)
joined = partial(traced.joined, joint)
within_map = traced.within_map("within_map", lambda x, *rest: square(x, None, *rest), square)


# ---- the update rule -----------------------------------------------------------------------------------------------------


def in_step(*tensors):
    """Whether the kernel may step these."""
    return traced.alike(*tensors) and tensors[0].device.type == "cpu" and ready()


def momentum(weight, gradient, velocity, *, momentum, decay, rate):
    """v <- momentum v - decay w - rate g;  w <- w + v, in one pass."""
    library()[0].momentum(ctypes.c_int64(weight.numel()), *map(ctypes.c_float, (momentum, decay, rate)), torch.get_num_threads(),
                          *(ctypes.c_void_p(t.data_ptr()) for t in (weight, gradient, velocity)))
