"""Errors: ties as in the source, views and ensembles by averaged probabilities, every picture once, the interval."""

import numpy as np
import pytest
import torch

import alexnet
from alexnet import evaluate as evaluation
from alexnet import weights
from alexnet.data.feed import Feed
from alexnet.data.store import open_split
from alexnet.errors import Misused, Refused

CPU = torch.device("cpu")


def test_ties_share_the_places_that_are_left():
    found = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25], [0.4, 0.4, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]])
    labels = torch.tensor([0, 1, 1, 3])
    own = found.gather(1, labels[:, None])
    assert evaluation.credit(found, own, 1).tolist() == [1, 0.25, 0.5, 0]
    assert evaluation.credit(found, own, 2).tolist() == pytest.approx([1, 0.5, 1, 1 / 3])
    assert evaluation.credit(found, own, 4).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("error, count, low, high", [
    (0.5, 100, 0.4038, 0.5962), (0.0, 50, 0.0, 0.0713), (1.0, 50, 0.9287, 1.0), (0.182, 50_000, 0.1787, 0.1854)])
def test_wilson(error, count, low, high):
    """Against values worked out with the formula by hand."""
    assert evaluation.wilson(error, count) == pytest.approx([low, high], abs=1e-4)


def test_by_hand_on_the_whole_split(run, store):
    """evaluate() against the network run picture by picture with numpy doing the rest."""
    net, mean, _ = weights.read(run)
    split = open_split(store, "val")
    pictures = torch.from_numpy(split.pictures(np.arange(len(split)))).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        one = torch.cat([net(pictures[i : i + 1, :, 4:60, 4:60] - mean).softmax(1) for i in range(len(split))]).numpy()
    own = one[np.arange(len(split)), split.labels]
    answer = alexnet.evaluate(run, store)
    assert answer["images"] == len(split) == 48 and answer["refused"] == 0 and answer["views"] == 1
    assert answer["top1_error"] == pytest.approx(np.mean(one.argmax(1) != split.labels), abs=1e-9)
    ranks = (one > own[:, None]).sum(1)
    assert answer["top5_error"] == pytest.approx(np.mean(ranks >= 5), abs=1e-9)
    assert answer["log_loss"] == pytest.approx(-np.log(own).mean(), rel=1e-4)
    low, high = answer["top1_interval"]
    assert low <= answer["top1_error"] <= high


def test_ten_views_average_probabilities(run, store):
    net, mean, _ = weights.read(run)
    split = open_split(store, "val")
    picture = split.pictures([0])
    member = evaluation.Member(net, mean, device=CPU)
    raw = torch.from_numpy(picture).permute(0, 3, 1, 2).float()
    total = 0
    with torch.no_grad():
        for flipped in (False, True):
            for top, left in ((0, 0), (0, 8), (4, 4), (8, 0), (8, 8)):
                cut = raw[:, :, top : top + 56, left : left + 56]
                total = total + net((cut.flip(3) if flipped else cut) - mean).softmax(1)
    torch.testing.assert_close(member.probabilities(torch.from_numpy(picture), 10), total / 10)


def test_an_ensemble_averages_and_shares_are_kept(run, store):
    net, mean, _ = weights.read(run)
    other = alexnet.AlexNet(net.row, classes=16, seed=9).eval()
    split = open_split(store, "val")
    members = [evaluation.Member(n, mean, device=CPU) for n in (net, other)]
    both = torch.cat([p for p, _ in evaluation.probabilities(members, Feed(split), shares=[0.75, 0.25])])
    each = [torch.cat([p for p, _ in evaluation.probabilities([m], Feed(split))]) for m in members]
    torch.testing.assert_close(both, 0.75 * each[0] + 0.25 * each[1])
    twice = alexnet.evaluate(run, run, store)
    assert twice["models"] == [str(run)] * 2 and twice["top1_error"] == alexnet.evaluate(run, store)["top1_error"]


def test_top5_of_few_classes_is_over_all_of_them():
    found = torch.tensor([[0.1, 0.2, 0.7]])
    assert evaluation.credit(found, found[:, :1], min(5, 3)).tolist() == [1]


def test_misuse_is_answered(run, store):
    for wrong, answer in (((run,), "at least one MODEL"), ((), "at least one MODEL")):
        with pytest.raises(Misused, match=answer):
            alexnet.evaluate(*wrong)
    with pytest.raises(Misused, match="views is 3"):
        alexnet.evaluate(run, store, views=3)
    with pytest.raises(Refused):
        alexnet.evaluate(run, store, split="tset")


def test_a_figure_on_the_split_it_was_chosen_on_says_so(run, store):
    assert "chosen on this split" in alexnet.evaluate(run, store)["note"]
    assert "note" not in alexnet.evaluate(run, store, split="train")
