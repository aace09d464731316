"""Claim 14: what is held out together, and the whole on a few drawn signs."""

import json

import numpy as np
import pytest
from PIL import Image

from alexnet.errors import Refused
from experiments import hand_signs

COUNT, EACH = 150, 30  # photographs, of a person


@pytest.fixture(scope="module")
def signs(tmp_path_factory):
    """Three signs, each a direction, of five people: a person's pictures are neighbours, at a brightness of their own."""
    folder, random = tmp_path_factory.mktemp("signs"), np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    for number in range(COUNT):
        sign, person = number % 3, number // EACH
        wave = np.sin((rows, columns, rows + columns)[sign] / random.uniform(1, 3) + random.uniform(0, 6))
        picture = 60 + 20 * person + 40 * wave[..., None] + random.normal(0, 10, (32, 32, 3))
        (folder / str(sign)).mkdir(exist_ok=True)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / str(sign) / f"IMG_{1000 + number}.png")
    return folder


def test_blocks_are_neighbours_and_fifths_are_not(signs):
    paths, labels, classes = hand_signs.photographs(signs)
    assert [path.rpartition("_")[2] for path in paths] == [f"{1000 + number}.png" for number in range(COUNT)]
    assert labels.tolist() == [0, 1, 2] * (COUNT // 3) and classes == 3
    blocks = hand_signs.blocks(COUNT)
    assert np.sum(blocks, 0).tolist() == [1] * COUNT and all(np.ptp(np.flatnonzero(block)) == EACH - 1 for block in blocks)
    fifth = hand_signs.random_fifth(COUNT, 0)
    assert fifth.sum() == EACH and len({number // EACH for number in np.flatnonzero(fifth)}) > 2
    assert (hand_signs.random_fifth(COUNT, 1) != fifth).any()


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
    assert found["images"] == COUNT and set(found["arms"]) == set(hand_signs.ARMS) and not found["rows"]
    for arm in found["arms"].values():
        assert arm["all_blocks"] < 0.1 and [line["images"] for line in arm["splits"]] == [EACH] * 6
    assert json.loads((tmp_path / "hand-signs-hog.json").read_text())["given"]["random fifth"] == 0.097
    found = hand_signs.measure(signs, tmp_path, scale="toy", model=str(run))
    assert len(found["rows"]) == 2 and found["layer"] == "fc7" and (tmp_path / "hand-signs.json").exists()
    assert "fc7, linear" in hand_signs.as_text(found)


@pytest.mark.slow
def test_transfer_stands_on_the_same_blocks(signs, run, tmp_path):
    found = hand_signs.measure(signs, tmp_path, scale="toy", model=str(run), epochs=1)
    arm = found["arms"]["transferred"]
    assert [line["split"] for line in arm["splits"]] == ["random fifth 0", *(f"block {n}" for n in range(1, 6))]
    assert [line["images"] for line in arm["splits"]] == [EACH] * 6 and len(found["rows"]) == 4
    held = sorted(path.name for path in (tmp_path / "transfer" / "block-2" / "pictures" / "val").rglob("*.png"))
    assert held == [f"IMG_{1000 + number}.png" for number in range(EACH, 2 * EACH)]
    again = hand_signs.row("a", {"splits": arm["splits"][::-1]}, "b", found["arms"][hand_signs.ARMS[0]])
    assert again["difference"] == pytest.approx(hand_signs.row("a", arm, "b", found["arms"][hand_signs.ARMS[0]])["difference"])


def test_names_without_numbers_are_refused(tmp_path):
    for sign in "ab":
        (tmp_path / sign).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / sign / "hand.png")
    with pytest.raises(Refused, match="number"):
        hand_signs.photographs(tmp_path)
