"""Order and draws: functions of (seed, epoch, step) alone."""

import numpy as np

from alexnet.data import order


def epoch(pictures, size, **words):
    return [order.batch(pictures, size, step=s, **words) for s in range(order.steps(pictures, size))]


def test_every_picture_once_an_epoch_in_a_new_order():
    first, second = (np.concatenate(epoch(1000, 128, seed=1, epoch=e)) for e in (0, 1))
    assert sorted(first) == list(range(1000)) == sorted(second)
    assert not np.array_equal(first, second)
    assert np.array_equal(second, np.concatenate(epoch(1000, 128, seed=1, epoch=1)))
    assert not np.array_equal(first, np.concatenate(epoch(1000, 128, seed=2, epoch=0)))


def test_any_step_can_be_asked_for_alone():
    whole = epoch(1000, 128, seed=3, epoch=4)
    assert np.array_equal(order.batch(1000, 128, seed=3, epoch=4, step=5), whole[5])


def test_as_in_2012_the_order_can_stay():
    assert np.array_equal(np.concatenate(epoch(300, 128, seed=1, epoch=9, reshuffle=False)), np.arange(300))


def test_the_last_batch_may_be_short_but_not_a_few():
    assert [len(b) for b in epoch(300, 128, seed=0, epoch=0)] == [128, 128, 44]
    assert [len(b) for b in epoch(257, 128, seed=0, epoch=0)] == [128, 129]
    assert [len(b) for b in epoch(263, 128, seed=0, epoch=0)] == [128, 135]
    assert [len(b) for b in epoch(264, 128, seed=0, epoch=0)] == [128, 128, 8]
    assert [len(b) for b in epoch(11, 4, seed=0, epoch=0)] == [4, 4, 3] and [len(b) for b in epoch(9, 4, seed=0, epoch=0)] == [4, 5]
    assert [len(b) for b in epoch(5, 2, seed=0, epoch=0)] == [2, 3] and [len(b) for b in epoch(3, 1, seed=0, epoch=0)] == [1, 1, 1]
    assert [len(b) for b in epoch(1, 128, seed=0, epoch=0)] == [1] and [len(b) for b in epoch(5, 128, seed=0, epoch=0)] == [5]


def test_streams_belong_to_their_words():
    streams = ((0, 1, 2, "a"), (0, 1, 2, "b"), (0, 1, 3, "a"), (0, 1, 2, "a"))
    draws = [order.generator(*words).random(4).tolist() for words in streams]
    assert draws[0] == draws[3] and draws[0] != draws[1] and draws[0] != draws[2]
    assert order.key(0, 1, 2) == order.key(0, 1, 2) != order.key(0, 1, 3) and 0 <= order.key(5) < 2**31


def test_holdout_takes_the_same_share_of_every_class():
    labels = np.repeat([0, 1, 2], [100, 50, 2])
    kept, held = order.holdout(labels, 0.1, seed=0)
    assert sorted([*kept, *held]) == list(range(152))
    assert np.bincount(labels[held]).tolist() == [10, 5, 1]
    assert np.array_equal(held, order.holdout(labels, 0.1, seed=0)[1])
    assert not np.array_equal(held, order.holdout(labels, 0.1, seed=1)[1])
