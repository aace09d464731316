"""A store is read as it was written, by any number of threads, and says in one sentence what is wrong with it."""

import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from alexnet.data import packing, picture, prepare, store
from alexnet.errors import Misused, Refused


@pytest.fixture(scope="module", params=["raw", "jpeg"])
def made(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    y, x = np.mgrid[:20, :20]
    for number in range(50):
        folder = root / f"source/{number % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.stack([120 + 100 * np.sin((x + number) / 5), 5.0 * number + 0 * x, 12.0 * y], axis=-1)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "SHARD", 16)
        prepare.prepare(root / "source", root / "store", size=20, encoding=request.param, workers=1)
    return root


def test_pictures_in_any_order(made):
    split = store.open_split(made / "store")
    assert len(split) == 50 and split.labels.dtype == np.int64 and split.mean.shape == (20, 20, 3)
    indices = np.random.default_rng(0).permutation(np.repeat(np.arange(50), 2))
    pictures = split.pictures(indices)
    assert pictures.shape == (100, 20, 20, 3) and pictures.dtype == np.uint8
    for index, pixels in zip(indices, pictures):
        expected = picture.square(made / "source" / split.names[index], 20)
        difference = np.abs(pixels.astype(int) - expected).max()
        assert difference == 0 if split.encoding == "raw" else difference < 20
    out = np.empty((3, 20, 20, 3), np.uint8)
    assert split.pictures([4, 4, 1], out=out) is out and np.array_equal(out[0], out[1])
    assert split.pictures([]).shape == (0, 20, 20, 3)
    for wrong in ([-1], [50]):
        with pytest.raises(IndexError, match="pictures 0 to 49"):
            split.pictures(wrong)


def test_threads_and_other_processes_see_the_same(made):
    split = store.open_split(made / "store")
    expected = split.pictures(np.arange(50))
    with ThreadPoolExecutor(8) as threads:
        for result in threads.map(lambda _: split.pictures(np.arange(50)[::-1]), range(40)):
            assert np.array_equal(result[::-1], expected)
    again = pickle.loads(pickle.dumps(split))
    assert np.array_equal(again.pictures([7]), expected[7:8]) and again.fingerprint == split.fingerprint


def test_without_the_fast_codec(made, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "simplejpeg", None)  # the import fails
    split = store.open_split(made / "store")
    pixels = split.pictures([0])[0]
    assert np.abs(pixels.astype(int) - picture.square(made / "source" / split.names[0], 20)).max() < 20
    stream = packing._encoder()[1](pixels)
    assert packing.encoder_name("jpeg") == "Pillow" and stream.startswith(b"\xff\xd8")


def test_few_descriptors_suffice(made, monkeypatch):
    monkeypatch.setattr(store, "_descriptors", lambda: 4)
    split = store.open_split(made / "store")
    split.pictures(np.arange(50))
    assert len(split.card["shards"]) == 4 and split._shard.cache_info().currsize == 2


def test_fingerprint_follows_pixels_labels_and_classes(made):
    split = store.open_split(made / "store")
    facts = [split.card["shards"], split.labels, split.classes, split.size, split.encoding]
    assert store.fingerprint(*facts) == split.fingerprint
    others = [[{"sha256": "0"}], split.labels[::-1], split.classes[::-1], 21, "other"]
    for position, other in enumerate(others):
        changed = facts[:position] + [other] + facts[position + 1 :]
        assert store.fingerprint(*changed) != split.fingerprint


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made / "store", tmp_path / "store")
    return tmp_path / "store"


def test_damage_is_found(copy):
    shard = next((copy / "train").glob("shard-00001.*"))
    store.open_split(copy).verify()
    sound = shard.read_bytes()
    shard.write_bytes(sound[:100] + bytes([sound[100] ^ 1]) + sound[101:])
    with pytest.raises(Refused, match="shard-00001.* checksum"):
        store.open_split(copy).verify()
    shard.write_bytes(sound[:-1])
    with pytest.raises(Refused, match="shard-00001.* bytes where"):
        store.open_split(copy)
    shard.unlink()
    with pytest.raises(Refused, match="shard-00001.* missing"):
        store.open_split(copy)


def test_version_split_and_nothing(copy, tmp_path):
    card = copy / "train/store.json"
    with pytest.raises(Misused, match="no split 'val'.*train"):
        store.open_split(copy, "val")
    facts = json.loads(card.read_text())
    card.write_text(json.dumps({**facts, "format": 99}))
    with pytest.raises(Refused, match="format 99, and this version reads format 1"):
        store.open_split(copy)
    card.write_text("{")
    with pytest.raises(Refused, match="cannot be read"):
        store.open_split(copy)
    with pytest.raises(Refused, match="is no store: make one with `alexnet prepare"):
        store.open_split(tmp_path / "nowhere")
    assert store.splits(tmp_path / "nowhere") == []
