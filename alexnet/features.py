"""Named layers over many pictures: what a trained net makes of each, as one array. `alexnet features` writes it to a file; search
and transfer stand on it.

    alexnet features photos --layer fc7 --out features.npy
"""

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Annotated

import numpy as np

from alexnet import classifier, predictions
from alexnet.errors import Misused, Refused
from alexnet.progress import Progress
from alexnet.rundir import placing, replace_file

ENDINGS = (".npy", ".parquet")
NAMED = 5  # unreadable pictures in the answer
EVERY = 10  # seconds of features that a kill may cost


def features(
    *images: Annotated[str, "picture files, folders (read through), globs, or - for paths on stdin"],
    out: Annotated[str, ".npy: an array, a row a picture in the order given; .parquet: path, features, error"],
    layer: Annotated[str | None, "any layer of the net by name (default: the last hidden one)"] = None,
    model: Annotated[str | None, "a run folder, a weights file or a name that ships (default: default)"] = None,
    device="auto",
):
    """A row a picture; one that cannot be read has a row of NaN, and its reason in the answer."""
    if not images:
        raise Misused("features wants pictures: files, folders, globs, or - for paths on stdin.")
    predictions.check(out, option="--out", endings=ENDINGS)
    began, clf, names, rows, errors = time.monotonic(), classifier.load(model, device=device), [], [], {}
    for batch in classifier.squares_of(clf, classifier.paths(images), "features"):
        whole = [square for _, square in batch if not isinstance(square, str)]
        found = iter(clf.layer(np.stack(whole), layer) if whole else ())
        for path, square in batch:
            if isinstance(square, str):
                errors[len(names)] = square
            rows.append(None if isinstance(square, str) else next(found))
            names.append(predictions.as_text(path))
    units = next((len(row) for row in rows if row is not None), 0)
    if not units:
        raise Refused(f"none of the {len(names):,} pictures can be read ({errors[0]}): name others." if names else
                      "features was given no picture: name files, folders or globs, or write paths to its stdin.")
    table = np.full((len(rows), units), np.nan, np.float32)
    for row, found in zip(table, rows):
        row[:] = np.nan if found is None else found
    if Path(out).suffix.lower() == ".npy":
        _save(out, table)
    else:
        predictions.write(out, {"path": np.array(names), "features": table,
                                "error": np.array([errors.get(i, "") for i in range(len(names))])})
    return {"images": len(names) - len(errors), "refused": len(errors), "layer": layer or clf.last_hidden, "units": units,
            "out": str(out), "seconds": round(time.monotonic() - began, 2),
            "refused_pictures": [{"path": names[at], "error": why} for at, why in list(errors.items())[:NAMED]]}


def of_split(clf, split, *, layer=None, positions=None, kept=None):
    """Every picture of a store's split, or those at these positions, from the central view: float32 (N, units). kept: a folder for
    the rows while they come, so that a kill costs the last seconds of them; the same call goes on."""
    positions = np.arange(len(split)) if positions is None else np.asarray(positions)
    rows_kept = Kept(kept, [clf.digest, layer or clf.last_hidden, split.fingerprint, positions.tolist()]) if kept else None
    found, start = rows_kept.begun(len(positions)) if kept else (None, 0)
    with Progress("features", len(positions), start=start) as bar:
        for first in range(start, len(positions), classifier.BATCH):
            rows = clf.layer(split.pictures(positions[first : first + classifier.BATCH]), layer)
            found = np.empty((len(positions), rows.shape[1]), np.float32) if found is None else found
            found[first : first + len(rows)] = rows
            if kept:
                rows_kept.come(found, first + len(rows))
            bar.advance(len(rows))
    return found


class Kept:
    """Rows on the disk while more of them come, under a name that says of what they are; who has the whole table takes the files
    away (search/index.py does)."""

    def __init__(self, folder, of):
        name = hashlib.sha256(json.dumps(of).encode()).hexdigest()[:12]
        self.rows, self.facts = Path(folder) / f"rows-{name}.part", Path(folder) / f"rows-{name}.json"
        self.done, self.saved = 0, time.monotonic()

    def begun(self, count):
        """-> (the table with what is there, how many rows that is); (None, 0) where there is nothing."""
        try:
            facts = json.loads(self.facts.read_text())
            there = np.fromfile(self.rows, np.float32, facts["rows"] * facts["units"]).reshape(facts["rows"], facts["units"])
        except (OSError, ValueError, KeyError):
            return None, 0
        table = np.empty((count, facts["units"]), np.float32)
        table[: len(there)] = there
        self.done = len(there)
        return table, self.done

    def come(self, table, count):
        if time.monotonic() - self.saved < EVERY:
            return
        whole = self.rows.exists() and self.rows.stat().st_size >= self.done * table[0].nbytes
        with open(self.rows, "r+b" if whole else "wb") as file:
            file.seek(self.done * table[0].nbytes if whole else 0)
            file.write(table[self.done if whole else 0 : count].tobytes())
            file.flush()
            os.fsync(file.fileno())
        replace_file(self.facts, json.dumps({"rows": count, "units": table.shape[1]}).encode())
        self.done, self.saved = count, time.monotonic()


def _save(out, table):
    with placing(Path(out)) as new, open(new, "wb") as file:
        np.save(file, table)
