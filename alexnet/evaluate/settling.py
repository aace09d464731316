"""Batch norm's statistics as its net is used: of plain pictures, with every unit there. Training meets resized crops and dropped
units, whose means and variances are others, and a net that is measured with those loses a point of its error to them."""

import numpy as np

from alexnet.data import augment
from alexnet.net import BatchNorm

BATCH = 256


def norms(net):
    return [module for module in net.modules() if isinstance(module, BatchNorm)]


def settle(member, feed, count):
    """Give the member's net the statistics of `count` pictures, evenly from all of the feed, each batch from everywhere."""
    count = min(count, len(feed))
    places, batches = np.arange(count) * len(feed) // count, -(-count // BATCH)
    member.net.eval()
    usual = [(norm, norm.momentum) for norm in norms(member.net)]
    for norm, _ in usual:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    for pictures, _ in feed.batches(places[first::batches] for first in range(batches)):
        member.logits(augment.views(pictures, mean=member.mean, crop=member.net.row.crop)[0])
    for norm, momentum in usual:
        norm.momentum = momentum
        norm.eval()
