"""An index of pictures by what a trained net makes of them: a folder of parts, each with its vectors in half precision, their
squared lengths, names and classes; index.json says which weights made them. Search is exact: blocked products find candidates,
whose distances are then taken directly. Paper section 6.1: pictures are alike when their last hidden layers are near each other."""

import json
import os
import re
from pathlib import Path

import numpy as np

from alexnet.data import picture
from alexnet.data import store as stores
from alexnet.errors import Refused
from alexnet.predictions import as_text
from alexnet.rundir import replace_file
from alexnet.search import lock

FORMAT = 1
CARD = "index.json"
BLOCK = 1024  # vectors widened to float32 at a time: 4 MB of 1,024 units, which stay near the processor
QUERIES = 1024  # answered at a time
SPARE = 16  # candidates beyond those wanted, for what rounding in the products may have swapped
KINDS = ("vectors", "lengths", "labels")
# what belongs to an index where its card names it, and is left over where it does not
OWN = re.compile(r"(vectors|lengths|labels)-\d+\.npy|(names-\d+|index)\.json\..*new|names-\d+\.json|approximate\.faiss"
                 r"|rows-\w+\.(rows|json.*)").fullmatch


class Index:
    """Index.open(folder, clf): refuses weights that did not make it. Positions count through all parts."""

    def __init__(self, folder, card):
        self.folder, self.card, self.digest = Path(folder), card, card["weights"]
        self.parts = [Part(self.folder, facts) for facts in card["parts"]]
        self.starts = np.cumsum([0] + [len(part) for part in self.parts])

    @classmethod
    def open(cls, folder, clf=None):
        path = Path(folder) / CARD
        try:
            card = json.loads(path.read_text())
            if card["format"] != FORMAT:
                raise Refused(f"{folder} is an index of format {card['format']}, this version reads {FORMAT}: build it again.")
            index = cls(folder, card)
        except FileNotFoundError as error:
            raise Refused(f"{folder} is no whole index ({Path(error.filename).name} is not there): make one with alexnet search "
                          f"--build STORE {folder}.") from None
        except (OSError, ValueError, KeyError) as error:
            raise Refused(f"{folder} is a damaged index ({error}): build it again.") from None
        if clf is not None:
            index.check(clf)
        return index

    def check(self, clf):
        if clf.digest != self.digest:
            raise Refused(f"{self.folder} was made with other weights ({self.card['model']}, {self.digest[:12]}) than those given "
                          f"({clf.digest[:12]}): name the model that made it, or build it again.")

    def __len__(self):
        return int(self.starts[-1])

    def nearest(self, queries, *, top=6):
        """float32 (Q, units) -> (Euclidean distances (Q, top), positions (Q, top)), nearest first, of equals the lower position."""
        queries = np.asarray(queries, np.float16).astype(np.float32)  # as the vectors are kept: a picture is at 0 from itself
        count, top = len(queries), min(top, len(self))
        if not count or not top:
            return np.empty((count, top)), np.empty((count, top), np.int64)
        found = [self._nearest(queries[first : first + QUERIES], top) for first in range(0, count, QUERIES)]
        return tuple(map(np.concatenate, zip(*found)))

    def _nearest(self, queries, top):
        import torch  # slow to come, and the rest does without

        many, asked = min(top + SPARE, len(self)), torch.from_numpy(queries)
        best, place = torch.full((len(queries), many), torch.inf), torch.zeros((len(queries), many), dtype=torch.int64)
        for start, part in zip(self.starts, self.parts):
            vectors, lengths = torch.from_numpy(part.vectors), torch.from_numpy(part.lengths)
            for first in range(0, len(part), BLOCK):
                block = vectors[first : first + BLOCK].float()
                distances = torch.addmm(lengths[first : first + BLOCK], asked, block.T, alpha=-2)  # and the query's own, for all
                best, place = nearer(best, place, distances, int(start) + first)
        found = [self._in_order(query, positions, top) for query, positions in zip(queries, place.numpy())]
        return tuple(map(np.stack, zip(*found)))

    def _in_order(self, query, positions, top):
        positions = np.sort(positions)
        distances = np.sqrt(((self.vectors(positions) - query) ** 2).sum(axis=1, dtype=np.float64))
        order = np.argsort(distances, kind="stable")[:top]
        return distances[order], positions[order]

    def vectors(self, positions):
        """float32 (N, units)."""
        return np.stack([np.asarray(part.vectors[at], np.float32) for part, at in map(self._where, positions)])

    def entry(self, position):
        """What is known of a picture: {"path"} or {"store", "name"}, and its class where it has one."""
        part, at = self._where(position)
        label = int(part.labels[at])
        named = dict(zip(("id", "class"), part.facts["classes"][label])) if label >= 0 else {}
        return {"path": as_text(part.names[at]), **({"store": part.facts["store"]} if part.facts.get("store") else {}), **named}

    def picture(self, position, size=None):
        """uint8 (size, size, 3), or None where it cannot be read any more."""
        part, at = self._where(position)
        try:
            if part.facts.get("store"):
                return part.split().pictures([part.facts["positions"][at] if "positions" in part.facts else at])[0]
            return picture.square(Path(part.names[at]), size or self.card["size"])
        except (Refused, OSError, IndexError):
            return None

    def _where(self, position):
        number = int(np.searchsorted(self.starts, position, side="right")) - 1
        return self.parts[number], int(position - self.starts[number])


def nearer(best, place, distances, first):
    """The smallest of those known, in ascending order, and of a block's, whose places count from `first`."""
    import torch

    rows, columns = (distances < best[:, -1:]).nonzero(as_tuple=True)
    if not len(rows):
        return best, place
    counts = torch.bincount(rows, minlength=len(best))
    slots = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
    new = torch.full((len(best), int(counts.max())), torch.inf)
    where = torch.zeros(new.shape, dtype=torch.int64)
    new[rows, slots], where[rows, slots] = distances[rows, columns], columns + first
    best, chosen = torch.cat([best, new], 1).topk(best.shape[1], largest=False, sorted=True)
    return best, torch.cat([place, where], 1).gather(1, chosen)


class Part:
    def __init__(self, folder, facts):
        self.folder, self.facts, self.opened = folder, facts, (None, None)
        files = {kind: np.load(folder / facts[kind], mmap_mode="c") for kind in KINDS}  # written to by nobody
        self.vectors, self.lengths, self.labels = files["vectors"], np.asarray(files["lengths"]), np.asarray(files["labels"])
        self.names = json.loads((folder / facts["names"]).read_text())
        if not len(self.vectors) == len(self.lengths) == len(self.labels) == len(self.names) == facts["count"]:
            raise ValueError(f"{facts['vectors']} and what belongs to it differ in length")

    def __len__(self):
        return self.facts["count"]

    def split(self):
        """The split that the part was made from, opened once; another one under the same name is no source of pictures."""
        written = os.stat(os.path.join(self.facts["store"], self.facts["split"], stores.CARD)).st_mtime_ns
        if self.opened[0] != written:
            found = stores.open_split(self.facts["store"], self.facts["split"])
            if found.fingerprint != self.facts["fingerprint"]:
                raise Refused(f"{found.path} has changed")
            self.opened = written, found
        return self.opened[1]


# ---- making and changing one: files first, index.json last, so that a kill leaves the old index or the new -----------------


def begin(folder):
    """Makes the folder of a new index; one that holds more than a build which was cut short left there is refused."""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(file.name != lock.FILE and not OWN(file.name) for file in folder.iterdir())):
        raise Refused(f"{folder} is there already: name a new folder for the index, or --add to the one that it is.")
    folder.mkdir(parents=True, exist_ok=True)


def create(folder, clf, *, model):
    """The card of a new index for these weights."""
    begin(folder)
    card, model = clf.card, os.fspath(model or "default")
    model = os.path.abspath(model) if os.path.exists(model) else model  # another name ships, or is fetched
    return {"format": FORMAT, "model": model, "weights": clf.digest, "net": card["net"], "layer": clf.last_hidden,
            "size": card["size"], "parts": []}


def part(folder, number, vectors, names, labels, **source):
    """Writes a part; -> its facts for the card."""
    folder = Path(folder)
    with np.errstate(over="ignore"):
        vectors = np.asarray(vectors, np.float16)
    if not np.isfinite(vectors).all():
        raise Refused("the layer's values are too large for half precision (above 65,504): make the index with other weights.")
    lengths = np.concatenate([(np.asarray(vectors[first : first + BLOCK], np.float32) ** 2).sum(axis=1)
                              for first in range(0, len(vectors), BLOCK)] or [np.empty(0, np.float32)])
    facts = {"count": len(names), **source, "names": f"names-{number:05d}.json"}
    for kind, array in (("vectors", vectors), ("lengths", lengths), ("labels", np.asarray(labels, np.int32))):
        facts[kind] = f"{kind}-{number:05d}.npy"
        with open(folder / facts[kind], "wb") as file:
            np.save(file, array)
    replace_file(folder / facts["names"], json.dumps([os.fspath(name) for name in names]).encode())
    return facts


def write_card(folder, card):
    """Puts the card in place, and takes away what it does not name any more."""
    folder = Path(folder)
    replace_file(folder / CARD, json.dumps(card, indent=1).encode())
    kept = {facts[kind] for facts in card["parts"] for kind in (*KINDS, "names")} | {card.get("approximate", {}).get("file")}
    for file in folder.iterdir():
        if file.name not in kept and OWN(file.name):
            file.unlink()


def next_number(card):
    return 1 + max((int(facts["names"][6:11]) for facts in card["parts"]), default=-1)


def without(index, drop):
    """The index's card after the pictures at `drop` (a mask over positions) are left out: their parts are written again."""
    card, number, kept = dict(index.card), next_number(index.card), []
    for start, one in zip(index.starts, index.parts):
        keep = ~drop[start : start + len(one)]
        if keep.all():
            kept.append(one.facts)
        elif keep.any():
            places = np.flatnonzero(keep)
            source = {key: one.facts[key] for key in ("store", "split", "fingerprint", "classes") if key in one.facts}
            if "store" in source:
                before = one.facts.get("positions", range(len(one)))
                source["positions"] = [before[at] for at in places.tolist()]
            kept.append(part(index.folder, number, one.vectors[places], [one.names[at] for at in places.tolist()],
                             one.labels[places], **source))
            number += 1
    return {**card, "parts": kept}
