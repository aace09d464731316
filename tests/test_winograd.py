"""Convolutions in Winograd's way against the direct sum in float64, forward and backward, and when they are taken."""

import pytest
import torch
import torch.nn.functional as F

from alexnet import nets, ops
from alexnet.net import AlexNet
from alexnet.ops import native, winograd

pytestmark = pytest.mark.skipif(not winograd.usable()[0], reason=f"{winograd.usable()[1]}")
TOLERANCE = 3e-5  # of the largest


def drawn(*shape, seed=0):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else values


def near(found, expected):
    assert found.shape == expected.shape
    assert (found.double() - expected).abs().max() <= TOLERANCE * expected.abs().max()


@pytest.mark.parametrize("kernel, pad, groups", [(3, 1, 1), (3, 1, 2), (3, 0, 1), (5, 2, 2), (5, 0, 1), (5, 1, 1), (3, 4, 1)])
@pytest.mark.parametrize("height, width, batch", [(13, 13, 3), (5, 9, 1), (7, 6, 5), (5, 26, 2)])
def test_it_is_the_direct_sum_forward_and_backward(kernel, pad, groups, height, width, batch):
    given = drawn(batch, 22, height, width), drawn(36, 22 // groups, kernel, kernel, seed=1), drawn(36, seed=2)
    expected = [one.double().requires_grad_() for one in given]
    out = F.conv2d(*expected, 1, pad, 1, groups)
    sent = drawn(*out.shape, seed=3)
    out.backward(sent.double())
    taken = [one.clone().requires_grad_() for one in given]
    found = winograd.Convolution.apply(*taken, pad, groups)
    near(found.detach(), out.detach())
    found.backward(sent)
    for one, other in zip(taken, expected):
        near(one.grad, other.grad)


def test_neither_threads_nor_neighbours_change_an_answer(monkeypatch):
    x, weight = drawn(9, 40, 13, 13), drawn(64, 40, 3, 3, seed=1)
    whole = winograd.Convolution.apply(x, weight, None, 1, 1)
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            torch.testing.assert_close(winograd.Convolution.apply(x, weight, None, 1, 1), whole, rtol=0, atol=2e-5)
        finally:
            torch.set_num_threads(before)
    alone = winograd.Convolution.apply(x[4:5].contiguous(memory_format=torch.channels_last), weight, None, 1, 1)
    torch.testing.assert_close(alone, whole[4:5], rtol=0, atol=2e-5)


def test_a_part_that_nobody_wants_is_left_out():
    x, weight, bias = drawn(2, 32, 8, 8), drawn(32, 32, 3, 3, seed=1).requires_grad_(), drawn(32, seed=2).requires_grad_()
    out = winograd.Convolution.apply(x, weight, bias, 1, 1)
    out.sum().backward()
    assert x.grad is None and torch.allclose(bias.grad, torch.full((32,), 128.0))
    with torch.no_grad():
        assert not winograd.Convolution.apply(x, weight, bias, 1, 1).requires_grad


def test_a_program_whose_numbers_are_float64_gets_float32_here():
    torch.set_default_dtype(torch.float64)
    try:
        x, weight = drawn(2, 32, 8, 8).float(), drawn(32, 32, 3, 3, seed=1).float().requires_grad_()
        out = winograd.Convolution.apply(x, weight, None, 1, 1)
        out.sum().backward()
    finally:
        torch.set_default_dtype(torch.float32)
    assert out.dtype == weight.grad.dtype == torch.float32
    near(out.detach(), F.conv2d(x.double(), weight.detach().double(), padding=1))


def test_what_is_no_number_stays_none():
    x = drawn(2, 32, 8, 8)
    x[1, 3, 2, 2] = float("nan")
    out = winograd.Convolution.apply(x, drawn(32, 32, 3, 3, seed=1), None, 1, 1)
    assert out[0].isfinite().all() and out[1, :, 2, 2].isnan().all()


def test_it_is_taken_where_it_pays():
    x, weight = drawn(2, 64, 12, 12), drawn(64, 64, 3, 3, seed=1)

    def taken(x=x, weight=weight, stride=1, pad=1, groups=1):
        return winograd.takes(x, weight, stride=stride, pad=pad, groups=groups)

    assert taken() and taken(weight=drawn(64, 64, 5, 5), pad=2)
    assert not taken(stride=2) and not taken(weight=drawn(64, 64, 7, 7)) and not taken(weight=drawn(64, 8, 3, 3), groups=8)
    assert not taken(x=x.double(), weight=weight.double()) and not taken(x=x.contiguous()) and not taken(x=x[:, :, :2, :2], pad=0)
    small = drawn(2, 64, 5, 5)  # four tiles for 25 outputs: the gradients gain, the answers alone do not
    assert not taken(x=small) and taken(x=small, weight=weight.clone().requires_grad_())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not taken()


def test_a_net_takes_it_and_answers_as_before(monkeypatch):
    net, calls, real = AlexNet(nets.row("small64_batchnorm"), seed=0), [], winograd.takes
    net = net.to(memory_format=torch.channels_last).eval()
    batch = 50 * drawn(3, 3, 56, 56)
    monkeypatch.setattr(winograd, "takes", lambda *given, **named: calls.append(real(*given, **named)) or calls[-1])
    found = net(batch)
    assert calls == [False, True, True, True, True]  # conv1 strides
    monkeypatch.setattr(winograd, "takes", lambda *given, **named: False)
    torch.testing.assert_close(found, net(batch), rtol=1e-3, atol=1e-3)


def test_it_can_be_left_out(monkeypatch):
    x, weight = drawn(2, 64, 12, 12), drawn(64, 64, 3, 3, seed=1)
    direct = F.conv2d(x, weight, None, 1, 1)
    assert not torch.equal(ops.convolution(x, weight, None, stride=1, pad=1, groups=1), direct)
    monkeypatch.setenv("ALEXNET_WINOGRAD", "off")
    assert not winograd.usable()[0] and torch.equal(ops.convolution(x, weight, None, stride=1, pad=1, groups=1), direct)
    monkeypatch.undo()
    monkeypatch.setattr(native, "library", lambda: (None, "left out: a test"))
    assert winograd.usable() == (False, "left out: a test")
