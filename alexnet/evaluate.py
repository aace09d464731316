"""Errors of one network or several on a split: one view or many, ensembles by averaged probabilities, ties credited as in the
source, every picture counted once; and an ensemble's weights, searched on another split. Paper 4.1 (ten views), sections 5 and 6
(top-1, top-5, ensembles)."""

from math import sqrt
from typing import Annotated

import torch

from alexnet import weights
from alexnet.data import augment
from alexnet.data.feed import Feed, in_turn
from alexnet.data.store import open_split
from alexnet.device import autocast, pick, sums
from alexnet.errors import Misused
from alexnet.progress import Progress

BATCH = 256
PASSES, STEPS = 5, 20  # of the search for weights: rounds at most, and steps of the grid from 0 to 1
LEAST = 1e-3  # of a picture: a smaller gain is rounding


def evaluate(
    *models: Annotated[str, "run folders, weights files or names that ship (several: an ensemble); then a store", "MODEL... STORE"],
    store: Annotated[str, "the store, where it does not stand last"] = None,
    split: Annotated[str, "split to measure on"] = "val",
    views: Annotated[int, "1, 2, 5, 9 or 10 crops and reflections a picture"] = 1,
    fit_weights: Annotated[str, "weigh the models of an ensemble, by the error on this other split", "SPLIT"] = None,
    device: Annotated[str, "auto, cpu, cuda, cuda:N, mps"] = "auto",
    workers: Annotated[int, "threads that read ahead"] = 2,
):
    """Top-1 and top-5 error in float32. With fit_weights they are those of the weighted ensemble, beside the plain average."""
    models, store = (models, store) if store else (models[:-1], models[-1] if models else None)
    if not models:
        raise Misused("evaluate wants at least one MODEL and then a STORE: alexnet evaluate RUN STORE.")
    if views not in augment.VIEWS:
        raise Misused(f"--views is {views}; it may be {', '.join(map(str, augment.VIEWS))}.")
    part, device = open_split(store, split), pick(device)
    other = None if fit_weights is None else split_to_fit(store, fit_weights, part, len(models))
    members, chosen, taught = [], [], []
    for model in models:
        net, mean, card = weights.read(model)
        weights.same_classes(card, part, model)
        chosen += [str(model)] * any(one.get("selected_on") and one["split"] == split for one in card["errors"])
        taught += [str(model)] * bool(other and card["data"].get("fingerprint") == other.fingerprint)
        members.append(Member(net, mean, card["temperature"], device=device))
    notes = [f"the epoch of {', '.join(chosen)} was chosen on this split, so the error is a little flattered"] if chosen else []
    shares = [equal(members)]
    if other:
        with Progress("fitting weights", len(other)) as bar:
            shares.insert(0, fitted(members, Feed(other, device=device, workers=workers), views=views, tell=bar.advance))
        notes += [f"the weights are those of top-1 error: with {len(part.classes)} classes top-5 error is constant"] * few(part)
        notes += [f"{', '.join(taught)} learnt from the pictures of {fit_weights}, so the weights favour what it knows by heart"
                  ] * bool(taught)
    with Progress("evaluating", len(part)) as bar:
        found = errors(members, Feed(part, device=device, workers=workers), shares, views=views, tell=bar.advance)
    plain = {key: found[-1][key] for key in ("top1_error", "top5_error", "log_loss", "top1_interval")}
    return {**found[0], "refused": part.refused, "views": views, "models": [str(model) for model in models],
            "split": split, "precision": "float32", "top5_interval": wilson(found[0]["top5_error"], found[0]["images"]),
            **({"weights": shares[0], "fitted_on": fit_weights, "plain": plain} if other else {}),
            **({"note": "; ".join(notes)} if notes else {})}


def split_to_fit(store, name, part, models):
    """The split on which weights are searched: never the one that is reported."""
    if models < 2:
        raise Misused("--fit-weights weighs the models of an ensemble, and there is one: name two models or more before the store.")
    if name == part.name:
        raise Misused(f"--fit-weights {name} is the split that is reported, and weights fitted on it would flatter: take another.")
    other = open_split(store, name)
    if other.fingerprint == part.fingerprint:
        raise Misused(f"--fit-weights {name} holds the same pictures as {part.name}, which is reported: take another split.")
    return other


class Member:
    """One network of an ensemble (mostly of one), on its device, from stored pictures to probabilities."""

    def __init__(self, net, mean, temperature=1.0, *, device, precision="float32"):
        self.net, self.mean = weights.to_device(net, device), mean.to(device)
        self.temperature, self.device, self.precision = temperature, device, precision

    @torch.inference_mode()
    def probabilities(self, pictures, views):
        """Views are averaged as probabilities, never as logits."""
        total = 0.0
        for batch in augment.views(pictures, mean=self.mean, crop=self.net.row.crop, count=views):
            with autocast(self.device, self.precision):
                logits = self.net(batch)
            total = total + torch.softmax(logits.float() / self.temperature, dim=1)
        return total / views


def probabilities(members, feed, *, views=1, tell=lambda count: None):
    """Batch by batch: (a list of probabilities (B, classes), one a member; labels)."""
    for member in members:
        member.net.eval()
    for pictures, labels in feed.batches(in_turn(len(feed), BATCH)):
        yield [member.probabilities(pictures, views) for member in members], labels
        tell(len(labels))


def joined(found, shares):
    """The probabilities of the ensemble: a weighted sum of its members'."""
    return sum(share * one for share, one in zip(shares, found, strict=True))


def equal(members):
    return [1 / len(members)] * len(members)


def measure(members, feed, *, views=1, tell=lambda count: None):
    """Errors of the plain average."""
    return errors(members, feed, [equal(members)], views=views, tell=tell)[0]


def errors(members, feed, ensembles, *, views=1, tell=lambda count: None):
    """For each list of shares, all from one pass: errors as fractions of the split's readable pictures, and the mean -log of
    the ensemble's probability."""
    totals, pictures = torch.zeros(len(ensembles), 3, dtype=sums(feed.device), device=feed.device), 0
    for each, labels in probabilities(members, feed, views=views, tell=tell):
        for total, shares in zip(totals, ensembles):
            found = joined(each, shares)
            own = found.gather(1, labels[:, None])
            total[0] += credit(found, own, 1).sum()
            total[1] += credit(found, own, min(5, found.shape[1])).sum()
            total[2] -= own.to(total.dtype).clamp(min=1e-30).log().sum()
        pictures += len(labels)
    return [{"images": pictures, "top1_error": 1 - top1, "top5_error": 1 - top5, "log_loss": loss,
             "top1_interval": wilson(1 - top1, pictures)} for top1, top5, loss in (totals / pictures).tolist()]


def credit(found, own, places):
    """How far the right class is among the first `places`: 1, 0, or, where it ties, the places left over the ties."""
    above = (found > own).sum(1)
    ties = (found == own).sum(1)
    return ((places - above).clamp(min=0) / ties).clamp(max=1)


def wilson(error, count, z=1.959964):
    """The 95 % interval of a proportion that holds near 0 and 1 too."""
    if not count:
        return [0.0, 1.0]
    middle = error + z * z / (2 * count)
    spread = z * sqrt(max(error * (1 - error), 0) / count + z * z / (4 * count * count))
    return [max(0.0, (middle - spread) / (1 + z * z / count)), min(1.0, (middle + spread) / (1 + z * z / count))]


# ---- the weights of an ensemble ------------------------------------------------------------------------------------------


def few(split):
    """So few classes that top-5 error says nothing."""
    return len(split.classes) <= 5


def fitted(members, feed, *, views=1, tell=lambda count: None):
    """One weight a member, sum 1: those of the smallest top-5 error on this split that the source's search finds."""
    shape = (len(members), len(feed), len(feed.split.classes))
    found, labels = torch.empty(shape, device=feed.device), torch.empty(len(feed), dtype=torch.int64, device=feed.device)
    done = 0
    for each, own in probabilities(members, feed, views=views, tell=tell):
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
