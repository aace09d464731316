"""alexnet prepare SOURCE STORE: reads every picture once, makes it square (picture.py), packs it (store.py).

A task is a shard of 1,024 pictures, done by one process and written whole or not at all, with its sums beside it; so
the same bytes come out whatever the number of workers, and a prepare that was stopped goes on with the shards that are
missing. Mean image and colour covariance (paper 2 and 4.1) come from integer sums, which no order of adding can change.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import shlex
import shutil
import signal
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Annotated, Literal, NamedTuple

from alexnet.data import packing, picture, sources
from alexnet.data import store as stores
from alexnet.errors import Misused, Refused, nearest
from alexnet.progress import Progress, say

NAMED = 5  # refused pictures told on stderr; refused.jsonl has them all


class Plan(NamedTuple):
    """What is made of the pictures; two prepares with the same plan and entries write the same bytes."""

    folder: str  # STORE/SPLIT
    size: int
    native: bool
    encoding: str


def prepare(
    source: Annotated[str, "class folders, with or without train/ and val/; Tiny-ImageNet, MNIST or CIFAR as they are handed out"],
    store: Annotated[str, "the folder to write; a stopped prepare goes on where it was"],
    *,
    size: Annotated[str, "side of the squares in pixels, or native: squares of one size already"] = 256,
    encoding: Annotated[
        Literal["raw", "jpeg"], "jpeg (quality 95) takes a fifth of the space, and longer to read"
    ] = "raw",
    split: Annotated[str | None, "only this split of the source; without it, every one found"] = None,
    workers: Annotated[int | None, "processes; without it, one a core"] = None,
    strict: Annotated[bool, "fail at the end when a picture was refused; the store is written all the same"] = False,
) -> dict:
    began = time.monotonic()
    side = _side(size)
    if encoding not in packing.SUFFIX:
        raise Misused(f"{encoding!r} is no encoding: {nearest(encoding, packing.SUFFIX)}")
    if workers is not None and int(workers) < 1:
        raise Misused(f"workers is {workers}: one process or more is needed.")
    found = sources.recognise(source)
    store = os.path.abspath(os.fspath(store))
    _check_places(found.path, store)
    wanted = _wanted(found, split)
    command = shlex.join(
        ["alexnet", "prepare", os.fspath(source), store, "--size", str(size), "--encoding", encoding]
        + (["--split", split] if split else [])
    )
    report, read = {}, 0
    for name in wanted:
        entries = sources.in_store_order(found.splits[name])
        plan = _plan(store, name, entries, side, encoding)
        card, newly = _prepare_split(found, entries, plan, command, workers)
        report[name] = {"images": card["images"], "refused": card["refused"], "classes": len(card["classes"])}
        read += newly
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


def _wanted(found, split):
    """The splits to prepare, and a word on what was found."""
    if split is not None and split not in found.splits:
        raise Misused(f"{found.path} has no split {split!r}: {nearest(split, found.splits)}")
    wanted = list(found.splits) if split is None else [split]
    counts = ", ".join(f"{name} {len(found.splits[name]):,}" for name in wanted)
    say(f"{found.kind}, {len(found.classes):,} classes: {counts} pictures")
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


def _plan(store, split, entries, side, encoding):
    folder = os.path.join(store, split)
    if side is not None:
        return Plan(folder, side, False, encoding)
    for entry in entries:
        with contextlib.suppress(Refused, OSError):
            return Plan(folder, len(picture.native(sources.read(entry)[0])), True, encoding)
    raise Refused(
        f"no picture of {split} is readable and square, as --size native wants: give --size a number of pixels."
    )


def _prepare_split(source, entries, plan, command, workers):
    """-> (store.json as a dict, pictures read now)"""
    split = os.path.basename(plan.folder)
    shards = [entries[first : first + stores.SHARD] for first in range(0, len(entries), stores.SHARD)]
    keys = [packing.key(shard, plan) for shard in shards]
    whole = hashlib.sha256("".join(keys).encode()).hexdigest()[:32]
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
        _tell_refused(plan.folder, card["refused"])
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
            _pack(jobs, _workers(workers, len(jobs)), bar)
        card = packing.finish(source, shards, keys, plan, whole)
    except OSError as error:
        raise Refused(
            f"{plan.folder} cannot be written ({error.strerror or error}): make room or choose another folder; "
            "the same command goes on where this one stopped."
        ) from None
    _tell_refused(plan.folder, card["refused"])
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
        if other != split and card["size"] != plan.size:
            raise Refused(f"{store} has a split {other} of size {card['size']}, not {plan.size}: choose another STORE.")


def _check_space(plan, pictures):
    # a JPEG of quality 95 takes 0.6 bytes a pixel on photographs; the sums of a shard wait beside it until the end
    each = plan.size**2 * (3 if plan.encoding == "raw" else 0.6) + plan.size**2 * 12 / stores.SHARD
    free = shutil.disk_usage(plan.folder).free
    if pictures * each > free:
        raise Refused(
            f"{plan.folder} needs about {pictures * each / 1e9:.1f} GB and its disk has {free / 1e9:.1f} GB left: "
            f"make room, choose another folder{', or --encoding jpeg' if plan.encoding == 'raw' else ''}."
        )


def _workers(asked, jobs):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(min(cores if asked is None else int(asked), jobs), 1)


def _tell_refused(folder, count):
    if not count:
        return
    path = os.path.join(folder, "refused.jsonl")
    say(f"{count:,} pictures of {os.path.basename(folder)} were refused, all named in {path}:")
    with open(path) as lines:
        for line in islice(lines, NAMED):
            refusal = json.loads(line)
            say(f"  {ascii(refusal['path'])[1:-1]}: {refusal['reason']}")
    if count > NAMED:
        say(f"  and {count - NAMED:,} more")


def _pack(jobs, workers, bar):
    if workers > 1:
        return _pack_in_processes(jobs, workers, bar)
    for job in jobs:
        packing.pack(*job, tick=bar.advance)


def _pack_in_processes(jobs, workers, bar):
    # spawned, not forked: a fork after a library has started threads can hang for good
    context = multiprocessing.get_context("spawn")
    counter, before = context.Value("q", 0), set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker, initargs=(counter,))
    try:
        waiting, seen = iter(jobs), 0
        running = {pool.submit(_pack_and_count, job) for job in islice(waiting, 2 * workers)}
        while running:
            done, running = wait(running, timeout=0.25, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
                running |= {pool.submit(_pack_and_count, job) for job in islice(waiting, 1)}
            count = counter.value
            bar.advance(count - seen)
            seen = count
        pool.shutdown()
    except BaseException as error:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        pool.shutdown(cancel_futures=True)
        packing.sweep(jobs[0][3].folder)  # what they had half written
        if isinstance(error, BrokenProcessPool):
            raise Refused(
                "a worker process ended early (out of memory, or a script that calls prepare outside "
                "`if __name__ == '__main__':`): the same command goes on where this one stopped, "
                "and workers=1 stays in one process."
            ) from None
        raise


_counter = None  # in a worker: pictures read so far by all of them


def _begin_worker(counter):
    global _counter
    _counter = counter
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def _pack_and_count(job):
    packing.pack(*job, tick=_count)


def _count(pictures):
    with _counter.get_lock():
        _counter.value += pictures
