"""Image Parquet as Hugging Face writes it: recognised by its schema, unpacked byte for byte, names from its metadata, and what is
wrong in one sentence."""

import json
import os
import resource
import sys

import numpy as np
import pytest

from alexnet.data import prepare, sources, store
from alexnet.data.sources import parquet
from alexnet.errors import Refused
from tests.test_sources import put
from tests.test_webdataset import encoded

pyarrow = pytest.importorskip("pyarrow", reason="pip install 'alexnet[parquet]'")
from pyarrow import parquet as tables  # noqa: E402

NAMES = ["zebra", "ant", "cat"]


def table(path, numbers, *, names=NAMES, column="label", picture="image", paths=True, labels=None, more=None, group=4):
    """Pictures whose colour is their number, labelled number % 3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = list(numbers)
    rows = [{"bytes": encoded(number), "path": f"{number}.png" if paths else None} for number in numbers]
    labels = pyarrow.array([number % 3 for number in numbers] if labels is None else labels)
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    columns = {picture: pyarrow.array(rows, kind), column: labels, **(more or {})}
    made = pyarrow.table(columns)
    if names:
        features = {picture: {"_type": "Image"}, column: {"names": names, "_type": "ClassLabel"}}
        made = made.replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": features}}).encode()})
    tables.write_table(made, path, row_group_size=group)
    return path


def unpacked(path, folder):
    folder.mkdir(exist_ok=True)
    told = []
    return sources.recognise(path).unpack(str(folder), told.append), sum(told)


@pytest.mark.parametrize("column, picture", [("label", "image"), ("fine_label", "img"), ("cls", "webp"), ("labels", "photo")])
def test_splits_names_and_bytes(tmp_path, column, picture):
    table(tmp_path / "h/data/train-00000-of-00002.parquet", range(9), column=column, picture=picture)
    table(tmp_path / "h/data/train-00001-of-00002.parquet", range(9, 12), column=column, picture=picture)
    table(tmp_path / "h/data/validation-00000-of-00001.parquet", range(20, 25), column=column, picture=picture)
    listed = sources.recognise(tmp_path / "h")
    assert listed.kind == "image Parquet" and {name: len(rows) for name, rows in listed.splits.items()} == {"train": 12, "val": 5}
    assert listed.classes == (("ant", "ant"), ("cat", "cat"), ("zebra", "zebra"))
    source, told = unpacked(tmp_path / "h", tmp_path / "out")
    assert told == 17 and source.unpack is None and source.classes == listed.classes
    held = sum(os.path.getsize(file) for file in (tmp_path / "out").glob("*.pictures"))
    assert held == sum(len(encoded(number)) for number in (*range(12), *range(20, 25))) <= listed.bytes
    for split in ("train", "val"):
        assert [entry[:2] for entry in source.splits[split]] == [entry[:2] for entry in listed.splits[split]]
        for entry in source.splits[split]:
            number = int(entry.name.removesuffix(".png"))
            assert sources.read(entry)[0] == encoded(number) and source.classes[entry.label].name == NAMES[number % 3]


def test_prepare_makes_a_store_of_it_and_holdout_too(tmp_path):
    path = table(tmp_path / "train.parquet", range(40))
    prepare.prepare(path, tmp_path / "store", size=8, workers=1)
    split = store.open_split(tmp_path / "store")
    assert [int(pixels[0, 0, 0]) for pixels in split.pictures(np.arange(40))] == [int(name[:-4]) for name in split.names]
    assert os.listdir(tmp_path / "store") == ["train"]
    source = sources.recognise(path)
    source.splits = {"train": source.splits["train"][:30], "val": source.splits["train"][30:]}  # as prepare --holdout does
    (tmp_path / "out").mkdir()
    assert [len(rows) for rows in source.unpack(str(tmp_path / "out"), lambda count: None).splits.values()] == [30, 10]


def test_a_kill_while_unpacking_loses_one_file_at_most(tmp_path, monkeypatch):
    table(tmp_path / "h/train-0.parquet", range(9))
    table(tmp_path / "h/train-1.parquet", range(9, 18))
    pictures = parquet._pictures

    def stops(file, leaf):
        for number, batch in enumerate(pictures(file, leaf)):
            if "train-1" in file and number == 1:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(parquet, "BLOCK", 4)
    monkeypatch.setattr(parquet, "_pictures", stops)
    with pytest.raises(KeyboardInterrupt):
        unpacked(tmp_path / "h", tmp_path / "out")
    read = []
    monkeypatch.setattr(parquet, "_pictures", lambda file, leaf: read.append(os.path.basename(file)) or pictures(file, leaf))
    source, told = unpacked(tmp_path / "h", tmp_path / "out")
    assert read == ["train-1.parquet"] and told == 18
    assert [sources.read(entry)[0] for entry in source.splits["train"]] == [encoded(number) for number in range(18)]
    table(tmp_path / "h/train-0.parquet", range(30, 39))  # another file of that name since
    source, _ = unpacked(tmp_path / "h", tmp_path / "out")
    assert sources.read(source.splits["train"][0])[0] == encoded(30)


def test_names_by_row_where_paths_are_missing_or_the_same(tmp_path):
    table(tmp_path / "a/data/train-0.parquet", range(3), paths=False)
    assert [entry.name for entry in sources.recognise(tmp_path / "a").splits["train"]][2] == "data/train-0.parquet/00002"
    table(tmp_path / "b/train-0.parquet", range(3))
    table(tmp_path / "b/test-0.parquet", range(3))
    names = [entry.name for entry in sources.recognise(tmp_path / "b").splits["test"]]
    assert names == [f"test-0.parquet/0000{number}" for number in range(3)]
    assert sources.recognise(tmp_path / "b/test-0.parquet").splits["test"][0].name == "0.png"


def test_labels_as_words_and_without_names(tmp_path):
    words = sources.recognise(table(tmp_path / "w.parquet", range(3), names=None, labels=["dog", "cat", None]))
    assert [one.id for one in words.classes] == ["cat", "dog"] and [e.label for e in words.splits["train"]] == [1, 0]
    assert "1 pictures of train have no label and were left out" in words.notes
    numbers = sources.recognise(table(tmp_path / "n.parquet", range(3), names=None, labels=[3, 12, -1]))
    assert [one.id for one in numbers.classes] == ["03", "12"]
    coded = pyarrow.array(["dog", "cat", "dog"]).dictionary_encode()
    table(tmp_path / "d.parquet", range(3), names=None, labels=coded)
    assert [entry.label for entry in sources.recognise(tmp_path / "d.parquet").splits["train"]] == [1, 0, 1]
    table(tmp_path / "h/train-0.parquet", range(3))
    table(tmp_path / "h/test-0.parquet", range(3), labels=[-1, -1, -1])  # as ImageNet's test split is handed out
    source = sources.recognise(tmp_path / "h")
    assert list(source.splits) == ["train"] and "test has no labels and is left out" in source.notes
    unpacked(tmp_path / "h", tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.pictures"))) == 1  # test is not unpacked either


def test_several_columns_are_told(tmp_path):
    coarse = {"coarse_label": pyarrow.array([0, 0, 1])}
    source = sources.recognise(table(tmp_path / "a.parquet", range(3), column="fine_label", more=coarse))
    assert "the labels are those of the column fine_label; left out: coarse_label" in source.notes
    two = {name: pyarrow.array([{"bytes": b"x"}] * 3) for name in ("left", "right")}
    made = pyarrow.table({**two, "label": pyarrow.array([0, 1, 2])})
    tables.write_table(made, tmp_path / "b.parquet")
    with pytest.raises(Refused, match="several columns of pictures .left, right.: call the one to take image"):
        sources.recognise(tmp_path / "b.parquet")


def test_plain_bytes_and_missing_pictures(tmp_path):
    made = pyarrow.table({"jpg": [encoded(0), None, encoded(2)], "label": [0, 1, 0]})
    tables.write_table(made, tmp_path / "a.parquet")
    source, _ = unpacked(tmp_path / "a.parquet", tmp_path / "out")
    assert [sources.read(entry)[0] for entry in source.splits["train"]] == [encoded(0), b"", encoded(2)]
    prepare.prepare(tmp_path / "a.parquet", tmp_path / "store", size=8, workers=1)
    refused = [json.loads(line) for line in open(tmp_path / "store/train/refused.jsonl")]
    assert refused == [{"path": "a.parquet/00001", "reason": "the file is empty (0 bytes)"}]


def test_refusals(tmp_path):
    cases = {
        "no column of labels .*its columns are image, text": dict(column="text", names=None, labels=["a", "b", "c"]),
        "has .*1.5 in its column label": dict(labels=[1.5, 2.5, 3.5], names=None),
        "one whole number or one word": dict(labels=[[0], [1], [2]], names=None),
        "has the label 2, and its list of names has 2": dict(names=["a", "b"]),
        "without one label": dict(labels=[-1, -1, -1]),
    }
    for said, settings in cases.items():
        with pytest.raises(Refused, match=said) as refusal:
            sources.recognise(table(tmp_path / "a.parquet", range(3), **settings))
        assert "\n" not in str(refusal.value)
    table(tmp_path / "h/train-0.parquet", range(3))
    table(tmp_path / "h/test-0.parquet", range(3), names=["x", "y", "z"])
    with pytest.raises(Refused, match="names other classes than the files before it"):
        sources.recognise(tmp_path / "h")
    whole = (tmp_path / "h/train-0.parquet").read_bytes()
    for wrong in (whole[:-50], b"", b"text"):
        (tmp_path / "h/test-0.parquet").write_bytes(wrong)
        with pytest.raises(Refused, match="test-0.parquet cannot be read as Parquet .*fetch it again") as refusal:
            sources.recognise(tmp_path / "h")
        assert "\n" not in str(refusal.value)
    (tmp_path / "h/test-0.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(Refused, match="git lfs pull"):
        sources.recognise(tmp_path / "h")


def test_a_damaged_page_is_one_sentence(tmp_path):
    path = table(tmp_path / "a.parquet", range(30), group=30)
    whole = bytearray(path.read_bytes())
    whole[40:400] = bytes(360)
    path.write_bytes(whole)
    with pytest.raises(Refused, match="a.parquet cannot be read as Parquet"):
        unpacked(path, tmp_path / "out")


def test_a_full_disk_while_unpacking_is_one_sentence(tmp_path):
    path = table(tmp_path / "a.parquet", range(60))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, before[1]))
    try:
        with pytest.raises(Refused, match="store/unpacked cannot be written .*make room"):
            prepare.prepare(path, tmp_path / "store", size=8, workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert prepare.prepare(path, tmp_path / "store", size=8, workers=1)["splits"]["train"]["images"] == 60


def test_a_finished_store_is_not_made_again(tmp_path, capsys):
    path = table(tmp_path / "a.parquet", range(9))
    answers = [prepare.prepare(path, tmp_path / "store", size=8, workers=1) for _ in range(2)]
    assert "prepared already" in capsys.readouterr().err and answers[0]["splits"] == answers[1]["splits"]
    assert os.listdir(tmp_path / "store") == ["train"]


def test_without_pyarrow_its_extra_is_named(tmp_path, monkeypatch):
    path = table(tmp_path / "h/train-0.parquet", range(3))
    put(tmp_path / "c/cat/1.png")
    table(tmp_path / "c/predictions.parquet", range(3))
    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    for source in (path, tmp_path / "h"):
        with pytest.raises(Refused, match=r"pip install 'alexnet\[parquet\]'"):
            sources.recognise(source)
    assert sources.recognise(tmp_path / "c").kind == "class folders"
