"""ILSVRC's devkit, unpacked or as .tar.gz: which wnid each of the set's own ids stands for (data/meta.mat), the classes' words,
and the ids of the numbered pictures (data/ILSVRC2012_validation_ground_truth.txt). The ids are not in the order of the wnids."""

import io
import os
import tarfile
import zlib
from typing import NamedTuple

import numpy as np

from alexnet.data.sources.listing import is_wnid
from alexnet.errors import Refused

META = "meta.mat"
TRUTH = {"val": "ILSVRC{}_validation_ground_truth.txt", "test": "ILSVRC{}_test_ground_truth.txt"}


class Devkit(NamedTuple):
    path: str
    wnids: dict  # the set's own id -> wnid, of the classes (the leaves; the table has their ancestors too)
    names: dict  # wnid -> the first of its words
    truths: dict  # split -> list: the wnid of picture 1, picture 2, ...


def read(path, year, *, beside):
    """path: the devkit's folder or archive; beside: a folder where a ground truth may lie as a file of its own."""
    wanted = {META, *(name.format(year) for name in TRUTH.values())}
    files = _from_folder(path, wanted) if os.path.isdir(path) else _from_archive(path, wanted)
    files = _from_folder(beside, wanted - files.keys() - {META}) | files
    if META not in files:
        raise Refused(f"{path} has no data/{META}, the table of ILSVRC-{year}'s classes: fetch the devkit again.")
    wnids, names = _table(files[META], f"{META} of {path}", f"ILSVRC{year}_ID")
    truths = {split: _truth(files[name.format(year)], name.format(year), wnids)
              for split, name in TRUTH.items() if name.format(year) in files}
    return Devkit(path, wnids, names, truths)


def _from_folder(path, wanted):
    found = {}
    for name in wanted:
        for file in (os.path.join(path, "data", name), os.path.join(path, name)):
            if name not in found and os.path.isfile(file):
                try:
                    with open(file, "rb") as content:
                        found[name] = content.read()
                except OSError as error:
                    raise Refused(f"{file} cannot be read ({error.strerror or error}): make it readable.") from None
    return found


def _from_archive(path, wanted):
    try:
        with tarfile.open(path) as tar:  # a few megabytes
            return {name: tar.extractfile(member).read() for member in tar
                    if member.isreg() and (name := member.name.rpartition("/")[2]) in wanted}
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise Refused(f"the devkit {path} is no whole archive ({error}): fetch it again.") from None


def _table(content, place, field):
    """-> {id: wnid}, {wnid: name} of the leaves."""
    from scipy.io import loadmat  # a quarter of a second, for the sources that need it

    try:
        synsets = np.atleast_1d(loadmat(io.BytesIO(content), squeeze_me=True)["synsets"])
        columns = (synsets[name].tolist() for name in (field, "WNID", "words", "num_children"))
        rows = [(int(number), str(wnid).strip(), str(words).split(",")[0].strip())
                for number, wnid, words, children in zip(*columns) if int(children) == 0]
    except Exception as error:  # scipy has one of its own for each way that a file is damaged
        raise Refused(f"{place} is no table of synsets with {field}, WNID, words and num_children ({error}): "
                      f"fetch the devkit again.") from None
    wnids, names = {number: wnid for number, wnid, _ in rows}, {wnid: name or wnid for _, wnid, name in rows}
    if not rows or len(wnids) < len(rows) or len(names) < len(rows) or not all(map(is_wnid, names)):
        raise Refused(f"{place} does not give each class one id and one wnid: fetch the devkit again.")
    return wnids, names


def _truth(content, name, wnids):
    truth = []
    for line, word in enumerate(content.decode("ascii", "replace").split(), 1):
        if not word.isdecimal() or int(word) not in wnids:
            raise Refused(f"entry {line:,} of {name} is {word}, and meta.mat has no class of that id: "
                          f"take both from the same devkit.")
        truth.append(wnids[int(word)])
    return truth
