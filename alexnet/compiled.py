"""Compiled engines on disk, in the cache folder: a file each, named by what it was made from and by its own checksum. At most
KEPT of them stay, those used last; whatever goes wrong here means no more than that an engine is made again."""

import hashlib
import json
import os
from pathlib import Path

from alexnet.places import cache_folder, digest

KEPT = 4  # files; one of OpenVINO is as large as its weights, 244 MB for the published network


def folder():
    return cache_folder() / "engines"


def key(**facts):
    """One name for everything that an engine depends on."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def found(name):
    """The file kept under this name, whole, and now the one used last; or None. A damaged one is removed."""
    for path in _files(f"{name}.*.engine"):
        try:
            if _checksum(path) == path.name.split(".")[1]:
                os.utime(path)
                return path
            path.unlink()
        except OSError:
            pass
    return None


def keep(name, write):
    """write(path) makes the file; it comes to its place whole or not at all. -> its path, or None where nothing can be kept."""
    part = folder() / f"{name}.{os.getpid()}.part"
    try:
        folder().mkdir(parents=True, exist_ok=True)
        write(part)
        place = folder() / f"{name}.{_checksum(part)}.engine"
        os.replace(part, place)
        for old in sorted(_files("*.engine"), key=_used, reverse=True)[KEPT:]:
            old.unlink(missing_ok=True)
        return place
    except Exception:  # a full disk, a folder that may not be written; a library has its own names for that
        return None
    finally:
        try:
            part.unlink(missing_ok=True)
        except OSError:
            pass


def _files(pattern):
    return list(Path(folder()).glob(pattern))


def _used(path):
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0



def _checksum(path):
    with open(path, "rb") as file:
        return digest(file)[:32]
