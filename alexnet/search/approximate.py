"""An approximate index beside the exact one, for millions of pictures: FAISS's inverted lists over bytes a unit. It is kept with
the recall that was measured against the exact answer, and says how many lists were read for it."""

import time

import numpy as np

from alexnet.errors import Refused
from alexnet.progress import say

FILE = "approximate.faiss"
PROBES = (1, 2, 4, 8, 16, 32, 64, 128)  # lists read a query: the fewest that reach the recall
WANTED, TESTED, TOP = 0.95, 256, 10
BLOCK = 65536
LEAST = 1000  # pictures: below, exact search takes milliseconds


def build(index):
    """-> facts for the index's card: file, lists, probes, recall."""
    faiss, began = imported(), time.monotonic()
    count, units = len(index), index.parts[0].vectors.shape[1]
    if count < LEAST:
        raise Refused(f"{index.folder} has {count:,} pictures, which exact search answers at once: --approximate wants {LEAST:,} "
                      "or more.")
    random = np.random.default_rng(0)
    lists = int(min(4 * count**0.5, count / 39))
    made = faiss.IndexIVFScalarQuantizer(faiss.IndexFlatL2(units), units, lists, faiss.ScalarQuantizer.QT_8bit)
    made.train(index.vectors(np.sort(random.choice(count, min(count, 64 * lists), replace=False))))
    for part in index.parts:
        for first in range(0, len(part), BLOCK):
            made.add(np.asarray(part.vectors[first : first + BLOCK], np.float32))
    own = np.sort(random.choice(count, TESTED, replace=False))
    asked = index.vectors(own)
    truth = index.nearest(asked, top=TOP + 1)[1]
    for probes in PROBES:
        made.nprobe = probes
        found = made.search(asked, TOP + 1)[1]
        recall = float(np.mean([len({*a} & {*b} - {at}) / len({*b} - {at}) for at, a, b in zip(own, found, truth)]))
        if recall >= WANTED:
            break
    faiss.write_index(made, str(index.folder / FILE))
    say(f"approximate: {recall:.1%} of the {TOP} nearest are found by reading {probes} of {lists:,} lists")
    return {"file": FILE, "lists": lists, "probes": probes, "recall": recall, "recall_of": TOP, "recall_on": len(asked),
            "seconds": round(time.monotonic() - began, 2)}


class Approximate:
    """nearest() as the index's, most of the answer the same, in less time; exact where FAISS finds fewer than were asked for."""

    def __init__(self, index):
        self.index, facts = index, index.card["approximate"]
        self.made = imported().read_index(str(index.folder / facts["file"]))
        self.made.nprobe = facts["probes"]

    def nearest(self, queries, *, top=6):
        queries = np.ascontiguousarray(queries, np.float32)
        distances, positions = self.made.search(queries, min(top, len(self.index)))
        distances, few = np.sqrt(np.maximum(distances, 0)), (positions < 0).any(axis=1)  # the lists that were read hold too few
        if few.any():
            distances[few], positions[few] = self.index.nearest(queries[few], top=top)
        return distances, positions


opened = Approximate


def imported():
    try:
        import faiss
    except ImportError:
        raise Refused("an approximate index needs FAISS: pip install 'alexnet[search]', or leave --approximate out.") from None
    return faiss
