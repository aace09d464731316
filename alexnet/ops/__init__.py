"""The operations that frameworks are slow at, one function each. The backend is chosen here and nowhere else, by where
the batch is and how it lies in memory; `backend(x)` names the choice and why."""

import os
from functools import lru_cache
from importlib.util import find_spec

import torch
import torch.nn.functional as F

from alexnet.ops import cpu, forms, native, reference, traced, winograd
from alexnet.ops.reference import blur, dropout_mask

__all__ = ["backend", "blur", "contrast_norm", "convolution", "dropout_mask", "momentum", "norm_pool", "response_norm",
           "within_map_norm"]


@lru_cache(maxsize=1)
def card():
    """(whether the kernels for graphics cards are to be used, a sentence about it). ALEXNET_TRITON=off leaves them out; =interpret,
    with TRITON_INTERPRET=1, lets them have batches on the CPU, slowly: for tests and rehearsals."""
    asked = os.environ.get("ALEXNET_TRITON", "")
    if asked == "off":
        return False, "left out: ALEXNET_TRITON is off"
    if not find_spec("triton"):
        return False, "no kernel of our own: it wants Triton (pip install triton)"
    if asked == "interpret":
        return True, "our own kernels, interpreted"
    if not torch.cuda.is_available() or torch.version.hip or torch.cuda.get_device_capability() < (8, 0):
        return False, "no kernel of our own: it wants an NVIDIA card of 2020 or later (compute capability 8.0)"
    return True, "our own kernels, channels last"


@torch.compiler.assume_constant_result  # torch.compile asks once, while it traces
def on_card(kind):
    """Whether batches on this kind of device are the cards' kernels'."""
    return (kind == "cuda" or kind == "cpu" and os.environ.get("ALEXNET_TRITON") == "interpret") and card()[0]


def kernels(x):
    """The kernels for this batch, where it lies on a card: imported when first wanted. Else None."""
    if not on_card(x.device.type):
        return None
    from alexnet.ops import triton

    return triton


def backend(x):
    if on_card(x.device.type):
        return "triton", f"a batch on {x.device.type}: {card()[1]}"
    if native.takes(x):
        return "native", f"a batch on the CPU, channels last: {native.why()}"
    if x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last):
        return "cpu", "a channels-last batch on the CPU: banded product, gradient by hand"
    return "reference", f"a batch on {x.device.type} in another layout: the definition itself"


def convolution(x, weight, bias, *, stride, pad, groups):
    if winograd.takes(x, weight, stride=stride, pad=pad, groups=groups):
        return winograd.Convolution.apply(x, weight, bias, pad, groups)
    if x.is_cuda:
        return forms.on_card(x, weight, bias, stride=stride, pad=pad, groups=groups)
    return F.conv2d(x, weight, bias, stride, pad, 1, groups)


def response_norm(x, *, size, alpha, beta, k, columns):
    constants = {"size": size, "alpha": alpha, "beta": beta, "k": k, "columns": columns}
    if (own := kernels(x)) and own.takes(x, size=size, columns=columns):
        return own.joined(x, **constants)
    match backend(x)[0]:
        case "native":
            return native.joined(x, **constants)
        case "cpu":
            with torch.autocast("cpu", enabled=False):  # the product in the batch's own type
                return cpu.ResponseNorm.apply(x, size, alpha, beta, k, columns)
    return reference.response_norm(x, **constants)


def norm_pool(x, *, relu_before, norm, kernel_size, stride, ceil_mode, relu_after):
    """Neighbours in a row of nets/, in one pass where there is a kernel for it: ReLU or not, response norm (its constants) or
    not, max pool, ReLU or not."""
    asked = dict(relu_before=relu_before, **norm, kernel=kernel_size, stride=stride, ceil=ceil_mode, relu_after=relu_after)
    if (own := kernels(x)) and own.takes(x, **{name: asked[name] for name in own.DECIDES if name in asked}):
        return own.joined(x, **asked)
    if native.takes(x) and kernel_size < traced.LARGEST:
        return native.joined(x, **asked)
    x = F.relu(x) if relu_before else x
    x = response_norm(x, **norm) if norm else x
    x = F.max_pool2d(x, kernel_size, stride, ceil_mode=ceil_mode)
    return F.relu(x) if relu_after else x


def within_map_norm(x, *, size, alpha, beta):
    if (own := kernels(x)) and own.takes(x):
        return own.within_map(traced.channels_last(x), size, alpha, beta)
    if native.takes(x):
        return native.within_map(traced.channels_last(x), size, alpha, beta)
    return reference.within_map_norm(x, size=size, alpha=alpha, beta=beta)


def contrast_norm(x, *, size, alpha, beta):
    return within_map_norm(reference.without_mean(x, size), size=size, alpha=alpha, beta=beta)


def momentum(weights, gradients, velocities, *, momentum, decay, rate):
    """v <- momentum v - decay w - rate g;  w <- w + v, in place: one pass over memory instead of four."""
    rule = {"momentum": momentum, "decay": decay, "rate": rate}
    if (own := kernels(weights[0])) and all(traced.alike(*three) for three in zip(weights, gradients, velocities)):
        for three in zip(weights, gradients, velocities):
            own.momentum(*three, **rule)
    elif all(native.in_step(*three) for three in zip(weights, gradients, velocities)):
        for three in zip(weights, gradients, velocities):
            native.momentum(*three, **rule)
    else:
        reference.momentum(weights, gradients, velocities, **rule)
