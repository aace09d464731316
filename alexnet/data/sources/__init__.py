"""Where pictures come from: recognise(path) says what a source is and lists its pictures. A format is a file here with
LAYOUT, its name and in brackets what it looks like, and read(path) -> Source, or None when the path is something else."""

import os

from alexnet.data.sources import cifar_binary, folders, ilsvrc, lists, mnist, parquet, prepared, tiny_imagenet, webdataset
from alexnet.data.sources.listing import Class, Entry, Source, in_store_order, read
from alexnet.errors import Refused

ARCHIVES = (".zip", ".tar", ".tgz", ".tbz", ".txz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
# asked in this order; the most particular first
FORMATS = (prepared, tiny_imagenet, ilsvrc, mnist, cifar_binary, webdataset, parquet, lists, folders)

__all__ = ["FORMATS", "Class", "Entry", "Source", "in_store_order", "read", "recognise"]


def recognise(path):
    path = os.path.abspath(os.fspath(path))
    if not os.path.lexists(path):
        raise Refused(f"{path} does not exist: give one of {_accepted()}.")
    for kind in FORMATS:
        source = kind.read(path)
        if source is not None:
            return source
    if path.lower().endswith(ARCHIVES) and os.path.isfile(path):
        raise Refused(f"{path} is an archive: unpack it, and give the folder that comes out of it. Of archives only ImageNet's own "
                      f"tars and WebDataset's shards are read as they are.")
    loose = " (pictures lie in it, but in no class folder)" if folders.has_loose_pictures(path) else ""
    raise Refused(f"{path} is no source that is known{loose}: accepted are {_accepted()}.")


def _accepted():
    others = [kind.LAYOUT.split(" (")[0] for kind in FORMATS[::-1] if kind is not folders]
    return f"{folders.LAYOUT}; {', '.join(others[:-1])} or {others[-1]}"
