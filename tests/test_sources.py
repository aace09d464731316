"""Sources are recognised as what they are: classes in order, hidden and foreign files left out, boxes and names
kept."""

import os

import pytest
from PIL import Image

from alexnet.data import sources
from alexnet.errors import Refused


def put(*paths, size=(8, 8)):
    for path in paths:
        path = os.fsencode(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            Image.new("RGB", size, (10, 20, 30)).save(file, "PNG")


def names(source, split="train"):
    return sorted(entry.name for entry in source.splits[split])


def test_unsplit_folder(tmp_path):
    put(tmp_path / "dog/b.png", tmp_path / "cat/a.png", tmp_path / "cat/deep/er/c.PNG")
    source = sources.recognise(tmp_path)
    assert source.kind == "class folders" and list(source.splits) == ["train"]
    assert source.classes == (("cat", "cat"), ("dog", "dog"))
    assert names(source) == ["cat/a.png", "cat/deep/er/c.PNG", "dog/b.png"]
    assert {entry.name: entry.label for entry in source.splits["train"]}["dog/b.png"] == 1
    assert all(os.path.isfile(entry.path) for entry in source.splits["train"])


@pytest.mark.parametrize("called, split", [("val", "val"), ("valid", "val"), ("validation", "val"), ("test", "test")])
def test_splits(tmp_path, called, split):
    put(
        tmp_path / "train/b/1.png",
        tmp_path / "train/a/1.png",
        tmp_path / called / "b/2.png",
        tmp_path / called / "c/3.png",
    )
    source = sources.recognise(tmp_path)
    assert list(source.splits) == ["train", split]
    assert [pair.id for pair in source.classes] == ["a", "b", "c"]  # the classes of all splits together
    assert [entry.label for entry in source.splits[split]] == [1, 2]


def test_val_alone_and_val_twice(tmp_path):
    put(tmp_path / "val/a/1.png")
    assert list(sources.recognise(tmp_path).splits) == ["val"]
    put(tmp_path / "valid/a/1.png")
    with pytest.raises(Refused, match="two folders for the split val"):
        sources.recognise(tmp_path)


def test_a_class_of_trains(tmp_path):
    put(tmp_path / "train/1.png", tmp_path / "car/1.png")
    assert [pair.id for pair in sources.recognise(tmp_path).classes] == ["car", "train"]


def test_hidden_foreign_and_empty(tmp_path):
    put(tmp_path / "a/1.png", tmp_path / "b/1.png", tmp_path / ".ipynb_checkpoints/1.png", tmp_path / "__MACOSX/1.png")
    put(tmp_path / "a/.ipynb_checkpoints/1.png", tmp_path / "a/._1.png", tmp_path / "loose.png")
    (tmp_path / "a/.DS_Store").write_bytes(b"x")
    (tmp_path / "a/notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "a/pipe.png")  # reading it would never end
    source = sources.recognise(tmp_path)
    assert names(source) == ["a/1.png", "b/1.png"] and len(source.classes) == 2
    said = " ".join(source.notes)
    assert "2 files that are no pictures" in said and ".txt" in said
    assert "no picture of empty" in said and "1 pictures in the source lie in no class folder" in said


def test_links_in_circles_end_and_broken_links_are_kept_to_be_named(tmp_path):
    put(tmp_path / "a/1.png", tmp_path / "elsewhere/x/2.png")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "a/deep").mkdir()
    (tmp_path / "a/deep/back").symlink_to(tmp_path / "a")
    (tmp_path / "a/self").symlink_to(tmp_path / "a/self")
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "a/gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "a/linked").symlink_to(tmp_path / "elsewhere/x")
    source = sources.recognise(tmp_path)
    assert names(source) == ["a/1.png", "a/gone.png", "a/linked/2.png", "elsewhere/x/2.png"]
    assert "3 links to folders" in " ".join(source.notes)


def test_names_that_are_not_utf8(tmp_path):
    put(os.fsencode(tmp_path) + b"/caf\xe9/\xff1.png")
    source = sources.recognise(tmp_path)
    assert os.fsencode(source.classes[0].id) == b"caf\xe9"
    assert len(sources.read(source.splits["train"][0])[0]) > 50


def test_order_is_fixed_and_a_picture_added_moves_no_other(tmp_path):
    entries = [sources.Entry(f"a/{number}.png", 0, "") for number in range(200)]
    ordered = sources.in_store_order(entries[::-1])
    assert [entry.name for entry in ordered[:3]] == ["a/64.png", "a/41.png", "a/192.png"]  # on every machine
    without = sources.in_store_order([entry for entry in entries if entry.name != "a/7.png"])
    assert without == [entry for entry in ordered if entry.name != "a/7.png"]


def test_part_of_a_file(tmp_path):
    (tmp_path / "some.tar").write_bytes(b"0123456789")
    assert sources.read(sources.Entry("x", 0, str(tmp_path / "some.tar"), None, 3, 4))[0] == b"3456"


def test_refusals_say_what_is_accepted(tmp_path):
    with pytest.raises(Refused, match="does not exist"):
        sources.recognise(tmp_path / "nothing")
    with pytest.raises(Refused, match="class folders .* Tiny-ImageNet's layout or a store"):
        sources.recognise(tmp_path)
    put(tmp_path / "1.png")
    with pytest.raises(Refused, match="in no class folder"):
        sources.recognise(tmp_path)
    put(tmp_path / "flat/train/1.png", tmp_path / "flat/val/2.png")
    with pytest.raises(Refused, match="no source that is known"):  # not two classes, train and val
        sources.recognise(tmp_path / "flat")
    (tmp_path / "pets.zip").write_bytes(b"PK")
    with pytest.raises(Refused, match="pets.zip is an archive: unpack it"):
        sources.recognise(tmp_path / "pets.zip")


def tiny_imagenet(root):
    ids = ["n00000003", "n00000001", "n00000002"]  # unsorted, as the real one
    root.mkdir(exist_ok=True)
    (root / "wnids.txt").write_text("\n".join(ids) + "\n")
    (root / "words.txt").write_text("n00000001\tgoldfish, Carassius auratus\nn00000002\tbullfrog\nn09999999\tother\n")
    for position, wnid in enumerate(ids):
        put(*(root / f"train/{wnid}/images/{wnid}_{number}.png" for number in range(2)))
        rows = [f"{wnid}_{number}.png\t{number}\t1\t{5 + position}\t7" for number in range(2)]
        (root / f"train/{wnid}/{wnid}_boxes.txt").write_text("\n".join(rows) + "\n")
    put(*(root / f"val/images/val_{number}.png" for number in range(4)), root / "test/images/test_0.png")
    rows = [f"val_{number}.png\t{ids[number]}\t0\t{number}\t6\t7" for number in range(3)]
    (root / "val/val_annotations.txt").write_text("\n".join(rows) + "\n")
    return root


def test_tiny_imagenet(tmp_path):
    source = sources.recognise(tiny_imagenet(tmp_path / "tiny"))
    assert source.kind == "Tiny-ImageNet" and list(source.splits) == ["train", "val"] and "ImageNet" in source.licence
    assert source.classes == (("n00000001", "goldfish"), ("n00000002", "bullfrog"), ("n00000003", "n00000003"))
    train = {entry.name: entry for entry in source.splits["train"]}
    assert len(train) == 6
    entry = train["train/n00000003/images/n00000003_1.png"]
    assert entry.label == 2 and entry.box == (1, 1, 5, 7) and os.path.isfile(entry.path)
    val = {entry.name: (entry.label, entry.box) for entry in source.splits["val"]}
    assert val == {f"val/images/val_{n}.png": (label, (0, n, 6, 7)) for n, label in enumerate((2, 0, 1))}
    assert any("1 pictures of val that val_annotations.txt does not name" in note for note in source.notes)
    assert not any("no pictures" in note for note in source.notes)


def test_tiny_imagenet_sorted_into_folders_and_damaged(tmp_path):
    root = tiny_imagenet(tmp_path / "tiny")
    (root / "train/n00000001/n00000001_boxes.txt").write_text("n00000001_0.png\t1\t2\n")
    with pytest.raises(Refused, match="line 1 of .* has 3 columns"):
        sources.recognise(root)
    (root / "train/n00000001/n00000001_boxes.txt").unlink()
    (root / "val/val_annotations.txt").unlink()
    put(root / "val/n00000002/v.png")
    source = sources.recognise(root)
    assert [(entry.name, entry.label) for entry in source.splits["val"]] == [("val/n00000002/v.png", 1)]
    (root / "wnids.txt").write_text("fish\n")
    with pytest.raises(Refused, match="not a list of wnids"):
        sources.recognise(root)
