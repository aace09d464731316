"""The training steps that are timed beside each other: of one kind of net and true to it."""

import pytest
import torch

from alexnet import nets
from alexnet.net import AlexNet
from benches import ordinary, step


@pytest.mark.parametrize("name", ["small64", "small64_batchnorm"])
def test_our_step_is_the_loops_whole_step(name, monkeypatch):
    made, real = [], step.still_loop
    monkeypatch.setattr(step, "still_loop", lambda *given, **named: made.append(real(*given, **named)) or made[-1])
    one = step.our_step(nets.row(name), "paper" if name == "small64" else "modern", 8, "float32")
    before = made[0].net.state_dict()["fc8.weight"].clone()
    one(), one()
    after = made[0].net.state_dict()["fc8.weight"]
    assert made[0].images == 16 and not made[0].bad.item() >= 0
    assert 0 < (after - before).abs().max() < 1e-3


@pytest.mark.parametrize("name", ["small64", "small64,norm=none", "paper"])
def test_an_ordinary_net_has_ours_parameters_and_answers(name):
    row = nets.row(name)
    net, side = ordinary.net(row), ordinary.input_side(row)
    assert sum(one.numel() for one in net.parameters()) == sum(one.numel() for one in AlexNet(row).parameters())
    assert net.eval()(torch.randn(2, 3, side, side)).shape == (2, row.classes)
