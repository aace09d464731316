"""Named layers over many pictures: what a trained net makes of each, as one array. `alexnet features` writes it to a file; search
and transfer stand on it.

    alexnet features photos --layer fc7 --out features.npy
"""

import os
import time
from pathlib import Path
from typing import Annotated

import numpy as np

from alexnet import classifier, predictions
from alexnet.errors import Misused, Refused
from alexnet.progress import Progress
from alexnet.rows import Rows
from alexnet.rundir import placing

ENDINGS = (".npy", ".parquet")
NAMED = 5  # unreadable pictures in the answer


def features(
    *images: Annotated[str, "picture files, folders (read through), globs, or - for paths on stdin"],
    out: Annotated[str, ".npy: an array, a row a picture in the order given; .parquet: path, features, error"],
    layer: Annotated[str | None, "any layer of the net by name (default: the last hidden one)"] = None,
    model: Annotated[str | None, "a run folder, a weights file or a name that ships (default: default)"] = None,
    device="auto",
):
    """A row a picture; one that cannot be read has a row of NaN, and its reason in the answer. Killed, the same command goes on."""
    if not images:
        raise Misused("features wants pictures: files, folders, globs, or - for paths on stdin.")
    predictions.check(out, option="--out", endings=ENDINGS)
    began, clf = time.monotonic(), classifier.load(model, device=device)
    named = list(classifier.paths(images))
    rows, errors = of_pictures(clf, named, layer=layer, kept=out)
    names = [predictions.as_text(path) for path, _ in named]
    if len(errors) == len(names):
        rows.drop()
        raise Refused(f"none of the {len(names):,} pictures can be read ({errors[0]}): name others." if names else
                      "features was given no picture: name files, folders or globs, or write paths to its stdin.")
    if Path(out).suffix.lower() == ".npy":
        _save(out, rows.table)
    else:
        predictions.write(out, {"path": np.array(names), "features": rows.table,
                                "error": np.array([errors.get(i, "") for i in range(len(names))])})
    rows.drop()
    return {"images": len(names) - len(errors), "refused": len(errors), "layer": layer or clf.last_hidden,
            "units": rows.table.shape[1], "out": str(out), "seconds": round(time.monotonic() - began, 2),
            "refused_pictures": [{"path": names[at], "error": why} for at, why in list(errors.items())[:NAMED]]}


def of_split(clf, split, *, layer=None, positions=None, kept=None):
    """Every picture of a store's split, or those at these positions, from the central view: float32 (N, units). kept: the stem of
    files for the rows while they come (rows.py); who has used them takes those away."""
    positions = np.arange(len(split)) if positions is None else np.asarray(positions)
    rows = _begun(clf, layer, [split.fingerprint, positions.tolist()], len(positions), kept)
    with Progress("features", len(positions), start=rows.done) as bar:
        while rows.done < len(positions):
            found = clf.layer(split.pictures(positions[rows.done : rows.done + classifier.BATCH]), layer)
            rows.add(found)
            bar.advance(len(found))
    return rows.table


def of_pictures(clf, named, *, layer=None, kept=None):
    """named: (path, None) or (path, why it is none), as classifier.paths has them. -> (Rows, NaN where a picture cannot be read;
    {its place: why it cannot be read})"""
    rows = _begun(clf, layer, [[os.fspath(path), error, *_state(path)] for path, error in named], len(named), kept)
    errors = {int(at): why for at, why in rows.facts.get("errors", {}).items()}
    for batch in classifier.squares_of(clf, named, "features", start=rows.done):
        whole = np.array([not isinstance(square, str) for _, square in batch])
        found = np.full((len(batch), rows.table.shape[1]), np.nan, np.float32)
        if whole.any():
            found[whole] = clf.layer(np.stack([square for _, square in batch if not isinstance(square, str)]), layer)
        errors |= {rows.done + int(at): batch[at][1] for at in np.flatnonzero(~whole)}
        rows.add(found, errors=errors)
    return rows, errors


def _begun(clf, layer, of, count, kept):
    units = clf.layer(np.zeros((1, clf.card["size"], clf.card["size"], 3), np.uint8), layer).shape[1]
    return Rows(kept, [clf.digest, layer or clf.last_hidden, of], (count, units))


def _state(path):
    """What changes when a file does."""
    try:
        found = os.stat(path)
        return found.st_size, found.st_mtime_ns
    except (OSError, ValueError):
        return ()


def _save(out, table):
    with placing(Path(out)) as new, open(new, "wb") as file:
        np.save(file, table)
