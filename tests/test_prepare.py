"""prepare writes the same bytes however it is run or stopped, names what it refuses, and sums exactly."""

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from alexnet.data import packing, picture, prepare, sources, store
from alexnet.errors import Misused, Refused
from tests.test_sources import tiny_imagenet


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """130 noisy pictures of odd sizes in three classes, and four that cannot be read."""
    root = tmp_path_factory.mktemp("source")
    draw = np.random.default_rng(0)
    for number in range(130):
        folder = root / ("train" if number < 100 else "val") / f"class {number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        width, height = draw.integers(9, 30, 2)
        pixels = draw.integers(0, 256, (height, width, 3), dtype=np.uint8) // (1 + number % 3)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    sound = (root / "train/class 0/0.png").read_bytes()
    (root / "train/class 0/half.png").write_bytes(sound[:-300])
    (root / "train/class 1/empty.jpg").write_bytes(b"")
    (root / "train/class 2/text.jpg").write_text("no picture")
    (root / "train/class 2/gone.jpg").symlink_to(root / "nowhere.jpg")
    return root


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(store, "SHARD", 16)


def contents(path):
    return {
        os.path.relpath(os.path.join(folder, name), path): open(os.path.join(folder, name), "rb").read()
        for folder, _, names in os.walk(path)
        for name in names
    }


@pytest.fixture(scope="module")
def made(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "SHARD", 16)
        answer = prepare.prepare(source, path, size=12, workers=1)
    return path, answer


def test_answer_and_store(source, made):
    path, answer = made
    assert answer["splits"] == {
        "train": {"images": 100, "refused": 4, "classes": 3},
        "val": {"images": 30, "refused": 0, "classes": 3},
    }
    assert answer["kind"] == "class folders" and answer["size"] == 12 and answer["images_per_second"] > 0
    card = store.read_card(path / "train")
    assert card["class_counts"] == [34, 33, 33] and card["resampling"] == picture.RESAMPLING
    assert [shard["pictures"] for shard in card["shards"]][-1] <= 8 and len(card["shards"]) == 7
    assert not [name for name in contents(path) if "part" in name or "tmp" in name or "unfinished" in name]
    split = store.open_split(path)
    for index, name in enumerate(split.names):
        assert np.array_equal(split.pictures([index])[0], picture.square(source / name, 12))
        assert split.classes[split.labels[index]].id == name.split("/")[1]


def test_refused_pictures_are_named(made, capsys, source):
    lines = [json.loads(line) for line in open(made[0] / "train/refused.jsonl")]
    reasons = {line["path"]: line["reason"] for line in lines}
    assert set(reasons) == {f"train/class {end}" for end in ("0/half.png", "1/empty.jpg", "2/text.jpg", "2/gone.jpg")}
    assert "truncated" in reasons["train/class 0/half.png"] and "empty" in reasons["train/class 1/empty.jpg"]
    assert "not a picture" in reasons["train/class 2/text.jpg"] and "no such file" in reasons["train/class 2/gone.jpg"]
    prepare.prepare(source, made[0], size=12)  # again: nothing to do, and still told
    said = capsys.readouterr().err
    assert "prepared already" in said and "4 pictures of train were refused" in said and "half.png: truncated" in said
    with pytest.raises(Refused, match="4 pictures were refused"):
        prepare.prepare(source, made[0], size=12, strict=True)


def test_statistics_equal_the_plain_computation(made):
    split = store.open_split(made[0])
    pictures = split.pictures(np.arange(len(split))).astype(np.float64)
    assert np.array_equal(split.mean, pictures.mean(axis=0).astype(np.float32))
    pixels = pictures.reshape(-1, 3)
    covariance = np.cov(pixels, rowvar=False, bias=True)
    mean, stdevs, vectors = split.colour
    assert np.allclose(mean, pixels.mean(axis=0), rtol=1e-12)
    assert np.allclose(vectors * stdevs**2 @ vectors.T, covariance, rtol=1e-7)
    assert np.allclose(stdevs, np.sqrt(np.linalg.eigvalsh(covariance))[::-1], rtol=1e-8) and stdevs[0] > stdevs[2]
    assert np.allclose(vectors.T @ vectors, np.eye(3), atol=1e-8)
    assert all(vectors[np.abs(vectors[:, axis]).argmax(), axis] > 0 for axis in range(3))


def test_sums_are_exact():
    for pictures in (
        np.full((64, 5, 7, 3), 255, np.uint8),
        np.random.default_rng(1).integers(0, 256, (9, 3, 3, 3), np.uint8),
    ):
        pixels = pictures.reshape(-1, 3).astype(np.int64)
        expected = (pixels.T @ pixels)[np.triu_indices(3)]
        assert np.array_equal(packing._products(pictures), expected)
    assert packing._products(np.zeros((0, 4, 4, 3), np.uint8)).tolist() == [0] * 6


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_two_processes_and_an_interruption_write_the_same_bytes(source, tmp_path, monkeypatch, encoding):
    alone, several, stopped = (tmp_path / name for name in ("alone", "several", "stopped"))
    settings = {"size": 12, "encoding": encoding}
    prepare.prepare(source, alone, workers=1, **settings)
    prepare.prepare(source, several, workers=2, **settings)
    assert contents(alone) == contents(several)
    pack, packed = packing.pack, []

    def stops(number, *rest, tick):
        if number == 3:
            (stopped / "train/shard-00003.raw.1.tmp").write_bytes(b"half a shard")
            raise KeyboardInterrupt
        pack(number, *rest, tick=tick)

    monkeypatch.setattr(packing, "pack", stops)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(source, stopped, workers=1, **settings)
    assert store.splits(stopped) == []
    with pytest.raises(Refused, match=f"unfinished: run `alexnet prepare .* --size 12 --encoding {encoding}` again"):
        store.open_split(stopped)
    monkeypatch.setattr(
        packing, "pack", lambda number, *rest, tick: (packed.append(number), pack(number, *rest, tick=tick))
    )
    prepare.prepare(source, stopped, workers=1, **settings)
    assert packed[:4] == [3, 4, 5, 6]  # the first three of train were kept
    assert contents(stopped) == contents(alone)


def test_pictures_and_settings_that_changed_meanwhile_are_done_again(tmp_path, monkeypatch):
    root = tmp_path / "source"
    (root / "a").mkdir(parents=True)
    for number in range(40):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(root / f"a/{number}.png")
    finish = packing.finish
    monkeypatch.setattr(packing, "finish", lambda *rest: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(root, tmp_path / "store", size=8, workers=1)
    monkeypatch.setattr(packing, "finish", finish)
    Image.new("RGB", (8, 8), (255, 255, 0)).save(root / "a/7.png")
    prepare.prepare(root, tmp_path / "store", size=8, workers=1)
    split = store.open_split(tmp_path / "store")
    assert split.pictures([split.names.index("a/7.png")])[0, 0, 0].tolist() == [255, 255, 0]
    monkeypatch.setattr(packing, "finish", lambda *rest: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(root, tmp_path / "store2", size=8, workers=1)
    monkeypatch.setattr(packing, "finish", finish)
    prepare.prepare(root, tmp_path / "store2", size=9, workers=1)
    assert store.open_split(tmp_path / "store2").pictures([0]).shape == (1, 9, 9, 3)


def test_killed_outright_it_goes_on(source, made, tmp_path):
    script = (
        "import sys, time; from alexnet.data import packing, prepare, store\n"
        "if __name__ == '__main__':\n"
        "    store.SHARD = 16\n"
        "    prepare.prepare(sys.argv[1], sys.argv[2], size=12, workers=2)\n"
    )
    (tmp_path / "run.py").write_text(script)
    path = tmp_path / "store"
    command = [sys.executable, tmp_path / "run.py", source, path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    for _ in range(2000):
        if any("part" in str(name) for name in path.glob("train/*")) or process.poll() is not None:
            break
        time.sleep(0.002)
    process.kill()  # the parent alone: its workers must not live on
    process.wait()
    for _ in range(500):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.01)
    else:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail("workers outlived the prepare that started them")
    prepare.prepare(source, path, size=12, workers=1)
    assert contents(path) == contents(made[0])


def test_other_settings_classes_and_places_are_refused(source, made, tmp_path):
    path = made[0]
    with pytest.raises(Refused, match="finished, from other pictures or settings"):
        prepare.prepare(source, path, size=16)
    with pytest.raises(Refused, match="lies inside its source"):
        prepare.prepare(source, source / "store")
    with pytest.raises(Misused, match="did you mean val"):
        prepare.prepare(source, tmp_path / "a", split="vall")
    with pytest.raises(Misused, match="did you mean jpeg"):
        prepare.prepare(source, tmp_path / "a", encoding="jpg")
    for size in (0, "large", 10**6):
        with pytest.raises(Misused, match="size"):
            prepare.prepare(source, tmp_path / "a", size=size)
    (tmp_path / "other/class 9").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "other/class 9/1.png")
    prepare.prepare(source, tmp_path / "b", size=12, split="val", workers=1)
    assert store.splits(tmp_path / "b") == ["val"]
    with pytest.raises(Refused, match="split val of other classes"):
        prepare.prepare(tmp_path / "other", tmp_path / "b", size=12)
    with pytest.raises(Refused, match="split val of size 12, not 9"):
        prepare.prepare(source, tmp_path / "b", size=9, split="train")
    (tmp_path / "c/train").mkdir(parents=True)
    (tmp_path / "c/train/thesis.txt").write_text("irreplaceable")
    with pytest.raises(Refused, match="holds files that are no store's"):
        prepare.prepare(source, tmp_path / "c", size=12)


def test_another_resampling_is_never_taken_for_this_one(source, tmp_path, monkeypatch, capsys):
    prepare.prepare(source, tmp_path / "a", size=12, split="val", workers=1)
    entries = sources.recognise(source).splits["val"]
    plan = prepare.Plan(str(tmp_path), 12, False, "raw")
    key = packing.key(entries, plan)
    monkeypatch.setattr(picture, "RESAMPLING", "another")
    assert packing.key(entries, plan) != key  # shards of a stopped prepare are made again
    with pytest.raises(Refused, match="from other pictures or settings"):
        prepare.prepare(source, tmp_path / "a", size=12, split="val", workers=1)
    capsys.readouterr()
    prepare.prepare(source, tmp_path / "a", size=12, split="train", workers=1)
    assert "was made otherwise" in capsys.readouterr().err
    prepare.prepare(source, tmp_path / "b", size=12, workers=1)
    assert "otherwise" not in capsys.readouterr().err


def test_points_are_what_the_net_that_ships_was_taught_with(source, tmp_path):
    prepare.prepare(source, tmp_path / "usual", size=12, workers=1)
    prepare.prepare(source, tmp_path / "sharp", size=12, workers=1, resampling="points")
    usual, sharp = (store.open_split(tmp_path / name, "val") for name in ("usual", "sharp"))
    assert usual.resampling == picture.RESAMPLING and sharp.resampling == picture.POINTS
    for at, name in enumerate(sharp.names):
        assert np.array_equal(sharp.pictures([at])[0], picture.square(source / name, 12, picture.POINTS)), name
    assert not np.array_equal(sharp.pictures([0]), usual.pictures([0]))
    with pytest.raises(Refused, match="from other pictures or settings"):
        prepare.prepare(source, tmp_path / "usual", size=12, workers=1, resampling="points")
    with pytest.raises(Misused, match="points"):
        prepare.prepare(source, tmp_path / "other", size=12, resampling="point")


def test_nothing_readable_and_no_room(tmp_path, monkeypatch):
    (tmp_path / "source/a").mkdir(parents=True)
    (tmp_path / "source/a/1.jpg").write_bytes(b"")
    with pytest.raises(Refused, match="none of the 1 pictures of train can be read .*empty"):
        prepare.prepare(tmp_path / "source", tmp_path / "store")
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(Refused, match="needs about .* GB .* or --encoding jpeg"):
        prepare.prepare(tmp_path / "source", tmp_path / "store2")


def test_a_shard_of_refused_pictures_only(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARD", 1)
    (tmp_path / "source/a").mkdir(parents=True)
    for number in range(8):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"source/a/{number}.png")
    for number in (1, 4, 6):
        (tmp_path / f"source/a/{number}.png").write_bytes(b"")
    prepare.prepare(tmp_path / "source", tmp_path / "store", size=4, workers=1)
    split = store.open_split(tmp_path / "store")
    assert [int(pixels[0, 0, 0]) for pixels in split.pictures(range(5))] == [int(name[2]) for name in split.names]
    assert split.refused == 3


def test_native_keeps_equal_squares_and_refuses_others(tmp_path):
    (tmp_path / "source/a").mkdir(parents=True)
    for name, size in {"1": (20, 20), "2": (20, 20), "3": (20, 20), "wide": (30, 20)}.items():
        Image.new("RGB", size, (1, 2, 3)).save(tmp_path / f"source/a/{name}.png")
    answer = prepare.prepare(tmp_path / "source", tmp_path / "store", size="native")
    assert answer["size"] == 20 and answer["splits"]["train"]["refused"] == 1
    assert "30x20 is not square" in open(tmp_path / "store/train/refused.jsonl").read()


def test_tiny_imagenet_and_names_that_are_not_utf8(tmp_path):
    prepare.prepare(tiny_imagenet(tmp_path / "tiny"), tmp_path / "store", size="native", workers=1)
    val = store.open_split(tmp_path / "store", "val")
    assert dict(zip(val.names, val.boxes.tolist()))["val/images/val_2.png"] == [0, 2, 6, 7]
    assert val.boxes.dtype == np.int32 and val.size == 8 and store.splits(tmp_path / "store") == ["train", "val"]
    folder = os.fsencode(tmp_path) + b"/plain/caf\xe9"
    os.makedirs(folder)
    for name in (b"\xff.png", b"\xfe.png"):
        with open(folder + b"/" + name, "wb") as file:
            if name == b"\xff.png":
                Image.new("RGB", (8, 8)).save(file, "PNG")
    prepare.prepare(tmp_path / "plain", tmp_path / "store2", size=8)
    split = store.open_split(tmp_path / "store2")
    assert os.fsencode(split.names[0]) == b"caf\xe9/\xff.png" and os.fsencode(split.classes[0].id) == b"caf\xe9"
    assert split.boxes is None and split.refused == 1


def test_every_option_explains_itself():
    for parameter in inspect.signature(prepare.prepare).parameters.values():
        assert parameter.annotation.__metadata__[0], parameter.name


def test_packing_needs_no_torch():
    code = "import sys, alexnet.data.prepare, alexnet.data.sample; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        ).returncode
        == 0
    )


def test_sources_know_what_they_are():
    assert all(kind.LAYOUT and callable(kind.read) for kind in sources.FORMATS)
