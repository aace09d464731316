"""ILSVRC from its tars: every picture is painted in the colour of its class, so that a label that slipped is seen in the store.
The small sets have what makes the real ones hard: ids out of the order of wnids, inner nodes, members out of order."""

import io
import os
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

import alexnet
from alexnet.data import sources, store
from alexnet.data.sources import tars
from alexnet.data.sources.ilsvrc_boxes import CORNERS
from alexnet.errors import Refused

WNIDS = [f"n0{number}440764" for number in (1, 3, 4, 6, 8, 9)]
INNER = ["n00440764", "n05440764"]  # ancestors, whose wnids lie before and between
IDS = [5, 3, 6, 1, 2, 4]  # of WNIDS in their order: none is its place in it
TRUTH = [0, 3, 3, 5, 1, 4, 2, 0, 5, 2, 4, 1]  # the classes of the numbered pictures


def jpeg(label, size=(24, 18)):
    stream = io.BytesIO()
    Image.new("RGB", size, colour(label)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def colour(label):
    return 20 + 40 * label, 240 - 40 * label, 128


def pack(files, *, mode="w", **options):
    """{name: bytes} -> the bytes of a tar."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, **options) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def class_tars(per_class=3, **options):
    order = [3, 0, 5, 1, 4, 2]  # a tar keeps no order
    return {f"{WNIDS[label]}.tar": pack({f"{WNIDS[label]}_{10 + 7 * n}.JPEG": jpeg(label, (24 + n, 18)) for n in range(per_class)},
                                        **options) for label in order}


def numbered(year, split, folder=""):
    order = np.random.default_rng(0).permutation(len(TRUTH))
    return {f"{folder}ILSVRC{year}_{split}_{n + 1:08d}.JPEG": jpeg(TRUTH[n], (18, 24 + int(n))) for n in order}


def devkit(year, folder):
    from scipy.io import savemat

    rows = [(IDS[label], wnid, f"fish {label}, Piscis {label}", 0, 0) for label, wnid in enumerate(WNIDS)]
    rows = sorted(rows) + [(7 + n, wnid, "thing", 3, [1, 2, 3]) for n, wnid in enumerate(INNER)]
    fields = [f"ILSVRC{year}_ID", "WNID", "words", "num_children", "children"]
    synsets = np.array(rows, [(name, object) for name in fields]).reshape(-1, 1)  # (n, 1), as MATLAB has it
    stream = io.BytesIO()
    savemat(stream, {"synsets": synsets})
    truth = "".join(f"{IDS[label]}\n" for label in TRUTH).encode()
    return {f"{folder}/data/meta.mat": stream.getvalue(), f"{folder}/data/ILSVRC{year}_validation_ground_truth.txt": truth,
            f"{folder}/readme.txt": b"hello"}


def hand_out(root):
    """ILSVRC-2012, as it comes from its page."""
    root.mkdir()
    (root / "ILSVRC2012_img_train.tar").write_bytes(pack(class_tars()))
    (root / "ILSVRC2012_img_val.tar").write_bytes(pack(numbered(2012, "val")))
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(pack(devkit(2012, "ILSVRC2012_devkit_t12"), mode="w:gz"))
    return root


def unpack(root, name, into):
    with tarfile.open(root / name) as tar:
        tar.extractall(root / into, filter="data")
    (root / name).unlink()


def check(path, split, names):
    """Every picture of the store has the label it was painted for, and every picture is there."""
    held = store.open_split(path, split)
    assert sorted(held.names) == sorted(names)
    assert [pair.id for pair in held.classes] == WNIDS and held.classes[2].name == "fish 2"
    for place, pixels in enumerate(held.pictures(np.arange(len(held)))):
        label = int(held.labels[place])
        assert np.abs(pixels.mean((0, 1)) - colour(label)).max() < 5, held.names[place]
        assert WNIDS[label] == held.names[place].split("/")[1]
    return held


TRAIN = [f"train/{wnid}/{wnid}_{10 + 7 * n}.JPEG" for wnid in WNIDS for n in range(3)]
VAL = [f"val/{WNIDS[label]}/ILSVRC2012_val_{n:08d}.JPEG" for n, label in enumerate(TRUTH, 1)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ilsvrc")
    answer = alexnet.prepare(hand_out(folder / "source"), folder / "store", size=16, workers=1)
    assert answer["kind"] == "ILSVRC-2012" and not any(part["refused"] for part in answer["splits"].values())
    return folder


def test_every_label_of_2012(made):
    check(made / "store", "train", TRAIN)
    check(made / "store", "val", VAL)


def as_folders(root):
    """What people make of it by hand: class folders with words.txt."""
    for name in TRAIN + VAL:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    packed = class_tars() | numbered(2012, "val")
    for name in TRAIN:
        with tarfile.open(fileobj=io.BytesIO(packed[name.split("/")[1] + ".tar"])) as tar:
            (root / name).write_bytes(tar.extractfile(name.split("/")[2]).read())
    for name in VAL:
        (root / name).write_bytes(packed[name.split("/")[2]])
    (root / "words.txt").write_text("".join(f"{wnid}\tfish {label}, x\n" for label, wnid in enumerate(WNIDS)))
    return root


def test_class_folders_are_their_own_format_and_make_the_same_store(made, tmp_path):
    answer = alexnet.prepare(as_folders(tmp_path / "sorted"), tmp_path / "store", size=16, workers=1)
    assert answer["kind"] == "class folders"
    for split in ("train", "val"):
        ours, theirs = (store.open_split(folder / "store", split) for folder in (made, tmp_path))
        assert ours.card["fingerprint"] == theirs.card["fingerprint"] and ours.names == theirs.names


def test_what_is_sorted_already_needs_no_devkit(tmp_path):
    root = as_folders(hand_out(tmp_path / "source"))
    (root / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    assert sources.recognise(root).kind == "class folders"
    for name, content in class_tars().items():
        (root / "train" / name).write_bytes(content)
    (root / "ILSVRC2012_img_val.tar").unlink()
    (root / "ILSVRC2012_img_train.tar").unlink()
    source = sources.recognise(root)  # the class tars stand beside what was unpacked of them
    assert source.kind == "ImageNet, a tar a class" and source.classes[2].name == "fish 2"
    for split, names in (("train", TRAIN), ("val", VAL)):
        labels = {entry.name: entry.label for entry in source.splits[split]}
        assert labels == {name: WNIDS.index(name.split("/")[1]) for name in names}


FORMS = {
    "the outer train tar unpacked": lambda root: unpack(root, "ILSVRC2012_img_train.tar", "ILSVRC2012_img_train"),
    "into train": lambda root: unpack(root, "ILSVRC2012_img_train.tar", "train"),
    "the class tars beside the val tar": lambda root: unpack(root, "ILSVRC2012_img_train.tar", "."),
    "val flat": lambda root: unpack(root, "ILSVRC2012_img_val.tar", "val"),
    "val flat under the tar's name": lambda root: unpack(root, "ILSVRC2012_img_val.tar", "ILSVRC2012_img_val"),
    "val flat beside the rest": lambda root: unpack(root, "ILSVRC2012_img_val.tar", "."),
    "the devkit unpacked": lambda root: unpack(root, "ILSVRC2012_devkit_t12.tar.gz", "."),
    "only its data": lambda root: (unpack(root, "ILSVRC2012_devkit_t12.tar.gz", "."),
                                   shutil.move(root / "ILSVRC2012_devkit_t12/data", root / "data"),
                                   shutil.rmtree(root / "ILSVRC2012_devkit_t12")),
    "some class tars unpacked": lambda root: (
        unpack(root, "ILSVRC2012_img_train.tar", "train"), unpack(root / "train", f"{WNIDS[1]}.tar", WNIDS[1]),
        shutil.copytree(root / "train" / WNIDS[1], root / "train" / WNIDS[2])),  # the tar goes before a folder beside it
    "val in class folders": lambda root: (as_folders(root.parent / "sorted"), (root / "ILSVRC2012_img_val.tar").unlink(),
                                          shutil.move(root.parent / "sorted/val", root / "val")),
    "train in class folders": lambda root: (as_folders(root.parent / "sorted"), (root / "ILSVRC2012_img_train.tar").unlink(),
                                            shutil.move(root.parent / "sorted/train", root / "train")),
}


@pytest.mark.parametrize("form", FORMS)
def test_unpacked_in_part(tmp_path, form):
    root = hand_out(tmp_path / "source")
    FORMS[form](root)
    source = sources.recognise(root)
    assert source.kind == "ILSVRC-2012" and [pair.id for pair in source.classes] == WNIDS
    for split, names in (("train", TRAIN), ("val", VAL)):
        assert sorted(entry.name for entry in source.splits[split]) == sorted(names)
        for entry in source.splits[split]:
            assert WNIDS[entry.label] == entry.name.split("/")[1]
            pixel = Image.open(io.BytesIO(sources.read(entry)[0])).getpixel((9, 9))
            assert np.abs(np.array(pixel) - colour(entry.label)).max() < 5


def test_one_split_and_one_tar(tmp_path):
    root = hand_out(tmp_path / "source")
    assert list(sources.recognise(root / "ILSVRC2012_img_val.tar").splits) == ["val"]
    train = sources.recognise(root / "ILSVRC2012_img_train.tar")
    assert list(train.splits) == ["train"] and train.classes[0].name == "fish 0"
    os.rename(root / "ILSVRC2012_img_train.tar", tmp_path / "ILSVRC2012_img_train.tar")
    val = sources.recognise(root)
    assert list(val.splits) == ["val"] and len(val.classes) == 6
    (root / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    with pytest.raises(Refused, match=r"put ILSVRC2012_devkit_t12.tar.gz into .*source\.$"):
        sources.recognise(root)
    os.rename(tmp_path / "ILSVRC2012_img_train.tar", root / "ILSVRC2012_img_train.tar")
    with pytest.raises(Refused, match="or give the training tar alone"):
        sources.recognise(root)
    alone = sources.recognise(root / "ILSVRC2012_img_train.tar")
    assert len(alone.splits["train"]) == 18 and alone.classes[0] == (WNIDS[0], WNIDS[0])
    assert any("would name them" in note for note in alone.notes)


def test_the_test_pictures_of_2012_have_no_labels(tmp_path):
    root = hand_out(tmp_path / "source")
    test = root / "ILSVRC2012_img_test_v10102019.tar"
    test.write_bytes(pack(numbered(2012, "test", "test/")))
    source = sources.recognise(root)
    assert list(source.splits) == ["train", "val"]
    assert any("no labels and were left out: they were never published" in note for note in source.notes)
    assert any("1,281,167 were published" in note for note in source.notes) and "commercial" in source.licence
    with pytest.raises(Refused, match="no labels"):
        sources.recognise(test)


def test_every_label_of_2010_and_its_patches(tmp_path):
    root = tmp_path / "source"
    root.mkdir()
    blank = f"{WNIDS[3]}_10.JPEG"
    packed = class_tars()
    packed[f"{WNIDS[3]}.tar"] = pack({blank: jpeg(0), f"{WNIDS[3]}_17.JPEG": jpeg(3), f"{WNIDS[3]}_24.JPEG": jpeg(3)})
    (root / "ILSVRC2010_images_train.tar").write_bytes(pack(packed))
    (root / "ILSVRC2010_images_val.tar").write_bytes(pack(numbered(2010, "val", "val/")))
    (root / "ILSVRC2010_images_test.tar").write_bytes(pack(numbered(2010, "test", "test/")))
    (root / "patch_images.tar").write_bytes(pack({f"patch_images/train/{blank}": jpeg(3)}))
    (root / "ILSVRC2010_devkit-1.0.tar.gz").write_bytes(pack(devkit(2010, "devkit-1.0"), mode="w:gz"))
    source = sources.recognise(root)
    assert list(source.splits) == ["train", "val"]
    assert any("put ILSVRC2010_test_ground_truth.txt beside it" in note for note in source.notes)
    (root / "ILSVRC2010_test_ground_truth.txt").write_text("\n".join(str(IDS[label]) for label in TRUTH))
    answer = alexnet.prepare(root, tmp_path / "store", size=16, workers=1)
    assert answer["kind"] == "ILSVRC-2010" and list(answer["splits"]) == ["train", "val", "test"]
    check(tmp_path / "store", "train", TRAIN)
    for split in ("val", "test"):
        check(tmp_path / "store", split, [name.replace("2012_val", f"2010_{split}").replace("val/", f"{split}/") for name in VAL])


def xml(size, *things):
    boxes = ["".join(f"<{key}>{n}</{key}>" for key, n in zip(CORNERS, corners)) for _, *corners in things]
    rows = [f"<object><name>{name}</name><bndbox>{box}</bndbox></object>" for (name, *_), box in zip(things, boxes)]
    return (f"<annotation><filename>%s</filename><size><width>{size[0]}</width><height>{size[1]}</height></size>"
            f"{''.join(rows)}</annotation>").encode()


def test_boxes_are_the_largest_of_the_own_class_in_the_pictures_pixels(tmp_path):
    root = hand_out(tmp_path / "source")
    own, other = (WNIDS[0], 5, 6, 20, 17), (WNIDS[1], 1, 2, 12, 8)
    train = {f"{WNIDS[0]}/{WNIDS[0]}_10.xml": xml((24, 18), (WNIDS[0], 1, 2, 3, 4), own, (WNIDS[1], 0, 0, 23, 17)),
             f"{WNIDS[1]}/{WNIDS[1]}_10.xml": xml((12, 9), other),  # of a copy of half the size
             f"{WNIDS[2]}/{WNIDS[2]}_10.xml": xml((24, 18), other)}  # of another class
    (root / "ILSVRC2012_bbox_train_v2.tar.gz").write_bytes(pack(train, mode="w:gz"))
    val = {"val/ILSVRC2012_val_00000002.xml": xml((18, 25), (WNIDS[TRUTH[1]], 0, 1, 2, 3))}
    (root / "ILSVRC2012_bbox_val_v3.tgz").write_bytes(pack(val, mode="w:gz"))
    source = sources.recognise(root)
    found = {entry.name.split("/")[2]: entry.box for split in source.splits.values() for entry in split if entry.box}
    assert found == {f"{WNIDS[0]}_10.JPEG": (5, 6, 20, 17), f"{WNIDS[1]}_10.JPEG": (2, 4, 24, 16),
                     "ILSVRC2012_val_00000002.JPEG": (0, 1, 2, 3)}
    assert "2 pictures of train have a box" in " ".join(source.notes)
    (root / "ILSVRC2012_bbox_val_v3.tgz").write_bytes(pack(val, mode="w:gz")[:-30])
    with pytest.raises(Refused, match="no whole archive of boxes"):
        sources.recognise(root)


def test_a_tar_cut_anywhere_is_refused(tmp_path):
    root = hand_out(tmp_path / "source")
    path = root / "ILSVRC2012_img_train.tar"
    whole = path.read_bytes()
    starts = [member.offset for member in tars.members(path)]
    ends = [start - 512 for start in starts[1:]]  # between two members, where tarfile sees nothing
    for length in (0, 100, 512, starts[0] + 700, *ends, starts[-1] + 10, starts[-1] + 5000):
        path.write_bytes(whole[:length])
        with pytest.raises(Refused, match="ILSVRC2012_img_train.tar is no whole tar .*: fetch it again"):
            sources.recognise(root)
    last = starts[2]  # damage inside an inner tar, behind its first member
    middle = whole.index(f"{class_at(whole, starts[2])}_17".encode(), last)
    path.write_bytes(whole[:middle] + bytes(8) + b"x" * 504 + whole[middle + 512 :])
    with pytest.raises(Refused, match=r"n0\d440764.tar in .* is no whole tar"):
        sources.recognise(root)
    inner = class_tars()
    inner[f"{WNIDS[3]}.tar"] = inner[f"{WNIDS[3]}.tar"][:4096]  # its last picture goes on in the next tar's header
    path.write_bytes(pack(inner))
    with pytest.raises(Refused, match=rf"{WNIDS[3]}.tar in .* is no whole tar \({WNIDS[3]}_24.JPEG does not end in it"):
        sources.recognise(root)


def class_at(content, offset):
    return content[offset : offset + 9].decode()


def test_an_inner_tar_without_an_end_and_long_names(tmp_path):
    long = "images/" + "deep/" * 30
    for style in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        inner = pack({f"{long}a.JPEG": b"a" * 600, "b.JPEG": b"b" * 5}, format=style)
        ends = {"none": inner.rstrip(b"\0") + bytes(512 - 5), "whole": inner}
        outer = tmp_path / "outer.tar"
        outer.write_bytes(pack({f"{name}.tar": content for name, content in ends.items()}, format=style))
        content = outer.read_bytes()
        for member in tars.members(outer):
            places = [*tars.members(outer, inside=member)]
            assert [place.name for place in places] == [f"{long}a.JPEG", "b.JPEG"]
            assert [content[place.offset : place.offset + place.length] for place in places] == [b"a" * 600, b"b" * 5]


def test_sets_that_do_not_belong_together(tmp_path):
    root = hand_out(tmp_path / "source")
    kit = devkit(2012, "ILSVRC2012_devkit_t12")
    truth = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
    for content, words in ((b"7\n" * 12, "entry 1 of .* is 7"), (b"one\n", "is one"), (b"1\n" * 11, "00000012.JPEG .* no line")):
        (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(pack(kit | {truth: content}, mode="w:gz"))
        with pytest.raises(Refused, match=words):
            sources.recognise(root)
    meta = "ILSVRC2012_devkit_t12/data/meta.mat"
    for content in (b"no table", kit[meta][:-100], devkit(2010, "x")["x/data/meta.mat"]):
        (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(pack(kit | {meta: content}, mode="w:gz"))
        with pytest.raises(Refused, match="no table of synsets with ILSVRC2012_ID"):
            sources.recognise(root)
    archive = pack(kit, mode="w:gz")
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(archive[: len(archive) // 2])
    with pytest.raises(Refused, match="devkit .* is no whole archive"):
        sources.recognise(root)
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(archive)
    (root / "ILSVRC2012_img_train.tar").write_bytes(pack(class_tars() | {f"{INNER[1]}.tar": pack({"x.JPEG": jpeg(1)})}))
    with pytest.raises(Refused, match=f"pictures of {INNER[1]}, and the devkit .* has no such class"):
        sources.recognise(root)


def test_tars_of_classes_alone_and_what_else_lies_in_them(tmp_path):
    for name, content in class_tars().items():
        (tmp_path / name).write_bytes(content)
    with tarfile.open(tmp_path / f"{WNIDS[0]}.tar", "a") as tar:
        for name in ("notes.txt", f"{WNIDS[0]}_10.JPEG"):  # the second time, another picture
            member = tarfile.TarInfo(name)
            member.size = len(jpeg(0, (30, 30)))
            tar.addfile(member, io.BytesIO(jpeg(0, (30, 30))))
    (tmp_path / "words.txt").write_text(f"{WNIDS[2]}\tbig fish, Piscis\n")
    source = sources.recognise(tmp_path)
    assert source.kind == "ImageNet, a tar a class" and source.classes[2].name == "big fish"
    entries = {entry.name: entry for entry in source.splits["train"]}
    assert sorted(entries) == sorted(TRAIN) and all(WNIDS[entry.label] in name for name, entry in entries.items())
    assert Image.open(io.BytesIO(sources.read(entries[f"train/{WNIDS[0]}/{WNIDS[0]}_10.JPEG"])[0])).size == (30, 30)
    assert any(note.startswith("2 files of") for note in source.notes)
