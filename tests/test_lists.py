"""Lists of pictures, CSV, TSV and Parquet: columns by their names, paths from the list's folder, what is wrong with its line."""

import pytest

from alexnet.data import prepare, sources, store
from alexnet.errors import Refused
from tests.test_sources import put


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


@pytest.fixture
def pictures(tmp_path):
    put(*(tmp_path / f"pictures/{name}.png" for name in "abcd"))
    return tmp_path


def test_columns_splits_and_boxes(pictures):
    text = ("Path,Label,split,group,x0,y0,x1,y1\npictures/a.png,dog,train,7,0,1,5,6.0\n\npictures/b.png,cat,valid,7,,,,\n"
            "./pictures//c.png,dog,Test,8,1,1,2,2\n")
    source = sources.recognise(write(pictures / "all.csv", text))
    assert source.kind == "a list" and list(source.splits) == ["train", "val", "test"]
    assert source.classes == (("cat", "cat"), ("dog", "dog"))
    entry = source.splits["train"][0]
    assert (entry.name, entry.label, entry.box) == ("pictures/a.png", 1, (0, 1, 5, 6)) and len(sources.read(entry)[0]) > 50
    assert source.splits["val"][0].box is None and source.splits["test"][0].name == "pictures/c.png"
    prepare.prepare(pictures / "all.csv", pictures / "store", size=8, workers=1)
    assert store.open_split(pictures / "store").boxes.tolist() == [[0, 1, 5, 6]]


@pytest.mark.parametrize("path", ["path", "file", "filename", "image", "file_name"])
@pytest.mark.parametrize("label", ["label", "class", "cls", "target", "class_name"])
def test_names_of_columns(pictures, path, label):
    source = sources.recognise(write(pictures / "l.csv", f"{label},other,{path}\ndog,x,pictures/a.png\ncat,y,pictures/b.png\n"))
    assert [(entry.name, entry.label) for entry in source.splits["train"]] == [("pictures/a.png", 1), ("pictures/b.png", 0)]


@pytest.mark.parametrize("name, mark", [("l.csv", ","), ("l.csv", ";"), ("l.tsv", "\t"), ("L.CSV", "\t")])
def test_marks_quotes_endings_and_byte_order_marks(pictures, name, mark):
    lines = [("path", "label"), ('"pictures/a.png"', f'"big{mark} ""dog"""'), ("pictures/b.png", "größe")]
    text = "\r\n".join(mark.join(line) for line in lines)
    source = sources.recognise(write(pictures / name, text, "utf-8-sig"))
    assert [one.id for one in source.classes] == [f'big{mark} "dog"', "größe"]


def test_the_split_of_a_list_without_that_column_is_in_its_name(pictures):
    for name, split in (("train.csv", "train"), ("my-validation.csv", "val"), ("test_list.csv", "test"), ("other.csv", "train")):
        assert list(sources.recognise(write(pictures / name, "path,label\npictures/a.png,x\n")).splits) == [split]


def test_numbers_and_their_names(pictures):
    text = "path,label,class_name\npictures/a.png,10,zebra\npictures/b.png,2,ant\npictures/c.png,-1,\n"
    source = sources.recognise(write(pictures / "l.csv", text))
    assert source.classes == (("ant", "ant"), ("zebra", "zebra")) and [entry.label for entry in source.splits["train"]] == [1, 0]
    assert "1 pictures of train have no label and were left out" in source.notes
    source = sources.recognise(write(pictures / "l.csv", text.replace("class_name", "remark")))
    assert source.classes == (("02", "02"), ("10", "10"))


def test_pictures_outside_the_folder_missing_ones_and_names_again(pictures):
    absolute = pictures / "pictures/b.png"
    lines = ["path,label", "../pictures/a.png,x", f"{absolute},x", "gone.png,x", f"{pictures}/lists/c.png,y"]
    text = "\n".join([*lines, "../pictures/a.png,x", "../pictures/../../x.png,y"])
    put(pictures / "lists/c.png")
    source = sources.recognise(write(pictures / "lists/l.csv", text))
    names = [entry.name for entry in source.splits["train"]]
    assert names == ["../pictures/a.png", str(absolute), "gone.png", "c.png", "../../x.png"]
    assert "1 lines of l.csv name a picture again" in source.notes and "3 pictures of l.csv lie outside its folder" in source.notes
    answer = prepare.prepare(pictures / "lists/l.csv", pictures / "store", size=8, workers=1)
    assert answer["splits"]["train"] == {"images": 3, "refused": 2, "classes": 2}  # the missing ones are refused by name


def test_metadata_csv_in_folders(pictures):
    put(pictures / "f/train/1.png", pictures / "f/train/deep/2.png", pictures / "f/test/1.png", pictures / "g/cat/1.png")
    write(pictures / "f/train/metadata.csv", "file_name,label\n1.png,dog\ndeep/2.png,cat\n")
    write(pictures / "f/test/metadata.csv", "file_name,label\n1.png,dog\n")
    source = sources.recognise(pictures / "f")
    assert {split: [entry.name for entry in entries] for split, entries in source.splits.items()} == {
        "train": ["train/1.png", "train/deep/2.png"], "test": ["test/1.png"]}
    assert [entry.name for entry in sources.recognise(pictures / "f/train/metadata.csv").splits["train"]] == ["1.png", "deep/2.png"]
    for other in ("file_name,text\n1.png,a dog\n", "", "a\xff"):  # about something else
        write(pictures / "g/metadata.csv", other, "latin-1")
        assert sources.recognise(pictures / "g").kind == "class folders"


WRONG = {
    "no column of labels .*its first line has path, size": "path,size\na.png,1\n",
    "no column of paths": "a.png,dog\nb.png,cat\n",
    "first line has nothing": "",
    "lists no picture below its header": "path,label\n",
    "line 3 of .* has no label": "path,label\na.png,x\nb.png,\n",
    "line 2 of .* has no path": "path,label\n ,x\n",
    "line 2 of .* has the path 'a.x00.png', which is none": "path,label\na\0.png,x\n",
    "line 3 of .* has 1 columns where the first line has 2": "path,label\na.png,x\nb.png\n",
    "line 2 of .* has 3 columns": "path,label\na.png,x,y\n",
    "line 4 of .* gives a.png the label y, and line 2 x": "path,label\na.png,x\nb.png,x\na.png,y\n",
    "line 2 of .* has the split 'vall': did you mean val": "path,label,split\na.png,x,vall\n",
    "line 2 of .* has the split ''": "path,label,split\na.png,x,\n",
    "line 2 of .* has the box 1, 2, , 4": "path,label,x0,y0,x1,y1\na.png,x,1,2,,4\n",
    "has the box 1, 2, 3, nan": "path,label,x0,y0,x1,y1\na.png,x,1,2,3,nan\n",
    "has the box 1, 2, 3, inf": "path,label,x0,y0,x1,y1\na.png,x,1,2,3,inf\n",
    "has the box 1, 2, 3, 1e99": "path,label,x0,y0,x1,y1\na.png,x,1,2,3,1e99\n",
    "line 2 of .* is no line of a list": 'path,label\n"a.png,x\n',
    "without one label": "path,label\na.png,-1\n",
}


@pytest.mark.parametrize("said", WRONG)
def test_what_is_wrong_is_said_with_its_line(tmp_path, said):
    with pytest.raises(Refused, match=said) as refusal:
        sources.recognise(write(tmp_path / "list.csv", WRONG[said]))
    assert "\n" not in str(refusal.value) and str(refusal.value).endswith((".", "?"))


@pytest.mark.parametrize("encoding, line", [("latin-1", 3), ("utf-16", 1)])
def test_another_encoding_is_said_with_its_line(tmp_path, encoding, line):
    with pytest.raises(Refused, match=f"line {line} of .* is not UTF-8: save the list as UTF-8"):
        sources.recognise(write(tmp_path / "l.csv", "path,label\na.png,x\nb.png,größe\n", encoding))


def test_parquet_of_paths(pictures):
    pyarrow = pytest.importorskip("pyarrow", reason="pip install 'alexnet[parquet]'")
    from pyarrow import parquet as tables

    columns = {"image": ["pictures/a.png", "pictures/b.png"], "label": [3, 1], "split": ["train", "test"], "other": [[1], [2]]}
    tables.write_table(pyarrow.table(columns), pictures / "l.parquet")
    source = sources.recognise(pictures / "l.parquet")
    assert source.kind == "a list" and source.unpack is None and [one.id for one in source.classes] == ["1", "3"]
    assert source.splits["train"][0].name == "pictures/a.png" and source.splits["test"][0].label == 0
    for wrong, said in (({"label": ["x", None]}, "row 1 of .* has no label"),
                        ({"image": [1, 2]}, "row 0 of .* has the path 1, which is none"),
                        ({"label": [[1], [2]]}, "row 0 of .* has the label .1., which is none")):
        tables.write_table(pyarrow.table({**columns, **wrong}), pictures / "l.parquet")
        with pytest.raises(Refused, match=said):
            sources.recognise(pictures / "l.parquet")
    tables.write_table(pyarrow.table({"a": [1]}), pictures / "l.parquet")
    with pytest.raises(Refused, match="no column of paths"):
        sources.recognise(pictures / "l.parquet")
