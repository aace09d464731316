"""The processor as the operating system tells of it: its name, what it can do, and how many cores this process may use."""

import os
import platform
from functools import cache
from pathlib import Path


@cache
def told():
    """/proc/cpuinfo of the first core: name -> value; nothing where there is no such file."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}


def name():
    return told().get("model name") or platform.processor() or platform.machine()


def flags():
    """What it can do beside the basics, as the kernel names it on x86 and ARM."""
    return set((told().get("flags") or told().get("Features") or "").split())


def cores():
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
