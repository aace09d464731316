"""Every odd picture, name and place as a real file through prepare: none stops it, each is read as it should be or refused by name.
docs/data.md has them all in one table, and the last tests here hold that table to the tests that it names."""

import ast
import json
import os
import re
import resource
import shutil
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data import picture, prepare, sources, store
from alexnet.errors import Refused
from tests.test_picture import damaged, encoded, photo, with_orientation

SIDE = 32
TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs/data.md"


def ycck(colour):
    """A JPEG as Photoshop writes it. Pillow writes CMYK; marked as YCCK (Adobe's transform 2), the first three planes are read as
    YCbCr of what they stood for."""
    *inks, black = colour.convert("CMYK").split()
    y, cb, cr = Image.merge("RGB", inks).convert("YCbCr").split()
    planes = [plane.point(lambda value: 255 - value) for plane in (y, cb, cr)]
    data = bytearray(encoded(Image.merge("CMYK", [*planes, black]), "JPEG", quality=98, subsampling=0))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def deep_png(pixels):
    """16 bits a channel, which Pillow does not write: (H, W, 3) uint16."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    body = b"".join(struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def frames(kind, colour, **options):
    return encoded(colour, kind, save_all=True, append_images=[Image.new("RGB", colour.size, "red")], **options)


def corrupt_exif(jpeg):
    junk = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01junk" * 9
    return jpeg[:2] + b"\xff\xe1" + (len(junk) + 2).to_bytes(2, "big") + junk + jpeg[2:]


def readable():
    """file name -> (its bytes, the picture it should be, the largest difference allowed)"""
    colour = Image.fromarray(photo(SIDE, SIDE))
    grey, sideways = colour.convert("L"), colour.transpose(Image.Transpose.ROTATE_90)
    clear = colour.copy()
    clear.putalpha(Image.new("L", colour.size, 0))
    white = Image.new("RGB", colour.size, "white")
    few = colour.quantize(16)
    jpeg = encoded(colour, "JPEG", quality=98, subsampling=0)
    return {
        "grey.jpg": (encoded(grey, "JPEG", quality=98), grey.convert("RGB"), 12),
        "cmyk.jpg": (encoded(colour.convert("CMYK"), "JPEG", quality=98, subsampling=0), colour, 12),
        "ycck.jpg": (ycck(colour), colour, 12),
        "cmyk.tif": (encoded(colour.convert("CMYK"), "TIFF"), colour, 1),
        "palette.png": (encoded(few), few.convert("RGB"), 0),
        "two colours.png": (encoded(colour.convert("1")), colour.convert("1").convert("RGB"), 0),
        "alpha.png": (encoded(clear), white, 0),
        "alpha.webp": (encoded(clear, "WEBP", lossless=True, exact=True), white, 0),
        "16 bit.png": (deep_png(np.asarray(colour).astype(np.uint16) * 256 + 255), colour, 0),
        "png named.JPEG": (encoded(colour), colour, 0),
        "jpeg named.png": (jpeg, colour, 12),
        "turned.jpg": (encoded(sideways, "JPEG", quality=98, subsampling=0, exif=with_orientation(6)), colour, 12),
        "corrupt exif.jpg": (corrupt_exif(jpeg), colour, 12),
        "progressive.jpg": (encoded(colour, "JPEG", quality=98, subsampling=0, progressive=True), colour, 12),
        "rubbish behind.jpg": (jpeg + b"\0rubbish" * 50, colour, 12),
        "two frames.gif": (frames("GIF", few.convert("RGB")), few.convert("RGB"), 0),
        "two frames.webp": (frames("WEBP", colour, lossless=True), colour, 0),
        "two pages.tif": (frames("TIFF", colour), colour, 0),
        "two photographs.jpg": (frames("MPO", colour, quality=98, subsampling=0), colour, 12),
        "1x1.png": (encoded(Image.new("RGB", (1, 1), (9, 8, 7))), Image.new("RGB", colour.size, (9, 8, 7)), 0),
        "3x4000.png": (encoded(Image.new("RGB", (3, 4000), (9, 8, 7))), Image.new("RGB", colour.size, (9, 8, 7)), 0),
        "new\nline \"quote\" 'and' é.png": (encoded(colour), colour, 0),
        "-" + "long" * 60 + ".png": (encoded(colour), colour, 0),
    }


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    root = tmp_path_factory.mktemp("odd")
    for folder, files in {
        "read": {name: data for name, (data, *_) in readable().items()},
        "refused": {f"{name}.jpg": data for name, (data, _) in damaged().items()},
    }.items():
        (root / "source" / folder).mkdir(parents=True)
        for name, data in files.items():
            (root / "source" / folder / name).write_bytes(data)
    answer = prepare.prepare(root / "source", root / "store", size=SIDE, workers=1)
    return root, answer


@pytest.mark.parametrize("name", readable())
def test_odd_files_are_read_as_what_they_are(odd, name):
    _, expected, allowed = readable()[name]
    split = store.open_split(odd[0] / "store")
    pixels = split.pictures([split.names.index(f"read/{name}")])[0]
    assert np.abs(pixels.astype(int) - np.asarray(expected)).max() <= allowed


def test_files_that_cannot_be_read_are_refused_by_name_and_their_class_stays(odd):
    root, answer = odd
    facts = answer["splits"]["train"]
    reasons = {line["path"]: line["reason"] for line in map(json.loads, open(root / "store/train/refused.jsonl"))}
    inside = {"half a JPEG with an end", "a JPEG with a hole"}  # seen by simplejpeg alone
    missing = {name for name in damaged() if f"refused/{name}.jpg" not in reasons}
    assert missing <= (set() if picture._jpeg(encoded(photo(), "JPEG")) is not None else inside)
    for path, reason in reasons.items():
        assert re.search(damaged()[path[8:-4]][1], reason) and "\n" not in reason
    assert facts["refused"] == len(reasons) and facts["images"] == len(readable()) + len(missing)
    assert [one.id for one in store.open_split(root / "store").classes] == ["read", "refused"]
    assert store.read_card(root / "store/train")["class_counts"] == [len(readable()), len(missing)]


def test_strict_makes_refusals_an_error_and_writes_the_store_all_the_same(odd, tmp_path):
    with pytest.raises(Refused, match=r"\d+ pictures were refused .refused.jsonl in .* names them."):
        prepare.prepare(odd[0] / "source", tmp_path / "store", size=SIDE, workers=1, strict=True)
    assert store.open_split(tmp_path / "store").fingerprint == store.open_split(odd[0] / "store").fingerprint


def folder_of(path, count=4):
    path.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(photo(SIDE, SIDE, number)).save(path / f"{number}.png")
    return path.parent


@pytest.mark.parametrize("how", ["gone", "emptied", "a folder", "cut"])
def test_a_file_that_changes_between_listing_and_reading(tmp_path, monkeypatch, how):
    source, recognise = folder_of(tmp_path / "source/a"), sources.recognise

    def then_it_changes(path):
        found, file = recognise(path), tmp_path / "source/a/2.png"
        data = file.read_bytes()
        file.unlink()
        if how == "a folder":
            file.mkdir()
        elif how != "gone":
            file.write_bytes(b"" if how == "emptied" else data[: len(data) // 2])
        return found

    monkeypatch.setattr(sources, "recognise", then_it_changes)
    answer = prepare.prepare(source, tmp_path / "store", size=SIDE, workers=1)
    assert answer["splits"]["train"] == {"images": 3, "refused": 1, "classes": 1}
    reason = json.loads(open(tmp_path / "store/train/refused.jsonl").read())["reason"]
    said = {"gone": "there is no such file", "emptied": "empty", "a folder": "cannot be read .Is a directory", "cut": "truncated"}
    assert re.search(said[how], reason)


def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(tmp_path):
    source = folder_of(tmp_path / "source/a", 8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * SIDE**2 * 3, before[1]))  # no file may be longer: three of eight pictures
    try:
        with pytest.raises(Refused, match="store/train cannot be written .*make room.*the same command goes on") as refusal:
            prepare.prepare(source, tmp_path / "store", size=SIDE, workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(refusal.value) and store.splits(tmp_path / "store") == []
    assert prepare.prepare(source, tmp_path / "store", size=SIDE, workers=1)["splits"]["train"]["images"] == 8
    assert not [name for name in os.listdir(tmp_path / "store/train") if name.endswith(".tmp")]


@pytest.fixture
def open_place():
    """A folder that any user may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_somebody(call):
    """What a call refuses when it is not root's: to root no folder is closed."""
    if os.geteuid():
        return pytest.raises(Refused, call)
    try:
        os.seteuid(65534)
    except OSError:
        pytest.skip("another user cannot be tried here")
    try:
        return pytest.raises(Refused, call)
    finally:
        os.seteuid(0)


def test_closed_folders_are_one_sentence(open_place):
    source = folder_of(open_place / "source/a")
    (open_place / "closed").mkdir(mode=0o555)
    said = as_somebody(lambda: prepare.prepare(source, open_place / "closed/store", size=SIDE, workers=1))
    assert re.search("closed/store.* cannot be written .Permission denied.: .*choose another folder", str(said.value))
    (open_place / "source/a").chmod(0)
    (open_place / "source/b").mkdir()
    said = as_somebody(lambda: prepare.prepare(source, open_place / "store", size=SIDE, workers=1))
    assert "the folder" in str(said.value) and "Permission denied" in str(said.value) and "make it readable" in str(said.value)
    (open_place / "source/a").chmod(0o755)
    (open_place / "free").mkdir(mode=0o777)
    (open_place / "free").chmod(0o777)
    for number in range(4):
        (open_place / f"source/a/{number}.png").chmod(0)
    said = as_somebody(lambda: prepare.prepare(source, open_place / "free/store", size=SIDE, workers=1))
    assert "none of the 4 pictures" in str(said.value) and "the file cannot be read (Permission denied)" in str(said.value)


def test_a_place_that_is_a_file(tmp_path):
    source = folder_of(tmp_path / "source/a")
    (tmp_path / "file").write_text("x")
    with pytest.raises(Refused, match="file is a file, and a store is a folder"):
        prepare.prepare(source, tmp_path / "file", size=SIDE, workers=1)
    with pytest.raises(Refused, match="file/store.* cannot be written .Not a directory"):
        prepare.prepare(source, tmp_path / "file/store", size=SIDE, workers=1)


def test_a_store_of_another_format_is_left_alone(tmp_path):
    source = folder_of(tmp_path / "source/a")
    prepare.prepare(source, tmp_path / "store", size=SIDE, workers=1)
    card = tmp_path / "store/train/store.json"
    card.write_text(card.read_text().replace('"format": 1', '"format": 99'))
    for given in ((source, tmp_path / "store"), (tmp_path / "store", tmp_path / "other")):  # as the place, and as the source
        with pytest.raises(Refused, match="is of store format 99, and this version reads format 1"):
            prepare.prepare(*given, size=SIDE, workers=1)
    assert '"format": 99' in card.read_text() and not (tmp_path / "other").exists()


def tables():
    """{heading: rows of its tables, each a list of cells} of docs/data.md, heads and rules left out."""
    found, heading = {}, ""
    for before, line in zip(["", *DOCS.read_text(encoding="utf-8").splitlines()], DOCS.read_text(encoding="utf-8").splitlines()):
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|") and before.startswith("|") and not set(line) <= set("|- "):
            found.setdefault(heading, []).append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def defined(file):
    return {node.name for node in ast.parse((TESTS / file).read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


def test_every_row_of_the_tables_names_tests_that_exist():
    rows = [row for heading in ("Odd pictures", "Odd sources") for row in tables()[heading]]
    assert len(rows) > 50
    for case, happens, cited in rows:
        named = re.findall(r"(test_\w+\.py)::(test_\w+)", cited)
        assert case and happens and named, f"{case}: {cited}"
        for file, function in named:
            assert (TESTS / file).is_file() and function in defined(file), f"{case}: there is no {file}::{function}"


def test_every_format_has_its_rows():
    rows = " ".join(" ".join(row) for row in tables()["Odd sources"])
    for file in ("webdataset", "parquet", "lists", "binary_sources", "sources"):
        assert f"test_{file}.py::" in rows
    missing = {f"test_odd_pictures.py::{name}" for name in defined("test_odd_pictures.py") if name.startswith("test_")}
    text = " ".join(cell for table in tables().values() for row in table for cell in row)
    assert [name for name in missing if name not in text and not name.endswith(("tests_that_exist", "has_its_rows"))] == []
