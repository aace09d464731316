"""The data doctor on a folder with planted faults: each is found, counted once, told with what to do, and shown on the page."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import alexnet
from alexnet import cli, inspection
from alexnet.errors import Misused, Refused
from tests.test_likeness import CHANGES, textures

CLASSES = ("apple", "birch", "cedar")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Three classes of different pictures: 6 in train and 2 in val each."""
    folder, pictures = tmp_path_factory.mktemp("sound"), iter(textures(24))
    for split, count in (("train", 6), ("val", 2)):
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(next(pictures)).save(folder / split / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def ill(sound, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ill") / "set"
    shutil.copytree(sound, folder)
    train, val = folder / "train", folder / "val"
    opened = Image.open(train / "apple" / "1.png")
    shutil.copy(train / "apple" / "0.png", val / "apple" / "leaked.png")
    CHANGES["mirrored"](opened).save(val / "apple" / "turned.jpg", quality=80)
    shutil.copy(train / "birch" / "0.png", train / "cedar" / "same <b>.png")
    CHANGES["cropped"](Image.open(train / "birch" / "3.png")).save(train / "birch" / "cut.png")
    (train / "birch" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    for number, grey in enumerate(textures(5, seed=8)):
        (train / "grey").mkdir(exist_ok=True)
        Image.fromarray(grey).convert("L").save(train / "grey" / f"{number}.png")
    Image.fromarray(textures(1, seed=9)[0]).resize((200, 40)).save(train / "cedar" / "long.png")
    Image.fromarray(textures(1, seed=10)[0]).resize((20, 25)).save(train / "cedar" / "tiny.png")
    return folder


@pytest.fixture(scope="module")
def told(ill, tmp_path_factory):
    return inspection.inspect(ill, out=tmp_path_factory.mktemp("page") / "page", workers=2)


def test_a_sound_set_has_nothing_to_tell(sound, tmp_path):
    answer = inspection.inspect(sound, out=tmp_path / "page", strict=True)
    assert answer["findings"] == [] and answer["pairs"] == {}
    assert {name: one["images"] for name, one in answer["splits"].items()} == {"train": 18, "val": 6}


def test_every_planted_fault_is_counted(told):
    none = {"same_class": 0, "other_class": 0}
    assert told["pairs"] == {
        "train": {"exact": {"same_class": 0, "other_class": 1}, "near": {"same_class": 1, "other_class": 0}},
        "train and val": {"exact": {**none, "same_class": 1}, "near": {**none, "same_class": 1}},
    }
    assert told["leaking"] == {"val": {"pictures": 2, "exact": 1, "near": 1, "share": 0.25}}
    assert told["groups"] == {"count": 4, "pictures": 8, "largest": 2}
    train, val = told["splits"]["train"], told["splits"]["val"]
    assert train["refused"] == 1 and train["refused_first"][0]["path"] == "train/birch/broken.jpg"
    assert val["empty_classes"] == ["grey"] and train["empty_classes"] == []
    assert [one["id"] for one in train["grey_classes"]] == ["grey"] and train["grey_classes"][0]["grey"] == 1
    assert (train["sides"]["tiny_first"], train["sides"]["long_first"]) == (["train/cedar/tiny.png"], ["train/cedar/long.png"])


def test_findings_stand_the_serious_first_and_say_what_to_do(told):
    found = told["findings"]
    assert [one["what"] for one in found] == ["leakage", "two labels", "refused", "empty classes", "copies", "grey", "tiny", "long"]
    assert [one["serious"] for one in found] == [True] * 4 + [False] * 4
    assert found[0]["said"] == "2 pictures of val (25.0 %) are in an earlier split too, 1 exactly"
    assert all(one["do"] for one in found)


def test_every_pair_is_in_the_file(told):
    with open(told["pairs_file"], newline="") as file:
        rows = {(row["name"], row["other_name"]): row for row in csv.DictReader(file)}
    assert set(rows) == {
        ("train/apple/0.png", "val/apple/leaked.png"), ("train/apple/1.png", "val/apple/turned.jpg"),
        ("train/birch/0.png", "train/cedar/same <b>.png"), ("train/birch/3.png", "train/birch/cut.png"),
    }
    turned = rows["train/apple/1.png", "val/apple/turned.jpg"]
    assert (turned["kind"], turned["mirrored"], turned["other_split"]) == ("near", "1", "val")
    assert rows["train/apple/0.png", "val/apple/leaked.png"]["kind"] == "exact"


def test_the_page_is_whole_in_itself(told):
    page = open(told["report"], encoding="utf-8").read()
    assert page.count("data:image/jpeg;base64,") == 2 * (2 + 1 + 1)  # leaks, two labels, near; none of the kind exact
    assert not re.search(r"<script|https?://|<link|src=\"(?!data:)", page)
    assert "same &lt;b&gt;.png" in page and "same <b>" not in page
    for text in ("On both sides of a split", "Under two labels", "Twice, nearly", "broken.jpg", "width=device-width"):
        assert text in page
    assert page.count("<section>") == page.count("</section>") and page.rstrip().endswith("</html>")


def test_pairs_on_the_page_are_capped(ill, tmp_path, monkeypatch):
    monkeypatch.setattr(inspection, "SHOWN", 1)
    page = open(inspection.inspect(ill, out=tmp_path / "page")["report"], encoding="utf-8").read()
    assert page.count("data:image") == 2 * 3 and "1 of 2 pairs; pairs.csv has all." in page


def test_a_store_answers_as_its_source_does(ill, told, tmp_path):
    alexnet.prepare(str(ill), str(tmp_path / "store"), size=64, workers=1)
    answer = inspection.inspect(tmp_path / "store", out=tmp_path / "page")
    assert sorted(p.name for p in (tmp_path / "store").iterdir()) == ["train", "val"]  # it stays as it was
    assert (answer["pairs"], answer["leaking"]) == (told["pairs"], told["leaking"])
    assert answer["splits"]["train"]["refused"] == 1 and "sides" not in answer["splits"]["train"]


def test_exact_means_the_file_in_a_source_and_the_pixels_in_a_store(tmp_path):
    (tmp_path / "set" / "cats").mkdir(parents=True)
    for name in ("one.png", "two.bmp"):
        Image.fromarray(textures(1)[0]).save(tmp_path / "set" / "cats" / name)
    alexnet.prepare(str(tmp_path / "set"), str(tmp_path / "store"), size=64, workers=1)
    for path, kind in (("set", "near"), ("store", "exact")):
        found = inspection.inspect(tmp_path / path, out=tmp_path / "page")["pairs"]["train"]
        assert found[kind]["same_class"] == 1 and sum(one["same_class"] for one in found.values()) == 1


def test_strict_answers_and_fails(ill, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["inspect", str(ill), "--json", "--strict"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["leaking"]["val"]["pictures"] == 2
    assert "4 serious things were found" in err and (tmp_path / "set-inspection" / "report.html").is_file()


def test_the_answer_for_people(ill, tmp_path, capsys):
    assert cli.main(["inspect", str(ill), "--out", str(tmp_path / "page")]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["split", "pictures", "refused"]
    assert lines[4].startswith("! 2 pictures of val") and lines[5].startswith("  errors measured on val")
    assert any(line.startswith("- 1 pair of copies under one label") for line in lines)


def test_a_model_says_which_labels_it_disbelieves(store, run, tmp_path):
    answer = inspection.inspect(store, model=str(run), out=tmp_path / "page")
    doubted = answer["disbelieved"]
    assert not doubted["train"]["held_out"] and doubted["val"]["held_out"]
    evaluated = alexnet.evaluate(str(run), str(store))
    assert doubted["val"]["share"] == pytest.approx(evaluated["top1_error"])
    sure = [one["probability"] for one in doubted["val"]["listed"]]
    assert sure == sorted(sure, reverse=True) and all(one["label"] != one["likeliest"] for one in doubted["val"]["listed"])
    assert "Disbelieved labels of val" in open(answer["report"], encoding="utf-8").read()


def test_a_model_of_other_classes_is_refused(sound, run, tmp_path):
    with pytest.raises(Misused, match="16 classes apart"):
        inspection.inspect(sound, model=str(run), out=tmp_path / "page")


def test_what_cannot_be_inspected_is_refused(sound, tmp_path):
    with pytest.raises(Refused, match="does not exist"):
        inspection.inspect(tmp_path / "nothing")
    with pytest.raises(Misused, match="outside"):
        inspection.inspect(sound, out=sound / "page")
    (tmp_path / "set" / "cats").mkdir(parents=True)
    (tmp_path / "set" / "cats" / "1.png").write_bytes(b"nothing")
    with pytest.raises(Refused, match="none of the pictures"):
        inspection.inspect(tmp_path / "set", out=tmp_path / "page")


def test_a_lopsided_split_names_both_ends(tmp_path):
    pictures = iter(textures(13))
    for name, count in (("few", 1), ("many", 12)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(next(pictures)).save(tmp_path / "set" / name / f"{number}.png")
    answer = inspection.inspect(tmp_path / "set", out=tmp_path / "page")
    assert [one["what"] for one in answer["findings"]] == ["lopsided"]
    assert "12 times as many pictures of many (12) as of few (1)" in answer["findings"][0]["said"]
    assert np.isclose(answer["splits"]["train"]["ratio"], 12)
