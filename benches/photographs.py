"""How the weights that ship do on ordinary photographs: of those whose class they know, by the WNID that a file's name begins with,
the answers one by one; pictures that stand in train are found by their likeness to it or known, and counted apart.

    python -m benches.photographs FOLDER --train STORE [--model default] [--sheet FILE.png]

Writes results/photographs.json, with one view and ten. The sheet shows every photograph of a known class with the five likeliest
classes of ten views, those in train at the end.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import alexnet
from alexnet import figures, rundir
from alexnet.data import likeness, picture
from alexnet.data.store import open_split
from benches.record import RESULTS

SUFFIXES = (".jpg", ".jpeg", ".png")
KNOWN = {"n02788148_bannister.JPEG"}  # of imagenet-photos, stands in train too, but a likeness of 0.70 does not find it
SHOWN = 192  # side of a photograph on the sheet; the net sees 64 pixels or so


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", required=True, help="the store that the weights were trained on")
    parser.add_argument("--model", default="default")
    parser.add_argument("--sheet", type=Path)
    given = parser.parse_args(words)
    clf, split = alexnet.load(given.model), open_split(given.train, "train")
    places = {one.id: at for at, one in enumerate(clf.classes)}
    files = sorted(file for file in given.folder.iterdir() if file.suffix.lower() in SUFFIXES)
    known = [(file, places[wnid]) for file in files if (wnid := file.name.split("_")[0]) in places]
    squares = np.stack([clf.square(file) for file, _ in known])
    labels = np.array([label for _, label in known])
    seen = in_train(squares, labels, split) | np.array([file.name in KNOWN for file, _ in known])

    def looked(views):
        """A line a photograph."""
        probabilities = clf.probabilities(squares, views)
        order = (-probabilities).argsort(1)
        return [{"file": file.name, "class": clf.classes[label].name, "in_train": bool(stands), "first": bool(best[0] == label),
                 "in_five": bool(label in best[:5]),
                 "answers": [[clf.classes[at].name, round(float(row[at]), 4)] for at in best[:5]]}
                for (file, label), stands, best, row in zip(known, seen, order, probabilities)]

    lines, of_ten_views = looked(1), looked(10)
    found = {"command": f"python -m benches.photographs FOLDER --train STORE --model {given.model}", "weights": clf.digest,
             "runs": 1, "photographs": len(files), "of_known_classes": len(known), **sides(lines), "ten_views": sides(of_ten_views),
             "each": lines, "each_of_ten_views": of_ten_views, "environment": rundir.environment(torch.device("cpu"))}
    rundir.replace_file(RESULTS / "photographs.json", json.dumps(found, indent=1).encode())
    for one in of_ten_views:
        told = ", ".join(f"{name} {share:.0%}" for name, share in one["answers"][:3])
        print(f"{'ok ' if one['first'] else ' 5 ' if one['in_five'] else '   '}{'train' if one['in_train'] else '':<6}"
              f"{one['class'][:24]:<26}{told}")
    for name in ("in_train", "independent"):
        print(name, found[name], "with ten views", found["ten_views"][name])
    if given.sheet:
        best = sorted(range(len(lines)), key=lambda at: (lines[at]["in_train"], not of_ten_views[at]["first"]))
        tops = [[(name, share, name == lines[at]["class"]) for name, share in of_ten_views[at]["answers"]] for at in best]
        shown = np.stack([picture.square(known[at][0], SHOWN) for at in best])
        figures.save(figures.panels(shown, [lines[at]["class"] for at in best], tops), given.sheet)


def in_train(squares, labels, split):
    """Of each photograph, whether a picture of its class in train is the same."""
    theirs = np.flatnonzero(np.isin(split.labels, labels))
    marks = [likeness.signatures(squares)]
    marks += [likeness.signatures(split.pictures(theirs[first : first + 512])) for first in range(0, len(theirs), 512)]
    found = np.zeros(len(squares), bool)
    for i, j, _ in likeness.pairs(np.concatenate(marks)):
        if i < len(squares) <= j and split.labels[theirs[j - len(squares)]] == labels[i]:
            found[i] = True
    return found


def sides(lines):
    return {name: counted([one for one in lines if one["in_train"] == stands])
            for name, stands in (("in_train", True), ("independent", False))}


def counted(lines):
    """Shares are told with their count: they are few."""
    count = len(lines)
    return {"pictures": count, "first": sum(one["first"] for one in lines), "in_five": sum(one["in_five"] for one in lines)}


if __name__ == "__main__":
    main()
