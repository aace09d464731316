"""Errors: ties as in the source, views and ensembles by averaged probabilities, every picture once, the interval."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import alexnet
from alexnet import evaluate as evaluation
from alexnet import weights
from alexnet.answers import show_evaluate
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
    each = [torch.cat([p for (p,), _ in evaluation.probabilities([m], Feed(split))]) for m in members]
    labels, shares = torch.from_numpy(split.labels), [0.75, 0.25]
    both = torch.cat([evaluation.joined(found, shares) for found, _ in evaluation.probabilities(members, Feed(split))])
    torch.testing.assert_close(both, 0.75 * each[0] + 0.25 * each[1])
    plain, weighed = evaluation.errors(members, Feed(split), [[0.5, 0.5], shares])
    assert plain == evaluation.measure(members, Feed(split)) and weighed["images"] == len(split)
    assert weighed["log_loss"] == pytest.approx(-both.gather(1, labels[:, None]).log().mean().item(), rel=1e-5)
    twice = alexnet.evaluate(run, run, store)
    assert twice["models"] == [str(run)] * 2 and twice["top1_error"] == alexnet.evaluate(run, store)["top1_error"]


def test_top5_of_few_classes_is_over_all_of_them():
    found = torch.tensor([[0.1, 0.2, 0.7]])
    assert evaluation.credit(found, found[:, :1], min(5, 3)).tolist() == [1]


def plainly(found, labels, places):
    """The source's search once more, with numpy, as it is told: no early end, every sum anew."""
    members, best = len(found), None

    def credit(shares):
        both = np.tensordot(np.float32(shares), found, 1)
        own = both[np.arange(len(labels)), labels][:, None]
        return np.clip((places - (both > own).sum(1)).clip(0) / (both == own).sum(1), 0, 1).sum()

    shares = [0.5] * members
    best = credit(shares)
    for _ in range(5):
        before = list(shares)
        for at in range(members):
            for step in range(21):
                tried = [*shares[:at], step / 20, *shares[at + 1 :]]
                if any(tried) and credit(tried) > best + 1e-3:
                    best, shares = credit(tried), tried
        if shares == before:
            break
    return shares


@pytest.mark.parametrize("places", [1, 5])
@pytest.mark.parametrize("seed", range(4))
def test_the_search_for_weights_is_the_sources(seed, places):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 12, 600)
    logits = draw.normal(size=(4, 600, 12)) * 2
    logits[np.arange(4)[:, None], np.arange(600), labels] += np.array([1.5, 0.3, 0.9, -1.0])[:, None]
    found = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    found = found.astype(np.float32)
    shares = evaluation.search(torch.from_numpy(found), torch.from_numpy(labels), places)
    assert shares == plainly(found, labels, places) and shares != [0.5] * 4
    assert all(0 <= share <= 1 and share * 20 == round(share * 20) for share in shares)


def test_weights_that_are_all_zero_do_not_win():
    """Where every net is worse than chance, ties of nothing would be credited with more."""
    labels = torch.zeros(40, dtype=torch.int64)
    wrong = torch.tensor([0.0, 0.3, 0.2, 0.2, 0.1, 0.1, 0.1]).expand(2, 40, 7)
    assert evaluation.search(wrong, labels, 5) == [0.5, 0.5]


def test_fitted_weights_beside_the_plain_average(run, store, monkeypatch, tmp_path):
    net, mean, card = weights.read(run)
    other = tmp_path / "other.safetensors"
    weights.write(other, alexnet.AlexNet(net.row, classes=16, seed=9), mean, {**card, "errors": [], "data": {}})
    passes = []
    batches = Feed.batches
    monkeypatch.setattr(Feed, "batches", lambda self, plan: (passes.append(self.split.name), batches(self, plan))[1])
    answer = alexnet.evaluate(run, other, store, fit_weights="train")
    assert passes == ["train", "val"]  # every picture once
    assert answer["fitted_on"] == "train" and sum(answer["weights"]) == pytest.approx(1) and len(answer["weights"]) == 2
    plain = alexnet.evaluate(run, other, store)
    assert answer["plain"] == {key: plain[key] for key in answer["plain"]} and set(plain) <= set(answer) | {"note"}
    members = [evaluation.Member(*weights.read(model)[:2], device=CPU) for model in (run, other)]
    fed = {split: Feed(open_split(store, split)) for split in ("train", "val")}
    assert answer["weights"] == evaluation.fitted(members, fed["train"])
    assert evaluation.errors(members, fed["val"], [answer["weights"]])[0].items() <= answer.items()
    fits = evaluation.errors(members, fed["train"], [answer["weights"], [0.5, 0.5]])
    assert fits[0]["top5_error"] < fits[1]["top5_error"]  # where it was fitted it is better
    assert f"{run} learnt from the pictures of train" in answer["note"]
    show_evaluate(answer)


def test_few_classes_are_fitted_by_top1(run, store, tmp_path, capsys):
    """A store of four classes: top-5 error is 0 whatever the weights."""
    for number in range(4):
        for split in ("train", "val"):
            folder = tmp_path / "pictures" / split / f"class {number}"
            folder.mkdir(parents=True)
            Image.new("RGB", (64, 64), (60 * number, 90 + (split == "val"), 7)).save(folder / "1.png")
    alexnet.prepare(tmp_path / "pictures", tmp_path / "four", size=64, workers=1)
    classes = open_split(tmp_path / "four", "val").classes
    for seed in range(2):
        net = alexnet.AlexNet("tiny64", classes=4, seed=seed)
        card = weights.card(net, classes=classes, size=64, centring="colour")
        weights.write(tmp_path / str(seed), net, torch.zeros(3, 1, 1), card)
    answer = alexnet.evaluate(tmp_path / "0", tmp_path / "1", tmp_path / "four", fit_weights="train")
    assert answer["top5_error"] == 0 and "with 4 classes top-5 error is constant" in answer["note"]
    show_evaluate(answer)
    shown = capsys.readouterr().out
    assert "plain average" in shown and "weights fitted on  train" in shown and "(weight 0." in shown


def test_weights_are_never_fitted_on_what_is_reported(run, store, tmp_path):
    with pytest.raises(Misused, match="is the split that is reported"):
        alexnet.evaluate(run, run, store, fit_weights="val")
    with pytest.raises(Misused, match="there is one"):
        alexnet.evaluate(run, store, fit_weights="train")
    with pytest.raises(Misused, match="no split 'tset'"):
        alexnet.evaluate(run, run, store, fit_weights="tset")
    shutil.copytree(store, tmp_path / "store")
    shutil.copytree(store / "val", tmp_path / "store/test")
    with pytest.raises(Misused, match="holds the same pictures as val"):
        alexnet.evaluate(run, run, tmp_path / "store", fit_weights="test")


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
