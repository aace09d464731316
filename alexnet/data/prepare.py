"""alexnet prepare SOURCE STORE: reads every picture once, makes it square (picture.py), packs it (store.py).

A task is a shard of 1,024 pictures, done by one process and written whole or not at all, with its sums beside it; so
the same bytes come out whatever the number of workers, and a prepare that was stopped goes on with the shards that are
missing. Mean image and colour covariance (paper 2 and 4.1) come from integer sums, which no order of adding can change.
"""

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import time
from typing import Annotated, Literal, NamedTuple

from alexnet.data import crew, packing, picture, sides, sources
from alexnet.data import store as stores
from alexnet.data.sources import prepared
from alexnet.errors import Misused, Refused, nearest
from alexnet.progress import Progress, say

UNPACKED = "unpacked"  # in the store's folder while it is made, for sources that cannot be read in place
RESAMPLINGS = ("antialiased", "points")
NAMED = 5  # refused pictures told on stderr, and as many that were left out; refused.jsonl has them all


class Plan(NamedTuple):
    """What is made of the pictures; two prepares with the same plan and entries write the same bytes."""

    folder: str  # STORE/SPLIT
    size: int
    native: bool
    encoding: str
    verbatim: bool = False  # the JPEG streams of a store, as they are
    points: bool = False

    @property
    def resampling(self):
        return picture.POINTS if self.points else picture.RESAMPLING


def prepare(
    source: Annotated[str, "pictures, as a folder, tars, shards, Parquet or a list: docs/data.md has every format; or a store"],
    store: Annotated[str, "the folder to write; a stopped prepare goes on where it was"],
    *,
    size: Annotated[str | None, "side of the squares in pixels (256 when left out), or native: squares of one size already"] = None,
    encoding: Annotated[
        Literal["raw", "jpeg"] | None, "raw (when left out), or jpeg: quality 95, a fifth of the space, and longer to read"
    ] = None,
    resampling: Annotated[
        Literal["antialiased", "points"] | None, "points: one sample a cell, as Tiny-ImageNet was made: for the net that ships"
    ] = None,
    split: Annotated[str | None, "only this split of the source; without it, every one found"] = None,
    holdout: Annotated[
        str | None, "make val of this share of train, by a hash of each name, without duplicates of train; or tune=0.05,val=0.1"
    ] = None,
    group: Annotated[str | None, "with --holdout: a regular expression; names in which it finds the same stay together"] = None,
    merge: Annotated[str | None, "SOURCE and these stores (a comma between them) are parts: join them", "STORE"] = None,
    dry_run: Annotated[bool, "say what was recognised and the room it takes, and write nothing"] = False,
    workers: Annotated[int | None, "processes; without it, one a core"] = None,
    strict: Annotated[bool, "fail at the end when a picture was refused; the store is written all the same"] = False,
) -> dict:
    began = time.monotonic()
    shares, pattern = sides.shares(holdout), sides.check(holdout, group)
    if workers is not None and int(workers) < 1:
        raise Misused(f"workers is {workers}: one process or more is needed.")
    found = _found(source, merge)
    if shares:
        if split:
            raise Misused("--holdout makes train and val together: leave --split out.")
        found = sides.divided(found, shares, pattern)
    side, encoding = _side((found.size or 256) if size is None else size), encoding or found.encoding or "raw"
    if encoding not in packing.SUFFIX:
        raise Misused(f"{encoding!r} is no encoding: {nearest(encoding, packing.SUFFIX)}")
    if resampling not in (None, *RESAMPLINGS):
        raise Misused(f"{resampling!r} is no resampling: {nearest(resampling, RESAMPLINGS)}")
    points = resampling == "points" or (resampling is None and found.resampling == picture.POINTS)
    store = os.path.abspath(os.fspath(store))
    _check_places(found.path, store)
    wanted = _wanted(found, split)
    if dry_run:
        return _recognised(found, wanted, store, side, encoding, points)
    options = {"size": size, "encoding": encoding, "resampling": resampling, "split": split, "holdout": holdout, "group": group,
               "merge": merge}
    command = shlex.join(["alexnet", "prepare", os.fspath(source), store] + [
        word for name, value in options.items() if value for word in (f"--{name}", str(value))])
    report, read, card, known, unpacked = {}, 0, {}, None, os.path.join(store, UNPACKED)
    if found.unpack:
        found.splits = {name: found.splits[name] for name in wanted}
        found = _unpacked(found, unpacked)
    for name in wanted:
        entries, left_out = sources.in_store_order(found.splits[name]), []
        if name in shares:
            training = stores.open_split(store, "train")
            known = sides.marks(training) if known is None else known
            entries, left_out = sides.apart(training, known, entries)
        plan = _plan(store, name, entries, side, encoding, found)._replace(points=points)
        card, newly = _prepare_split(found, entries, plan, command, workers, left_out)
        unread, alike = _tell_refused(plan.folder)
        report[name] = {"images": card["images"], "refused": len(unread), "classes": len(card["classes"])}
        report[name] |= {"left_out": len(alike)} if name in shares else {}
        read += newly
    shutil.rmtree(unpacked, ignore_errors=True)
    taken = time.monotonic() - began
    refused = sum(facts["refused"] for facts in report.values())
    if refused and strict:
        raise Refused(
            f"{refused:,} pictures were refused (refused.jsonl in {store} names them); all others are in the store."
        )
    return {
        "store": store,
        "source": found.path,
        "kind": found.kind,
        "size": card["size"],
        "encoding": encoding,
        "splits": report,
        "seconds": round(taken, 3),
        "images_per_second": round(read / taken, 1),  # of those read now, not those an earlier prepare had done
    }


def _found(source, merge):
    parts = [os.fspath(source), *filter(None, (merge or "").split(","))]
    found = [sources.recognise(part) for part in parts]
    if not merge:
        return found[0]
    for part in found:
        if not part.size:
            raise Misused(f"--merge joins stores, and {part.path} is not one ({part.kind}): prepare it first.")
    return prepared.joined(found)


def _recognised(found, wanted, store, side, encoding, points):
    """What a prepare would do, for --dry-run."""
    pictures = sum(len(found.splits[name]) for name in wanted)
    needed = None if side is None else round(pictures * _each(side, encoding)) + found.bytes
    return {"dry_run": True, "store": store, "source": found.path, "kind": found.kind, "classes": len(found.classes),
            "first_classes": [list(one) for one in found.classes[:3]], "licence": found.licence, "notes": found.notes,
            "splits": {name: {"images": len(found.splits[name]), "boxes": sum(bool(e.box) for e in found.splits[name])}
                       for name in wanted},
            "size": "native" if side is None else side, "encoding": encoding,
            "resampling": None if side is None else RESAMPLINGS[points], "bytes_needed": needed, "bytes_free": _free(store)}


def _unpacked(found, folder):
    """The source with its pictures in plain files; they go when the store is finished."""
    if found.bytes > _free(folder):
        raise Refused(f"the pictures of {found.path} have to be unpacked first, to {found.bytes / 1e9:.1f} GB, and the disk "
                      f"of {folder} has {_free(folder) / 1e9:.1f} GB left: make room, or choose another folder.")
    try:
        os.makedirs(folder, exist_ok=True)
        with Progress("unpacking", sum(map(len, found.splits.values()))) as bar:
            return found.unpack(folder, bar.advance)
    except OSError as error:
        raise Refused(f"{folder} cannot be written ({error.strerror or error}): make room or choose another folder.") from None


def _wanted(found, split):
    """The splits to prepare, and a word on what was found."""
    if split is not None and split not in found.splits:
        raise Misused(f"{found.path} has no split {split!r}: {nearest(split, found.splits)}")
    wanted = list(found.splits) if split is None else [split]
    counts = ", ".join(f"{name} {len(found.splits[name]):,}" for name in wanted)
    say(f"{found.kind}, {len(found.classes):,} classes; pictures: {counts}")
    for note in found.notes:
        say(f"note: {note}")
    return wanted


def _side(size):
    if size == "native":
        return None
    try:
        side = int(size)
    except (TypeError, ValueError):
        raise Misused(f"size {size!r} is no number of pixels: give one such as 256, or native.") from None
    if not 1 <= side <= 4096:
        raise Misused(f"size {side} is out of range: 1 to 4096 pixels, or native.")
    return side


def _check_places(source, store):
    inside = os.path.realpath(store) + os.sep
    if inside.startswith(os.path.realpath(source) + os.sep):
        raise Refused(f"the store {store} lies inside its source {source}: choose a folder outside it.")
    if os.path.lexists(store) and not os.path.isdir(store):
        raise Refused(f"{store} is a file, and a store is a folder: choose another name.")


def _plan(store, split, entries, side, encoding, found):
    folder = os.path.join(store, split)
    if side is not None:
        return Plan(folder, side, False, encoding, encoding == found.encoding == "jpeg" and side == found.size)
    for entry in entries:
        with contextlib.suppress(Refused, OSError):
            return Plan(folder, len(picture.native(sources.read(entry)[0])), True, encoding)
    raise Refused(
        f"no picture of {split} is readable and square, as --size native wants: give --size a number of pixels."
    )


def _prepare_split(source, entries, plan, command, workers, left_out):
    """-> (store.json as a dict, pictures read now)"""
    split = os.path.basename(plan.folder)
    shards = [entries[first : first + stores.SHARD] for first in range(0, len(entries), stores.SHARD)]
    keys = [packing.key(shard, plan) for shard in shards]
    whole = hashlib.sha256(("".join(keys) + (json.dumps(left_out) if left_out else "")).encode()).hexdigest()[:32]
    if os.path.isfile(os.path.join(plan.folder, stores.CARD)):
        card = stores.read_card(plan.folder)
        if card["plan"] != whole or card["classes"] != [list(pair) for pair in source.classes]:
            made = f"size {card['size']}, {card['encoding']}, {card['images']:,} pictures"
            raise Refused(
                f"{plan.folder} is finished, from other pictures or settings ({made}): "
                "choose another STORE or delete it."
            )
        if os.path.isfile(os.path.join(plan.folder, stores.UNFINISHED)):  # killed between the last file and the tidying
            packing.tidy(plan.folder, card)
        say(f"{plan.folder} is prepared already: {card['images']:,} pictures, nothing to do")
        return card, 0
    _check_siblings(os.path.dirname(plan.folder), split, plan, source.classes)
    try:
        _open_folder(plan.folder, command)
        done = [packing.is_done(number, shard, key, plan) for number, (shard, key) in enumerate(zip(shards, keys))]
        jobs = [(n, shard, key, plan) for n, (shard, key) in enumerate(zip(shards, keys)) if not done[n]]
        missing = sum(len(shard) for _, shard, _, _ in jobs)
        if len(entries) > missing:
            say(f"{split}: going on, {len(entries) - missing:,} of {len(entries):,} pictures were done before")
        _check_space(plan, missing)
        with Progress(f"preparing {split}", len(entries), start=len(entries) - missing) as bar:
            crew.pack(jobs, workers, bar)
        card = packing.finish(source, shards, plan, whole, left_out)
    except OSError as error:
        raise Refused(
            f"{plan.folder} cannot be written ({error.strerror or error}): make room or choose another folder; "
            "the same command goes on where this one stopped."
        ) from None
    return card, missing


def _open_folder(folder, command):
    os.makedirs(folder, exist_ok=True)
    ours = os.path.join(folder, stores.UNFINISHED)
    if os.listdir(folder) and not os.path.isfile(ours):
        raise Refused(f"{folder} holds files that are no store's: choose another STORE, or empty it.")
    packing.sweep(folder)
    packing.write(ours, json.dumps({"command": command}).encode())


def _check_siblings(store, split, plan, classes):
    """Splits of one store are used together: they must agree on classes and size."""
    for other in stores.splits(store):
        card = stores.read_card(os.path.join(store, other))
        if other != split and card["classes"] != [list(pair) for pair in classes]:
            raise Refused(
                f"{store} has a split {other} of other classes "
                f"({len(card['classes']):,} there, {len(classes):,} here): choose another STORE."
            )
        resampling = "none" if plan.native else plan.resampling
        if other != split and card["resampling"] != resampling:
            say(f"note: {os.path.join(store, other)} was made otherwise ({card['resampling']}; now: {resampling}): "
                "its pictures are like these once both are prepared alike.")
        if other != split and card["size"] != plan.size:
            raise Refused(f"{store} has a split {other} of size {card['size']}, not {plan.size}: choose another STORE.")


def _check_space(plan, pictures):
    needed, free = pictures * _each(plan.size, plan.encoding), _free(plan.folder)
    if needed > free:
        raise Refused(
            f"{plan.folder} needs about {needed / 1e9:.1f} GB and its disk has {free / 1e9:.1f} GB left: "
            f"make room, choose another folder{', or --encoding jpeg' if plan.encoding == 'raw' else ''}."
        )


def _each(size, encoding):
    """Bytes a picture takes while the store is made."""
    # a JPEG of quality 95 takes 0.6 bytes a pixel on photographs; the sums of a shard wait beside it until the end
    return size**2 * (3 if encoding == "raw" else 0.6) + size**2 * 12 / stores.SHARD


def _free(folder):
    """Bytes left on the disk where a folder is, or will be."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free


def _tell_refused(folder):
    """Tells the first of each kind -> (lines of pictures that cannot be read, of those that were left out)."""
    name, found = os.path.basename(folder), stores.refusals(folder)
    said = "{:,} pictures of {} were refused", "{:,} held out as {} look like pictures of train and were left out"
    for lines, what in zip(found, said):
        if lines:
            say(f"{what.format(len(lines), name)}, all named in {os.path.join(folder, 'refused.jsonl')}:")
        for line in lines[:NAMED]:
            say(f"  {ascii(line['path'])[1:-1]}: {line['reason']}")
        if len(lines) > NAMED:
            say(f"  and {len(lines) - NAMED:,} more")
    return found
