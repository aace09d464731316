"""Before a run: the range test proposes a rate inside its range and trains nothing; a batch fits the memory it is given."""

import json

import pytest
import torch

import alexnet
from alexnet import recipes, trials
from alexnet.errors import Misused
from alexnet.net import AlexNet
from alexnet.parts import parts

CPU = torch.device("cpu")


def test_the_range_test_proposes_a_rate_and_leaves_no_run(store, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "STEPS", 40)
    found = alexnet.train(store, recipe="tiny", batch_size=64, find_rate=tmp_path / "rate.png", workers=1)
    assert found["rates"][0] < found["proposed_rate"] <= found["lowest_loss_rate"] <= found["rates"][-1]
    assert len(found["rates"]) == len(found["losses"]) and all(a < b for a, b in zip(found["rates"], found["rates"][1:]))
    assert json.loads((tmp_path / "rate.json").read_text())["proposed_rate"] == found["proposed_rate"]
    assert (tmp_path / "rate.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rate.json", "rate.png"]


def test_the_steepest_fall_is_found():
    losses = [2.3] * 20 + [2.3 - 0.1 * i for i in range(11)] + [1.3] * 10 + [1.25, 1.3, 2.0, 5.0]
    rates = [10 ** (i / 10 - 5) for i in range(len(losses))]
    steepest, lowest = trials.steepest(rates, losses)
    assert rates[20] < steepest < rates[30] and lowest == rates[losses.index(1.25)]


def test_a_picture_of_no_known_kind_and_a_missing_out_are_refused(store):
    with pytest.raises(Misused, match=".png or .svg"):
        alexnet.train(store, recipe="tiny", find_rate="rate.gif")
    with pytest.raises(Misused, match="--out RUN"):
        alexnet.train(store, recipe="tiny")


def test_what_a_picture_costs_is_what_the_layers_keep():
    """One linear layer behind a ReLU net is too simple to hide in: a row of two dense layers, counted by hand."""
    from alexnet.nets import Row
    from alexnet.nets.layers import Dense

    row = Row("x", "", (Dense("fc1", 50), Dense("fc2", 0, then="linear")), crop=8, columns=1)
    weights, a_picture = trials.footprint(AlexNet(row, classes=10, seed=0), CPU)
    assert weights == 4 * (50 * 192 + 50 + 10 * 50 + 10)
    assert a_picture == 4 * (192 + 50)  # the input of fc1; the rectified fc1, which ReLU and fc2 share


@pytest.mark.parametrize("pictures_fit, size", [(300, 256), (70, 64), (1.5, 1), (0.1, 1), (1e9, 1024)])
def test_the_largest_power_of_two_that_fits(store, monkeypatch, pictures_fit, size):
    training, _ = parts(store, "val", 0.0, 0)
    monkeypatch.setattr(trials, "footprint", lambda net, device: (1000, 1e6))
    monkeypatch.setattr(trials, "free_memory", lambda device: (2e6 * pictures_fit + 5000) / 0.7)
    monkeypatch.setattr(trials, "SMALLEST_EPOCH", 0.001)
    found = trials.fitted_batch(recipes.recipe("as_run", batch_size=0), "tiny64", training, CPU)
    assert found.batch_size == size
    scale = size / 128
    assert (found.rate, found.bias_rate) == pytest.approx((0.01 * scale, 0.02 * scale))
    assert [p.rate for p in found.phases if p.rate] == pytest.approx([1e-3 * scale, 1e-4 * scale, 1e-5 * scale])


def test_a_run_keeps_the_batch_that_was_found(store, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "footprint", lambda net, device: (0, 1e6))
    monkeypatch.setattr(trials, "free_memory", lambda device: 2e6 * 16 / 0.7)
    monkeypatch.setattr(trials, "SMALLEST_EPOCH", 1)
    alexnet.train(store, out=tmp_path / "run", recipe="tiny", epochs=1, batch_size=0)
    config = json.loads((tmp_path / "run/config.json").read_text())  # tiny was made for 64
    assert config["recipe"]["batch_size"] == 16 and config["recipe"]["rate"] == pytest.approx(0.01 * 16 / 64)
    monkeypatch.setattr(trials, "free_memory", lambda device: 0)
    alexnet.train(store, out=tmp_path / "run", resume=True, batch_size=0)
