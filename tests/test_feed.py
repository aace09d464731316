"""Batches arrive in the order of the plan, whatever the number of workers, and errors of a worker are heard."""

import numpy as np
import pytest
import torch

from alexnet.data.feed import Feed, in_turn
from alexnet.data.store import open_split


@pytest.mark.parametrize("workers", [1, 3])
def test_the_plan_is_followed(store, workers):
    split = open_split(store, "train")
    plan = [np.array([5, 1, 1]), np.array([0]), np.arange(40), np.array([127, 3]), np.array([9, 8])]
    found = list(Feed(split, workers=workers).batches(iter(plan)))
    assert len(found) == len(plan)
    for (pixels, labels), places in zip(found, plan):
        assert torch.equal(pixels, torch.from_numpy(split.pictures(places)))
        assert labels.tolist() == split.labels[places].tolist()


def test_a_part_of_a_split_is_fed_by_its_own_places(store):
    split = open_split(store, "train")
    positions = np.array([7, 100, 3])
    (pixels, labels), = Feed(split, positions).batches([np.array([2, 0])])
    assert torch.equal(pixels, torch.from_numpy(split.pictures([3, 7]))) and labels.tolist() == split.labels[[3, 7]].tolist()


def test_everything_once_in_turn():
    assert np.concatenate(list(in_turn(10, 4))).tolist() == list(range(10))


def test_leaving_early_leaves_no_thread(store):
    import threading

    before = threading.active_count()
    for _ in Feed(open_split(store, "train"), workers=2).batches(in_turn(128, 4)):
        break
    assert threading.active_count() <= before + 2
    with pytest.raises(IndexError):
        list(Feed(open_split(store, "train")).batches([np.array([10**6])]))
