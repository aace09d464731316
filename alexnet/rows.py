"""A table that fills row after row, on the disk: who asks for the same one after a kill goes on, but for its last seconds."""

import glob
import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np

from alexnet.rundir import replace_file

EVERY = 10  # seconds of rows that a kill may cost


class Rows:
    """stem: its files begin with this, or None for memory alone; of: what decides the rows, as JSON has it, so that a table of
    something else is another one. `facts` lie beside the rows and are as old as they."""

    def __init__(self, stem, of, shape, *, dtype=np.float32, every=None):
        self.stem, self.every, self.saved = stem and Path(stem), EVERY if every is None else every, time.monotonic()
        self.facts = {"rows": 0}
        if not stem:
            self.table = np.empty(shape, dtype)
            return
        name = f"{self.stem.name}-{hashlib.sha256(json.dumps([of, shape]).encode()).hexdigest()[:12]}"
        self.file, self.card = (self.stem.with_name(f"{name}.{ending}") for ending in ("rows", "json"))
        size = np.dtype(dtype).itemsize * shape[0] * shape[1]
        try:
            facts = json.loads(self.card.read_text())
            if self.file.stat().st_size == size:
                self.facts = {**facts, "rows": int(facts["rows"])}
        except (OSError, ValueError, KeyError, TypeError):
            pass  # nothing of use: begun
        if not self.done:
            self.card.unlink(missing_ok=True)
            _room(self.file, size)
        self.table = np.memmap(self.file, dtype, "r+", shape=shape) if size else np.empty(shape, dtype)

    @property
    def done(self):
        return self.facts["rows"]

    def add(self, rows, **facts):
        last = self.done + len(rows)
        self.table[self.done : last] = rows
        self.facts |= {**facts, "rows": last}
        if self.stem and (last == len(self.table) or time.monotonic() - self.saved >= self.every):
            if isinstance(self.table, np.memmap):
                self.table.flush()
            replace_file(self.card, json.dumps(self.facts).encode())
            self.saved = time.monotonic()

    def drop(self):
        """Takes the files away, those of other tables under this stem too. The rows stay readable."""
        for file in self.stem.parent.glob(f"{glob.escape(self.stem.name)}-{'[0-9a-f]' * 12}.*"):
            file.unlink(missing_ok=True)


def _room(file, size):
    """All of it is taken at once: a full disk says so now, not as a fault in memory later."""
    with open(file, "wb") as opened:
        try:
            os.posix_fallocate(opened.fileno(), 0, max(1, size)) if hasattr(os, "posix_fallocate") else opened.truncate(size)
        except OSError as error:
            file.unlink()
            raise OSError(error.errno, error.strerror, str(file)) from None
