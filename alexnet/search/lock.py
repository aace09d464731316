"""One process at a time changes an index; who only asks waits for nobody. The system takes the lock back from a process that ends,
however it ends."""

import errno
import time
from contextlib import contextmanager
from pathlib import Path

from alexnet.progress import say

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None

FILE = "index.lock"  # stays where it is: taking it away would part those who wait for it
HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
EVERY = 0.1  # seconds between two tries


@contextmanager
def changing(folder):
    """with changing(folder): what is read of the index here is what is changed."""
    with open(Path(folder) / FILE, "a") as file:
        if not _taken(file):
            say(f"another process changes {folder}; waiting for it")
            while not _taken(file):
                time.sleep(EVERY)
        yield


def _taken(file):
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:  # a file system that knows no locks says something else
        return error.errno not in HELD
    return True
