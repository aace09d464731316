"""Crops, reflections, colour noise, resized crops, views: against plain loops and against the source's arithmetic."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from alexnet import recipes
from alexnet.data import augment, order

SIZE, CROP = 20, 14
PICTURES = torch.randint(0, 256, (64, SIZE, SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
MEAN = torch.randn(3, CROP, CROP) * 10 + 120
COLOUR = SimpleNamespace(stdevs=np.array([100.0, 30.0, 10.0]),
                         vectors=np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0])


def draws(recipe, count=64, step=0):
    return augment.draw(order.generator(0, 0, step), count=count, size=SIZE, crop=CROP, recipe=recipe)


def test_windows_reflections_and_noise_by_loops():
    drawn = draws(recipes.paper())
    found = augment.augment(PICTURES, drawn, crop=CROP, mean=MEAN, noise=0.1, colour=COLOUR)
    for i in range(64):
        top, left = drawn.boxes[i, :2].astype(int)
        cut = PICTURES[i, top : top + CROP, left : left + CROP]
        cut = cut.flip(1) if drawn.mirrored[i] else cut
        shift = COLOUR.vectors @ (drawn.noise[i] * COLOUR.stdevs * 0.1)
        expected = (cut.permute(2, 0, 1).double() - MEAN + torch.from_numpy(shift)[:, None, None]) / 1.1
        torch.testing.assert_close(found[i].double(), expected, rtol=1e-5, atol=1e-4)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_every_offset_and_both_reflections_occur():
    seen = set()
    for step in range(60):
        drawn = draws(recipes.paper(), step=step)
        seen |= {(*corner, mirrored) for corner, mirrored in zip(drawn.boxes[:, :2].astype(int).tolist(), drawn.mirrored.tolist())}
    assert len(seen) == 7 * 7 * 2  # 0 to 6 inclusive each way: 33 x 33 x 2 = 2,178 at 256 and 224


def test_the_source_draws_once_for_32_pictures():
    drawn = draws(recipes.as_run())
    rows = np.concatenate([drawn.boxes, drawn.mirrored[:, None]], axis=1)
    assert len(np.unique(rows[:32], axis=0)) == len(np.unique(rows[32:], axis=0)) == 1
    assert len(np.unique(drawn.noise, axis=0)) == 64  # colour noise is each picture's own


def test_a_share_of_the_joined_batch_is_its_rows():
    drawn = draws(recipes.paper())
    whole = augment.augment(PICTURES, drawn, crop=CROP, mean=MEAN, noise=0.1, colour=COLOUR)
    part = augment.augment(PICTURES[16:48], drawn.rows(16, 32), crop=CROP, mean=MEAN, noise=0.1, colour=COLOUR)
    assert torch.equal(whole[16:48], part)


def test_mixed_pictures_are_shares_of_neighbours_and_disturb_no_other_draw():
    plain, mixed = draws(recipes.paper()), draws(replace(recipes.paper(), mixing=0.4))
    assert 0 < mixed.share < 1 == plain.share and np.array_equal(plain.boxes, mixed.boxes)
    single = augment.augment(PICTURES, plain, crop=CROP, mean=MEAN, noise=0.1, colour=COLOUR)
    found = augment.augment(PICTURES, mixed, crop=CROP, mean=MEAN, noise=0.1, colour=COLOUR)
    for i in range(64):
        other = i + 1 if i % 2 == 0 else i - 1
        torch.testing.assert_close(found[i], mixed.share * single[i] + (1 - mixed.share) * single[other])
    assert augment.partners(torch.arange(5)).tolist() == [1, 0, 3, 2, 4]
    loss = augment.mixed(lambda labels: labels.double().mean(), torch.tensor([0, 1, 0, 0]), 0.75)
    assert loss == 0.25


def test_the_side_grows_in_steps_to_the_crop():
    shares = np.linspace(0.5, 1, 40)
    sides = {crop: sorted({augment.side(crop, share) for share in shares}) for crop in (28, 56, 224)}
    assert sides[56] == [28, 32, 36, 40, 44, 48, 52, 56] and sides[28][0] == 14 and sides[224][::7] == [112, 224]
    recipe = replace(recipes.recipe("modern"), least_side=0.5, full_side=0.5)
    drawn = augment.draw(order.generator(0, 0, 0), count=64, size=SIZE, crop=10, recipe=recipe)
    small = augment.augment(PICTURES, drawn, crop=10, mean=MEAN[:, :1, :1], resized=True)
    whole = augment.augment(PICTURES, drawn, crop=20, mean=MEAN[:, :1, :1], resized=True)
    assert small.shape == (64, 3, 10, 10)
    halved = torch.nn.functional.avg_pool2d(whole, 2)
    assert (small - halved).abs().mean() < 0.2 * halved.std()  # the same parts of the same pictures, coarser


def test_without_noise_nothing_is_divided():
    centre = replace(recipes.paper(), crop="centre", reflect=False)
    found = augment.augment(PICTURES, draws(centre), crop=CROP, mean=MEAN, noise=0.0)
    torch.testing.assert_close(found, augment.views(PICTURES, mean=MEAN, crop=CROP)[0])


@pytest.mark.parametrize("mean", [MEAN, MEAN[:, :1, :1]])
@pytest.mark.parametrize("recipe", [recipes.paper(), recipes.modern()])
def test_each_value_is_rounded_in_the_order_of_the_text(recipe, mean):
    """Bit for bit: to float, less the mean, plus the shift, over 1 + noise, in 32 bits, whatever lies how in memory."""
    drawn, before = draws(recipe), PICTURES.clone()
    boxes, mirrored = torch.from_numpy(drawn.boxes), torch.from_numpy(drawn.mirrored)
    if recipe.crop == "resized":
        values = augment.resize(PICTURES, boxes.float(), mirrored, CROP)
    else:
        cut = augment.windows_at_once(PICTURES, boxes[:, 0].long(), boxes[:, 1].long(), CROP)  # as a graphics card cuts
        values = torch.where(mirrored[:, None, None, None], cut.flip(2), cut).permute(0, 3, 1, 2).float()
    shift = torch.from_numpy(drawn.noise * COLOUR.stdevs * 0.1 @ COLOUR.vectors.T).float()
    expected = (values - mean + shift[:, :, None, None]) / 1.1
    found = augment.augment(PICTURES, drawn, crop=CROP, mean=mean, noise=0.1, colour=COLOUR, resized=recipe.crop == "resized")
    assert torch.equal(found, expected) and found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(PICTURES, before)  # what is cut and turned is a copy: a resident store is read again


def test_resizing_is_pillows_bicubic_with_antialiasing():
    pictures = 96 + PICTURES[:3] // 4  # so that nothing beyond 0 to 255 comes out, which Pillow would cut
    boxes = torch.tensor([[0.0, 0.0, 20.0, 20.0], [2.0, 3.0, 17.0, 11.5], [1.25, 0.5, 9.0, 18.0]])
    found = augment.resize(pictures, boxes, torch.zeros(3, dtype=torch.bool), CROP)
    for i, (top, left, height, width) in enumerate(boxes.tolist()):
        # Pillow reads beyond its box for the last pixels, so the box is compared where that cannot show
        box = (left, top, left + width, top + height)
        whole = Image.fromarray(pictures[i].numpy()).resize((CROP, CROP), Image.Resampling.BICUBIC, box=box)
        expected = torch.from_numpy(np.array(whole)).permute(2, 0, 1).float()
        assert (found[i] - expected).abs().max() <= 1.13  # Pillow rounds to 8 bits twice; the second time weighs 1.25


def test_resized_crops_stay_inside_and_mirror():
    recipe = recipes.modern()
    drawn = draws(recipe, count=2000)
    top, left, height, width = drawn.boxes.T
    assert min(top.min(), left.min()) >= 0 and max((top + height).max(), (left + width).max()) <= SIZE + 1e-9
    share = height * width / SIZE**2
    assert 0.3 < share.min() < 0.4 and share.max() > 0.95 and abs(drawn.mirrored.mean() - 0.5) < 0.05
    boxes, no = torch.from_numpy(drawn.boxes[:4]).float(), torch.zeros(4, dtype=torch.bool)
    mirrored = augment.resize(PICTURES[:4], boxes, ~no, CROP)
    torch.testing.assert_close(mirrored, augment.resize(PICTURES[:4], boxes, no, CROP).flip(3))


@pytest.mark.parametrize("count", augment.VIEWS)
def test_views_are_the_sources_in_its_order(count):
    found = augment.views(PICTURES, mean=MEAN, crop=CROP, count=count)
    assert len(found) == count
    grid = [(t, l) for t in (0, 3, 6) for l in (0, 3, 6)]
    places = {1: [(3, 3)], 2: [(3, 3)], 9: grid}.get(count, [(0, 0), (0, 6), (3, 3), (6, 0), (6, 6)])
    cuts = [PICTURES[:, t : t + CROP, l : l + CROP].permute(0, 3, 1, 2).float() for t, l in places]
    expected = [cut - MEAN for cut in cuts] + ([cut.flip(3) - MEAN for cut in cuts] if count in (2, 10) else [])
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b) and a.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("count", augment.VIEWS)
def test_views_of_a_picture_no_larger_than_the_crop_are_the_picture_and_enlarged_parts_of_it(count):
    found = augment.views(PICTURES, mean=MEAN[:, :1, :1], crop=SIZE, count=count)
    whole = PICTURES.permute(0, 3, 1, 2).float()
    part = round(SIZE * 7 / 8)
    far, half = SIZE - part, (SIZE - part) // 2
    grid = [(t, l) for t in (0, half, far) for l in (0, half, far)]
    places = grid if count == 9 else [(0, 0), (0, far), (half, half), (far, 0), (far, far)]
    cuts = [whole] if count <= 2 else [
        F.interpolate(whole[:, :, t : t + part, l : l + part], SIZE, mode="bicubic", antialias=True) for t, l in places]
    cuts[len(cuts) // 2] = whole
    cuts += [cut.flip(3) for cut in cuts] if count in (2, 10) else []
    assert augment.are_parts(count, SIZE, SIZE) == [cut is not whole and not torch.equal(cut, whole.flip(3)) for cut in cuts]
    assert not any(augment.are_parts(count, SIZE, CROP))
    for one, cut in zip(found, cuts, strict=True):
        torch.testing.assert_close(one, cut - MEAN[:, :1, :1], atol=0.01, rtol=0)
        assert one.is_contiguous(memory_format=torch.channels_last)


def test_the_mean_is_its_central_window():
    image = np.random.default_rng(0).normal(size=(SIZE, SIZE, 3)).astype(np.float32)
    assert torch.equal(augment.central(image, CROP), torch.from_numpy(image[3:17, 3:17]).permute(2, 0, 1))
