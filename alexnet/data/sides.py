"""prepare --holdout: which pictures of train are kept apart, as val or under other names. A picture's side follows a hash of its
name, or of its group, so that a source that grows moves none across; and what looks like a training picture is left out."""

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import numpy as np

from alexnet import processor
from alexnet.data import likeness, picture, sources
from alexnet.errors import Misused, Refused
from alexnet.progress import Progress

BLOCK = 64  # pictures that a thread reads at a time
NAME = re.compile("[A-Za-z0-9_-]+")  # of a split


def shares(holdout):
    """0.1, or tune=0.05,claims=0.1 -> {split: share}."""
    parts = [part.rpartition("=") for part in str(holdout or "").split(",") if part.strip()]
    try:
        found = {name.strip() or "val": float(share) for name, _, share in parts}
    except ValueError:
        found = {"train": 0.0}
    known = all(NAME.fullmatch(name) and name != "train" and share > 0 for name, share in found.items())
    if not known or len(found) < len(parts) or sum(found.values()) >= 1:
        raise Misused(f"--holdout is {holdout}; it wants a share between 0 and 1, like 0.1, or shares by name, like "
                      f"tune=0.05,val=0.1.")
    return found


def check(holdout, group):
    if group and not holdout:
        raise Misused("--group keeps pictures that belong together on one side of --holdout: give that too, like --holdout 0.1.")
    try:
        return re.compile(group) if group else None
    except re.error as error:
        raise Misused(f"--group {group!r} is not a regular expression ({error}); an example is --group '(person[0-9]+)'.") from None


def divided(found, shares, group):
    """The source with parts of its train as splits of their own."""
    for name in shares:
        if name in found.splits:
            raise Misused(f"{found.path} has a {name} of {len(found.splits[name]):,} pictures: --holdout makes one where there is "
                          f"none; --holdout tune=0.1 would call it tune.")
    sides, lone, count = {"train": [], **{name: [] for name in shares}}, 0, len(found.splits["train"])
    ends = list(zip(accumulate(shares.values()), shares))  # each split has a stretch of the numbers from 0 to 1; train has the rest
    for entry in found.splits["train"]:
        key = group_of(entry.name, group)
        lone += bool(group) and key is None
        place = share_of(key or entry.name)
        sides[next((name for end, name in ends if place < end), "train")].append(entry)
    notes = [f"{name} is {len(sides[name]):,} of {count:,} pictures ({len(sides[name]) / count:.1%}), by a hash of "
             f"{'their group' if group else 'their names'}" for name in shares]
    notes += [f"{lone:,} pictures have no group by {group.pattern!r}: each is one of its own"] if lone else []
    for name, entries in sides.items():
        if not entries:
            raise Refused(f"a --holdout of {', '.join(map(str, shares.values()))} leaves {name} without any of {count:,} pictures: "
                          f"choose another share.")
        absent = len(found.classes) - len({entry.label for entry in entries})
        notes += [f"{name} has no picture of {absent:,} of the {len(found.classes):,} classes"] * bool(absent)
    found.splits = {**sides, **{name: entries for name, entries in found.splits.items() if name != "train"}}
    found.notes = [*found.notes, *notes]
    return found


def group_of(name, group):
    """What the pattern's brackets hold, or all that it matches; None where it matches nothing."""
    match = group and group.search(name)
    return None if not match else "\0".join(part or "" for part in match.groups()) if match.groups() else match[0]


def share_of(key):
    """A number from 0 to 1 that belongs to this key, and has nothing to do with the order in the store."""
    digest = hashlib.blake2b(os.fsencode(key), digest_size=8, person=b"side").digest()
    return int.from_bytes(digest, "big") / 2**64


def marks(training):
    """The signatures of a split's pictures."""
    def some(first):
        return likeness.signatures(training.pictures(np.arange(first, min(first + BLOCK, len(training)))))

    with ThreadPoolExecutor(processor.cores()) as threads:
        return np.concatenate(list(threads.map(some, range(0, len(training), BLOCK))))


def apart(training, known, entries):
    """known: the training pictures' marks. -> (entries that resemble none of them, [{"path", "reason"}, ...] of those that do).
    One that cannot be read stays: it is refused, with its reason, where it is packed."""
    def some(first):
        squares, places = [], []
        for position, entry in enumerate(entries[first : first + BLOCK], first):
            try:
                squares.append(picture.square(sources.read(entry)[0], training.size, training.resampling))
                places.append(position)
            except (Refused, OSError):
                continue
        return places, likeness.signatures(np.stack(squares)) if squares else None

    readable, own = [], []
    with Progress("looking for likenesses", len(entries)) as bar, ThreadPoolExecutor(processor.cores()) as threads:
        for places, signed in threads.map(some, range(0, len(entries), BLOCK)):
            readable += places
            own += [signed] if places else []
            bar.advance(min(BLOCK, len(entries) - bar.done))
    alike, count = {}, len(training)
    pairs = likeness.pairs(np.concatenate([known, *own]), since=count) if own else []
    for first, second, kind in pairs:
        if first < count <= second:
            alike.setdefault(readable[second - count], (first, kind))
    for first, second, kind in pairs:  # of equal pictures only the first is compared with others
        if first >= count and kind == "exact" and readable[first - count] in alike:
            alike.setdefault(readable[second - count], alike[readable[first - count]])
    left_out = [{"path": entries[position].name, "reason": f"{kind} duplicate of {training.names[b]}, which is in train"}
                for position, (b, kind) in sorted(alike.items())]
    return [entry for position, entry in enumerate(entries) if position not in alike], left_out
