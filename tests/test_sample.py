"""The embedded pictures: a class a photograph, and no pixel of a validation crop was ever in a training crop."""

import random

import numpy as np
import pytest
from PIL import Image

from alexnet.data import picture, sample, sources
from alexnet.errors import Misused, Refused


def test_parts_share_no_pixel_and_lie_inside():
    for photograph in sample.PHOTOGRAPHS:
        width, height = picture.upright(sample._file(photograph)).size
        painted = np.zeros((height, width), int)
        for left, top, right, bottom in sample.parts(photograph, width, height).values():
            assert 0 <= left < right <= width and 0 <= top < bottom <= height
            assert min(right - left, bottom - top) >= 64, photograph.name
            painted[top:bottom, left:right] += 1
        assert painted.max() == 1, photograph.name


def test_crops_stay_inside_their_part():
    draw = random.Random(0).random
    for width, height, size in ((300, 200, 64), (65, 64, 64), (40, 90, 64), (1400, 900, 32)):
        sides = set()
        for _ in range(500):
            left, top, side = sample.crop_box(draw, width, height, size)
            assert left >= 0 and top >= 0 and left + side <= width and top + side <= height
            sides.add(side)
        assert min(sides) >= min(size, width, height) and max(sides) <= max(sample.LARGEST * size, min(width, height))


def test_written_as_class_folders_the_same_for_a_seed(tmp_path):
    answer = sample.write(tmp_path / "a", size=32, train=3, val=2)
    assert len(answer["classes"]) == 16 and answer["train"] == 48 and answer["val"] == 32
    found = sources.recognise(tmp_path / "a")
    assert [pair.name for pair in found.classes] == sorted(answer["classes"]) and {"astronaut", "cat"} <= set(
        answer["classes"]
    )
    assert {split: len(entries) for split, entries in found.splits.items()} == {"train": 48, "val": 32}
    assert "scikit-image" in found.licence
    sample.write(tmp_path / "b", size=32, train=3, val=2)
    sample.write(tmp_path / "c", size=32, train=3, val=2, seed=1)
    pixels = {
        name: [
            picture.square(entry.path, 32)
            for entry in sources.in_store_order(sources.recognise(tmp_path / name).splits["val"])
        ]
        for name in "abc"
    }
    assert np.array_equal(pixels["a"], pixels["b"]) and not np.array_equal(pixels["a"], pixels["c"])
    assert Image.open(tmp_path / "a/train/cat/0001.png").size == (32, 32)


def test_refusals(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("x")
    with pytest.raises(Refused, match="not empty"):
        sample.write(tmp_path / "full")
    with pytest.raises(Misused, match="1 or more"):
        sample.write(tmp_path / "new", train=0)
    monkeypatch.setattr(sample.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Refused, match="pip install scikit-"):
        sample.write(tmp_path / "new")
    assert not list(tmp_path.glob("new*"))
