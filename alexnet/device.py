"""Which device a command works on, and which number format its matrix units like."""

import shutil

import torch

from alexnet.errors import Misused
from alexnet.progress import say


def pick(device="auto"):
    """auto: CUDA, else the CPU (Apple's mps when it is named: it was never tried). A device that is not there is refused."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise Misused(f"device {device!r} is not to be had here: --device takes auto, cpu, cuda, cuda:N or mps.") from error
    return found


def precision(wanted, device):
    """auto: bfloat16 where there are units for it, else float32."""
    if wanted != "auto":
        if wanted == "bfloat16" and device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            say("this processor has no bfloat16 arithmetic: --precision bfloat16 will be many times slower than float32.")
        return wanted
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    fast = device.type == "cpu" and torch.cpu._is_amx_tile_supported()
    return "bfloat16" if fast else "float32"


def sent(values, device, dtype=None):
    """A host array on the device. To a card from pinned memory: else each would wait until the card has done all it was told."""
    values = torch.from_numpy(values)
    values = values if dtype is None else values.to(dtype)
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def sums(device):
    """The type that sums over many pictures are kept in: float64, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def autocast(device, precision):
    """The one autocast path."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def compiled(net, wanted, device):
    """torch.compile where it is wanted and a compiler is there; else the net itself."""
    if not wanted:
        return net
    if device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++", "cl"))):
        say("no C++ compiler is on this machine: the net runs as it is, without torch.compile.")
        return net
    return torch.compile(net)
