"""Class folders: SOURCE/train/CLASS/... and SOURCE/val/CLASS/... (or valid, validation; test stays test), or
SOURCE/CLASS/... as one split, train. A class is a folder that holds a picture at any depth; its id is the folder's
name."""

import os

from alexnet.data.sources.listing import SPLITS, Class, Entry, Source, Walk, identity, is_wnid, licence, words
from alexnet.errors import Refused

LAYOUT = "class folders (SOURCE/train/CLASS/*.jpg with val and test beside train, or SOURCE/CLASS/*.jpg)"
SPLIT_OF = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read(path):
    if not os.path.isdir(path):
        return None
    walk, notes = Walk(), []
    top = walk.folders(path)
    # a folder called train without folders inside is a class like any other: there are pictures of trains
    named = [name for name in top if name in SPLIT_OF and walk.folders(os.path.join(path, name))]
    if named:
        found = {}
        for name in named:
            if SPLIT_OF[name] in found:
                raise Refused(
                    f"{path} has two folders for the split {SPLIT_OF[name]}: keep one of val, valid and validation."
                )
            found[SPLIT_OF[name]] = _classes_below(walk, path, name, notes)
        if rest := [name for name in top if name not in named]:
            notes.append(f"beside the splits, {some(rest)} was left out")
    else:
        found = {"train": _classes_below(walk, path, "", notes)}
    names = words(os.path.join(path, "words.txt"))
    ids = sorted({name for split in found.values() for name, files in split.items() if files})
    if not ids or (not named and set(ids) <= SPLIT_OF.keys()):  # train/*.jpg and val/*.jpg are splits without classes
        return None
    index = {name: label for label, name in enumerate(ids)}
    splits = {}
    for split in sorted(found, key=SPLITS.index):
        empty = [name for name, files in found[split].items() if not files]
        if empty:
            notes.append(f"{split} has no picture of {some(empty)}")
        entries = [
            Entry(name, index[folder], os.path.join(path, name))
            for folder, files in found[split].items()
            for name in files
        ]
        if entries:
            splits[split] = entries
    classes = tuple(Class(name, names.get(name, name) if is_wnid(name) else name) for name in ids)
    return Source("class folders", path, classes, splits, licence(path), notes + list(walk.notes()))


def has_loose_pictures(path):
    return os.path.isdir(path) and bool(Walk().pictures(path, deep=False))


def _classes_below(walk, path, split, notes):
    """-> {class folder: names of its pictures, relative to the source}"""
    top = os.path.join(path, split) if split else path
    ancestors = {identity(path), identity(top)}
    loose = Walk().pictures(top, deep=False)
    if loose:
        notes.append(f"{len(loose):,} pictures in {split or 'the source'} lie in no class folder and were left out")
    found = {}
    for folder in walk.folders(top):
        before = f"{split}/{folder}" if split else folder
        files = walk.pictures(os.path.join(top, folder), seen=ancestors)
        found[folder] = [f"{before}/{name}" for name in files]
    return found


def some(names, most=3):
    names = sorted(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
