"""Response norm and its kin: the definition against loops in float64, the fast form against the definition."""

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
