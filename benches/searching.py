"""How long a search takes, exact and approximate, beside a full product with NumPy and FAISS's own exact index, in one run; and how
much of the exact answer the approximate one has.

    alexnet search --build TINY INDEX --approximate
    python -m benches.searching INDEX TINY [--queries 1024] [--runs 5]        writes results/searching.json

Queries are pictures of TINY's val, which are not in the index. Forms take turns, after a pause each; files are in memory.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median

import numpy as np

from alexnet import classifier, features
from alexnet.data.store import open_split
from alexnet.device import pick
from alexnet.rundir import environment, replace_file
from alexnet.search import approximate
from alexnet.search.index import Index
from benches.record import RESULTS

TOP = 6
BATCHES = (1, 64, 1024)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index")
    parser.add_argument("store")
    parser.add_argument("--queries", type=int, default=max(BATCHES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "searching.json")
    asked = parser.parse_args(words)
    index = Index.open(asked.index)
    clf, val = classifier.load(index.card["model"]), open_split(asked.store, "val")
    index.check(clf)
    began, count = time.monotonic(), min(asked.queries, len(val))
    queries = features.of_split(clf, val, positions=np.random.default_rng(0).permutation(len(val))[:count])
    seconds = time.monotonic() - began
    near = {"ours, exact": index.nearest, "ours, approximate": approximate.opened(index).nearest, **plain(index)}
    truth = index.nearest(queries, top=TOP)[1]
    shared = {form: np.mean([len({*a} & {*b}) / TOP for a, b in zip(nearest(queries, top=TOP)[1], truth)])
              for form, nearest in near.items()}
    sizes = [size for size in BATCHES if size <= count]
    rows = [{"form": form, "queries": size, "milliseconds": median(times), "each": times, "of_exact": round(float(shared[form]), 4)}
            for size in sizes for form, times in timed(near, queries[:size], asked.runs).items()]
    found = {"command": "python -m benches.searching INDEX TINY", "runs": asked.runs, "pictures": len(index), "top": TOP,
             "units": queries.shape[1], "queries": count, "net": index.card["net"], "layer": index.card["layer"],
             "approximate": index.card["approximate"], "seconds_of_features": round(seconds, 2), "rows": rows,
             "environment": environment(pick("cpu"), command="")}
    replace_file(asked.out, json.dumps(found, indent=1).encode())
    for row in rows:
        of = f"{row['of_exact']:.1%} of the exact answer"
        print(f"{row['form']:<20}{row['queries']:>6} queries{row['milliseconds']:>10.2f} ms, {of}")


def plain(index):
    """What anyone would write, and what anyone would install: all vectors as float32 in memory."""
    import faiss

    vectors = np.concatenate([np.asarray(part.vectors, np.float32) for part in index.parts])
    lengths, flat = (vectors**2).sum(1), faiss.IndexFlatL2(vectors.shape[1])
    flat.add(vectors)

    def numpy(queries, top):
        distances = lengths - 2 * (queries @ vectors.T)
        chosen = np.argpartition(distances, top, axis=1)[:, :top]
        return None, np.take_along_axis(chosen, np.take_along_axis(distances, chosen, 1).argsort(1), 1)

    return {"NumPy, float32": numpy, "FAISS, flat": lambda queries, top: flat.search(np.ascontiguousarray(queries), top)}


def timed(near, queries, runs):
    """Form -> milliseconds of each run; forms take turns, the first turn is not counted."""
    found = {form: [] for form in near}
    for run in range(runs + 1):
        for form, nearest in near.items():
            time.sleep(0.3)  # another's threads may spin on for a while
            began = time.monotonic()
            nearest(queries, top=TOP)
            if run:
                found[form].append(round(1e3 * (time.monotonic() - began), 2))
    return found


if __name__ == "__main__":
    main()
