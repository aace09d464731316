"""MNIST's idx files and CIFAR's binary files: pixels and labels bit for bit, in every way they are packed, and what is refused."""

import gzip
import os

import numpy as np
import pytest

import alexnet
from alexnet.data import packing, prepare, sources, store
from alexnet.errors import Refused

FRUIT = [f"fruit_{number:03d}" for number in range(100)]
PLANES = "airplane automobile bird cat deer dog frog horse ship truck".split()


def idx(array):
    head = bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return head + array.tobytes()


def put_mnist(root, *, spelling="-", suffix="", side=28):
    """-> {split: (pictures, labels)}; every picture differs."""
    root.mkdir(exist_ok=True)
    draw, made = np.random.default_rng(0), {}
    for part, split, count in (("train", "train", 40), ("t10k", "test", 20)):
        made[split] = draw.integers(0, 256, (count, side, side), np.uint8), np.arange(count, dtype=np.uint8) % 10
        for kind, array in zip(("images{}idx3", "labels{}idx1"), made[split]):
            data = idx(array)
            path = root / f"{part}-{kind.format(spelling)}-ubyte{suffix}"
            path.write_bytes(gzip.compress(data, 1) if suffix else data)
    return made


def put_cifar(root, hundred=False):
    """-> {split: (pictures (N, 32, 32, 3), labels)}"""
    root.mkdir(exist_ok=True)
    draw, made = np.random.default_rng(1), {}
    names = root / ("fine_label_names.txt" if hundred else "batches.meta.txt")
    names.write_text("\n".join(FRUIT if hundred else PLANES) + "\n\n")
    files = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
    for split, names in ({"train": ["train"], "test": ["test"]} if hundred else files).items():
        found = []
        for name in names:
            pixels = draw.integers(0, 256, (30, 32, 32, 3), np.uint8)
            labels = draw.integers(0, 100 if hundred else 10, 30).astype(np.uint8)
            before = [labels // 5, labels] if hundred else [labels]  # the coarse label stands first
            planes = pixels.transpose(0, 3, 1, 2).reshape(30, -1)
            (root / f"{name}.bin").write_bytes(np.concatenate([np.stack(before, 1), planes], 1).tobytes())
            found.append((pixels, labels))
        made[split] = tuple(np.concatenate(arrays) for arrays in zip(*found))
    return made


def same_pictures(path, split, pictures, labels):
    """The store holds exactly these, each with its label, wherever the fixed shuffle has put it."""
    held = store.open_split(path, split)
    held.verify()
    assert len(held) == len(pictures)
    colour = pictures if pictures.ndim == 4 else pictures[..., None].repeat(3, axis=3)
    found = {pixels.tobytes(): int(label) for pixels, label in zip(held.pictures(np.arange(len(held))), held.labels)}
    assert found == {pixels.tobytes(): int(label) for pixels, label in zip(colour, labels)}
    return held


@pytest.mark.parametrize("spelling, suffix, size", [("-", "", 28), ("-", ".gz", 28), (".", "", "native"), (".", ".gz", "native")])
def test_mnist_bit_for_bit(tmp_path, spelling, suffix, size):
    made = put_mnist(tmp_path / "mnist", spelling=spelling, suffix=suffix)
    answer = alexnet.prepare(tmp_path / "mnist", tmp_path / "store", size=size, workers=1)
    assert answer["kind"] == "MNIST's idx files" and answer["size"] == 28
    for split, (pictures, labels) in made.items():
        held = same_pictures(tmp_path / "store", split, pictures, labels)
        assert [pair.id for pair in held.classes] == list("0123456789") and held.names[0].startswith(f"{split}/000")


def test_a_gz_makes_the_same_store_in_two_processes_and_the_plain_file_goes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARD", 16)
    put_mnist(tmp_path / "plain")
    put_mnist(tmp_path / "gz", spelling=".", suffix=".gz")
    for name, workers in (("plain", 1), ("gz", 2)):
        alexnet.prepare(tmp_path / name, tmp_path / f"{name} store", size=28, workers=workers)
    assert len({store.open_split(tmp_path / f"{name} store", "train").fingerprint for name in ("plain", "gz")}) == 1
    put_mnist(tmp_path / "plain", suffix=".gz")
    assert not sources.recognise(tmp_path / "plain").splits["train"][0].path.endswith(".gz")


def test_raw_pixels_go_the_way_of_every_picture(tmp_path):
    """Another size than the source's: resampled like a file of the same pixels; one split alone; JPEG shards."""
    made = put_mnist(tmp_path / "mnist", side=21)
    alexnet.prepare(tmp_path / "mnist", tmp_path / "store", size=28, split="test", workers=1)
    held = store.open_split(tmp_path / "store", "test")
    number = int(held.names[3].rpartition("/")[2])
    assert np.array_equal(held.pictures([3])[0], prepare.picture.square(made["test"][0][number], 28))
    assert store.splits(tmp_path / "store") == ["test"]
    alexnet.prepare(tmp_path / "mnist", tmp_path / "jpeg", size=28, encoding="jpeg", workers=1)
    assert abs(store.open_split(tmp_path / "jpeg", "test").pictures([3]).astype(int) - held.pictures([3])).mean() < 8


@pytest.mark.parametrize("hundred", [False, True])
def test_cifar_bit_for_bit(tmp_path, hundred):
    made = put_cifar(tmp_path / "cifar", hundred)
    answer = alexnet.prepare(tmp_path / "cifar", tmp_path / "store", size=32, workers=1)
    assert answer["kind"] == ("CIFAR-100, binary" if hundred else "CIFAR-10, binary")
    for split, (pictures, labels) in made.items():
        held = same_pictures(tmp_path / "store", split, pictures, labels)
        assert [pair.name for pair in held.classes] == (FRUIT if hundred else PLANES)
    alexnet.prepare(tmp_path / "cifar", tmp_path / "native", size="native", workers=1)
    assert store.open_split(tmp_path / "native", "test").fingerprint == store.open_split(tmp_path / "store", "test").fingerprint


def test_cifar_says_what_is_not_all_there_and_sorts_its_classes(tmp_path):
    made = put_cifar(tmp_path / "cifar")
    (tmp_path / "cifar/data_batch_5.bin").unlink()
    (tmp_path / "cifar/test_batch.bin").unlink()
    (tmp_path / "cifar/batches.meta.txt").write_text("\n".join(PLANES[::-1]))
    source = sources.recognise(tmp_path / "cifar")
    assert list(source.splits) == ["train"] and "train has 120 pictures in data_batch_1" in source.notes[0]
    assert [pair.id for pair in source.classes] == PLANES
    assert [entry.label for entry in source.splits["train"]] == [9 - label for label in made["train"][1][:120]]


def test_a_prepare_that_was_stopped_goes_on_unless_the_file_has_changed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(store, "SHARD", 16)
    put_mnist(tmp_path / "mnist", suffix=".gz")
    pack = packing.pack

    def stops(number, *rest, tick):
        if number == 2:
            raise KeyboardInterrupt
        pack(number, *rest, tick=tick)

    def stopped(path):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(packing, "pack", stops)
            alexnet.prepare(tmp_path / "mnist", path, size=28, workers=1)

    stopped(tmp_path / "on")
    alexnet.prepare(tmp_path / "mnist", tmp_path / "on", size=28, workers=1)
    assert "going on, 32 of 40" in capsys.readouterr().err
    stopped(tmp_path / "anew")
    file = tmp_path / "mnist/train-images-idx3-ubyte.gz"
    other = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8).copy()
    other[16:] ^= 255
    file.write_bytes(gzip.compress(other.tobytes(), 9))
    alexnet.prepare(tmp_path / "mnist", tmp_path / "anew", size=28, workers=1)
    assert "going on" not in capsys.readouterr().err
    pictures, labels = other[16:].reshape(-1, 28, 28), np.arange(40) % 10
    same_pictures(tmp_path / "anew", "train", pictures, labels)


def test_a_record_cut_off_after_listing_is_refused_alone(tmp_path):
    put_cifar(tmp_path / "cifar")
    entry = sources.recognise(tmp_path / "cifar").splits["test"][-1]
    os.truncate(entry.path, os.path.getsize(entry.path) - 100)
    with pytest.raises(Refused, match="truncated: 2,972 of its 3,072 bytes"):
        sources.read(entry)


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
WRONG_MNIST = [
    (IMAGES, lambda data: b"\x89PNG" + data[4:], "begins with 89504e47 where .* 00000803"),
    (IMAGES, lambda data: b"", "begins with nothing"),
    (IMAGES, lambda data: data[:-1], "bytes where 40 x 28 x 28 bytes"),
    (IMAGES, lambda data: data + b"0", "bytes where 40 x 28 x 28 bytes"),
    (IMAGES, lambda data: data[:7] + b"\x27" + data[8:-784], "39 pictures and .* 40 labels"),
    (LABELS, lambda data: data[:8] + b"\x0a" + data[9:], "gives picture 0 the label 10, and labels are 0 to 9"),
    (LABELS, lambda data: data[:-1], "bytes where 40 bytes"),
    (LABELS, None, "has no train-labels-idx1-ubyte beside it"),
    (IMAGES, None, "has no train-images-idx3-ubyte beside it"),
]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name, damage, answer", WRONG_MNIST)
def test_damaged_idx_files_are_refused(tmp_path, name, damage, answer, suffix):
    put_mnist(tmp_path / "mnist", suffix=suffix)
    file = tmp_path / f"mnist/{name}{suffix}"
    if damage:
        data = damage(gzip.decompress(file.read_bytes()) if suffix else file.read_bytes())
        file.write_bytes(gzip.compress(data, 1) if suffix else data)
    else:
        file.unlink()
    with pytest.raises(Refused, match=answer):
        sources.recognise(tmp_path / "mnist")


def test_a_gz_that_is_none_or_half_of_one(tmp_path):
    put_mnist(tmp_path / "mnist", suffix=".gz")
    file = tmp_path / "mnist/train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    for data in (whole[:-200], whole[:300] + b"\0" * 300 + whole[600:], b"no gzip", whole[:5]):
        file.write_bytes(data)
        with pytest.raises(Refused, match="is no whole gzip file"):
            sources.recognise(tmp_path / "mnist")


def rewrite(name, change):
    return lambda root: (root / name).write_bytes(change((root / name).read_bytes()))


WRONG_CIFAR = [
    (False, rewrite("data_batch_2.bin", lambda data: data[:-1]), "92,189 bytes, which is not a whole number of records of 3,073"),
    (False, rewrite("test_batch.bin", lambda data: b""), "has 0 bytes"),
    (False, rewrite("test_batch.bin", lambda data: data[:3073] + b"\x0a" + data[3074:]), "picture 1 the label 10, .* 0 to 9"),
    (True, rewrite("train.bin", lambda data: data[:1] + b"\x64" + data[2:]), "picture 0 the label 100, .* 0 to 99"),
    (True, rewrite("train.bin", lambda data: data + b"0"), "records of 3,074"),
    (False, rewrite("batches.meta.txt", lambda data: data[9:]), "9 classes in 9 lines, and CIFAR-10 has 10"),
    (False, lambda root: (root / "batches.meta.txt").unlink(), "without batches.meta.txt"),
    (True, lambda root: (root / "fine_label_names.txt").unlink(), "no source that is known"),
]


@pytest.mark.parametrize("hundred, damage, answer", WRONG_CIFAR)
def test_damaged_cifar_is_refused(tmp_path, hundred, damage, answer):
    put_cifar(tmp_path / "cifar", hundred)
    damage(tmp_path / "cifar")
    with pytest.raises(Refused, match=answer):
        sources.recognise(tmp_path / "cifar")


@pytest.mark.parametrize("names, archive", [(("data_batch_1", "batches.meta"), "cifar-10-binary"),
                                            (("train", "test", "meta"), "cifar-100-binary")])
def test_the_python_versions_are_refused_by_name(tmp_path, names, archive):
    for name in names:
        (tmp_path / name).write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(Refused, match=f"python pickles, .* binary version, {archive}"):
        sources.recognise(tmp_path)
