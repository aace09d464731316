"""Batch norm's statistics of plain pictures: by hand, beside the training, from everywhere, after a kill."""

import json

import numpy as np
import pytest
import torch

import alexnet
from alexnet import nets, weights
from alexnet.data import augment
from alexnet.data.feed import Feed
from alexnet.data.store import open_split
from alexnet.evaluate.passes import Member
from alexnet.evaluate.settling import norms, settle
from alexnet.net import AlexNet
from tests.test_train import final, killed_after, same

SHORT = dict(recipe="modern", net="tiny64,norm=batch,dropout=0.5", epochs=2, batch_size=32, precision="float32")


class Watched(Feed):
    """A feed that remembers which places it was asked for."""

    def batches(self, plan):
        self.asked = [list(places) for places in plan]
        yield from super().batches(iter(map(np.array, self.asked)))


@pytest.fixture
def member(store):
    net = AlexNet(nets.row("tiny64,norm=batch,dropout=0.5"), classes=16, seed=1)
    return Member(net, torch.zeros(3, 1, 1), device=torch.device("cpu"))


def test_one_batch_has_the_mean_and_variance_of_what_comes_in(store, member):
    split, seen = open_split(store, "val"), {}
    for norm in norms(member.net):
        norm.register_forward_pre_hook(lambda module, given: seen.update({module: given[0].detach().clone()}))
    settle(member, Feed(split), 1000)
    assert len(seen) == 7 and len(split) == 48
    for norm, given in seen.items():
        given = given.transpose(0, 1).flatten(1)  # a row a map
        assert torch.allclose(norm.running_mean, given.mean(1), atol=1e-3 * float(given.std()))
        assert torch.allclose(norm.running_var, given.var(1), rtol=1e-3)
        assert not norm.training and norm.momentum == 0.1


def test_dropout_sleeps_and_pictures_are_the_views_of_testing(store, member):
    settle(member, Feed(open_split(store, "val")), 48)
    before = [norm.running_var.clone() for norm in norms(member.net)]
    settle(member, Feed(open_split(store, "val")), 48)
    assert all(torch.equal(norm.running_var, one) for norm, one in zip(norms(member.net), before))
    pictures = torch.from_numpy(open_split(store, "val").pictures(np.arange(48)))
    first = next(iter(norms(member.net)))
    with torch.no_grad():
        maps = member.net.conv1(augment.views(pictures, mean=member.mean, crop=56)[0])
    assert torch.allclose(first.running_mean, maps.mean((0, 2, 3)), atol=1e-3 * float(maps.std()))


def test_every_batch_comes_from_everywhere(store, member, monkeypatch):
    """A store lies class by class; a batch of one class would not know how the others differ."""
    monkeypatch.setattr("alexnet.evaluate.settling.BATCH", 16)
    feed = Watched(open_split(store, "train"))
    settle(member, feed, 64)
    assert len(feed) == 128 and [len(places) for places in feed.asked] == [16] * 4
    assert sorted(sum(feed.asked, [])) == list(range(0, 128, 2))
    assert all(places[-1] - places[0] >= 112 for places in feed.asked)
    settle(member, feed, 1000)
    assert sorted(sum(feed.asked, [])) == list(range(128))


def test_only_what_is_kept_is_settled(store, tmp_path):
    """Training goes on by its own statistics: every weight is the same, and the log says another error."""
    for name, settling in (("settled", 64), ("not", 0)):
        alexnet.train(store, out=tmp_path / name, settling=settling, **SHORT)
    one, other = final(tmp_path / "settled"), final(tmp_path / "not")
    apart = {name for name in one if not torch.equal(one[name], other[name])}
    assert apart == {name for name in one if "running" in name or "tracked" in name} and len(apart) == 21
    losses = [json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[-1]) for name in ("settled", "not")]
    assert losses[0]["train_loss"] == losses[1]["train_loss"] and losses[0]["log_loss"] != losses[1]["log_loss"]


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_killed_and_resumed(store, tmp_path, monkeypatch, averaging):
    settings = {**SHORT, "settling": 64, "averaging": averaging}
    alexnet.train(store, out=tmp_path / "whole", **settings)
    killed_after(monkeypatch, 6, store, tmp_path / "run", save_minutes=0.0, **settings)
    alexnet.train(store, out=tmp_path / "run", resume=True, **settings)
    assert same(final(tmp_path / "whole"), final(tmp_path / "run"))
    state = [(tmp_path / run / "checkpoints" / "last" / "state.safetensors").read_bytes() for run in ("whole", "run")]
    assert state[0] == state[1]


def test_a_net_without_batch_norm_is_left_alone(store, tmp_path):
    alexnet.train(store, out=tmp_path / "run", settling=64, averaging=0.0, **{**SHORT, "net": "tiny64", "epochs": 1})
    assert "running" not in " ".join(final(tmp_path / "run"))
    assert weights.read(tmp_path / "run")[2]["recipe"]["settling"] == 64
