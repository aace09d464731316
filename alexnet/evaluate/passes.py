"""Networks go over a split once, and what they saw is kept a row a picture: views and members averaged as probabilities, ties
credited, at one temperature or several. Errors follow from it."""

from copy import deepcopy
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from alexnet import weights
from alexnet.data import augment
from alexnet.data.feed import in_turn
from alexnet.device import autocast
from alexnet.evaluate import scores

BATCH = 256
LEAST = 1e-30  # probability of which a logarithm is taken


class Member:
    """One network of an ensemble (mostly of one), on its device, from stored pictures to probabilities."""

    def __init__(self, net, mean, temperature=1.0, *, device, of_views=None, precision="float32"):
        """temperature: of the central view. of_views: how many views, as text, -> the temperature of their mean."""
        self.net, self.mean = weights.to_device(net, device), mean.to(device)
        self.temperatures = {1: temperature, **{int(views): own for views, own in (of_views or {}).items()}}
        self.device, self.precision = device, precision

    @classmethod
    def of(cls, net, mean, card, *, device):
        """With the temperatures of its card."""
        return cls(net, mean, card["temperature"], device=device, of_views=card.get("temperature_of_views"))

    def temperature(self, views=1):
        return self.temperatures.get(views, 1.0)

    def probabilities(self, pictures, views):
        return self.softened(pictures, views, [self.temperature(views)])[0]

    def softened(self, pictures, views, temperatures):
        """Probabilities at each temperature."""
        logits = self.logits_of(pictures, views)
        return [torch.softmax(logits / one, dim=1) for one in temperatures]

    @torch.inference_mode()
    def logits_of(self, pictures, views):
        """What a temperature divides: the central view's logits, or the log of the mean of several views, for views are averaged
        as probabilities, never as logits."""
        seen, total = augment.views(pictures, mean=self.mean, crop=self.net.row.crop, count=views), 0.0
        for batch, part in zip(seen, augment.are_parts(views, pictures.shape[1], self.net.row.crop), strict=True):
            logits = self.logits(batch, self.net_of_parts if part else self.net)
            if views > 1:
                total = total + torch.softmax(logits / self.temperature(), dim=1)
        return (total / len(seen)).clamp(min=LEAST).log() if views > 1 else logits

    @torch.inference_mode()
    def logits(self, batch, net=None):
        with autocast(self.device, self.precision):
            return (net or self.net)(batch).float()

    @cached_property
    def net_of_parts(self):
        """The same with the statistics of enlarged parts, where it has them (settling.py)."""
        if not self.net.of_parts:
            return self.net
        net = deepcopy(self.net)
        net.load_state_dict(net.of_parts, strict=False)
        return net.eval()


def probabilities(members, feed, *, views=1, tell=lambda count: None, temperatures=None):
    """Batch by batch: (a list of probabilities (B, classes), one a member and temperature; labels)."""
    lists = temperatures or [[member.temperature(views)] for member in members]
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
        return -np.log(np.maximum(self.own.astype(np.float64), LEAST))


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


def measure(members, feed, *, views=1, tell=lambda count: None, gathered=lambda seen: [seen]):
    """Errors of the plain average. gathered: of several processes, each with its own stretch of the pictures, all that they saw."""
    seen, = watch(members, feed, [equal(members)], views=views, tell=tell)
    return summary(Seen(*map(np.concatenate, zip(*gathered(seen)))))


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
