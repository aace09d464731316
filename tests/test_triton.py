"""The kernels for graphics cards, against the definitions: compiled where there is a card, by Triton's interpreter elsewhere."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alexnet import nets, ops, recipes
from alexnet.data import augment, order
from alexnet.net import AlexNet
from alexnet.ops import reference
from benches import gpu_dense, gpu_forms, gpu_yuv

pytestmark = pytest.mark.skipif(not find_spec("triton"), reason="Triton is not installed")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PAPER = dict(size=5, alpha=1e-2, beta=0.75, k=2.0)
OTHER = dict(size=5, alpha=2e-3, beta=0.5, k=1.5)
TOLERANCE = {torch.float32: 4e-6, torch.float16: 4e-3, torch.bfloat16: 3e-2}


@pytest.fixture(scope="module")
def own():
    """The kernels. Triton asks for TRITON_INTERPRET when a kernel is defined, never again."""
    before = os.environ.get("TRITON_INTERPRET")
    if DEVICE == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    try:
        from alexnet.ops import triton
    finally:
        os.environ.pop("TRITON_INTERPRET", None)
        if before is not None:
            os.environ["TRITON_INTERPRET"] = before
    return triton


@pytest.fixture
def chosen(own, monkeypatch):
    """The kernels, in use wherever the batch is."""
    monkeypatch.setenv("ALEXNET_TRITON", "interpret" if DEVICE == "cpu" else "")
    ops.card.cache_clear()
    yield own
    ops.card.cache_clear()


def draw(shape, dtype, scale=30.0):
    return (torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scale).to(dtype).to(DEVICE)


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


def close(found, expected, dtype):
    error = (found.double() - expected).norm() / expected.norm().clamp(min=1e-30)
    assert error < TOLERANCE[dtype], error


def composed(x, *, relu_before, norm, kernel_size, stride, ceil_mode, relu_after):
    """The definitions one by one."""
    x = F.relu(x) if relu_before else x
    x = reference.response_norm(x, **norm) if norm else x
    x = F.max_pool2d(x, kernel_size, stride, ceil_mode=ceil_mode)
    return F.relu(x) if relu_after else x


def asked(norm, pool, relu_before, relu_after):
    kernel, stride, ceil = pool
    return dict(relu_before=relu_before, norm=norm, kernel_size=kernel, stride=stride, ceil_mode=ceil, relu_after=relu_after)


def both_ways(x, dtype, **how):
    exact, fast = x.double().requires_grad_(), channels_last(x.clone()).requires_grad_()
    expected, found = composed(exact, **how), ops.norm_pool(fast, **how)
    assert found.shape == expected.shape and found.dtype == dtype and found.is_contiguous(memory_format=torch.channels_last)
    sent = draw(found.shape, dtype, 1.0).flip(0)
    expected.backward(sent.double())
    found.backward(sent)
    close(found, expected, dtype)
    close(fast.grad, exact.grad, dtype)
    return fast, found


PAPERS, AS_RUN = (True, False), (False, True)  # ReLU before the norm, or behind the pool
interpreted_slowly = pytest.mark.slow if DEVICE == "cpu" else ()


@pytest.mark.parametrize("dtype, columns, order_of_relu", [
    (torch.bfloat16, 2, PAPERS),
    (torch.float32, 1, AS_RUN),
    *(pytest.param(*rest, marks=interpreted_slowly) for rest in ((torch.float32, 2, PAPERS), (torch.float16, 2, AS_RUN),
                                                                 (torch.float16, 1, PAPERS), (torch.bfloat16, 1, AS_RUN)))])
def test_both_orders_are_the_definitions_one_by_one(chosen, dtype, columns, order_of_relu):
    how = asked(dict(PAPER, columns=columns), (3, 2, False), *order_of_relu)
    fast, found = both_ways(draw((2, 48, 5, 7), dtype), dtype, **how)
    with torch.no_grad():  # no places kept
        assert torch.equal(found, ops.norm_pool(fast, **how))


NORMS, POOLS = [{}, dict(OTHER, columns=1)], [(3, 2, True), (2, 2, True), (2, 1, False), (3, 1, True), (1, 1, False)]
QUICK = [({}, pool) for pool in POOLS] + [(NORMS[1], (2, 2, True))]


@pytest.mark.parametrize("norm, pool", QUICK + [pytest.param(norm, pool, marks=interpreted_slowly) for norm in NORMS
                                                for pool in POOLS if (norm, pool) not in QUICK])
def test_windows_that_overlap_or_are_cut_and_maps_without_a_norm(chosen, norm, pool):
    both_ways(draw((2, 16, 6, 5), torch.float32), torch.float32, **asked(norm, pool, False, pool[0] > 1))


def test_more_windows_than_a_tile_and_more_rows_than_a_strip(chosen, monkeypatch):
    monkeypatch.setattr(chosen, "STRIP", 1)
    monkeypatch.setattr(chosen, "TILE", {"pool": (8, 1), "unpool": (16, 1)})
    both_ways(draw((2, 24, 6, 7), torch.float32), torch.float32, **asked({}, (3, 2, True), True, False))
    monkeypatch.setattr(chosen, "STRIP", 2)
    monkeypatch.setattr(chosen, "TILE", {"pool": (16, 1), "unpool": (32, 1)})
    both_ways(draw((1, 24, 6, 3), torch.float32), torch.float32, **asked(dict(PAPER, columns=1), (3, 2, True), True, False))


def test_of_equal_values_the_first_in_row_order_gets_the_gradient(chosen):
    x = draw((1, 8, 7, 7), torch.float32, 1.0).round()  # -2 to 2: windows full of equals
    how = asked({}, (3, 2, False), False, False)
    slow, fast = x.clone().requires_grad_(), channels_last(x.clone()).requires_grad_()
    sent = torch.arange(1.0, 8 * 9 + 1, device=DEVICE).view(1, 8, 3, 3)
    composed(slow, **how).backward(sent)
    ops.norm_pool(fast, **how).backward(sent)
    assert torch.equal(fast.grad, slow.grad)
    # under the norm equal values stay equal where their neighbours are the same
    x = channels_last(x[:, :1, :5, :5].expand(1, 8, 5, 5))
    kept = chosen.pooled(x.requires_grad_(), [0, 1, 5, 3, 2, 2, 2, 0], [0.01, 0.75, 2.0], True)[1]
    places = F.max_pool2d(reference.response_norm(x, **PAPER, columns=1), 3, 2, return_indices=True)[1]  # of 5 x 5
    corners = torch.arange(2, device=DEVICE)[:, None] * 10 + torch.arange(2, device=DEVICE)[None] * 2
    assert torch.equal((places - corners) // 5 * 3 + (places - corners) % 5, kept.long())


def test_a_nan_stays_one(chosen):
    x = channels_last(draw((1, 8, 5, 5), torch.float32))
    x[0, 4, 3, 3] = float("nan")
    for norm, order_of_relu in (({}, PAPERS), ({}, AS_RUN), (dict(PAPER, columns=1), PAPERS)):
        out = ops.norm_pool(x, **asked(norm, (3, 2, False), *order_of_relu))
        assert out[0, 4, 1, 1].isnan() and not out[0, 0].isnan().any() and not out[0, 4, 0, 0].isnan()


@pytest.mark.parametrize("dtype, columns", [(torch.float32, 2), (torch.bfloat16, 1)])
def test_the_norm_alone(chosen, dtype, columns):
    x, constants = draw((2, 16, 3, 2), dtype), dict(PAPER, columns=columns)
    exact, fast = x.double().requires_grad_(), channels_last(x.clone()).requires_grad_()
    expected, found = reference.response_norm(exact, **constants), ops.response_norm(fast, **constants)
    sent = draw(x.shape, dtype, 1.0).flip(0)
    expected.backward(sent.double())
    found.backward(sent)
    close(found, expected, dtype)
    close(fast.grad, exact.grad, dtype)


@pytest.mark.parametrize("dtype, size, beta", [(torch.float32, 5, 0.75), (torch.bfloat16, 3, 0.5)])
def test_the_norm_within_a_map(chosen, dtype, size, beta):
    x, constants = draw((2, 8, 5, 7), dtype), dict(size=size, alpha=0.01, beta=beta)
    exact, fast = x.double().requires_grad_(), channels_last(x.clone()).requires_grad_()
    expected, found = reference.within_map_norm(exact, **constants), ops.within_map_norm(fast, **constants)
    sent = draw(x.shape, dtype, 1.0).flip(0)
    expected.backward(sent.double())
    found.backward(sent)
    close(found, expected, dtype)
    close(fast.grad, exact.grad, dtype)


def test_they_are_operations_that_pytorch_can_trace(own):
    x = channels_last(draw((1, 8, 3, 3), torch.float32)).requires_grad_()
    torch.library.opcheck(own.pooled, (x, [1, 1, 0, 3, 2, 1, 1, 0], [1e-4, 0.75, 2.0], True))
    quick = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(own.within_map, (x, 3, 1e-2, 0.75), test_utils=quick)


def test_a_net_is_traced_whole_with_them(chosen, monkeypatch):
    """No graph break; and what it answers is what the definitions answer."""
    kinds = nets.layers
    row = nets.Row("toy", "one of each", crop=11, classes=3, layers=(
        kinds.Conv("conv1", 16, 3, stride=2, sees="picture"), kinds.ResponseNorm("norm1"), kinds.Pool("pool1"),
        kinds.WithinMapNorm("wnorm1", size=3), kinds.Dense("fc8", 0, then="linear")))
    net = AlexNet(row, seed=0).to(DEVICE).to(memory_format=torch.channels_last).eval()
    x = channels_last(draw((1, 3, 11, 11), torch.float32))
    assert ops.backend(x)[0] == "triton" and "conv1" in net.joints
    torch._dynamo.reset()
    found = torch.compile(net, backend="aot_eager", fullgraph=True)(x)
    found.sum().backward()
    expected = [found, *(p.grad for p in net.parameters())]
    monkeypatch.setenv("ALEXNET_TRITON", "off")
    ops.card.cache_clear()
    net.zero_grad()
    plain = net(x)
    plain.sum().backward()
    for a, b in zip(expected, [plain, *(p.grad for p in net.parameters())], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


SIZE, CROP = 13, 10
COLOUR = SimpleNamespace(stdevs=np.array([100.0, 30.0, 10.0]),
                         vectors=np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0])


@pytest.mark.parametrize("noise, means", [(0.1, "map"), (0.0, "map"), (0.1, "colours")])
def test_augmentation_in_one_kernel_is_augmentation(own, monkeypatch, noise, means):
    stored = torch.randint(0, 256, (6, SIZE, SIZE, 3), dtype=torch.uint8, device=DEVICE)
    mean = torch.randn(3, CROP, CROP, device=DEVICE) * 10 + 120
    mean = mean[:, :1, :1].clone() if means == "colours" else mean
    drawn = augment.draw(order.generator(0), count=6, size=SIZE, crop=CROP, recipe=recipes.paper())
    how = dict(crop=CROP, mean=mean, noise=noise, colour=COLOUR)
    found = {}
    for form, value in (("plain", "off"), ("own", "interpret" if DEVICE == "cpu" else "")):
        monkeypatch.setenv("ALEXNET_TRITON", value)
        ops.card.cache_clear()
        found[form] = augment.augment(stored, drawn, **how), augment.augment(stored, drawn, **how, dtype=torch.bfloat16)
    ops.card.cache_clear()
    (exact, _), (whole, short) = found["plain"], found["own"]
    torch.testing.assert_close(whole, exact, rtol=2e-7, atol=1e-6)  # one rounding
    assert whole.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(short.float(), whole, rtol=2**-8 if DEVICE == "cuda" else 2**-7, atol=0)  # interpreted: cut off


@pytest.mark.parametrize("row, device, precision, expected", [
    ("paper", "cuda", "bfloat16", torch.bfloat16), ("as_run", "cuda", "bfloat16", torch.bfloat16),
    ("paper", "cuda", "float32", torch.float32), ("paper", "cpu", "bfloat16", torch.float32),
    ("single_tower", "cuda", "bfloat16", torch.float32)])  # it divides them first
def test_pictures_are_made_in_bfloat16_only_where_they_would_be_rounded_so(row, device, precision, expected):
    assert augment.number_format(nets.row(row), torch.device(device), precision) == expected


def test_pictures_come_with_depth_for_space(own):
    stored = torch.randint(0, 256, (2, SIZE, SIZE, 3), dtype=torch.uint8, device=DEVICE)
    boxes, mirrored = torch.tensor([[1, 2], [3, 0]], device=DEVICE), torch.tensor([True, False], device=DEVICE)
    mean = torch.full((3, 1, 1), 120.0, device=DEVICE)
    flat, deep = (own.cut(stored, boxes, mirrored, None, mean, CROP, 1.0, torch.float32, *shape)
                  for shape in ((1, CROP), (4, 4)))
    assert deep.shape == (2, 48, 4, 4) and torch.equal(deep, gpu_forms.deep(flat, 4, 4))


@pytest.mark.parametrize("noise", [True, False])
def test_pictures_kept_with_half_the_colours_are_decoded_on_the_way(own, noise):
    size, far = 12, 12 - CROP
    frames = torch.randint(0, 256, (3, size * 3 // 2, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    corners, mirrored = torch.tensor([[1, 2], [0, 0], [far, 1]]), torch.tensor([True, False, True])
    shifts, mean, divisor = torch.randn(3, 3) * 10, torch.randn(3, CROP, CROP) + 120, 1.1 if noise else 1.0
    expected = np.stack([one[top : top + CROP, left : left + CROP][:, :: -1 if turned else 1] for one, (top, left), turned in
                         zip(gpu_yuv.from_yuv(frames.numpy()), corners.tolist(), mirrored.tolist())])
    expected = torch.from_numpy(expected).permute(0, 3, 1, 2) - mean
    expected = (expected + shifts[:, :, None, None]) / divisor if noise else expected
    given = [one.to(DEVICE) for one in (frames, corners, mirrored)], shifts.to(DEVICE) if noise else None, mean.to(DEVICE), CROP
    flat = own.cut(*given[0], *given[1:], divisor, torch.float32, 1, CROP)
    torch.testing.assert_close(flat.cpu(), expected, rtol=1e-5, atol=1e-4)
    deep = own.cut(*given[0], *given[1:], divisor, torch.float32, 4, 4)
    assert torch.equal(deep, gpu_forms.deep(flat, 4, 4))


CONVOLUTIONS = [((2, 3, 15, 15), (8, 3, 5, 5), 4, 0, 1, torch.float32),
                ((1, 20, 5, 6), (24, 10, 3, 3), 1, 1, 2, torch.float16)]  # the interpreter has no products of bfloat16


@pytest.mark.parametrize("shape, weight, stride, pad, groups, dtype", CONVOLUTIONS)
@pytest.mark.parametrize("form, sides", [("convolved", dict(places=32, outputs=16, inputs=16)),
                                         ("multiplied", dict(tile=(32, 16, 16, 4, 2)))])
def test_convolutions_of_our_own(own, form, sides, shape, weight, stride, pad, groups, dtype):
    x, w = channels_last(draw(shape, dtype, 1.0)), channels_last(draw(weight, dtype, 1.0))
    bias = draw((len(w),), dtype, 1.0)
    expected = F.conv2d(x.double(), w.double(), bias.double(), stride, pad, 1, groups)
    close(getattr(own, form)(x, w, bias, stride=stride, pad=pad, groups=groups, **sides), F.relu(expected), dtype)


def test_the_gradient_of_a_convolutions_input_is_one_too(own):
    x, w = draw((2, 8, 6, 5), torch.float64, 1.0).requires_grad_(), draw((12, 4, 3, 3), torch.float64, 1.0)
    sent = draw((2, 12, 6, 5), torch.float32, 1.0)
    F.conv2d(x, w, None, 1, 1, 1, 2).backward(sent.double())
    found = own.multiplied(channels_last(sent), gpu_forms.turned(w.float(), 2), torch.zeros(8, device=DEVICE), pad=1, groups=2,
                           relu=False, tile=(32, 16, 16, 4, 2))
    close(found, x.grad, torch.float32)


LOWER = {"int8 weights": gpu_dense.Bytes, "our kernel": gpu_dense.Words, "int8": gpu_dense.Integers, "float8": gpu_dense.Floats,
         "float8, one scale": lambda linear: gpu_dense.Floats(linear, whole=True)}


@pytest.mark.parametrize("form", list(LOWER))
@pytest.mark.parametrize("rows", [1, 3])
def test_dense_layers_at_lower_precision(chosen, form, rows):
    torch.manual_seed(0)
    linear, x = torch.nn.Linear(48, 10).requires_grad_(False).to(DEVICE), draw((rows, 12, 2, 2), torch.float32, 3.0)
    expected = F.linear(x.flatten(1), linear.weight, linear.bias).double()
    found = LOWER[form](linear)(x)
    error = float((found.double() - expected).norm() / expected.norm())
    assert found.shape == (rows, 10) and 1e-4 < error < (0.02 if "int8" in form or "our" in form else 0.08)


def test_a_layer_of_bytes_is_exact_on_what_bytes_can_say(own):
    """More outputs than a program makes, more inputs than a piece, fewer rows than the kernel's."""
    values = torch.randint(-127, 128, (10, 2064), generator=torch.Generator().manual_seed(0)).float()
    values[:, 0] = 127  # the scale is 1
    x, bias = draw((3, 2064), torch.float32, 10.0).round(), torch.arange(10.0)
    linear = torch.nn.Linear(2064, 10).requires_grad_(False)
    linear.weight.copy_(values)
    linear.bias.copy_(bias)
    layer = gpu_dense.Words(linear.to(DEVICE))
    for rows, relu in ((3, False), (1, True)):
        expected = F.linear(x[:rows], values.to(DEVICE), bias.to(DEVICE))
        found = own.thin(x[:rows], layer.words, layer.scale, layer.bias, relu)
        assert torch.equal(found, F.relu(expected) if relu else expected)


@pytest.mark.slow
def test_every_kernel_compiles_for_a_card_that_is_not_here(tmp_path):
    """By the compiler that Triton brings along, without a spilled register."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    subprocess.run([sys.executable, "-W", "ignore", "-m", "benches.gpu_compile", str(tmp_path)], check=True, env=environment,
                   capture_output=True, timeout=280)
    found = json.loads((tmp_path / "gpu_compile.json").read_text())["kernels"]
    assert len(found) == 40 and all(one["stack"] == one["local"] == 0 for one in found.values())
    assert all(one["reg"] <= 128 for name, one in found.items() if not name.startswith(("product", "layer of bytes")))
    assert all(one["matrix_products"] for name, one in found.items() if name.startswith("product"))


def test_the_update_rule_in_one_pass(chosen):
    w, g, v = (channels_last(draw((6, 5, 3, 3), torch.float32, 1.0).roll(i, 0)) for i in range(3))
    mine, rule = [t.clone(memory_format=torch.preserve_format) for t in (w, g, v)], dict(momentum=0.9, decay=0.01, rate=0.1)
    ops.momentum([mine[0]], [mine[1]], [mine[2]], **rule)
    reference.momentum([w], [g], [v], **rule)
    for found, expected in zip(mine, (w, g, v)):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("channels, columns, size, kernel, stride", [(12, 1, 5, 3, 2), (16, 4, 5, 3, 2), (16, 1, 9, 3, 2),
                                                                     (8, 1, 5, 2, 3)])
def test_what_they_do_not_take_is_left_to_the_definition(chosen, channels, columns, size, kernel, stride):
    x = channels_last(draw((1, channels, 6, 6), torch.float32))
    assert not chosen.takes(x, size=size, columns=columns, kernel=kernel, stride=stride)
    how = asked(dict(PAPER, size=size, columns=columns), (kernel, stride, False), True, False)
    close(ops.norm_pool(x, **how), composed(x.double(), **how), torch.float32)
