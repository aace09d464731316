"""Batch norm's statistics of plain pictures: by hand, beside the training, from everywhere, after a kill."""

import json
from functools import partial

import numpy as np
import pytest
import torch

import alexnet
from alexnet import cards, nets, weights
from alexnet.data import augment
from alexnet.data.feed import Feed
from alexnet.data.store import open_split
from alexnet.errors import Refused
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


# ---- enlarged parts ---------------------------------------------------------------------------------------------------------

WHOLE = {**SHORT, "net": "quick64,norm=batch,dropout=0.5", "settling": 64}


def test_enlarged_parts_have_statistics_of_their_own(store):
    """The four corners take turns, a quarter of the pictures each: the mean of what norms see of them by hand."""
    net = AlexNet(nets.row(WHOLE["net"]), classes=16, seed=1)
    member, split, seen = Member(net, torch.zeros(3, 1, 1), device=torch.device("cpu")), open_split(store, "val"), {}
    settle(member, Feed(split), 48)
    assert net.of_parts.keys() == {name for name in net.state_dict() if "running" in name} and len(net.of_parts) == 14
    other = member.net_of_parts

    def keep(name, module, given):
        if given[0].dim() == 4:  # of a dense layer the norm calls itself once more
            seen.setdefault(name, []).append(given[0].clone())

    for name, norm in other.named_modules():
        if norm in norms(other):
            norm.train()  # as settling ran it: by the batch's own
            norm.register_forward_pre_hook(partial(keep, name))
    for turn, corner in enumerate((0, 1, 3, 4)):
        pictures = torch.from_numpy(split.pictures(np.arange(48)[turn::4]))
        with torch.no_grad():
            other(augment.views(pictures, mean=member.mean, crop=64, count=5)[corner])
    for name, each in seen.items():
        each = [given.transpose(0, 1).flatten(1) for given in each]
        mean, var = (sum(one) / 4 for one in ([given.mean(1) for given in each], [given.var(1) for given in each]))
        assert torch.allclose(net.of_parts[f"{name}.running_mean"], mean, atol=1e-3 * float(each[0].std()))
        assert torch.allclose(net.of_parts[f"{name}.running_var"], var, rtol=1e-3)
        assert not torch.allclose(net.of_parts[f"{name}.running_var"], net.state_dict()[f"{name}.running_var"], rtol=1e-3)
    assert len(seen) == 7


def test_a_small_store_gives_fewer_parts(store, monkeypatch):
    monkeypatch.setattr("alexnet.evaluate.settling.FEW", 40)
    net = AlexNet(nets.row(WHOLE["net"]), classes=16, seed=1)
    feed, asked = Watched(open_split(store, "train")), []
    monkeypatch.setattr("alexnet.evaluate.settling.statistics", lambda net: asked.append(feed.asked) or {})
    settle(Member(net, torch.zeros(3, 1, 1), device=torch.device("cpu")), feed, 100)
    assert [len(places) for places in asked[0]] == [10] * 4 and [len(places) for places in feed.asked] == [100]


def test_each_view_is_answered_by_its_own(store):
    net = AlexNet(nets.row(WHOLE["net"]), classes=16, seed=1)
    member, split = Member(net, torch.zeros(3, 1, 1), device=torch.device("cpu")), open_split(store, "val")
    settle(member, Feed(split), 48)
    pictures = torch.from_numpy(split.pictures(np.arange(8)))
    seen = augment.views(pictures, mean=member.mean, crop=64, count=10)
    by_hand = sum(torch.softmax((net if place % 5 == 2 else member.net_of_parts)(one), 1) for place, one in enumerate(seen)) / 10
    assert torch.allclose(member.probabilities(pictures, 10), by_hand, atol=1e-6)
    one = member.probabilities(pictures, 1)
    net.of_parts = {}
    plain = Member(net, torch.zeros(3, 1, 1), device=torch.device("cpu"))
    assert torch.equal(plain.probabilities(pictures, 1), one)
    assert not torch.allclose(plain.probabilities(pictures, 10), by_hand, atol=1e-6)


def test_they_travel_with_the_weights(store, tmp_path):
    alexnet.train(store, out=tmp_path / "run", **{**WHOLE, "epochs": 1})
    net, mean, card = weights.read(tmp_path / "run")
    assert len(net.of_parts) == 14
    weights.write(tmp_path / "again.safetensors", net, mean, card, dtype=torch.int8)
    again = weights.read(tmp_path / "again.safetensors")[0]
    assert all(torch.equal(again.of_parts[name], value) for name, value in net.of_parts.items())
    with cards.WeightsFile(tmp_path / "run") as stored:  # as the engines read it
        assert stored.arrays().keys() == {*net.state_dict(), "mean"}
    alexnet.export(tmp_path / "run", out=tmp_path / "hub", to="hub")
    alexnet.convert(tmp_path / "hub", out=tmp_path / "back.safetensors")
    assert weights.read(tmp_path / "back.safetensors")[0].of_parts.keys() == net.of_parts.keys()
    net.of_parts["norm9.running_mean"] = torch.zeros(3)
    weights.write(tmp_path / "odd.safetensors", net, mean, card)
    with pytest.raises(Refused, match="norm9.running_mean has .3. in the file and nothing in the net"):
        weights.read(tmp_path / "odd.safetensors")


def test_a_window_is_no_enlarged_part(store, member):
    settle(member, Feed(open_split(store, "val")), 48)
    assert member.net.of_parts == {} and member.net_of_parts is member.net
