"""Five pictures and the six training pictures that are nearest to each in the last hidden layer: Figure 4 of the paper, right.
The search is exact: every distance to every picture that is searched, in float32."""

from html import escape
from typing import NamedTuple

import numpy as np

from alexnet import figures
from alexnet.explain.page import Section, first, image
from alexnet.explain.subject import BATCH, SEED
from alexnet.progress import Progress

QUERIES, NEAREST = 5, 6
SIDE = 128  # pixels of a picture on the page, at most


class Found(NamedTuple):
    rows: list  # a row a query: [(picture, name, agrees), ...], the query first with None
    searched: int
    there: int  # training pictures in all
    source: str


def found(subject):
    """-> Found, or None where there is nothing to search."""
    if not subject.gallery or subject.searched == 0 or not (subject.index or subject.training):
        return None
    places = queries(subject.gallery)
    squares = subject.gallery.split.pictures(places)
    classes = [subject.clf.classes[label] for label in subject.gallery.split.labels[places]]
    if subject.index:
        near, searched = _in_index(subject, squares)
        there, source = searched, "the index"
    else:
        near, searched, there = _in_store(subject, squares, places)
        source = "train"
    rows = [[(square, one.name, None), *((picture, name, id == one.id) for picture, id, name in row)]
            for square, one, row in zip(squares, classes, near)]
    return Found(rows, searched, there, source)


def queries(gallery):
    """Five places of the gallery, of as many classes as there are."""
    mixed = np.random.default_rng(SEED + 1).permutation(gallery.places)
    labels = gallery.split.labels[mixed]
    once = np.sort(np.unique(labels, return_index=True)[1])  # the first of each class
    rest = np.setdiff1d(np.arange(len(mixed)), once)
    return mixed[np.concatenate([once, rest])[:QUERIES]]


def _in_store(subject, squares, places):
    split, trained = subject.training
    if subject.searched:
        wanted = min(subject.searched, len(trained))
        positions = np.sort(np.random.default_rng(SEED).choice(trained, wanted, replace=False))
    else:
        positions = subject.affordable(trained)
    own = places if split.path == subject.gallery.split.path else np.full(len(places), -1)
    near = nearest(subject.clf, squares, split, positions, own=own)
    classes = subject.clf.classes
    rows = [[(picture, *classes[label]) for picture, label in zip(split.pictures(row), split.labels[row])] for row in near]
    return rows, len(positions), len(trained)


def nearest(clf, squares, split, positions, *, own, top=NEAREST):
    """The positions of the pictures nearest to each square, nearest first; a square is no neighbour of its `own` position."""
    wanted = clf.layer(squares)  # (Q, units)
    best, place = np.full((len(squares), top), np.inf, np.float32), np.full((len(squares), top), -1)
    with Progress("looking for neighbours", len(positions)) as bar:
        for start in range(0, len(positions), BATCH):
            part = positions[start : start + BATCH]
            rows = clf.layer(split.pictures(part))
            distances = (wanted**2).sum(1)[:, None] + (rows**2).sum(1) - 2 * wanted @ rows.T
            distances[own[:, None] == part] = np.inf
            best, place = np.concatenate([best, distances], 1), np.concatenate([place, np.broadcast_to(part, distances.shape)], 1)
            kept = np.argsort(best, axis=1, kind="stable")[:, :top]
            best, place = np.take_along_axis(best, kept, 1), np.take_along_axis(place, kept, 1)
            bar.advance(len(part))
    return [row[np.isfinite(far)] for row, far in zip(place, best)]


def _in_index(subject, squares):
    index = subject.index
    near = index.nearest(subject.clf.layer(squares), top=NEAREST)[1]
    blank = np.full_like(squares[0], 200)  # of a picture that is not there any more
    rows = []
    for row in near.tolist():
        pictures = [index.picture(position) for position in row]
        entries = [index.entry(position) for position in row]
        rows.append([(blank if picture is None else picture, entry.get("id"), entry.get("class") or entry["path"])
                     for picture, entry in zip(pictures, entries)])
    return rows, len(index)


def figure(subject):
    answer = subject.once(found)
    return figures.neighbours(answer.rows) if answer else None


def sections(subject, drawings):
    answer = subject.once(found)
    if not answer:
        return []
    agree = sum(bool(agrees) for row in answer.rows for _, _, agrees in row[1:])
    among = sum(len(row) - 1 for row in answer.rows)
    how = f"all {answer.searched:,} pictures" if answer.searched == answer.there else \
        f"{answer.searched:,} pictures, drawn at random from the {answer.there:,}"
    said = (
        f"{len(answer.rows)} pictures of <em>{escape(subject.gallery.name)}</em>, left, and the {NEAREST} that the net finds most "
        f"alike among {how} of <em>{answer.source}</em>: the smallest distance between what the last hidden layer, "
        f"{subject.clf.last_hidden}, makes of them, by exact search. {agree} of the {among} are of the same class (✓ framed). "
        f"Figure 4 of the paper, right."
    )
    rows = "".join(f'<div class="alike">{"".join(map(_cell, row))}</div>' for row in answer.rows)
    return [Section("What it finds alike", said, rows, "Neighbours")]


def _cell(one):
    square, name, agrees = one
    style = {None: ' class="query"', True: ' class="same"', False: ""}[agrees]
    mark = "✓ " if agrees else ""
    return (f'<figure{style}>{image(square, f"a picture of the class {first(name)}", most=SIDE)}'
            f'<figcaption title="{escape(name)}">{mark}{escape(first(name))}</figcaption></figure>')


FIGURES = {"neighbours": figure}
