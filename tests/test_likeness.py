"""Copies are found however they were changed, strangers are not, and equal pictures are paired with the first of them only."""

import io

import numpy as np
import pytest
from PIL import Image

from alexnet.data import likeness

COUNT, SIZE = 60, 64


def textures(count, seed=5):
    """Different pictures with the spectrum of photographs: (count, SIZE, SIZE, 3)."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE)[None])
    frequency[0, 0] = 1
    noise = np.fft.ifft2(np.fft.fft2(rng.normal(size=(count, 3, SIZE, SIZE))) / frequency).real
    noise[:, 1:] = 0.3 * noise[:, 1:] + 0.7 * noise[:, :1]  # colours go together
    noise /= noise.std((2, 3), keepdims=True)
    return np.clip(128 + 50 * noise, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


@pytest.fixture(scope="module")
def squares():
    return textures(COUNT)


def recompressed(picture):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=50)
    return Image.open(stream).convert("RGB")


def cropped(picture):
    return picture.resize(picture.size, Image.Resampling.BILINEAR, box=(2.5, 3, SIZE - 1, SIZE - 3.2))


CHANGES = {
    "recompressed": recompressed,
    "rescaled": lambda picture: picture.resize((37, 37), Image.Resampling.BICUBIC).resize(picture.size),
    "mirrored": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "brighter": lambda picture: picture.point(lambda value: min(int(1.15 * value + 8), 255)),
    "cropped": cropped,
    "all of it": lambda picture: recompressed(cropped(picture).transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else(squares, change):
    copies = np.stack([np.asarray(CHANGES[change](Image.fromarray(one))) for one in squares[:20]])
    found = likeness.pairs(likeness.signatures(np.concatenate([squares, copies])))
    assert set(found) == {(place, COUNT + place, "near") for place in range(20)}


def test_equal_pictures_are_paired_with_the_first_of_them(squares):
    signatures = likeness.signatures(squares[[3, 7, 3, 3, 9]])
    assert likeness.pairs(signatures) == [(0, 2, "exact"), (0, 3, "exact")]


def test_what_is_equal_is_said_by_the_contents_where_they_are_given(squares):
    signatures = likeness.signatures(squares[[3, 3, 4, 5]], contents=[b"one", b"two", b"three", b"three"])
    assert likeness.pairs(signatures) == [(0, 1, "near"), (2, 3, "exact")]


def test_flat_pictures_are_like_their_equals_only():
    rng = np.random.default_rng(0)
    flat = np.full((6, SIZE, SIZE, 3), 200, np.uint8)
    flat[2:] += rng.integers(0, 3, (4, SIZE, SIZE, 3), dtype=np.uint8)
    flat[5] = flat[4] + 1  # the same faint noise
    assert likeness.pairs(likeness.signatures(flat)) == [(0, 1, "exact")]


@pytest.mark.parametrize("frame", [0, 255])
def test_a_frame_makes_no_two_pictures_alike(squares, frame):
    framed = squares.copy()
    framed[:, :10] = framed[:, -10:] = frame
    signatures = likeness.signatures(framed)
    one, other = np.triu_indices(20, 1)
    assert likeness.pairs(signatures) == []
    assert likeness.compare(signatures[one], signatures[other])[0].max() < 0.5


def test_near_is_raised_where_all_pictures_are_alike_by_nature():
    rng = np.random.default_rng(1)
    ordinary, copies = rng.normal(0.2, 0.07, 5000), np.full(9000, 0.97)
    assert likeness._near_enough(0.65, [ordinary]) == likeness._near_enough(0.65, [ordinary, copies]) == 0.65
    assert 0.75 < likeness._near_enough(0.65, [rng.normal(0.4, 0.1, 5000)]) < 0.85  # hands before one wall
    assert likeness._near_enough(0.75, [rng.normal(0.6, 0.1, 5000)]) == likeness.SURELY
    assert likeness._near_enough(0.65, [copies[:10]]) == 0.65


def test_blocks_change_nothing(squares, monkeypatch):
    copies = np.stack([np.asarray(CHANGES["mirrored"](Image.fromarray(one))) for one in squares])
    signatures = likeness.signatures(np.concatenate([squares, copies]))
    whole = likeness.pairs(signatures)
    monkeypatch.setattr(likeness, "BLOCK", 17)
    monkeypatch.setattr(likeness, "BATCH", 5)
    done = []
    assert likeness.pairs(signatures, workers=3, tell=done.append) == whole
    assert len(whole) == COUNT and sum(done) == 2 * COUNT


def test_of_two_sets_only_pairs_across_are_near(squares, monkeypatch):
    monkeypatch.setattr(likeness, "BATCH", 5)
    copies = np.stack([np.asarray(CHANGES["mirrored"](Image.fromarray(one))) for one in squares[:12]])
    signatures = likeness.signatures(np.concatenate([squares[:12], copies[:6], copies[6:], squares[:1]]))
    whole = likeness.pairs(signatures)
    assert [pair[:2] for pair in whole] == [(0, 12), (0, 24), *((n, 12 + n) for n in range(1, 12))]
    for since in (0, 9, 12, 18, 24):
        near = [(i, j, kind) for i, j, kind in whole if kind == "exact" or not since or i < since <= j]
        assert likeness.pairs(signatures, since=since) == near


def test_a_crowd_raises_what_counts_as_close(squares, monkeypatch):
    signatures = likeness.signatures(squares)
    monkeypatch.setattr(likeness, "CLOSE", -1.0)
    monkeypatch.setattr(likeness, "CROWD", 2)
    even, odd = likeness._all_vectors(signatures)
    close = likeness._close_enough(even, odd)
    count = sum(len(i) for band in likeness._bands(COUNT) for i, _, _ in likeness._candidates(even, odd, band, close, 0))
    assert close > -1 and count <= 2 * COUNT


def test_colours_have_to_agree_unless_one_is_grey(squares):
    other_colours = np.ascontiguousarray(squares[:10, :, :, [1, 2, 0]])
    grey = np.repeat(np.rint(squares[:10] @ [0.299, 0.587, 0.114]).astype(np.uint8)[..., None], 3, axis=3)
    strong = likeness.signatures(squares[:10])["colour"].astype(int)
    apart = np.abs(strong - likeness.signatures(other_colours)["colour"]).mean((1, 2, 3)) > likeness.COLOURS
    found = likeness.pairs(likeness.signatures(np.concatenate([squares[:10], other_colours])))
    assert apart.any() and not {(place, 10 + place, "near") for place in np.flatnonzero(apart)} & set(found)
    found = likeness.pairs(likeness.signatures(np.concatenate([squares[:10], grey])))
    assert found == [(place, 10 + place, "near") for place in range(10)]


def test_compare_says_how_alike_and_whether_mirrored(squares):
    signatures = likeness.signatures(squares)
    mirrored = likeness.signatures(squares[:, :, ::-1])
    value, turned = likeness.compare(signatures[[0, 1, 2]], np.stack([signatures[0], mirrored[1], signatures[5]]))
    assert value[:2] == pytest.approx(1) and value[2] < likeness.NEAR
    assert turned[:2].tolist() == [False, True]
    cut = likeness.signatures(np.stack([np.asarray(cropped(Image.fromarray(one))) for one in squares]))
    assert np.array_equal(likeness.compare(signatures, cut)[0], likeness.compare(cut, signatures)[0])


@pytest.mark.parametrize("size", [8, 28, 32, 97, 256])
def test_every_size_has_the_same_thumbnail(squares, size):
    resized = np.stack([np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BILINEAR)) for one in squares[:3]])
    found = likeness.pairs(likeness.signatures(resized)) if size > 8 else []
    assert found == []
    if size >= 28:
        value, _ = likeness.compare(likeness.signatures(resized), likeness.signatures(squares[:3]))
        assert (value > likeness.NEAR).all()


def test_no_pictures_and_one():
    none = np.empty((0, 16, 16, 3), np.uint8)
    assert likeness.pairs(likeness.signatures(none)) == []
    assert likeness.pairs(likeness.signatures(np.zeros((1, 16, 16, 3), np.uint8))) == []


def test_groups_are_what_pairs_connect():
    assert likeness.groups(7, [(1, 4, "near"), (4, 6, "exact"), (2, 3, "near")]).tolist() == [0, 1, 2, 2, 1, 5, 1]
