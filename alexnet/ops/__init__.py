"""The operations that frameworks are slow at, one function each. The backend is chosen here and nowhere else, by where
the batch is and how it lies in memory; `backend(x)` names the choice and why."""

import torch

from alexnet.ops import cpu, reference
from alexnet.ops.reference import blur, contrast_norm, dropout_mask, within_map_norm

__all__ = ["backend", "blur", "contrast_norm", "dropout_mask", "response_norm", "within_map_norm"]


def backend(x):
    if x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last):
        return "cpu", "a channels-last batch on the CPU: banded product, gradient by hand"
    return "reference", f"a batch on {x.device.type} in another layout: the definition itself"


def response_norm(x, *, size, alpha, beta, k, columns):
    if backend(x)[0] == "cpu":
        with torch.autocast("cpu", enabled=False):  # the product in the batch's own type
            return cpu.ResponseNorm.apply(x, size, alpha, beta, k, columns)
    return reference.response_norm(x, size=size, alpha=alpha, beta=beta, k=k, columns=columns)
