"""Where a net looks: occlusion finds what a stand-in net depends on, gradients are the slopes that small steps show."""

from types import SimpleNamespace

import numpy as np
import pytest

from alexnet import classifier, maps
from alexnet.errors import Misused


@pytest.fixture(scope="module")
def clf(run):
    return classifier.load(run, device="cpu")


@pytest.fixture(scope="module")
def square():
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def looks_at(rows, columns, size=48):
    """A net of three classes that is sure of class 1 as far as this part of the picture is white."""

    def probabilities(squares):
        lit = squares[:, rows, columns].mean(axis=(1, 2, 3)) / 255
        return np.stack([0.6 * (1 - 0.99 * lit), 0.99 * lit, 0.4 * (1 - 0.99 * lit)], 1).astype(np.float32)

    picture = np.zeros((size, size, 3), np.uint8)
    picture[rows, columns] = 255
    return SimpleNamespace(probabilities=probabilities), picture


@pytest.mark.parametrize("place", [(slice(6, 12), slice(30, 36)), (slice(0, 4), slice(44, 48))])
def test_occlusion_finds_what_the_answer_hangs_on(place):
    clf, picture = looks_at(*place)
    heat = maps.occlusion(clf, picture)
    assert heat.shape == (48, 48) and heat.dtype == np.float32
    inside = np.zeros_like(heat, bool)
    inside[place] = True
    assert inside[np.unravel_index(heat.argmax(), heat.shape)]
    assert heat[inside].min() > 2 and np.abs(heat[24:, :16]).max() < 1e-5  # far away nothing falls
    assert maps.occlusion(clf, picture, index=0)[inside].max() < -2  # another class gains there


@pytest.mark.parametrize("size, window, stride", [(31, 7, 3), (32, 8, 8), (9, 9, 9), (16, 1, 1), (4, None, None)])
def test_every_pixel_is_hidden(size, window, stride):
    clf, picture = looks_at(slice(0, 2), slice(0, 2), size)
    assert np.isfinite(maps.occlusion(clf, picture, window=window, stride=stride)).all()


def test_what_does_not_fit_is_refused(clf, square):
    for options in ({"window": 65}, {"window": 4, "stride": 5}, {"index": 16}):
        with pytest.raises(Misused):
            maps.occlusion(clf, square, **options)
    with pytest.raises(Misused):
        maps.gradient(clf, square, -1)


def test_a_gradient_is_what_small_steps_show(clf, square):
    heat = maps.gradient(clf, square, 3, draws=1)
    assert heat.shape == (64, 64) and not heat[:4].any() and not heat[:, 60:].any() and heat[4:60, 4:60].any()
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    batch, slopes = clf.preprocess(square).double(), []
    net = clf.net.double()
    for channel in range(3):
        stepped = batch.clone()
        stepped[0, channel, y - 4, x - 4] += 1e-3
        slopes.append((net(stepped) - net(batch))[0, 3].item() / 1e-3)
    clf.net.float()
    assert max(map(abs, slopes)) == pytest.approx(heat[y, x], rel=1e-3)


def test_noise_is_the_same_each_time_and_leaves_the_net_alone(clf, square):
    np.testing.assert_array_equal(maps.gradient(clf, square), maps.gradient(clf, square))
    assert all(parameter.grad is None for parameter in clf.net.parameters()) and not clf.net.training


def test_layers_first_and_gradients_after(run, square):
    fresh = classifier.load(run, device="cpu")
    maps.layers(fresh, square)
    assert maps.gradient(fresh, square).any()


def test_layers_are_those_with_maps(clf, square):
    found = maps.layers(clf, square)
    assert found["conv1"].shape == (32, 29, 29) and found["conv5"].ndim == 3 and "fc7" not in found
    assert found["conv1"].dtype == np.float32


def test_an_overlay_keeps_what_is_hot_and_fades_the_rest(square):
    heat = np.zeros((64, 64), np.float32)
    heat[10, 20], heat[5, 5] = 3, -50
    seen = maps.overlay(square, heat)
    np.testing.assert_array_equal(seen[10, 20], square[10, 20])
    np.testing.assert_array_equal(seen[5, 5], maps.overlay(square, heat * 0)[5, 5])  # below nothing is nothing
    assert seen.dtype == np.uint8 and np.ptp(seen[30:]) < 0.2 * 255 and np.ptp(seen[30:].astype(int), axis=2).max() == 0


def test_smoothing_keeps_the_whole():
    heat = np.zeros((40, 40), np.float32)
    heat[20, 20] = 1
    assert maps.smooth(heat).sum() == pytest.approx(1, abs=1e-3) and maps.smooth(heat)[20, 20] < 0.5
    np.testing.assert_allclose(maps.smooth(np.ones((40, 40), np.float32)), 1, atol=1e-6)
