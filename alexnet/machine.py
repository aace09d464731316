"""The machine as bench and doctor see it: the processor's units, the cores and memory a process may really use, what becomes of
freed memory, and the ceilings of large products and copies, measured now."""

import os
import platform
import sys
import time
from pathlib import Path
from statistics import median

import torch

from alexnet import processor

UNITS = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
         "asimd", "asimdhp", "sve", "i8mm", "bf16")  # what products are fast by, of x86 and ARM
PRODUCT = {"cpu": 2048, "cuda": 8192}  # side of the matrices: large enough that more gains nothing
COPIED = {"cpu": 64 << 20, "cuda": 1 << 30}  # bytes: beyond any cache
KEPT = 64 << 20  # bytes: by default glibc gives blocks of this size back to the kernel
CONTROL = Path("/sys/fs/cgroup")


def units():
    """Those the processor has, as the kernel names them."""
    return [unit for unit in UNITS if unit in processor.flags()]


def cores():
    """{"cores": of the machine, "allowed": to this process, by affinity or a container's share}."""
    there = os.cpu_count() or 1
    allowed = processor.cores()
    quota, _, period = _control("cpu.max").partition(" ")
    return {"cores": there, "allowed": min(allowed, float(quota) / float(period)) if quota.isdigit() else allowed}


def load():
    """How many threads of all programs wanted a core in the last minute, on average."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def memory():
    """Bytes that this process may have: the machine's, or its container's."""
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # no Unix
        return None
    limit = _control("memory.max")
    return min(there, int(limit)) if limit.isdigit() else there


def _control(name):
    """A container's limit; empty where there is none."""
    try:
        return (CONTROL / name).read_text().strip()
    except OSError:
        return ""


def keeps_memory():
    """Does freed memory stay with this process? Tried out: if not, every new tensor of this size faults all its pages in again.
    If it does, small things may still settle in what was freed, and a place that fits is found a little later."""
    try:
        import resource
    except ImportError:
        return None
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.empty(KEPT, dtype=torch.uint8).fill_(1)
        if resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < KEPT >> 22:  # of huge pages, 2 MB, it takes twice as many
            return True
    return False


def allocator():
    """The same in words."""
    kept = keeps_memory()
    if kept is None:
        return "as the system has it"
    if kept:
        return "freed memory is kept"
    return "freed memory goes back to the kernel, and is faulted in again page by page"


def peak_memory():
    """Bytes that this process held at most so far."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def system():
    return f"{platform.system()} {platform.machine()}"


# ---- timing, and the ceilings -----------------------------------------------------------------------------------------


def finish(device):
    """A GPU works behind the program's back: wait for it before looking at the clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def repeated(work, *, seconds, device, least=3, most=100):
    """Seconds of each call, one call before them not counted; as many as fit the seconds, within least and most."""
    work()
    finish(device)
    taken, began = [], time.perf_counter()
    while len(taken) < least or (time.perf_counter() - began < seconds and len(taken) < most):
        start = time.perf_counter()
        work()
        finish(device)
        taken.append(time.perf_counter() - start)
    return taken


def ceiling(device, precision, *, seconds=1.0):
    """Operations a second in a large product, bytes a second (read and written) in a large copy: the best of several, with
    the threads that nets have too. On a GPU float32 products may use TF32, as its convolutions do."""
    kind = device.type if device.type in PRODUCT else "cpu"
    found, side = {}, PRODUCT[kind]
    for name in dict.fromkeys(("float32", precision)):
        left, right = (torch.randn(side, side, device=device).to(getattr(torch, name)) for _ in range(2))
        out = torch.empty_like(left)
        found[name] = 2 * side**3 / min(_product(left, right, out, device, seconds))
    source = torch.ones(COPIED[kind], dtype=torch.uint8, device=device)
    goal = torch.ones_like(source)
    found["copy"] = 2 * len(source) / min(repeated(lambda: goal.copy_(source), seconds=seconds / 2, device=device))
    if device.type == "cuda":
        pinned = torch.ones(COPIED["cpu"], dtype=torch.uint8).pin_memory()
        taken = repeated(lambda: goal[: len(pinned)].copy_(pinned, non_blocking=True), seconds=seconds / 2, device=device)
        found["to_device"] = len(pinned) / min(taken)
    return found


def _product(left, right, out, device, seconds):
    settings = torch.backends.cuda.matmul
    before = settings.allow_tf32
    settings.allow_tf32 = torch.backends.cudnn.allow_tf32 if device.type == "cuda" else before
    try:
        return repeated(lambda: torch.mm(left, right, out=out), seconds=seconds, device=device, least=5)
    finally:
        settings.allow_tf32 = before


def middle(taken, **facts):
    """What is told of repeated timings."""
    return {"seconds": median(taken), "fastest": min(taken), "slowest": max(taken), "runs": len(taken), **facts}
