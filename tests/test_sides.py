"""prepare --holdout and --group: sides follow names and groups, and nothing alike is on both; --merge and --dry-run."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from alexnet.data import prepare, sides, sources
from alexnet.data.picture import POINTS, RESAMPLING
from alexnet.data.store import open_split
from alexnet.errors import Misused, Refused
from alexnet.inspection import inspect


def picture(seed):
    """A picture with structure of its own: a few rectangles."""
    random = np.random.default_rng(seed)
    pixels = np.full((48, 48, 3), random.integers(0, 256, 3), np.uint8)
    for _ in range(12):
        x, y = random.integers(0, 40, 2)
        pixels[y : y + random.integers(4, 30), x : x + random.integers(4, 30)] = random.integers(0, 256, 3)
    return Image.fromarray(pixels)


def fill(folder, names, first=0):
    for number, name in enumerate(names, first):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / name)


NAMES = [f"{kind}/{kind}-{person:02d}-{take}.png" for kind in ("cat", "dog") for person in range(20) for take in range(3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("unsplit") / "pets"
    fill(path, NAMES)
    return path


def names_of(store, *splits):
    return [set(open_split(store, split).names) for split in splits]


def test_a_growing_folder_moves_no_picture_across(folder, tmp_path):
    answer = prepare.prepare(folder, tmp_path / "a", size=16, workers=1, holdout=0.2)
    train, val = names_of(tmp_path / "a", "train", "val")
    assert train | val == set(NAMES) and not train & val and 10 < len(val) < 40
    assert answer["splits"]["val"]["images"] == len(val)
    grown = tmp_path / "grown"
    more = [f"{kind}/new-{number}.png" for kind in ("cat", "dog", "eel") for number in range(30)]
    fill(grown, NAMES)
    fill(grown, more, 1000)
    prepare.prepare(grown, tmp_path / "b", size=16, workers=1, holdout=0.2)
    later_train, later_val = names_of(tmp_path / "b", "train", "val")
    assert train <= later_train and val <= later_val and later_val - val
    again = prepare.prepare(folder, tmp_path / "a", size=16, workers=1, holdout=0.2)
    assert again["images_per_second"] == 0  # finished, and found to be the same


def test_several_sides_by_name_beside_a_val_that_is_there(folder, tmp_path):
    whole = tmp_path / "pets"
    fill(whole, [f"train/{name}" for name in NAMES])
    fill(whole, [f"val/cat/{number}.png" for number in range(5)], 500)
    prepare.prepare(whole, tmp_path / "a", size=16, workers=1, holdout="tune=0.1,claims=0.2")
    train, tune, claims, val = names_of(tmp_path / "a", "train", "tune", "claims", "val")
    assert len(val) == 5 and len(train) + len(tune) + len(claims) == len(NAMES)
    places = {name: sides.share_of(name) for name in train | tune | claims}
    assert max(places[n] for n in tune) < 0.1 <= min(places[n] for n in claims)
    assert max(places[n] for n in claims) < 0.1 + 0.2 <= min(places[n] for n in train)
    with pytest.raises(Misused, match="has a val of"):
        prepare.prepare(whole, tmp_path / "b", holdout="val=0.1")


@pytest.mark.parametrize("odd", ["tune=0.5,val=0.5", "train=0.1", "a/b=0.1", "tune=x", "0.1,0.1", "tune=0", -0.1, 1, "nan"])
def test_odd_shares_are_misused(folder, tmp_path, odd):
    with pytest.raises(Misused, match="between 0 and 1"):
        prepare.prepare(folder, tmp_path / "a", holdout=odd)


def test_groups_stay_together(folder, tmp_path):
    prepare.prepare(folder, tmp_path / "a", size=16, workers=1, holdout=0.3, group="-([0-9]+)-")
    train, val = names_of(tmp_path / "a", "train", "val")
    persons = [{name.split("-")[1] for name in names} for names in (train, val)]
    assert len(val) >= 6 and not persons[0] & persons[1]  # a person is on one side in both classes
    assert sides.group_of("x/ab-07-1.png", sides.check(0.1, "-([0-9]+)-")) == "07"


def test_what_looks_like_a_training_picture_is_left_out_of_val(folder, tmp_path):
    held = [name for name in NAMES if sides.share_of(name) < 0.2]
    kept = [name for name in NAMES if sides.share_of(name) >= 0.2]
    twin, small = "cat/" + next(n for n in (f"twin-{i}.png" for i in range(99)) if sides.share_of(f"cat/{n}") < 0.2), \
        "dog/" + next(n for n in (f"small-{i}.jpg" for i in range(99)) if sides.share_of(f"dog/{n}") < 0.2)
    source = tmp_path / "pets"
    fill(source, NAMES)
    Image.open(source / kept[0]).save(source / twin)  # the same pixels under another name
    stream = io.BytesIO()
    Image.open(source / kept[1]).resize((40, 40), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=60)
    (source / small).write_bytes(stream.getvalue())
    prepare.prepare(source, tmp_path / "store", size=32, workers=1, holdout=0.2)
    train, val = names_of(tmp_path / "store", "train", "val")
    assert val == set(held) and train == set(kept)
    refused = [json.loads(line) for line in open(tmp_path / "store" / "val" / "refused.jsonl")]
    assert {one["path"] for one in refused} == {twin, small}
    assert any(kept[0] in one["reason"] and "exact duplicate" in one["reason"] for one in refused)
    assert any(kept[1] in one["reason"] and "near duplicate" in one["reason"] for one in refused)
    again = prepare.prepare(source, tmp_path / "store", size=32, workers=1, holdout=0.2)
    assert again["images_per_second"] == 0


@pytest.mark.parametrize("before", [False, True])
def test_what_is_left_out_is_not_refused(folder, tmp_path, capsys, before):
    """before: a store whose lines of refused.jsonl do not say which they are yet."""
    kept = next(name for name in NAMES if sides.share_of(name) >= 0.2)
    twin, broken = ("cat/" + next(n for n in (f"{kind}-{i}.png" for i in range(99)) if sides.share_of(f"cat/{n}") < 0.2)
                    for kind in ("twin", "broken"))
    source, val = tmp_path / "pets", tmp_path / "store" / "val"
    fill(source, NAMES)
    Image.open(source / kept).save(source / twin)
    made = prepare.prepare(source, tmp_path / "store", size=32, workers=1, holdout=0.2, strict=True)["splits"]["val"]
    assert (made["refused"], made["left_out"]) == (0, 1)
    if before:
        card, line = json.loads((val / "store.json").read_text()), json.loads((val / "refused.jsonl").read_text())
        (val / "refused.jsonl").write_text(json.dumps({key: line[key] for key in ("path", "reason")}) + "\n")
        card["files"]["refused.jsonl"]["bytes"] = (val / "refused.jsonl").stat().st_size
        (val / "store.json").write_text(json.dumps({**card, "refused": 1}))
    capsys.readouterr()
    again = prepare.prepare(source, tmp_path / "store", size=32, workers=1, holdout=0.2, strict=True)["splits"]["val"]
    said = capsys.readouterr().err
    assert again == made and "1 held out as val look like pictures of train and were left out" in said and "refused," not in said
    split = open_split(tmp_path / "store", "val")
    assert (split.refused, split.left_out) == (0, 1)
    answer = inspect(tmp_path / "store", out=tmp_path / "page")
    found = {one["what"]: one for one in answer["findings"]}
    assert "refused" not in found and answer["splits"]["val"]["refused"] == 0 and not found["left out"]["serious"]
    page = (tmp_path / "page" / "report.html").read_text()
    assert "Left out of val" in page and f"<td>{twin}</td>" in page and "Refused in" not in page
    (source / broken).write_bytes(b"no picture")
    both = prepare.prepare(source, tmp_path / "both", size=32, workers=1, holdout=0.2)["splits"]["val"]
    assert (both["refused"], both["left_out"]) == (1, 1)
    prepare.prepare(tmp_path / "both", tmp_path / "copy", dry_run=True)
    said = capsys.readouterr().err
    assert "val was made without 1 refused pictures" in said and "without 1 that look like pictures of train" in said


def test_a_holdout_of_copies_alone_is_refused_as_such(tmp_path):
    held, kept = (next(n for n in (f"cat/{i}.png" for i in range(99)) if (sides.share_of(n) < 0.2) == low) for low in (True, False))
    fill(tmp_path / "pets", [kept])
    Image.open(tmp_path / "pets" / kept).save(tmp_path / "pets" / held)
    with pytest.raises(Refused, match="every picture held out as val looks like one of train"):
        prepare.prepare(tmp_path / "pets", tmp_path / "store", size=32, workers=1, holdout=0.2)


def test_odd_holdouts_are_refused(folder, pictures, tmp_path):
    with pytest.raises(Misused, match="has a val of"):
        prepare.prepare(pictures, tmp_path / "a", holdout=0.1)
    with pytest.raises(Misused, match="between 0 and 1"):
        prepare.prepare(folder, tmp_path / "a", holdout=1.5)
    with pytest.raises(Misused, match="regular expression"):
        prepare.prepare(folder, tmp_path / "a", holdout=0.1, group="(")
    with pytest.raises(Misused, match="--group"):
        prepare.prepare(folder, tmp_path / "a", group="x")
    with pytest.raises(Misused, match="leave --split out"):
        prepare.prepare(folder, tmp_path / "a", holdout=0.1, split="train")
    with pytest.raises(Refused, match="leaves val without any"):
        prepare.prepare(folder, tmp_path / "a", holdout=1e-9)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_parts_join_into_the_store_of_the_whole(tmp_path, encoding):
    kinds = {"whole": ("ape", "bee", "cow"), "one": ("ape", "cow"), "two": ("bee", "cow")}
    for place, kinds_here in kinds.items():
        for kind in kinds_here:
            for number in range(12):
                if place == "whole" or kind != "cow" or (number % 2 == (place == "one")):
                    name = f"{kind}/{number}.png"
                    fill(tmp_path / place, [name], 100 * ord(kind[0]) + number)
        prepare.prepare(tmp_path / place, tmp_path / f"s-{place}", size=24, workers=1, encoding=encoding)
    answer = prepare.prepare(tmp_path / "s-one", tmp_path / "joined", merge=str(tmp_path / "s-two"), workers=1)
    joined, whole = (open_split(tmp_path / name) for name in ("joined", "s-whole"))
    assert answer["encoding"] == encoding and joined.size == 24
    assert joined.names == whole.names and joined.classes == whole.classes
    assert (joined.pictures(range(36)) == whole.pictures(range(36))).all()
    assert joined.fingerprint == whole.fingerprint
    if encoding == "raw":
        assert joined.card["colour"] == whole.card["colour"] and (joined.mean == whole.mean).all()
    with pytest.raises(Refused, match="is in train of two of the stores"):
        prepare.prepare(tmp_path / "s-one", tmp_path / "twice", merge=f"{tmp_path / 's-two'},{tmp_path / 's-one'}")
    with pytest.raises(Misused, match="prepare it first"):
        prepare.prepare(tmp_path / "one", tmp_path / "x", merge=str(tmp_path / "s-two"))


def test_a_store_is_a_source_too(store, tmp_path):
    split = open_split(store)
    prepare.prepare(store, tmp_path / "same", workers=1)
    assert open_split(tmp_path / "same").fingerprint == split.fingerprint
    assert open_split(tmp_path / "same").resampling == RESAMPLING
    prepare.prepare(store, tmp_path / "half", size=32, workers=1)
    assert open_split(tmp_path / "half").size == 32 and open_split(tmp_path / "half").names == split.names


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_a_store_made_of_points_hands_that_on(tmp_path, encoding):
    fill(tmp_path / "one", [f"ape/{number}.png" for number in range(4)], 1)
    fill(tmp_path / "two", [f"bee/{number}.png" for number in range(4)], 9)
    for name, asked in (("one", "points"), ("two", "points"), ("usual", None)):
        source = tmp_path / ("two" if name == "usual" else name)
        prepare.prepare(source, tmp_path / f"s-{name}", size=12, workers=1, resampling=asked, encoding=encoding)
    prepare.prepare(tmp_path / "s-one", tmp_path / "again", workers=1)
    prepare.prepare(tmp_path / "s-one", tmp_path / "joined", merge=str(tmp_path / "s-two"), workers=1)
    first, again, joined = (open_split(tmp_path / name) for name in ("s-one", "again", "joined"))
    assert first.resampling == again.resampling == joined.resampling == POINTS
    assert first.fingerprint == again.fingerprint and (first.pictures(range(4)) == again.pictures(range(4))).all()
    prepare.prepare(tmp_path / "s-one", tmp_path / "asked", workers=1, resampling="antialiased")
    assert open_split(tmp_path / "asked").resampling == RESAMPLING
    with pytest.raises(Refused, match="made small in other ways"):
        prepare.prepare(tmp_path / "s-one", tmp_path / "mixed", merge=str(tmp_path / "s-usual"), workers=1)
    assert prepare.prepare(tmp_path / "s-one", tmp_path / "x", dry_run=True)["resampling"] == "points"


def test_a_dry_run_says_what_it_found_and_writes_nothing(folder, tmp_path):
    answer = prepare.prepare(folder, tmp_path / "a", size=16, dry_run=True, holdout=0.2)
    assert answer["kind"] == "class folders" and answer["classes"] == 2
    assert answer["bytes_free"] > answer["bytes_needed"] > 120 * 768 and answer["resampling"] == "antialiased"
    assert answer["splits"]["train"]["images"] + answer["splits"]["val"]["images"] == len(NAMES)
    assert not (tmp_path / "a").exists()


def test_sources_that_cannot_be_read_in_place_are_unpacked_and_tidied(folder, tmp_path, monkeypatch):
    """A source whose pictures lie packed: unpack() writes them, prepare reads them there and removes them at the end."""
    plain, calls = sources.recognise(folder), []

    def unpack(place, tell):
        calls.append(place)
        entries = []
        with open(f"{place}/bytes", "wb") as file:
            for entry in plain.splits["train"]:
                data = sources.read(entry)[0]
                entries.append(entry._replace(path=f"{place}/bytes", offset=file.tell(), length=len(data)))
                file.write(data)
                tell(1)
        return sources.Source("packed", plain.path, plain.classes, {"train": entries})

    packed = sources.Source("packed", plain.path, plain.classes, plain.splits, unpack=unpack, bytes=10)
    monkeypatch.setattr(sources, "recognise", lambda path: packed)
    prepare.prepare(folder, tmp_path / "a", size=16, workers=1)
    monkeypatch.undo()
    prepare.prepare(folder, tmp_path / "b", size=16, workers=1)
    assert calls == [str(tmp_path / "a" / "unpacked")] and not (tmp_path / "a" / "unpacked").exists()
    assert open_split(tmp_path / "a").fingerprint == open_split(tmp_path / "b").fingerprint
    packed.bytes = 10**18
    monkeypatch.setattr(sources, "recognise", lambda path: packed)
    with pytest.raises(Refused, match="unpacked first"):
        prepare.prepare(folder, tmp_path / "c", size=16, workers=1)


@pytest.mark.parametrize("key, share", [("cat/cat-00-0.png", 0.127404), ("07", 0.038231),
                                        ("train/n01443537/images/n01443537_0.JPEG", 0.170425)])
def test_a_side_is_the_same_in_every_version_and_on_every_machine(key, share):
    assert sides.share_of(key) == pytest.approx(share, abs=1e-6)
