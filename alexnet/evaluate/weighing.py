"""The weights of an ensemble, searched as the source did: one after the other over a grid, by the error on a split of their own."""

import torch

from alexnet.device import sums
from alexnet.evaluate.passes import BATCH, credit, joined, probabilities
from alexnet.progress import Progress

PASSES, STEPS = 5, 20  # of the search: rounds at most, and steps of the grid from 0 to 1
LEAST = 1e-3  # of a picture: a smaller gain is rounding


def few(split):
    """So few classes that top-5 error says nothing."""
    return len(split.classes) <= 5


def fitted(members, feed, *, views=1):
    """One weight a member, sum 1: those of the smallest top-5 error on this split that the source's search finds."""
    shape = (len(members), len(feed), len(feed.split.classes))
    found, labels = torch.empty(shape, device=feed.device), torch.empty(len(feed), dtype=torch.int64, device=feed.device)
    done = 0
    with Progress("fitting weights", len(feed)) as bar:
        for each, own in probabilities(members, feed, views=views, tell=bar.advance):
            part = slice(done, done + len(own))
            labels[part] = own
            for kept, one in zip(found, each):
                kept[part] = one
            done += len(own)
    shares = search(found, labels, 1 if few(feed.split) else 5)
    return [share / sum(shares) for share in shares]


def search(found, labels, places):
    """found (members, N, classes). From 0.5 each, one weight after the other goes over the grid with the others held, and keeps
    a value where more labels are among the first `places`; until a round comes back to the weight that changed last."""
    grid, shares, last = [step / STEPS for step in range(STEPS + 1)], [0.5] * len(found), 0
    best = credits(found, labels, places, shares, 0, shares[:1])[0]
    for turn in range(PASSES * len(found)):
        at = turn % len(found)
        if turn and at == last:
            break
        for value, score in zip(grid, credits(found, labels, places, shares, at, grid)):
            nothing = not value and not any(shares[:at] + shares[at + 1 :])  # all weights 0: every class would tie
            if score > best + LEAST and not nothing:
                best, shares[at], last = score, value, at
    return shares


def credits(found, labels, places, shares, at, values):
    """The credit of all pictures for each value in the place `at` of the shares."""
    totals = torch.zeros(len(values), dtype=sums(found.device), device=found.device)
    for first in range(0, len(labels), BATCH):
        part, own = found[:, first : first + BATCH], labels[first : first + BATCH, None]
        rest = joined(part, [*shares[:at], 0.0, *shares[at + 1 :]])
        for total, value in zip(totals, values):
            both = rest + value * part[at]
            total += credit(both, both.gather(1, own), places).sum(dtype=totals.dtype)
    return totals.tolist()
