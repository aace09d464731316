"""Where this package keeps what it can make again: one folder, ALEXNET_HOME or the platform's own for caches. And one name for
what a file holds."""

import hashlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PART = 8 << 20  # bytes that are summed up at once, on every core


def cache_folder():
    """Not made here: who writes into it makes it."""
    if home := os.environ.get("ALEXNET_HOME"):
        return Path(home).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "alexnet"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "alexnet"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alexnet"


def digest(file, start=0):
    """The content of an open file from `start` on, as 64 hexadecimal digits: the checksum of its parts' checksums."""
    size, turn = os.fstat(file.fileno()).st_size, threading.Lock()

    def part(first):
        with turn:
            file.seek(first)
            content = file.read(PART)
        return hashlib.sha256(content).digest()

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return hashlib.sha256(b"".join(pool.map(part, range(start, size, PART)))).hexdigest()
