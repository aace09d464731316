"""WebDataset shards: tar files whose members share a key and differ in the ending, KEY.jpg beside KEY.cls or KEY.json. Plain tars
are read in place: of every shard the members are listed once, and a picture is its shard, where it begins and how long it is."""

import json
import os
import tarfile
import zlib
from itertools import islice

from alexnet.data.sources import naming, tars
from alexnet.data.sources.listing import SUFFIXES, Entry, is_wnid
from alexnet.errors import Refused
from alexnet.progress import Progress

LAYOUT = "WebDataset's tar shards (KEY.jpg beside KEY.cls or KEY.json in train-0000.tar, val-0000.tar)"
PACKED = (".tar.gz", ".tgz")
LABELS = ("label", "cls", "class", "class_id", "wnid", "class_name")  # of a .json, the first that is there; a .cls goes before it
IDS, NAMES = ("wnid", "class_id", "class_name", "class"), ("class_name", "name", "class")  # words of a .json for whole numbers
FIRST, LOOKED = 8, 300  # shards of a folder, and members of each, that are looked at to tell whether it is one of shards
NO_PICTURE, AGAIN = "have no picture and were left out", "have several pictures or labels: the first counts"
LONGEST = 2**20  # bytes of a .cls or .json that are read


def read(path):
    if os.path.isdir(path):
        folder, found = path, naming.files(path, (".tar", *PACKED))
    else:
        folder, found = os.path.dirname(path), [os.path.basename(path)]
        if not path.lower().endswith((".tar", *PACKED)) or not os.path.isfile(path):
            return None
    shards = [name for name in found if name.lower().endswith(".tar")]
    looked = (shards or found)[:: len(shards or found) // FIRST + 1]  # from all over: those of test may have no labels
    if not any(_is_shard(os.path.join(folder, name), alone=folder != path) for name in looked):
        return None
    for name in found:
        if name not in shards and f"{name.removesuffix('.tgz').removesuffix('.tar.gz')}.tar" not in shards:
            raise Refused(f"{os.path.join(folder, name)} is packed, and shards are read in place: run gunzip on it first "
                          f"(its pictures are compressed already, so that takes hardly more room).")
    notes = []
    entries, called = _entries(folder, naming.by_split(shards, notes), notes)
    return naming.labelled("WebDataset shards", path, entries, called=called, notes=notes)


def _is_shard(path, alone):
    """Whether a tar begins with a picture and a label of one key. One that is damaged is none, unless it was named itself."""
    kinds = {}
    try:
        for name in islice(_packed(path) if path.lower().endswith(PACKED) else (one.name for one in tars.members(path)), LOOKED):
            key, ending = _key(name)
            kinds.setdefault(key, set()).add("picture" if _is_picture(ending) else ending)
            if "picture" in kinds[key] and kinds[key] & {"cls", "json"}:
                return True
    except Refused:
        naming.refuse_pointer(path)
        if alone:
            raise
    return False


def _packed(path):
    try:
        with tarfile.open(path, "r:gz") as tar:
            yield from (member.name for member in tar)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise Refused(f"{path} is no whole .tar.gz ({error}): fetch it again.") from None


def _key(name):
    """KEY.ENDING: the ending begins at the first dot of the last part, as WebDataset has it."""
    folder, slash, last = name.rpartition("/")
    stem, _, ending = last.partition(".")
    return folder + slash + stem, ending.lower()


def _is_picture(ending):
    return f".{ending.rpartition('.')[2]}" in SUFFIXES


def _entries(folder, shards, notes):
    """-> ({split: [Entry]} with labels as they are written, {number: (id, name)} from the .json files)"""
    entries, called, count = {}, {}, {NO_PICTURE: 0, AGAIN: 0}
    with Progress("listing", sum(map(len, shards.values())), unit="shards") as bar:
        for split, names in shards.items():
            entries[split] = []
            for name in names:
                entries[split] += _shard(os.path.join(folder, name), name, called, count)
                bar.advance(1)
    notes += [f"{number:,} keys of the shards {what}" for what, number in count.items() if number]
    return entries, called


def _shard(path, name, called, count):
    samples, again = {}, set()  # key -> {"cls": (offset, length), "json": ..., "picture": (name, offset, length)}
    for member, offset, length in tars.members(path):
        key, ending = _key(member)
        if key.rpartition("/")[2] in ("", "__MACOSX") or member.startswith("__MACOSX/"):
            continue
        kind = "picture" if _is_picture(ending) else ending
        if kind in ("picture", "cls", "json"):
            if kind in samples.setdefault(key, {}):
                again.add(key)
            else:
                samples[key][kind] = member, offset, length
    count[AGAIN] += len(again)
    entries = []
    with open(path, "rb") as file:
        for key, found in samples.items():
            if "picture" not in found:
                count[NO_PICTURE] += 1
                continue
            member, offset, length = found["picture"]
            entries.append(Entry(f"{name}/{member}", _label(file, found, called), path, None, offset, length))
    return entries


def _label(file, found, called):
    """A whole number or a word, or None. The words that a .json has for a number are read at the number's first picture."""
    label = _text(file, found["cls"]) if "cls" in found else None
    if not label or (naming.whole(label) is not None and naming.whole(label) not in called):
        facts = _facts(file, found.get("json"))
        label = label or next((facts[name] for name in LABELS if name in facts), None)
        number = naming.whole(label) if label else None
        if number is not None and number not in called:
            id = next((facts[name] for name in IDS if naming.whole(facts.get(name, "0")) is None), None)
            name = next((facts[name] for name in NAMES if naming.whole(facts.get(name, "0")) is None), id)
            called[number] = (id, name.split(",")[0].strip() if is_wnid(id) else name) if id else None
    return label


def _facts(file, place):
    """What a .json says of its picture: names with a word or a whole number each, all as text; anything else is nothing."""
    try:
        facts = json.loads(_text(file, place)) if place else {}
    except (ValueError, RecursionError):
        return {}
    pairs = facts.items() if isinstance(facts, dict) else ()
    return {name: str(value).strip() for name, value in pairs
            if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip()}


def _text(file, place):
    _, offset, length = place
    return os.pread(file.fileno(), min(length, LONGEST), offset).decode("utf-8", "surrogateescape").strip()
