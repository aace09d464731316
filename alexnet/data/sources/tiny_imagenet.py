"""Tiny-ImageNet as it is handed out: wnids.txt (the classes, unsorted), words.txt (their names), train/WNID/images with
a file of boxes a class, val/images with val_annotations.txt. Its test pictures have no labels and are left out."""

import os

from alexnet.data.sources.listing import Class, Entry, Source, Walk, is_wnid, licence, words
from alexnet.errors import Refused

LAYOUT = "Tiny-ImageNet's layout (wnids.txt, train/WNID/images, val/val_annotations.txt)"
LICENCE = "pictures of ImageNet: for research and teaching that is not commercial; their owners keep their rights"


def read(path):
    listed = os.path.join(path, "wnids.txt")
    if not os.path.isfile(listed):
        return None
    with open(listed, encoding="ascii", errors="replace") as lines:
        ids = sorted({line.strip() for line in lines if line.strip()})
    wrong = [name for name in ids if not is_wnid(name)]
    if wrong or not ids:
        raise Refused(
            f"{listed} is not a list of wnids (n and eight digits), a line each{': ' + wrong[0] if wrong else ''}."
        )
    names = words(os.path.join(path, "words.txt"))
    index = {name: label for label, name in enumerate(ids)}
    walk, notes, splits = Walk(), [], {}
    for split in ("train", "val"):
        if not os.path.isdir(os.path.join(path, split)):
            continue
        annotated = split == "val" and os.path.isfile(os.path.join(path, "val", "val_annotations.txt"))
        entries = (_annotated if annotated else _in_folders)(walk, path, split, index, notes)
        if entries:
            splits[split] = entries
    if not splits:
        return None
    classes = tuple(Class(name, names.get(name) or name) for name in ids)
    return Source("Tiny-ImageNet", path, classes, splits, licence(path) or LICENCE, notes + list(walk.notes()))


def _in_folders(walk, path, split, index, notes):
    present = walk.folders(os.path.join(path, split))
    if unknown := [name for name in present if name not in index]:
        notes.append(
            f"{len(unknown)} folders of {split} that wnids.txt does not name were left out (the first is {unknown[0]})"
        )
    entries = []
    for wnid in present:
        if wnid not in index:
            continue
        folder = f"{split}/{wnid}"
        boxes = {name: rest for name, *rest in _table(os.path.join(path, folder, f"{wnid}_boxes.txt"), 5)}
        walk.others[".txt"] -= bool(boxes)  # the file of boxes is used, so it is not left out
        for name in walk.pictures(os.path.join(path, folder)):
            box = boxes.get(name.rpartition("/")[2])
            entries.append(Entry(f"{folder}/{name}", index[wnid], os.path.join(path, folder, name), _box(box)))
    walk.others += type(walk.others)()  # drops the counts that came to nothing
    return entries


def _annotated(walk, path, split, index, notes):
    rows = {name: (wnid, box) for name, wnid, *box in _table(os.path.join(path, split, "val_annotations.txt"), 6)}
    folder = f"{split}/images"
    entries = [
        Entry(f"{folder}/{name}", index[wnid], os.path.join(path, folder, name), _box(box))
        for name, (wnid, box) in rows.items()
        if wnid in index
    ]
    if len(entries) < len(rows):
        notes.append(f"{len(rows) - len(entries):,} lines of val_annotations.txt name a class that wnids.txt does not")
    present = walk.pictures(os.path.join(path, folder)) if os.path.isdir(os.path.join(path, folder)) else []
    if unlabelled := sum(name not in rows for name in present):
        notes.append(f"{unlabelled:,} pictures of {split} that val_annotations.txt does not name were left out")
    return entries


def _table(path, columns):
    """The rows of a tab-separated file; a line with another number of columns is refused."""
    if not os.path.isfile(path):
        return
    with open(path, encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            row = line.rstrip("\r\n").split("\t")
            if len(row) == columns:
                yield row
            elif line.strip():
                raise Refused(f"line {number} of {path} has {len(row)} columns where {columns} belong.")


def _box(words):
    try:
        return None if words is None else tuple(int(word) for word in words)
    except ValueError:
        raise Refused(f"{' '.join(words)} is not a box of four whole numbers.") from None
