"""Response norm and its kin, and the blur: the definitions against loops in float64, the fast form against the definition."""

from math import exp

import pytest
import torch

from alexnet import ops
from alexnet.ops import reference

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


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("constants", CONSTANTS)
def test_the_fast_form_is_the_definition_forward_and_backward(dtype, shape, columns, constants):
    x, out_grad = draw(shape, dtype), draw(shape, dtype, 1.0).flip(0)
    exact = x.double().clone().requires_grad_()
    expected = reference.response_norm(exact, **constants, columns=columns)
    expected.backward(out_grad.double())
    fast = x.clone().contiguous(memory_format=torch.channels_last).requires_grad_()
    assert ops.backend(fast)[0] == "cpu"
    found = ops.response_norm(fast, **constants, columns=columns)
    found.backward(out_grad)
    for mine, definition in ((found, expected), (fast.grad, exact.grad)):
        error = (mine.double() - definition).norm() / definition.norm()
        assert error < TOLERANCE[dtype], error


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
