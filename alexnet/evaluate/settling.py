"""Batch norm's statistics as its net is used: of plain pictures, with every unit there. Training meets resized crops and dropped
units, whose means and variances are others, and a net that is measured with those loses a point of its error to them. So does one
that is shown enlarged parts with the statistics of whole pictures: where testing has such views, they have their own."""

import numpy as np

from alexnet.data import augment
from alexnet.net import BatchNorm

BATCH = 256
FEW = 512  # of a small store so many enlarged parts are enough: only several views ask for them


def norms(net):
    return [module for module in net.modules() if isinstance(module, BatchNorm)]


def settle(member, feed, count):
    """Give the member's net the statistics of `count` pictures, evenly from all of the feed, each batch from everywhere."""
    member.net.of_parts = {}
    if feed.split.size == member.net.row.crop:
        gather(member, feed, min(count, max(FEW, len(feed) // 4)), views=5)
        member.net.of_parts = statistics(member.net)
    gather(member, feed, count)


def statistics(net):
    """Name in the net -> a copy of each mean and variance."""
    return {name: value.clone() for name, value in net.state_dict().items() if name.endswith(("running_mean", "running_var"))}


def gather(member, feed, count, views=1):
    """Of several views the enlarged parts take turns, a batch each."""
    count = min(count, len(feed))
    parts = augment.are_parts(views, feed.split.size, member.net.row.crop)
    turns = [number for number in range(views) if parts[number] == (views > 1)]
    places, batches = np.arange(count) * len(feed) // count, max(len(turns), -(-count // BATCH))
    member.net.eval()
    usual = [(norm, norm.momentum) for norm in norms(member.net)]
    for norm, _ in usual:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    for turn, (pictures, _) in enumerate(feed.batches(places[first::batches] for first in range(batches))):
        seen = augment.views(pictures, mean=member.mean, crop=member.net.row.crop, count=views)
        member.logits(seen[turns[turn % len(turns)]])
    for norm, momentum in usual:
        norm.momentum = momentum
        norm.eval()
