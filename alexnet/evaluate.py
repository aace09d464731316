"""Errors of one network or several on a split, every number with its interval: one view or many, ensembles by averaged
probabilities, ties credited as in the source, every picture counted once. Paper 4.1 (ten views), sections 5 and 6 (top-1, top-5,
ensembles). Everything is read off one pass; the measures are in scores.py and comparison.py, the temperature in temperature.py."""

import time
from typing import Annotated, NamedTuple

import numpy as np
import torch

from alexnet import findings, predictions, scores, temperature, weights
from alexnet.data import augment
from alexnet.data.feed import Feed, in_turn
from alexnet.data.store import open_split
from alexnet.device import autocast, pick, sums
from alexnet.errors import Misused
from alexnet.progress import Progress

BATCH = 256
BUDGET = (1, 2, 5, 10)  # views of --budget
PASSES, STEPS = 5, 20  # of the search for weights: rounds at most, and steps of the grid from 0 to 1
LEAST = 1e-3  # of a picture: a smaller gain is rounding


def evaluate(
    *models: Annotated[str, "run folders, weights files or names that ship (several: an ensemble); then a store", "MODEL... STORE"],
    store: Annotated[str, "the store, where it does not stand last"] = None,
    split: Annotated[str, "split to measure on"] = "val",
    views: Annotated[int, "1, 2, 5, 9 or 10 crops and reflections a picture"] = 1,
    per_class: Annotated[bool, "each class's error, the worst first, and the pairs most often confused"] = False,
    compare: Annotated[bool, "of two models: which one wins, picture by picture, and is it chance"] = False,
    budget: Annotated[bool, "errors and speed with 1, 2, 5 and 10 views"] = False,
    fit_weights: Annotated[str, "weigh the models of an ensemble, by the error on this other split", "SPLIT"] = None,
    fit_temperature: Annotated[str, "fit each model's temperature on this split and keep it in its weights file", "SPLIT"] = None,
    reliability: Annotated[str, "draw how far confidence can be believed into this .png or .svg", "FILE"] = None,
    save_predictions: Annotated[str, "a row a picture into this .parquet, .csv or .jsonl", "FILE"] = None,
    device: Annotated[str, "auto, cpu, cuda, cuda:N, mps"] = "auto",
    workers: Annotated[int, "threads that read ahead"] = 2,
):
    """Top-1 and top-5 error in float32, log loss and calibration error. With fit_weights they are those of the weighted ensemble,
    beside the plain average; with fit_temperature those after it, beside those before."""
    models, store = (models, store) if store else (models[:-1], models[-1] if models else None)
    check(models, views, compare=compare, fit_weights=fit_weights, fit_temperature=fit_temperature, files={
        "--reliability": (reliability, (".png", ".svg")), "--save-predictions": (save_predictions, predictions.ENDINGS)})
    part, device = open_split(store, split), pick(device)
    other = split_to_fit(store, fit_weights, part) if fit_weights else None
    fitting = open_split(store, fit_temperature) if fit_temperature else None
    members, notes = opened(models, part, other or fitting, device)
    feed, shares, fits = Feed(part, device=device, workers=workers), [equal(members)], None
    if other:
        shares.insert(0, fitted(members, Feed(other, device=device, workers=workers), views=views))
        notes += [f"the weights are those of top-1 error: with {len(part.classes)} classes top-5 error is constant"] * few(part)
    if fitting:
        crossed = fitting.fingerprint == part.fingerprint
        fits, said = fitted_temperatures(members, Feed(fitting, device=device, workers=workers), crossed=crossed, views=views)
        notes += said
    alone = [[float(one is member) for one in members] for member in members] if len(members) > 1 else []
    with Progress("evaluating", len(part)) as bar:
        before, now = measured(members, feed, shares + alone, fits=fits, views=views, tell=bar.advance)
    each = now[len(shares):]
    answer = {**summary(now[0]), "refused": part.refused, "views": views, "models": [str(model) for model in models],
              "split": split, "precision": "float32", "refused_pictures": findings.refused(part),
              "temperatures": [fit.all for fit in fits or ()] or [member.temperature for member in members],
              **findings.several(models, [summary(seen) for seen in each])}
    if other:
        plain = summary(now[1])
        answer |= {"weights": shares[0], "fitted_on": fit_weights,
                   "plain": {key: plain[key] for key in ("top1_error", "top5_error", "log_loss", "top1_interval")}}
    if fits:
        answer |= kept(models, members, fits, fit_temperature, summary(before[0]))
    if per_class:
        answer |= findings.classes(part, now[0])
    if compare:
        answer |= findings.compared(part, models, each)
    if reliability:
        findings.draw(reliability, before[0], now[0])
    if save_predictions:
        findings.save(save_predictions, part, models, each if compare else now[:1])
    if budget:
        answer |= spent(members, feed, shares[0])
    return {**answer, **({"note": "; ".join(notes)} if notes else {})}


# ---- what is asked ---------------------------------------------------------------------------------------------------------


def check(models, views, *, compare, fit_weights, fit_temperature, files):
    if not models:
        raise Misused("evaluate wants at least one MODEL and then a STORE: alexnet evaluate RUN STORE.")
    if views not in augment.VIEWS:
        raise Misused(f"--views is {views}; it may be {', '.join(map(str, augment.VIEWS))}.")
    if compare and len(models) != 2:
        raise Misused(f"--compare wants two models before the store, {len(models)} given: alexnet evaluate --compare A B STORE.")
    if fit_weights and len(models) < 2:
        raise Misused("--fit-weights weighs the models of an ensemble, and there is one: name two models or more before the store.")
    if fit_weights and fit_temperature:
        raise Misused("--fit-weights and --fit-temperature are two steps: fit the temperatures, which are kept, then the weights.")
    for option, (path, endings) in files.items():
        if path:
            predictions.check(path, option=option, endings=endings)
    for model in models if fit_temperature else ():
        temperature.may_keep(model)


def split_to_fit(store, name, part):
    """The split on which weights are searched: never the one that is reported."""
    if name == part.name:
        raise Misused(f"--fit-weights {name} is the split that is reported, and weights fitted on it would flatter: take another.")
    other = open_split(store, name)
    if other.fingerprint == part.fingerprint:
        raise Misused(f"--fit-weights {name} holds the same pictures as {part.name}, which is reported: take another split.")
    return other


def opened(models, part, other, device):
    """(members, what has to be said of how well they know the pictures). other: a split on which something is fitted."""
    members, chosen, known, taught, elsewhere = [], [], [], [], []
    for model in models:
        net, mean, card = weights.read(model)
        weights.same_classes(card, part, model)
        chosen += [str(model)] * any(one.get("selected_on") and one["split"] == part.name for one in card["errors"])
        known += [str(model)] * (card["data"].get("fingerprint") == part.fingerprint)
        taught += [str(model)] * bool(other and card["data"].get("fingerprint") == other.fingerprint)
        elsewhere += findings.elsewhere(model, card)
        members.append(Member(net, mean, card["temperature"], device=device))
    notes = [f"the epoch of {', '.join(chosen)} was chosen on this split, so the error is a little flattered"] if chosen else []
    notes += [f"{', '.join(known)} was trained on the pictures of this split: this is no error on new pictures"] if known else []
    notes += [f"{', '.join(taught)} learnt from the pictures of {other.name}: what is fitted favours what it knows"] if taught else []
    return members, notes + elsewhere


# ---- one pass --------------------------------------------------------------------------------------------------------------


class Member:
    """One network of an ensemble (mostly of one), on its device, from stored pictures to probabilities."""

    def __init__(self, net, mean, temperature=1.0, *, device, precision="float32"):
        self.net, self.mean = weights.to_device(net, device), mean.to(device)
        self.temperature, self.device, self.precision = temperature, device, precision

    def probabilities(self, pictures, views):
        return self.softened(pictures, views, [self.temperature])[0]

    @torch.inference_mode()
    def softened(self, pictures, views, temperatures):
        """Probabilities at each temperature. Views are averaged as probabilities, never as logits."""
        totals = [0.0] * len(temperatures)
        for batch in augment.views(pictures, mean=self.mean, crop=self.net.row.crop, count=views):
            logits = self.logits(batch)
            totals = [total + torch.softmax(logits / one, dim=1) for total, one in zip(totals, temperatures)]
        return [total / views for total in totals]

    @torch.inference_mode()
    def logits(self, batch):
        with autocast(self.device, self.precision):
            return self.net(batch).float()


def probabilities(members, feed, *, views=1, tell=lambda count: None, temperatures=None):
    """Batch by batch: (a list of probabilities (B, classes), one a member and temperature; labels)."""
    lists = temperatures or [[member.temperature] for member in members]
    for member in members:
        member.net.eval()
    for pictures, labels in feed.batches(in_turn(len(feed), BATCH)):
        yield [one for member, many in zip(members, lists) for one in member.softened(pictures, views, many)], labels
        tell(len(labels))


def joined(found, shares):
    """The probabilities of the ensemble: a weighted sum of its members'."""
    return sum(share * one for share, one in zip(shares, found, strict=True) if share)


def equal(members):
    return [1 / len(members)] * len(members)


class Seen(NamedTuple):
    """What an ensemble made of a split: numpy arrays, a row a picture."""

    labels: np.ndarray
    first: np.ndarray  # credit: is the right class the first answer
    five: np.ndarray  # among the first five
    rank: np.ndarray  # of the right class, from 1
    own: np.ndarray  # its probability
    top: np.ndarray  # (N, 5) the likeliest classes
    likely: np.ndarray  # (N, 5) their probabilities

    def losses(self):
        return -np.log(np.maximum(self.own.astype(np.float64), 1e-30))


def watch(members, feed, ensembles, *, views=1, tell=lambda count: None, temperatures=None):
    """For each list of shares what that ensemble saw, all from one pass."""
    kept = [[] for _ in ensembles]
    for each, labels in probabilities(members, feed, views=views, tell=tell, temperatures=temperatures):
        for batches, shares in zip(kept, ensembles):
            found = joined(each, shares)
            own, places = found.gather(1, labels[:, None]), min(5, found.shape[1])
            likely, top = found.topk(places)
            rank = 1 + (found > own).sum(1)
            batches.append((labels, credit(found, own, 1), credit(found, own, places), rank, own[:, 0], top, likely))
    return [in_order(Seen(*(torch.cat(column).cpu().numpy() for column in zip(*batches)))) for batches in kept]


def in_order(seen):
    """Of equals the lower index stands first, as in predict."""
    order = np.lexsort((seen.top, -seen.likely), axis=1)
    return seen._replace(top=np.take_along_axis(seen.top, order, 1), likely=np.take_along_axis(seen.likely, order, 1))


def measured(members, feed, ensembles, *, fits, views, tell):
    """What the ensembles saw (before, after) the temperatures were fitted; the same twice where none were."""
    if not fits:
        return [watch(members, feed, ensembles, views=views, tell=tell)] * 2
    each = [(fit.before, *(fit.crossed or (fit.all,))) for fit in fits]
    kinds, count = range(len(each[0])), len(ensembles)
    spread = [[share * (kind == one) for share in shares for one in kinds] for kind in kinds for shares in ensembles]
    found = watch(members, feed, spread, views=views, tell=tell, temperatures=each)
    before, now, *crossed = (found[kind * count : (kind + 1) * count] for kind in kinds)
    half = scores.halves(len(feed))
    for others in crossed:
        now = [Seen(*(np.where(half.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(*pair))) for pair in zip(now, others)]
    return before, now


def measure(members, feed, *, views=1, tell=lambda count: None):
    """Errors of the plain average."""
    return errors(members, feed, [equal(members)], views=views, tell=tell)[0]


def errors(members, feed, ensembles, *, views=1, tell=lambda count: None):
    return [summary(seen) for seen in watch(members, feed, ensembles, views=views, tell=tell)]


def credit(found, own, places):
    """How far the right class is among the first `places`: 1, 0, or, where it ties, the places left over the ties. What is no
    number equals nothing, and gets nothing."""
    above = (found > own).sum(1)
    ties = (found == own).sum(1)
    return ((places - above).clamp(min=0) / ties.clamp(min=1)).clamp(max=1) * (ties > 0)


def summary(seen):
    """Errors as fractions of the split's readable pictures, the mean -log of the right class, how well confidence is earned."""
    pictures, confidence, losses = len(seen.labels), seen.likely[:, 0], seen.losses()
    top1, top5 = (1 - float(one.mean(dtype=np.float64)) for one in (seen.first, seen.five))
    return {"images": pictures, "top1_error": top1, "top5_error": top5, "log_loss": float(losses.mean()),
            "top1_interval": scores.wilson(top1, pictures), "top5_interval": scores.wilson(top5, pictures),
            "log_loss_interval": scores.mean_interval(losses), "ece": scores.bins(confidence, seen.first).error(),
            "ece_by_chance": scores.chance_error(confidence), "ece_bins": scores.BINS}


# ---- what takes passes of its own ------------------------------------------------------------------------------------------


def fitted_temperatures(members, feed, *, crossed, views):
    """(a Fit a member, what has to be said of it). The net sees the central view, as in predict."""
    logits = [[] for _ in members]
    with Progress("fitting the temperature", len(feed)) as bar:
        for pictures, labels in feed.batches(in_turn(len(feed), BATCH)):
            for batches, member in zip(logits, members):
                batch, = augment.views(pictures, mean=member.mean, crop=member.net.row.crop, count=1)
                batches.append(member.logits(batch).cpu())
            bar.advance(len(labels))
    fits = [temperature.fit(torch.cat(batches).numpy(), feed.labels, before=member.temperature, crossed=crossed)
            for batches, member in zip(logits, members)]
    notes = ["the temperature is that of the central view, which predict uses"] * (views > 1)
    if crossed:
        notes += ["log loss and calibration error are cross-fitted: each half of the split by the temperature of the other half"]
    if any(temperature.at_the_end(fit.all) for fit in fits):
        notes += ["a temperature ran to the end of the search: the split has too few pictures for it, or the net knows nothing"]
    return fits, notes


def kept(models, members, fits, split, before):
    """The temperatures go into the weights files, and from here on into the members."""
    for model, member, fit in zip(models, members, fits):
        temperature.keep(model, fit.all)
        member.temperature = fit.all
    return {"temperature_fitted_on": split, "cross_fitted": bool(fits[0].crossed),
            "before": {"temperatures": [fit.before for fit in fits], **{key: before[key] for key in ("log_loss", "ece")}}}


def spent(members, feed, shares):
    """What more views cost and bring, each number of views once through the split. The pass before has warmed the machine."""
    found = []
    with Progress("views", len(feed) * len(BUDGET)) as bar:
        for views in BUDGET:
            began = time.perf_counter()
            line = errors(members, feed, [shares], views=views, tell=bar.advance)[0]
            took = time.perf_counter() - began
            found.append({"views": views, **{f"{key}_{what}": line[f"{key}_{what}"] for key in ("top1", "top5")
                                             for what in ("error", "interval")},
                          "forward_passes": views * len(members), "images_per_second": len(feed) / took})
    return {"budget": found, "budget_runs": 1}


# ---- the weights of an ensemble ------------------------------------------------------------------------------------------


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
