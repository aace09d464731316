"""ILSVRC-2012 and -2010 as they are handed out: a tar of tars, one a class; tars of numbered pictures whose labels are in the
devkit; boxes. The tars are read in place; each may also be unpacked. A folder of tars alone, one a wnid, is how the larger
ImageNet comes. Pictures have the names they have in class folders, so that all of these make the same store."""

import os
import re
from typing import NamedTuple

from alexnet.data.sources import ilsvrc_boxes, ilsvrc_devkit, tars
from alexnet.data.sources.listing import SPLITS, SUFFIXES, Class, Entry, Source, Walk, is_wnid, licence, words
from alexnet.data.sources.tiny_imagenet import LICENCE
from alexnet.errors import Refused
from alexnet.progress import Progress

LAYOUT = "ILSVRC's tars (ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz, or those of 2010)"
ALIASES = {"train": "train", "val": "val|valid|validation", "test": "test"}
CLASSES = 1000
FORMS = ("sorted", "tar", "tars", "flat")  # where a split is there twice, the first counts: what is sorted needs no devkit
HEADER = 1024  # bytes of a tar that a member takes beside its content, about


class Year(NamedTuple):
    year: int
    devkit: str  # its name in the hand-out
    pictures: dict  # split -> how many were published with labels


YEARS = (
    Year(2012, "ILSVRC2012_devkit_t12.tar.gz", {"train": 1_281_167, "val": 50_000}),
    Year(2010, "ILSVRC2010_devkit-1.0.tar.gz", {"train": 1_261_406, "val": 50_000, "test": 150_000}),
)


class Place(NamedTuple):
    form: str  # tar; and of a folder: tars (n01440764.tar), flat (numbered pictures), sorted (class folders)
    path: str


def read(path):
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    if folder != path and not re.fullmatch(r"ILSVRC20\d\d_.*\.tar", os.path.basename(path), re.I):
        return None
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # class folders say it
        return None
    sets = [(year, places) for year in YEARS if (places := _places(folder, names, year))]
    if folder != path:  # one tar: what lies beside it is left alone, the devkit excepted
        sets = [(year, {split: place}) for year, places in sets for split, place in places.items() if place.path == path]
    if len(sets) > 1:
        raise Refused(f"{path} holds both ILSVRC-2012 and ILSVRC-2010: give each a folder of its own.")
    if sets:
        return _source(path, folder, names, *sets[0])
    for place in (path, os.path.join(path, "train")):
        if _form(place, "train", None) == "tars":
            return _tars_alone(path, place)
    return None


def _places(folder, names, year):
    """-> {split: Place} of what lies there of this year's set; nothing where class folders are all."""
    places = {}
    for split, aliases in ALIASES.items():
        found = {}  # form -> path
        for name in names:
            here = os.path.join(folder, name)
            if re.fullmatch(rf"ILSVRC{year.year}_(img|images)_{split}(_v\d+)?\.tar", name, re.I) and os.path.isfile(here):
                found["tar"] = here
            elif re.fullmatch(rf"(ILSVRC{year.year}_)?((img|images)_)?({aliases})(_v\d+)?", name, re.I):
                found.setdefault(_form(here, split, year), here)
        if not found.keys() - {None} and (form := _form(folder, split, year)) != "sorted":
            found[form] = folder
        if form := next((form for form in FORMS if form in found), None):
            places[split] = Place(form, found[form])
    named = any(f"ilsvrc{year.year}" in name.lower() for name in names) or _find_devkit(folder, names, year)
    ours = [split for split, place in places.items() if place.form in ("tar", "flat") or (place.form == "tars" and named)]
    return places if ours and (ours != ["test"] or len(places) == 1) else {}


def _form(folder, split, year):
    """What a folder holds, or None when it is none of these or no folder."""
    if not os.path.isdir(folder) or not os.access(folder, os.R_OK | os.X_OK):
        return None
    forms = set()
    with os.scandir(folder) as items:
        for item in items:
            if split == "train" and _class_of_tar(item.name):
                forms.add("tars")
            elif year and split != "train" and _number(item.name, split, year):
                forms.add("flat")
            elif is_wnid(item.name) and item.is_dir():
                forms.add("sorted")
    return next((form for form in ("tars", "flat", "sorted") if form in forms), None)


def _class_of_tar(name):
    stem = name.rpartition("/")[2].removesuffix(".tar")
    return stem if name.endswith(".tar") and is_wnid(stem) else None


def _number(name, split, year):
    found = re.fullmatch(rf"ILSVRC{year.year}_{split}_(\d+)\.jpe?g", name.rpartition("/")[2], re.I)
    return int(found[1]) if found else None


def _find_devkit(folder, names, year):
    """The unpacked one goes first; at last its data/ alone, unpacked beside the pictures."""
    kit = re.escape(year.devkit.removeprefix(f"ILSVRC{year.year}_").removesuffix(".tar.gz"))
    called = [name for name in names if re.fullmatch(rf"(ILSVRC{year.year}_)?{kit}(\.tar|\.tar\.gz|\.tgz|\.gz)?", name, re.I)]
    if called:
        return os.path.join(folder, min(called, key=lambda name: not os.path.isdir(os.path.join(folder, name))))
    return folder if os.path.isfile(os.path.join(folder, "data", ilsvrc_devkit.META)) else None


def _source(path, folder, names, year, places):
    found, notes, splits = _find_devkit(folder, names, year), [], {}
    kit = ilsvrc_devkit.read(found, year.year, beside=folder) if found else None
    for split in [split for split in SPLITS if split in places]:
        if _has_labels(places, split, year=year, kit=kit, folder=folder, notes=notes):
            splits[split] = _listed(places[split], split, year=year, kit=kit, notes=notes)
    if not any(splits.values()):
        raise Refused(f"{path} has no picture of ILSVRC-{year.year} with a label{': ' + notes[-1] if notes else ''}.")
    classes = _classes(folder, splits, kit=kit, notes=notes)
    if len(classes) != CLASSES:
        notes.append(f"there are {len(classes):,} classes; {CLASSES:,} were published")
    patches = _patches(folder, names, year)
    for split, entries in splits.items():
        _complete(entries, classes, patches=patches, boxes=_boxes(folder, names, split, year), split=split, notes=notes)
        if len(entries) != year.pictures[split]:
            notes.append(f"{split} has {len(entries):,} pictures; {year.pictures[split]:,} were published")
    return Source(f"ILSVRC-{year.year}", path, classes, splits, licence(folder) or LICENCE, notes)


def _tars_alone(path, train):
    places, notes = {"train": Place("tars", train)}, []
    for split in ("val", "test"):
        for name in ALIASES[split].split("|"):
            if split not in places and _form(os.path.join(path, name), split, None) == "sorted":
                places[split] = Place("sorted", os.path.join(path, name))
    splits = {split: _listed(place, split, year=None, kit=None, notes=notes) for split, place in places.items()}
    if not all(splits.values()):
        raise Refused(f"{path} has no picture in the tars of its classes: fetch them again.")
    classes = _classes(path, splits, kit=None, notes=notes)
    for split, entries in splits.items():
        _complete(entries, classes, patches={}, boxes={}, split=split, notes=notes)
    return Source("ImageNet, a tar a class", path, classes, splits, licence(path) or LICENCE, notes)


def _has_labels(places, split, *, year, kit, folder, notes):
    place = places[split]
    if split == "train" or place.form == "sorted" or (kit and split in kit.truths):
        return True
    truth = ilsvrc_devkit.TRUTH[split].format(year.year)
    if split == "test":
        why = f"put {truth} beside it" if split in year.pictures else "they were never published"
        notes.append(f"the test pictures in {place.path} have no labels and were left out: {why}")
        return False
    train = places.get("train")
    raise Refused(f"the labels of {place.path} are in the devkit, and none with {truth} is here: put {year.devkit} into {folder}"
                  f"{', or give the training tar alone' if train and train.form == 'tar' else ''}.")


def _listed(place, split, *, year, kit, notes):
    """-> the split's entries, as yet with the wnid for a label."""
    entries, others, seen, truth = [], 0, 0, kit.truths.get(split, ()) if kit else ()
    with Progress(f"listing {split}", _tar_bytes(place) >> 20, unit="MB") as bar:
        for wnid, name, path, offset, length in _files(place, split):
            number = None if wnid or not year else _number(name, split, year)
            if number is not None and split != "train":
                if not 0 < number <= len(truth):
                    raise Refused(f"{name} of {place.path} has no line in the ground truth, which has {len(truth):,}: "
                                  f"take both from the same set.")
                wnid = truth[number - 1]
            if wnid and os.path.splitext(name)[1].lower() in SUFFIXES and not name.rpartition("/")[2].startswith("."):
                entries.append(Entry(f"{split}/{wnid}/{name}", wnid, path, None, offset, length))
            else:
                others += 1
            seen += (length or 0) + HEADER
            if seen >> 20 > bar.done:
                bar.advance((seen >> 20) - bar.done)
    whole = {entry.name: entry for entry in entries}  # what was added to a tar again replaces what was there
    others += len(entries) - len(whole)
    if others:
        notes.append(f"{others:,} files of {place.path} were left out: no pictures of this split, or there twice")
    return list(whole.values())


def _tar_bytes(place):
    if place.form == "tars":
        return sum(item.stat().st_size for item in os.scandir(place.path) if _class_of_tar(item.name))
    return os.path.getsize(place.path) if place.form == "tar" else 0


def _files(place, split):
    """Yields (wnid, or None where a number says it; name; and where it lies: path, offset, length)."""
    path, inside = place.path, os.path.join(place.path, "")
    if place.form == "tar":
        for member in tars.members(path):
            wnid = _class_of_tar(member.name) if split == "train" else None
            for file in tars.members(path, inside=member) if wnid else (member,):
                yield wnid, file.name.rpartition("/")[2], path, file.offset, file.length
    if place.form == "tars":
        for name in sorted(os.listdir(path)):
            if wnid := _class_of_tar(name):
                for file in tars.members(inside + name):
                    yield wnid, file.name.rpartition("/")[2], inside + name, file.offset, file.length
    if place.form == "flat":
        for name in sorted(os.listdir(path)):
            if _number(name, split, YEARS[0]) or _number(name, split, YEARS[1]):  # the devkit, and more, may lie beside them
                yield None, name, inside + name, 0, None
    if place.form in ("tars", "sorted"):
        walk = Walk()
        for wnid in walk.folders(path):
            if is_wnid(wnid) and not os.path.isfile(f"{inside}{wnid}.tar"):
                for name in walk.pictures(inside + wnid):
                    yield wnid, name, os.path.join(inside + wnid, name), 0, None


def _classes(folder, splits, *, kit, notes):
    """The devkit's, or without one those of the pictures."""
    used = {split: {entry.label for entry in entries} for split, entries in splits.items()}
    every = set().union(*used.values())
    if not kit:
        names = words(os.path.join(folder, "words.txt"))
        if not names:
            notes.append("the classes are called by their wnids: the devkit, or a words.txt, in the folder would name them")
        return tuple(Class(wnid, names.get(wnid) or wnid) for wnid in sorted(every))
    if unknown := sorted(every - kit.names.keys()):
        raise Refused(f"{folder} has pictures of {_some(unknown)}, and the devkit {kit.path} has no such class: "
                      f"take both from the same set.")
    for split, wnids in used.items():
        if missing := sorted(kit.names.keys() - wnids):
            notes.append(f"{split} has no picture of {_some(missing)}")
    return tuple(Class(wnid, kit.names[wnid]) for wnid in sorted(kit.names))


def _some(wnids):
    return wnids[0] + (f" and {len(wnids) - 1:,} more" if len(wnids) > 1 else "")


def _patches(folder, names, year):
    """2010's pictures that were blank are handed out again in a tar of their own: -> {name: Member}."""
    if year.year != 2010 or "patch_images.tar" not in names:
        return {}
    path = os.path.join(folder, "patch_images.tar")
    return {member.name.rpartition("/")[2]: (path, member) for member in tars.members(path)}


def _boxes(folder, names, split, year):
    called = [name for name in names if re.fullmatch(rf"ILSVRC{year.year}_bbox_{split}(_v\d+)?\.(tar\.gz|tgz|tar)", name, re.I)]
    return ilsvrc_boxes.read(os.path.join(folder, called[-1])) if called else {}


def _complete(entries, classes, *, patches, boxes, split, notes):
    """Puts labels, boxes and patches into the list itself: another one would double the memory."""
    label_of = {pair.id: label for label, pair in enumerate(classes)}
    replaced = boxed = 0
    with Progress(f"boxes of {split}", len(entries)) as bar:
        for place, (name, wnid, path, _, offset, length, _) in enumerate(entries):
            file = name.rpartition("/")[2]
            if patch := patches.get(file):
                path, (_, offset, length) = patch
                replaced += 1
            if box := boxes.pop(f"{os.path.splitext(file)[0]}/{wnid}", None):
                box = ilsvrc_boxes.scaled(box, path=path, offset=offset, length=length)
                boxed += 1
                if boxed % 1000 == 0:
                    bar.advance(place + 1 - bar.done)
            entries[place] = Entry(name, label_of[wnid], path, box, offset, length)
    if replaced:
        notes.append(f"{replaced:,} pictures of {split} were taken from patch_images.tar")
    if boxed:
        notes.append(f"{boxed:,} pictures of {split} have a box, the largest of their class, in their own pixels")
