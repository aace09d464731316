"""What names and labels say in sources that are no class folders: the split that a shard or a list stands for, and the classes
that labels make. Whole numbers take their names from a list beside the source or from the source itself; words name themselves."""

import os
import re

from alexnet.data.sources.folders import SPLIT_OF, some
from alexnet.data.sources.listing import SPLITS, Class, Source, identity, is_wnid, licence, words
from alexnet.errors import Refused

NAME_FILES = ("classnames.txt", "classes.txt", "labels.txt")  # a class a line, in the order of the whole numbers


def files(path, endings):
    """Names of the files that end so, in a folder and the folders directly inside it, relative to it; hidden ones left out."""
    found, seen = [], set()
    for inside in ("", *_folders(path)):
        folder = os.path.join(path, inside)
        if identity(folder) in seen:  # links to one folder
            continue
        seen.add(identity(folder))
        try:
            found += [f"{inside}/{name}" if inside else name for name in os.listdir(folder)
                      if name.lower().endswith(endings) and not name.startswith(".") and os.path.isfile(os.path.join(folder, name))]
        except OSError as error:
            raise Refused(f"the folder {folder} cannot be read ({error.strerror}): make it readable, or move it out.") from None
    return sorted(found)


def _folders(path):
    with os.scandir(path) as items:
        return sorted(item.name for item in items if not item.name.startswith(".") and item.is_dir())


def split_of(name):
    """The split that a file's name says, or a folder's above it: imagenet-val-0003.tar, validation/0003.tar; or None."""
    for part in reversed(name.split("/")):
        for word in re.split("[^a-z]+", part.lower()):
            if word in SPLIT_OF:
                return SPLIT_OF[word]
    return None


def by_split(names, notes):
    """-> {split: names}. Where no name says a split all are train; where some do, the others are left out and noted."""
    told = {name: split_of(name) for name in names}
    if not any(told.values()):
        return {"train": names} if names else {}
    if rest := [name for name, split in told.items() if split is None]:
        notes.append(f"{some(rest)} was left out: its name says no split, and the others' do")
    return {split: [name for name in names if told[name] == split] for split in SPLITS if split in told.values()}


def labelled(kind, path, entries, *, named=None, called=None, notes=()):
    """The Source, from entries whose labels are as they were written: whole numbers or words, None or below 0 for no label.
    entries: {split: [Entry]}; named: the classes' names in the order of the numbers; called: {number: (id, name)}."""
    notes, folder = list(notes), path if os.path.isdir(path) else os.path.dirname(path)
    numbers = {label: whole(label) for label in {entry.label for split in entries.values() for entry in split} - {None}}
    if None in numbers.values():
        class_of = {label: Class(str(label), str(label)) for label in numbers}
        every = class_of.values()
    else:
        numbers = {label: number for label, number in numbers.items() if number >= 0}
        of_number = _of_numbers(set(numbers.values()), named or listed(folder), called or {}, path)
        class_of = {label: of_number[number] for label, number in numbers.items()}
        every = of_number.values()
    synonyms = words(os.path.join(folder, "words.txt"))
    classes = tuple(Class(id, synonyms.get(id, name) if is_wnid(id) else name) for id, name in sorted(set(every)))
    place = {one.id: index for index, one in enumerate(classes)}
    label_of = {label: place[one.id] for label, one in class_of.items()}
    splits = {}
    for split, those in entries.items():
        kept = [entry._replace(label=label_of[entry.label]) for entry in those if entry.label in label_of]
        if kept:
            splits[split] = kept
            if missing := len(those) - len(kept):
                notes.append(f"{missing:,} pictures of {split} have no label and were left out")
            if empty := set(place) - {classes[entry.label].id for entry in kept}:
                notes.append(f"{split} has no picture of {some(empty)}")
        elif those:
            notes.append(f"{split} has no labels and is left out")
    if not splits:
        raise Refused(f"{path} holds {kind} without one label: labels are whole numbers from 0, or words.")
    return Source(kind, path, classes, splits, licence(folder), notes)


def whole(label):
    """The whole number that a label is, as a number or as text; None for words."""
    if isinstance(label, str):
        return int(label) if re.fullmatch("[+-]?[0-9]{1,18}", label) else None
    return label


def _of_numbers(numbers, named, called, path):
    """{number: Class}: every one of the list, where there is one; else those that occur."""
    if named:
        if numbers and max(numbers) >= len(named):
            raise Refused(f"{path} has the label {max(numbers)}, and its list of names has {len(named):,} (0 to {len(named) - 1}): "
                          f"give every class its line.")
        return dict(enumerate(_classes(named)))
    if all(called.get(number) for number in numbers) and len({called[number][0] for number in numbers}) == len(numbers):
        return {number: Class(*called[number]) for number in numbers}
    width = len(str(max(numbers, default=0)))
    return {number: Class(f"{number:0{width}d}", f"{number:0{width}d}") for number in numbers}  # sorted as text = sorted as numbers


def _classes(named):
    """Names in order -> their classes. Lines of wnids give ids; a name is its own id, unless another class has it too."""
    pairs = [name.replace("\t", " ").partition(" ") for name in named]
    if all(is_wnid(first) for first, *_ in pairs) and len({first for first, *_ in pairs}) == len(named):
        return [Class(first, rest.split(",")[0].strip() or first) for first, _, rest in pairs]
    width = len(str(len(named) - 1))
    unique = len(set(named)) == len(named)
    return [Class(name if unique else f"{number:0{width}d}", name) for number, name in enumerate(named)]


def listed(folder):
    """The class names of the first list beside a source, or None."""
    for name in NAME_FILES:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            with open(path, encoding="utf-8-sig", errors="surrogateescape") as lines:
                found = [line.strip() for line in lines.read().rstrip().split("\n")]
            if "" in found:
                raise Refused(f"line {found.index('') + 1} of {path} is empty: it names the classes, a line each, in order.")
            return found
    return None


def refuse_pointer(path):
    """A clone without Git LFS holds small texts in the place of large files."""
    with open(path, "rb") as file:
        if file.read(40).startswith(b"version https://git-lfs"):
            raise Refused(f"{path} is a pointer of Git LFS, not the file itself: run git lfs pull beside it.")
