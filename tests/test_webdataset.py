"""WebDataset shards are read where they lie: splits by name, labels from .cls or .json, and what is wrong in one sentence."""

import gzip
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from alexnet.data import prepare, sources, store
from alexnet.data.sources import naming
from alexnet.errors import Refused


def encoded(number, kind="PNG"):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 2 * number, 9)).save(stream, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return stream.getvalue()


def shard(path, members):
    """A plain tar of (name, bytes or text or dict)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            content = json.dumps(content) if isinstance(content, dict) else content
            content = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def numbered(count, first=0, classes=3):
    """Pictures with a .cls of 0 to 2, and the color that tells which they are."""
    for number in range(first, first + count):
        yield f"{number:04d}.png", encoded(number)
        yield f"{number:04d}.cls", f"{number % classes}\n"


def test_splits_labels_and_pixels_of_a_store(tmp_path):
    shard(tmp_path / "w/imagenet-train-0000.tar", numbered(7))
    shard(tmp_path / "w/imagenet-train-0001.tar", numbered(6, 7))
    shard(tmp_path / "w/imagenet-val-0000.tar", numbered(5, 20))
    (tmp_path / "w/.hidden.tar").write_bytes(b"x")
    answer = prepare.prepare(tmp_path / "w", tmp_path / "store", size=8, workers=1)
    assert answer["kind"] == "WebDataset shards"
    assert {name: facts["images"] for name, facts in answer["splits"].items()} == {"train": 13, "val": 5}
    for name in ("train", "val"):
        split = store.open_split(tmp_path / "store", name)
        numbers = [int(one.rpartition("/")[2][:4]) for one in split.names]
        assert [int(pixels[0, 0, 0]) for pixels in split.pictures(np.arange(len(split)))] == numbers
        assert split.labels.tolist() == [number % 3 for number in numbers]
    assert [one.id for one in split.classes] == ["0", "1", "2"] and split.names[0].startswith("imagenet-val-0000.tar/")


def test_in_place_and_a_single_shard_is_the_same(tmp_path):
    path = shard(tmp_path / "w/x-0.tar", numbered(4))
    alone, folder = sources.recognise(path), sources.recognise(tmp_path / "w")
    assert alone.splits == folder.splits and list(alone.splits) == ["train"] and alone.unpack is None
    entry = alone.splits["train"][2]
    assert entry.path == str(path) and sources.read(entry)[0] == encoded(2)


@pytest.mark.parametrize("kind, ending", [("JPEG", "jpg"), ("JPEG", "JPEG"), ("PNG", "png"), ("WEBP", "webp")])
def test_every_ending_and_folders_as_splits(tmp_path, kind, ending):
    for folder, split in (("train", "train"), ("validation", "val"), ("test", "test")):
        shard(tmp_path / folder / "0000.tar", [(f"deep/a.{ending}", encoded(3, kind)), ("deep/a.cls", "cat"), ("deep/a.txt", "x")])
    source = sources.recognise(tmp_path)
    assert list(source.splits) == ["train", "val", "test"] and source.classes == (("cat", "cat"),)
    assert source.splits["val"][0].name == f"validation/0000.tar/deep/a.{ending}"
    assert sources.read(source.splits["val"][0])[0] == encoded(3, kind)


def test_numbers_sort_as_numbers_and_only_those_that_occur(tmp_path):
    rows = [(f"{number}.{end}", content) for number in (2, 10, 700) for end, content in (("png", encoded(1)), ("cls", str(number)))]
    source = sources.recognise(shard(tmp_path / "a.tar", rows))
    assert [one.id for one in source.classes] == ["002", "010", "700"]
    assert [entry.label for entry in source.splits["train"]] == [0, 1, 2]


@pytest.mark.parametrize("file", naming.NAME_FILES)
def test_names_from_a_list_beside(tmp_path, file):
    shard(tmp_path / "a.tar", numbered(3))
    (tmp_path / file).write_text("zebra\nant\ncat\ndog\n")
    source = sources.recognise(tmp_path)
    assert [one.id for one in source.classes] == ["ant", "cat", "dog", "zebra"]  # in sorted order, as everywhere
    assert [entry.label for entry in source.splits["train"]] == [3, 0, 1]
    assert "train has no picture of dog" in source.notes
    (tmp_path / file).write_text("crane\ncrane\nn01 x")  # two classes of one name keep their numbers
    assert sources.recognise(tmp_path).classes == (("0", "crane"), ("1", "crane"), ("2", "n01 x"))
    (tmp_path / file).write_text("n00000009 crane, bird\nn00000003\tcrane\nn00000005 cat\n")
    assert sources.recognise(tmp_path).classes == (("n00000003", "crane"), ("n00000005", "cat"), ("n00000009", "crane"))
    (tmp_path / file).write_text("a\nb\n")
    with pytest.raises(Refused, match=r"has the label 2, and its list of names has 2 \(0 to 1\)"):
        sources.recognise(tmp_path)
    (tmp_path / file).write_text("a\n\nb\n")
    with pytest.raises(Refused, match="line 2 of .* is empty"):
        sources.recognise(tmp_path)


@pytest.mark.parametrize("field", ["label", "cls", "class", "class_id", "wnid", "class_name"])
def test_labels_from_json(tmp_path, field):
    rows = [pair for number in range(4) for pair in ((f"{number}.png", encoded(1)), (f"{number}.json", {field: f"w{number % 2}"}))]
    source = sources.recognise(shard(tmp_path / "a.tar", rows))
    assert [one.id for one in source.classes] == ["w0", "w1"] and [entry.label for entry in source.splits["train"]] == [0, 1, 0, 1]


def test_names_from_json_where_the_label_is_a_number(tmp_path):
    words = {0: ("n00000002", "tench, Tinca tinca"), 1: ("n00000001", "goldfish")}
    rows = []
    for number in range(4):
        wnid, name = words[number % 2]
        rows += [(f"{number}.png", encoded(1)), (f"{number}.cls", str(number % 2))]
        rows += [(f"{number}.json", {"label": number % 2, "class_id": wnid, "class_name": name, "width": 8, "odd": [1]})]
    source = sources.recognise(shard(tmp_path / "a.tar", rows))
    assert source.classes == (("n00000001", "goldfish"), ("n00000002", "tench"))
    assert [entry.label for entry in source.splits["train"]] == [1, 0, 1, 0]
    shard(tmp_path / "a.tar", [(name, {"label": 1, "class_id": 7} if "json" in name else data) for name, data in rows])
    assert [one.id for one in sources.recognise(tmp_path / "a.tar").classes] == ["0", "1"]


def test_what_is_left_out_is_counted(tmp_path):
    rows = [*numbered(3), ("no-label.png", encoded(1)), ("no-picture.cls", "1"), ("none.png", encoded(1)), ("none.cls", "")]
    rows += [("minus.png", encoded(1)), ("minus.cls", "-1"), ("odd.png", encoded(1)), ("odd.json", "[1]")]
    rows += [("__MACOSX/0000.png", b""), ("._0000.png", b"x"), ("0000.jpg", encoded(9, "JPEG"))]
    shard(tmp_path / "train-0.tar", rows)
    shard(tmp_path / "test-0.tar", [("a.png", encoded(1)), ("b.png", encoded(1))])
    shard(tmp_path / "devkit.tar", [("readme.txt", "x")])
    source = sources.recognise(tmp_path)
    assert list(source.splits) == ["train"] and len(source.splits["train"]) == 3
    said = "\n".join(source.notes)
    for note in ("4 pictures of train have no label", "test has no labels and is left out", "1 keys of the shards have no picture",
                 "1 keys of the shards have several pictures", "devkit.tar was left out: its name says no split"):
        assert note in said
    assert sources.read(source.splits["train"][0])[0] == encoded(0)


def test_truncated_damaged_and_empty_shards(tmp_path):
    whole = shard(tmp_path / "w/train-0.tar", numbered(6)).read_bytes()
    second = tmp_path / "w/train-1.tar"
    broken = whole[:4096] + b"\xff" * 512 + whole[4608:]  # in the header of the third picture
    for wrong in (whole[: len(whole) // 2], whole[:5000], b"", b"no tar at all" * 99, broken):
        second.write_bytes(wrong)
        with pytest.raises(Refused, match="train-1.tar is no whole tar .* fetch it again") as refusal:
            sources.recognise(tmp_path / "w")
        with pytest.raises(Refused, match="train-1.tar is no whole tar"):
            sources.recognise(second)
        assert "\n" not in str(refusal.value)
    second.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(Refused, match="pointer of Git LFS.*git lfs pull"):
        sources.recognise(second)


def test_a_shard_that_shrinks_after_it_was_listed_is_refused_by_picture(tmp_path):
    path = shard(tmp_path / "a.tar", numbered(6))
    source = sources.recognise(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: source.splits["train"][4].offset + 10])
    pictures = [sources.read(entry)[0] for entry in source.splits["train"]]
    assert pictures[3] == encoded(3) and pictures[4] == encoded(4)[:10] and pictures[5] == b""


@pytest.mark.parametrize("ending", [".tar.gz", ".tgz"])
def test_packed_shards_are_to_be_unpacked_first(tmp_path, ending):
    whole = shard(tmp_path / "w/train-0.tar", numbered(3))
    packed = tmp_path / f"w/train-0{ending}"
    packed.write_bytes(gzip.compress(whole.read_bytes(), 1))
    assert len(sources.recognise(tmp_path / "w").splits["train"]) == 3  # the whole one is beside it
    with pytest.raises(Refused, match="train-0.* is packed.*gunzip"):
        sources.recognise(packed)
    whole.unlink()
    with pytest.raises(Refused, match="gunzip"):
        sources.recognise(tmp_path / "w")
    packed.write_bytes(packed.read_bytes()[:-60])
    with pytest.raises(Refused, match="gunzip|no whole .tar.gz"):
        sources.recognise(packed)


def test_other_tars_are_no_shards(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.png").write_bytes(encoded(1))
    shard(tmp_path / "backup.tar", [("cat/1.png", encoded(1)), ("dog/1.png", encoded(2))])
    assert sources.recognise(tmp_path).kind == "class folders"
    with pytest.raises(Refused, match="is an archive: unpack it.*WebDataset"):
        sources.recognise(tmp_path / "backup.tar")
