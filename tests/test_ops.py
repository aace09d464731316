"""Response norm and its kin, and the blur: the definitions against loops in float64, the fast forms against the definition."""

from math import exp, nan

import pytest
import torch
import torch.nn.functional as F

from alexnet import ops
from alexnet.ops import cpu, native, reference

SHAPES = [(1, 4, 3, 1), (2, 6, 5, 3), (3, 16, 7, 7), (2, 96, 4, 4)]
CONSTANTS = [dict(size=5, alpha=1e-4, beta=0.75, k=2.0), dict(size=9, alpha=1e-2, beta=0.75, k=1.0),
             dict(size=3, alpha=2e-3, beta=0.5, k=1.5)]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 3e-2}  # bfloat16: 8 bits, and the gradient is a difference


def draw(shape, dtype, scale=30.0):
    return (torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scale).to(dtype)


def by_loops(x, *, size, alpha, beta, k, columns):
    out, width = x.clone(), x.shape[1] // columns
    for i in range(x.shape[1]):
        column = i // width
        near = [j for j in range(i - size // 2, i + size // 2 + 1) if column * width <= j < (column + 1) * width]
        out[:, i] = x[:, i] / (k + alpha * sum(x[:, j] ** 2 for j in near)) ** beta
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("constants", CONSTANTS)
def test_the_definition_is_the_papers_formula(shape, columns, constants):
    x = draw(shape, torch.float64)
    torch.testing.assert_close(reference.response_norm(x, **constants, columns=columns), by_loops(x, **constants, columns=columns))


@pytest.fixture
def kernel():
    """The compiled kernels; a machine without a compiler has none to test."""
    if not native.ready():
        pytest.skip(native.library()[1])


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


def close(found, expected, dtype):
    error = (found.double() - expected).norm() / expected.norm().clamp(min=1e-30)
    assert error < TOLERANCE[dtype], error


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("constants", CONSTANTS)
@pytest.mark.parametrize("form", ["plain", "chosen"])
def test_the_fast_forms_are_the_definition_forward_and_backward(dtype, shape, columns, constants, form):
    x, out_grad = draw(shape, dtype), draw(shape, dtype, 1.0).flip(0)
    exact = x.double().clone().requires_grad_()
    expected = reference.response_norm(exact, **constants, columns=columns)
    expected.backward(out_grad.double())
    fast = channels_last(x.clone()).requires_grad_()
    if form == "plain":
        found = cpu.ResponseNorm.apply(fast, *(constants[name] for name in ("size", "alpha", "beta", "k")), columns)
    else:
        assert ops.backend(fast)[0] == ("native" if native.ready() and dtype != torch.float64 else "cpu")
        found = ops.response_norm(fast, **constants, columns=columns)
    found.backward(out_grad)
    close(found, expected, dtype)
    close(fast.grad, exact.grad, dtype)


POOLS = [(3, 2, True), (3, 2, False), (2, 2, True), (2, 1, False), (2, 3, True), (5, 2, True)]  # kernel, stride, ceil


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 6, 5, 3), (3, 16, 7, 7), (2, 96, 13, 13), (1, 10, 9, 8)])
@pytest.mark.parametrize("norm", [{}, dict(CONSTANTS[0], columns=2), dict(CONSTANTS[1], columns=1), dict(CONSTANTS[2], columns=2)])
@pytest.mark.parametrize("relu_before, relu_after", [(True, False), (False, True), (False, False)])
def test_one_pass_over_neighbours_is_the_definitions_one_by_one(kernel, dtype, shape, norm, relu_before, relu_after):
    x = draw(shape, dtype)
    for size, stride, ceil in (pool for pool in POOLS if pool[0] <= min(shape[2:])):
        exact, fast = x.double().requires_grad_(), channels_last(x.clone()).requires_grad_()
        expected = F.relu(exact) if relu_before else exact
        expected = reference.response_norm(expected, **norm) if norm else expected
        expected = F.max_pool2d(expected, size, stride, ceil_mode=ceil)
        expected = F.relu(expected) if relu_after else expected
        asked = dict(relu_before=relu_before, norm=norm, kernel_size=size, stride=stride, ceil_mode=ceil, relu_after=relu_after)
        found = ops.norm_pool(fast, **asked)
        assert found.shape == expected.shape
        sent = draw(found.shape, dtype, 1.0).flip(0)
        expected.backward(sent.double())
        found.backward(sent)
        close(found, expected, dtype)
        close(fast.grad, exact.grad, dtype)
        if dtype == torch.float32:
            with torch.no_grad():  # no places kept; and the same from the other layout in memory, and one picture alone
                assert torch.equal(found, ops.norm_pool(x, **asked))
                assert torch.equal(found[:1], ops.norm_pool(channels_last(x[:1]), **asked))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 6, 5, 3), (3, 16, 7, 7), (1, 10, 9, 8)])
@pytest.mark.parametrize("size, beta", [(3, 0.75), (5, 0.75), (5, 0.5)])
def test_the_kernels_within_map_norm_is_the_definition(kernel, dtype, shape, size, beta):
    x, constants = draw(shape, dtype), dict(size=size, alpha=0.01, beta=beta)
    exact, fast = x.double().requires_grad_(), channels_last(x.clone()).requires_grad_()
    expected, found = reference.within_map_norm(exact, **constants), ops.within_map_norm(fast, **constants)
    sent = draw(shape, dtype, 1.0).flip(0)
    expected.backward(sent.double())
    found.backward(sent)
    close(found, expected, dtype)
    close(fast.grad, exact.grad, dtype)


def test_threads_change_no_bit(kernel):
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            x = channels_last(draw((5, 32, 15, 15), torch.float32)).requires_grad_()
            out = ops.norm_pool(x, relu_before=True, norm=dict(CONSTANTS[0], columns=2), kernel_size=3, stride=2, ceil_mode=False,
                                relu_after=False)
            out = ops.within_map_norm(out, size=3, alpha=0.01, beta=0.75)
            out.square().sum().backward()
            found.append((out, x.grad))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other))


def test_a_nan_stays_one(kernel):
    x = channels_last(draw((1, 8, 7, 7), torch.float32))
    x[0, 4, 3, 3] = nan
    for norm in ({}, dict(CONSTANTS[0], columns=1)):
        out = ops.norm_pool(x, relu_before=True, norm=norm, kernel_size=3, stride=2, ceil_mode=False, relu_after=True)
        assert out[0, 4, 1, 1].isnan() and not out[0, 0].isnan().any() and not out[0, 4, 0, 0].isnan()


@pytest.mark.parametrize("norm", [0, 5])
def test_the_kernels_are_operations_that_pytorch_can_trace(kernel, norm):
    x = channels_last(draw((2, 8, 7, 7), torch.float32)).requires_grad_()
    whole, constants = [1, 2, norm, 3, 2, 3, 3, 0], [1e-4, 0.75, 2.0]
    torch.library.opcheck(native.joint, (x, whole, constants, True))
    torch.library.opcheck(native.within_map, (x, 5, 1e-2, 0.75))


def test_the_update_rule_in_one_pass_is_the_rule(kernel):
    w, g, v = (channels_last(draw((6, 5, 3, 3), torch.float32, 1.0).roll(i, 0)) for i in range(3))
    mine, rule = [t.clone(memory_format=torch.preserve_format) for t in (w, g, v)], dict(momentum=0.9, decay=0.01, rate=0.1)
    assert native.in_step(*mine) and not native.in_step(w, g.contiguous(), v)
    ops.momentum([mine[0]], [mine[1]], [mine[2]], **rule)
    reference.momentum([w], [g], [v], **rule)
    for found, expected in zip(mine, (w, g, v)):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("variable, value, word", [("CXX", "no-such-compiler", "wants"), ("CXX", "false", "failed"),
                                                   ("ALEXNET_NATIVE", "off", "ALEXNET_NATIVE")])
def test_without_a_compiler_the_plain_path_stays_and_says_why(monkeypatch, tmp_path, variable, value, word):
    monkeypatch.setenv("ALEXNET_HOME", str(tmp_path))
    monkeypatch.setenv(variable, value)
    native.library.cache_clear()
    try:
        assert ops.backend(channels_last(draw((1, 4, 3, 3), torch.float32)))[0] == "cpu"
        assert word in native.library()[1] and not list(tmp_path.iterdir())
    finally:
        native.library.cache_clear()


def test_the_kernels_are_compiled_once_and_a_damaged_file_again(kernel, monkeypatch, tmp_path):
    said, name = [], None
    monkeypatch.setattr(native, "say", said.append)
    monkeypatch.setattr(native, "FLAGS", tuple("-O0" if flag == "-O3" else flag for flag in native.FLAGS))  # to be quick
    try:
        for home, compiled in (("whole", 1), ("whole", 1), ("damaged", 2)):
            folder = tmp_path / home / "kernels"
            folder.mkdir(parents=True, exist_ok=True)
            if home == "damaged":
                (folder / name).write_bytes(b"cut off")
            monkeypatch.setenv("ALEXNET_HOME", str(tmp_path / home))
            native.library.cache_clear()
            assert native.ready(), native.library()[1]
            (name,) = (file.name for file in folder.iterdir())
            assert len(said) == compiled
    finally:
        native.library.cache_clear()


def test_the_fast_gradient_passes_gradcheck():
    x = draw((2, 6, 2, 2), torch.float64, 2.0).contiguous(memory_format=torch.channels_last).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: ops.response_norm(t, size=5, alpha=0.1, beta=0.75, k=2.0, columns=2), x)


def test_the_text_is_five_times_the_source():
    """torch.nn.LocalResponseNorm divides alpha by the size, as the source does and the text does not."""
    x = draw((2, 8, 3, 3), torch.float64)
    ours = reference.response_norm(x, size=5, alpha=1e-4 / 5, beta=0.75, k=2.0, columns=1)
    torch.testing.assert_close(ours, torch.nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0)(x))


def test_within_map_norm_is_its_formula():
    x = draw((2, 3, 6, 7), torch.float64)
    out = reference.within_map_norm(x, size=5, alpha=0.01, beta=0.75)
    for row, column in ((0, 0), (3, 3), (5, 6)):
        square = x[:, :, max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
        expected = x[:, :, row, column] / (1 + 0.01 * (square**2).sum((2, 3))) ** 0.75
        torch.testing.assert_close(out[:, :, row, column], expected)


def contrast_norm_by_pixels(x, *, size, alpha, beta, mean=None):
    """Pixel by pixel. mean: what to take off, where it is not to be that of x itself."""
    reach, (H, W) = size // 2, x.shape[2:]

    def square(of, i, j):
        return of[:, :, max(0, i - reach) : i + reach + 1, max(0, j - reach) : j + reach + 1]  # what lies inside the map

    places = [(i, j) for i in range(H) for j in range(W)]
    if mean is None:
        mean = torch.stack([square(x, i, j).mean((2, 3)) for i, j in places], 2).view(x.shape)
    left = x - mean
    out = [left[:, :, i, j] / (1 + alpha * (square(left, i, j) ** 2).sum((2, 3))) ** beta for i, j in places]
    return torch.stack(out, 2).view(x.shape), mean


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [3, 5])
def test_contrast_norm_is_its_formula(dtype, memory, size):
    x, constants = draw((2, 3, 6, 7), torch.float64), dict(size=size, alpha=0.01, beta=0.75)
    expected, _ = contrast_norm_by_pixels(x, **constants)
    found = ops.contrast_norm(x.to(dtype).contiguous(memory_format=memory), **constants)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=1e-12 if dtype == torch.float64 else 1e-4, atol=1e-6)


def test_contrast_norm_passes_the_gradient_on_as_if_its_mean_were_a_constant():
    constants, step = dict(size=5, alpha=0.01, beta=0.75), 1e-5
    x, weight = draw((1, 2, 4, 5), torch.float64), draw((1, 2, 4, 5), torch.float64, 1.0).flip(3)
    _, mean = contrast_norm_by_pixels(x, **constants)

    def numeric(mean):
        """d sum(out * weight) / dx by central differences."""
        found = torch.zeros_like(x).view(-1)
        for i in range(x.numel()):
            nudge = torch.zeros_like(x)
            nudge.view(-1)[i] = step
            up, down = (contrast_norm_by_pixels(x + by, **constants, mean=mean)[0] for by in (nudge, -nudge))
            found[i] = ((up - down) * weight).sum() / (2 * step)
        return found.view(x.shape)

    variable = x.clone().requires_grad_()
    (ops.contrast_norm(variable, **constants) * weight).sum().backward()
    torch.testing.assert_close(variable.grad, numeric(mean), rtol=1e-5, atol=1e-7)
    assert (variable.grad - numeric(None)).abs().max() > 0.01  # with the mean's own gradient it is another


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_blur_is_a_gaussian_with_zeros_beyond_the_edge(dtype, memory):
    weights = [exp(-((i - 4) ** 2) / (2 * 4.0**2)) for i in range(9)]
    weights = [weight / sum(weights) for weight in weights]
    x = draw((2, 3, 12, 11), torch.float64)
    expected = torch.zeros_like(x)
    for i in range(12):
        for j in range(11):
            for a in range(max(0, i - 4), min(12, i + 5)):
                for b in range(max(0, j - 4), min(11, j + 5)):
                    expected[:, :, i, j] += weights[a - i + 4] * weights[b - j + 4] * x[:, :, a, b]
    found = ops.blur(x.to(dtype).contiguous(memory_format=memory), std=4.0, taps=9)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=1e-12 if dtype == torch.float64 else 1e-5, atol=1e-5)


def test_blur_keeps_a_flat_map_inside_and_dims_its_edge():
    flat = ops.blur(torch.full((1, 2, 20, 20), 100.0), std=4.0, taps=9)
    torch.testing.assert_close(flat[:, :, 4:16, 4:16], torch.full((1, 2, 12, 12), 100.0))  # its weights sum to one
    assert flat[0, 0, 0, 10] < 75 and flat[0, 0, 0, 0] < 50


def test_masks_keep_their_share_and_depend_on_key_layer_and_row_alone():
    shape, key = torch.Size([256, 512]), torch.tensor(11)
    mask = ops.dropout_mask(shape, 0.5, key, layer=3)
    assert abs(mask.float().mean().item() - 0.5) < 0.005
    assert 0.02 < mask.float().mean(0).std() < 0.045  # 1 / (2 sqrt 256) = 0.031 where units are independent
    assert 0.015 < mask.float().mean(1).std() < 0.03
    assert torch.equal(ops.dropout_mask(torch.Size([100, 512]), 0.5, key, layer=3, first=56), mask[56:156])
    agree = {(mask == ops.dropout_mask(shape, 0.5, torch.tensor(other), layer=layer)).float().mean().item()
             for other, layer in ((12, 3), (11, 4), (11 + 2**20, 3))}
    assert all(abs(share - 0.5) < 0.01 for share in agree)
    assert abs(ops.dropout_mask(shape, 0.9, key, layer=3).float().mean().item() - 0.9) < 0.005
