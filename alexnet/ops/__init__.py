"""The operations that frameworks are slow at, one function each. The backend is chosen here and nowhere else, by where
the batch is and how it lies in memory; `backend(x)` names the choice and why."""

import torch
import torch.nn.functional as F

from alexnet.ops import cpu, native, reference
from alexnet.ops.reference import blur, dropout_mask

__all__ = ["backend", "blur", "contrast_norm", "dropout_mask", "momentum", "norm_pool", "response_norm", "within_map_norm"]


def backend(x):
    if native.takes(x):
        return "native", f"a batch on the CPU, channels last: {native.why()}"
    if x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last):
        return "cpu", "a channels-last batch on the CPU: banded product, gradient by hand"
    return "reference", f"a batch on {x.device.type} in another layout: the definition itself"


def response_norm(x, *, size, alpha, beta, k, columns):
    constants = {"size": size, "alpha": alpha, "beta": beta, "k": k, "columns": columns}
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
    if native.takes(x) and kernel_size < native.LARGEST:
        return native.joined(x, relu_before=relu_before, **norm, kernel=kernel_size, stride=stride, ceil=ceil_mode,
                             relu_after=relu_after)
    x = F.relu(x) if relu_before else x
    x = response_norm(x, **norm) if norm else x
    x = F.max_pool2d(x, kernel_size, stride, ceil_mode=ceil_mode)
    return F.relu(x) if relu_after else x


def within_map_norm(x, *, size, alpha, beta):
    if native.takes(x):
        return native.within_map(native.channels_last(x), None, size, alpha, beta)
    return reference.within_map_norm(x, size=size, alpha=alpha, beta=beta)


def contrast_norm(x, *, size, alpha, beta):
    return within_map_norm(reference.without_mean(x, size), size=size, alpha=alpha, beta=beta)


def momentum(weights, gradients, velocities, *, momentum, decay, rate):
    """v <- momentum v - decay w - rate g;  w <- w + v, in place: one pass over memory instead of four."""
    rule = {"momentum": momentum, "decay": decay, "rate": rate}
    if all(native.in_step(*three) for three in zip(weights, gradients, velocities)):
        for three in zip(weights, gradients, velocities):
            native.momentum(*three, **rule)
    else:
        reference.momentum(weights, gradients, velocities, **rule)
