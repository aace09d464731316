"""Claim 14: what is held out together, and the whole on a few drawn signs."""

import json

import numpy as np
import pytest
from PIL import Image

from alexnet.errors import Refused
from experiments import hand_signs


@pytest.fixture(scope="module")
def signs(tmp_path_factory):
    """Three signs, each a direction, of five people: a person's pictures are neighbours, at a brightness of their own."""
    folder, random = tmp_path_factory.mktemp("signs"), np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    for number in range(60):
        sign, person = number % 3, number // 12
        wave = np.sin((rows, columns, rows + columns)[sign] / 2.0)
        picture = 60 + 20 * person + 40 * wave[..., None] + random.normal(0, 10, (32, 32, 3))
        (folder / str(sign)).mkdir(exist_ok=True)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / str(sign) / f"IMG_{1000 + number}.png")
    return folder


def test_blocks_are_neighbours_and_fifths_are_not(signs):
    paths, labels, classes = hand_signs.photographs(signs)
    assert [path.rpartition("_")[2] for path in paths] == [f"{1000 + number}.png" for number in range(60)]
    assert labels.tolist() == [0, 1, 2] * 20 and classes == 3
    blocks = hand_signs.blocks(60)
    assert np.sum(blocks, 0).tolist() == [1] * 60 and all(np.ptp(np.flatnonzero(block)) == 11 for block in blocks)
    fifth = hand_signs.random_fifth(60, 0)
    assert fifth.sum() == 12 and len({number // 12 for number in np.flatnonzero(fifth)}) > 2
    assert (hand_signs.random_fifth(60, 1) != fifth).any()


def test_a_leak_shows_in_the_gap_between_the_two():
    """People known apart, signs not: a reader of people is right on random fifths alone."""
    people = np.arange(100) // 10
    table = np.eye(10, dtype=np.float32)[people] + np.random.default_rng(0).normal(0, 0.01, (100, 10)).astype(np.float32)
    splits = [("random fifth 0", hand_signs.random_fifth(100, 0))]
    splits += [(f"block {n}", block) for n, block in enumerate(hand_signs.blocks(100))]
    found = hand_signs.measured(table, people % 3, splits, hand_signs.with_probe(3))
    assert found["random_fifths"] < 0.05 and found["all_blocks"] > 0.25


def test_hog_reads_drawn_signs_and_features_stand_beside_it(signs, run, tmp_path):
    found = hand_signs.measure(signs, tmp_path, scale="toy")
    assert found["images"] == 60 and set(found["arms"]) == set(hand_signs.ARMS) and not found["rows"]
    for arm in found["arms"].values():
        assert arm["all_blocks"] < 0.1 and [line["images"] for line in arm["splits"]] == [12] * 6
    assert json.loads((tmp_path / "hand-signs-hog.json").read_text())["given"]["random fifth"] == 0.097
    found = hand_signs.measure(signs, tmp_path, scale="toy", model=str(run))
    assert len(found["rows"]) == 2 and found["layer"] == "fc7" and (tmp_path / "hand-signs.json").exists()
    assert "fc7, linear" in hand_signs.as_text(found)


def test_names_without_numbers_are_refused(tmp_path):
    for sign in "ab":
        (tmp_path / sign).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / sign / "hand.png")
    with pytest.raises(Refused, match="number"):
        hand_signs.photographs(tmp_path)
