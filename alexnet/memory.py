"""What becomes of memory that is freed: glibc's settings, for commands and the processes that are the package's own. Nothing is set
by importing this."""

import os
import sys


def keep_memory():
    """glibc hands every large tensor back to the kernel and faults it in again, page by page: half the time of a step.
    A command keeps what it has, and so do the processes that `prepare` starts; a library call changes nothing."""
    if sys.platform != "linux" or os.environ.get("ALEXNET_MALLOC") == "default":
        return
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return
    for what, value in ((-4, 0), (-1, 2**31 - 1), (-2, 256 << 20)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
        mallopt(what, value)
