"""Errors of one network or several on a split: one view or ten, ensembles by averaged probabilities, ties credited as in the
source, every picture counted once. Paper 4.1 (ten views), sections 5 and 6 (top-1, top-5, ensembles)."""

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


def evaluate(
    *models: Annotated[str, "run folders, weights files or names that ship (several: an ensemble); then a store", "MODEL... STORE"],
    store: Annotated[str, "the store, where it does not stand last"] = None,
    split: Annotated[str, "split to measure on"] = "val",
    views: Annotated[int, "1, 2, 5 or 10 crops and reflections a picture"] = 1,
    device: Annotated[str, "auto, cpu, cuda, cuda:N, mps"] = "auto",
    workers: Annotated[int, "threads that read ahead"] = 2,
):
    """Top-1 and top-5 error in float32."""
    models, store = (models, store) if store else (models[:-1], models[-1] if models else None)
    if not models:
        raise Misused("evaluate wants at least one MODEL and then a STORE: alexnet evaluate RUN STORE.")
    if views not in augment.VIEWS:
        raise Misused(f"--views is {views}; it may be {', '.join(map(str, augment.VIEWS))}.")
    part, device = open_split(store, split), pick(device)
    members, chosen = [], []
    for model in models:
        net, mean, card = weights.read(model)
        weights.same_classes(card, part, model)
        chosen += [str(model)] * any(one.get("selected_on") and one["split"] == split for one in card["errors"])
        members.append(Member(net, mean, card["temperature"], device=device))
    with Progress("evaluating", len(part)) as bar:
        found = measure(members, Feed(part, device=device, workers=workers), views=views, tell=bar.advance)
    note = f"the epoch of {', '.join(chosen)} was chosen on this split, so the error is a little flattered"
    return {**found, "refused": part.refused, "views": views, "models": [str(model) for model in models],
            "split": split, "precision": "float32", "top5_interval": wilson(found["top5_error"], found["images"]),
            **({"note": note} if chosen else {})}


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


def probabilities(members, feed, *, views=1, shares=None, tell=lambda count: None):
    """Batch by batch: (probabilities of the ensemble (B, classes), labels). shares: one weight a member, equal if none."""
    for member in members:
        member.net.eval()
    shares = shares or [1 / len(members)] * len(members)
    for pictures, labels in feed.batches(in_turn(len(feed), BATCH)):
        yield sum(share * member.probabilities(pictures, views) for share, member in zip(shares, members)), labels
        tell(len(labels))


def measure(members, feed, *, views=1, tell=lambda count: None):
    """Errors as fractions of the split's readable pictures, and the mean -log of the averaged probability."""
    total, pictures = torch.zeros(3, dtype=sums(feed.device), device=feed.device), 0
    for found, labels in probabilities(members, feed, views=views, tell=tell):
        own = found.gather(1, labels[:, None])
        total[0] += credit(found, own, 1).sum()
        total[1] += credit(found, own, min(5, found.shape[1])).sum()
        total[2] -= own.to(total.dtype).clamp(min=1e-30).log().sum()
        pictures += len(labels)
    top1, top5, loss = (total / pictures).tolist()
    return {"images": pictures, "top1_error": 1 - top1, "top5_error": 1 - top5, "log_loss": loss,
            "top1_interval": wilson(1 - top1, pictures)}


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
