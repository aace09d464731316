"""What the jobs for graphics cards compare: convolutions in other forms equal the convolution, and what half the colours lose."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alexnet.ops import forms
from benches import gpu_forms, gpu_yuv


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("side", [31, 28])  # windows that fit, and windows that hang over by three
def test_the_first_convolution_by_depth_is_the_convolution(side):
    x, w = draw(2, 3, side, side), draw(8, 3, 11, 11)
    over = -(side - 11) % 4
    expected = F.conv2d(F.pad(x, (0, over, 0, over)), w, stride=4)
    torch.testing.assert_close(F.conv2d(gpu_forms.deep(x, 4, 8), gpu_forms.deep(w, 4)), expected)
    torch.testing.assert_close(gpu_forms.with_more_channels(F.pad(x, (0, over, 0, over)), w, 4), expected)


@pytest.mark.parametrize("form", list(gpu_forms.GROUPED))
def test_grouped_convolutions_in_other_forms(form):
    x, w = draw(2, 8, 6, 5), draw(12, 4, 3, 3)
    found = gpu_forms.GROUPED[form](x.contiguous(memory_format=torch.channels_last), w, 1)
    torch.testing.assert_close(found, F.conv2d(x, w, None, 1, 1, 1, 2))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("side, channels, maps, kernel, stride, pad, groups", [
    (31, 3, 8, 11, 4, 0, 1), (32, 3, 8, 11, 4, 0, 1), (14, 3, 8, 11, 4, 0, 1), (11, 3, 4, 5, 2, 0, 1), (9, 1, 4, 3, 2, 0, 1),
    (6, 8, 12, 3, 1, 1, 2), (7, 8, 12, 3, 2, 1, 2), (6, 8, 4, 3, 2, 0, 1), (12, 3, 4, 5, 2, 2, 1)])
def test_what_a_card_is_given_is_the_convolution(bias, side, channels, maps, kernel, stride, pad, groups):
    """Tried on the host, with gradients."""
    x, w, b = draw(2, channels, side, side + 3), draw(maps, channels // groups, kernel, kernel), draw(maps) if bias else None
    given = [one.requires_grad_() for one in (x, w, b) if one is not None]
    found = forms.on_card(x, w, b, stride=stride, pad=pad, groups=groups)
    expected = F.conv2d(x, w, b, stride, pad, 1, groups)
    torch.testing.assert_close(found, expected)
    sent = draw(*expected.shape)
    torch.testing.assert_close(torch.autograd.grad(found, given, sent), torch.autograd.grad(expected, given, sent))


def test_half_the_colours_are_made_and_undone():
    grey = torch.randint(0, 256, (1, 6, 6, 1), dtype=torch.uint8).expand(1, 6, 6, 3)
    assert np.abs(gpu_yuv.from_yuv(gpu_yuv.to_yuv(grey).numpy()) - grey.numpy()).max() < 1e-3
    flat = torch.tensor([[250, 10, 90], [20, 200, 30]], dtype=torch.uint8).view(2, 1, 1, 3).expand(2, 4, 6, 3)[:, :, :4]
    assert np.abs(gpu_yuv.from_yuv(gpu_yuv.to_yuv(flat).numpy()) - flat.numpy()).max() < 2
    assert gpu_yuv.decibels(flat.numpy(), flat.numpy() + np.float32(1))["least"] == pytest.approx(48.13, abs=0.01)
