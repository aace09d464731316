"""Pictures like this one: nearest neighbours in the last hidden layer, paper section 6.1 (Figure 4, right).

    alexnet search --build STORE INDEX          or a folder of pictures; --add SOURCE and --remove PATTERN change it
    alexnet search INDEX photo.jpg --top 6 --out sheet.png
    alexnet search INDEX --duplicates           the nearest pairs inside an index: copies in one's own photo library
"""

import fnmatch
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import numpy as np

from alexnet import classifier, features, predictions
from alexnet.data import store as stores
from alexnet.errors import Misused, Refused
from alexnet.progress import Progress, say
from alexnet.rundir import replace_file
from alexnet.search import approximate as approximately
from alexnet.search import index, sheet
from alexnet.search.index import Index
from alexnet.search.lock import changing

ROWS = "rows"  # of a part while it is made
ENDINGS = (".png", ".jpg", ".jsonl")
SHOWN = 64  # queries, or pairs, on a sheet at most


def search(
    *images: Annotated[str, "an index; then pictures: files, folders, globs, or - for paths on stdin", "INDEX [IMAGE...]"],
    build: Annotated[str | None, "make INDEX from this store, or from a folder of pictures", "SOURCE"] = None,
    add: Annotated[str | None, "add the pictures of this store or folder to INDEX", "SOURCE"] = None,
    remove: Annotated[str | None, "take the pictures whose path matches this pattern out of INDEX", "PATTERN"] = None,
    duplicates: Annotated[bool, "the nearest pairs inside INDEX"] = False,
    split: Annotated[str, "of a store that is built from or added"] = "train",
    top: Annotated[int, "neighbours of each picture; of duplicates, pairs"] = 6,
    approximate: Annotated[bool, "with --build: also an approximate index, for millions (FAISS), its recall measured"] = False,
    exact: Annotated[bool, "the exact answer where there is an approximate index too"] = False,
    model: Annotated[str | None, "the weights (default: those that made the index; for a new one, default)"] = None,
    out: Annotated[str | None, "a sheet of pictures (.png, .jpg), or the answers (.jsonl)"] = None,
    device="auto",
    on_answer=None,
):
    """{"path", "neighbours": [{"path", "distance", ...}]} for each picture; {"path", "error"} for one that cannot be read."""
    folder, *images = images or (None,)
    asked = {"--build": build, "--add": add, "--remove": remove, "--duplicates": duplicates}
    wanted = [name for name, given in asked.items() if given]
    _check(folder, images, wanted, top, out)
    tell = on_answer or (lambda answer: None)
    if build or add:
        found = [_made(folder, build or add, new=bool(build), split=split, model=model, device=device, approximate=approximate)]
    elif remove:
        found = [_removed(folder, remove)]
    else:
        known = Index.open(folder)
        found = _pairs(known, top) if duplicates else _neighbours(known, images, top=top, model=model, device=device, exact=exact)
        return _told(known, found, tell, out)
    tell(found[0])
    return found


def _check(folder, images, wanted, top, out):
    if not folder or (not images and not wanted):
        raise Misused("search wants an INDEX and pictures, as in alexnet search INDEX photo.jpg; "
                      "alexnet search --build STORE INDEX makes one.")
    if len(wanted) > 1 or (wanted and images):
        raise Misused(f"search does one thing at a time: {' and '.join([*wanted, *map(str, images[:1])])} were given.")
    if top < 1:
        raise Misused(f"--top is {top}; it wants 1 or more.")
    if out:
        predictions.check(out, option="--out", endings=ENDINGS)


def _told(known, answers, tell, out):
    """Each answer as it comes; all of them in the end, also as a sheet or as lines."""
    found, rows, drawn = [], [], out and Path(out).suffix.lower() != ".jsonl"
    for answer, square in answers:
        found.append(answer)
        tell(answer)
        if drawn and "error" not in answer and len(rows) < SHOWN:
            rows.append(_row(known, answer, square))
    if rows:
        sheet.write(out, rows)
    elif out and not drawn:
        replace_file(Path(out), "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in found).encode())
    return found


def _row(known, answer, square):
    """Of a sheet: the query, and its neighbours under their classes and distances. Of a picture of the index no square is given."""
    return (known.picture(answer["position"]) if square is None else square, os.path.basename(answer["path"])), [
        (known.picture(one["position"]), f"{one.get('class', os.path.basename(one['path'])).split(',')[0]}  {one['distance']:.3g}")
        for one in answer["neighbours"]]


# ---- asking --------------------------------------------------------------------------------------------------------------------


def _neighbours(known, images, *, top, model, device, exact):
    """(answer, the square of the picture) for each."""
    clf = classifier.load(model or known.card["model"], device=device)
    known.check(clf)
    near = known.nearest if exact or not known.card.get("approximate") else approximately.opened(known).nearest
    for batch in classifier.squares_of(clf, classifier.paths(images), "searching"):
        whole = [square for _, square in batch if not isinstance(square, str)]
        found = iter(zip(*near(clf.layer(np.stack(whole)), top=top)) if whole else ())
        for path, square in batch:
            if isinstance(square, str):
                yield {"path": predictions.as_text(path), "error": predictions.as_text(square)}, None
                continue
            distances, positions = next(found)
            beside = [{**known.entry(at), "distance": float(distance), "position": int(at)}
                      for distance, at in zip(distances, positions)]
            yield {"path": predictions.as_text(path), "neighbours": beside}, square


def _pairs(known, count):
    """The nearest pairs, each once, the nearest first. Where even the last neighbour found is near enough, there may be more: twice
    as many are asked for. More than `count` of one picture are never wanted."""
    if len(known) < 2:
        raise Refused(f"{known.folder} has {len(known)} pictures: pairs want two or more.")
    rows, top, pairs, apart = np.arange(len(known)), 2 + index.SPARE, np.empty(0, np.int64), np.empty(0)
    while len(rows):
        found, distances, last = _beside(known, rows, top)
        pairs, first = np.unique(np.concatenate([pairs, found]), return_index=True)
        apart = np.concatenate([apart, distances])[first]
        nearest = np.argsort(apart, kind="stable")[:count]
        pairs, apart = pairs[nearest], apart[nearest]
        enough = apart[-1] if len(apart) == count else np.inf
        rows, top = rows[(last <= enough) & (top <= min(count, len(known) - 1))], 2 * top
    for pair, distance in zip(pairs.tolist(), apart.tolist()):
        a, b = divmod(pair, len(known))
        beside = [{**known.entry(b), "distance": distance, "position": b}]
        yield {"path": known.entry(a)["path"], "position": a, "neighbours": beside}, None


def _beside(known, rows, top):
    """(pairs of these pictures and the nearest to each, how far apart they are, how far the last of each is). A pair is a number:
    its lower position times the length of the index, and the higher one."""
    pairs, apart, last = [], [], []
    with Progress("comparing", len(rows)) as bar:
        for start in range(0, len(rows), index.QUERIES):
            asked = rows[start : start + index.QUERIES, None]
            distances, positions = known.nearest(known.vectors(asked[:, 0]), top=top)
            others = positions != asked
            pairs.append((np.minimum(asked, positions) * len(known) + np.maximum(asked, positions))[others])
            apart.append(distances[others])
            last.append(distances[:, -1])
            bar.advance(len(asked))
    return tuple(map(np.concatenate, (pairs, apart, last)))


# ---- making and changing ---------------------------------------------------------------------------------------------------------


def _made(folder, source, *, new, split, model, device, approximate):
    """Features first, which takes its time; the index is read, and changed, when they are there."""
    began = time.monotonic()
    if approximate:
        approximately.imported()  # or it is refused now, not after the features
    before = None if new else Index.open(folder)
    clf = classifier.load(model or (None if new else before.card["model"]), device=device)
    if new:
        index.begin(folder)
    else:
        before.check(clf)
    try:
        found, refused = (_of_store(clf, source, split, folder) if stores.splits(source)
                          else _of_pictures(clf, source, folder))
    except (Misused, Refused):
        with suppress(OSError):  # a new index, of which there is nothing yet
            os.rmdir(folder)
        raise
    with changing(folder):
        card = index.create(folder, clf, model=model) if new else Index.open(folder, clf).card
        taken = index.part(folder, index.next_number(card), **found)
        card = {**card, "parts": [*card["parts"], taken]}
        card.pop("approximate", None)  # made for the pictures of before
        index.write_card(folder, card)
        answer = {"index": str(folder), "images": sum(facts["count"] for facts in card["parts"]), "added": taken["count"],
                  "refused": refused, "layer": card["layer"], "units": int(found["vectors"].shape[1])}
        if approximate:
            answer["approximate"] = _approximate(folder)
        return {**answer, "bytes": sum(file.stat().st_size for file in Path(folder).iterdir()),
                "seconds": round(time.monotonic() - began, 2)}


def _approximate(folder):
    known = Index.open(folder)
    facts = approximately.build(known)
    index.write_card(folder, {**known.card, "approximate": facts})
    return facts


def _of_store(clf, source, split, folder):
    """(what a part is made of, pictures that are refused)."""
    if split not in stores.splits(source):
        raise Misused(f"{source} has no split {split!r}: --split takes {', '.join(stores.splits(source))}.")
    part = stores.open_split(source, split)
    if part.size != clf.card["size"]:
        raise Refused(f"{part.path} holds pictures of {part.size} pixels, the net takes {clf.card['size']}: prepare the source "
                      f"again with --size {clf.card['size']}.")
    return {"vectors": features.of_split(clf, part, kept=Path(folder) / ROWS), "names": part.names, "labels": part.labels,
            "store": os.path.abspath(source), "split": split, "fingerprint": part.fingerprint,
            "classes": [list(one) for one in part.classes]}, part.refused


def _of_pictures(clf, source, folder):
    named = list(classifier.paths([source]))
    rows, errors = features.of_pictures(clf, named, kept=Path(folder) / ROWS)
    if len(errors) == len(named):
        rows.drop()
        raise Refused(f"{source} has no picture that can be read: give a folder of pictures, or a store.")
    if errors:
        say(f"{len(errors):,} files of {source} cannot be read as pictures and are left out.")
    read = [at for at in range(len(named)) if at not in errors]
    return {"vectors": rows.table[read], "names": [os.path.abspath(named[at][0]) for at in read],
            "labels": np.full(len(read), -1)}, len(errors)


def _removed(folder, pattern):
    Index.open(folder)  # or it is refused
    with changing(folder):
        known = Index.open(folder)
        drop = np.array([fnmatch.fnmatchcase(os.fspath(name), pattern) for part in known.parts for name in part.names])
        if not drop.any():
            raise Refused(f"nothing in {folder} matches {pattern!r}: the pattern is held against whole paths, like '*/cat/*'.")
        card = index.without(known, drop)
        card.pop("approximate", None)
        index.write_card(folder, card)
    return {"index": str(folder), "images": int((~drop).sum()), "removed": int(drop.sum())}
