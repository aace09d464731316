"""The processes that pack shards: spawned, counted, ended with their parent. A shard is done by one of them, so their number
changes no byte."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from alexnet import processor
from alexnet.data import packing
from alexnet.errors import Refused
from alexnet.memory import keep_memory


def pack(jobs, asked, bar):
    """jobs: the arguments of packing.pack. asked: processes, or None for one a core."""
    workers = _workers(asked, len(jobs))
    if workers > 1:
        return _pack_in_processes(jobs, workers, bar)
    for job in jobs:
        packing.pack(*job, tick=bar.advance)


def _workers(asked, jobs):
    return max(min(processor.cores() if asked is None else int(asked), jobs), 1)


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
    keep_memory()
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
