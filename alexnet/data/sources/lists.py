"""A list of pictures, CSV, TSV or Parquet, with a header: a column of paths, one of labels, optionally one of splits and four of
boxes. A folder with Hugging Face's metadata.csv is such a list too. What is wrong with a list is said with its line."""

import contextlib
import csv
import io
import os

from alexnet.data.sources import naming, parquet
from alexnet.data.sources.folders import SPLIT_OF
from alexnet.data.sources.listing import Entry
from alexnet.errors import Refused, nearest

LAYOUT = "a list (.csv, .tsv or .parquet with the columns path and label, perhaps split and x0, y0, x1, y1)"
ENDINGS = (".csv", ".tsv", *parquet.ENDINGS)
COLUMNS = {  # of each, the first name that is there; other columns, such as group, are passed over
    "path": ("path", "file", "filename", "image", "file_name", "filepath", "image_path"),
    "label": ("label", "class", "cls", "target", "class_name", "labels"),
    "split": ("split", "set", "subset"),
}
BOX = ("x0", "y0", "x1", "y1")
METADATA = "metadata.csv"


def read(path):
    if os.path.isfile(path) and path.lower().endswith(ENDINGS):
        return _source(path, {path: None})
    if os.path.isdir(path):
        found = [name for name in naming.files(path, (METADATA,)) if os.path.basename(name) == METADATA]
        lists = {os.path.join(path, name): naming.split_of(name) for name in found if _is_list(os.path.join(path, name))}
        return _source(path, lists) if lists else None
    return None


def _is_list(file):
    """A metadata.csv may be about anything else."""
    with contextlib.suppress(Refused):
        return {"path", "label"} <= _columns(next(_rows(file), ("", []))[1]).keys()


def _source(path, lists):
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    entries, notes, called = {}, [], {}
    for file, split in lists.items():
        _list(file, folder, split or naming.split_of(os.path.basename(file)) or "train", entries, notes, called)
    if not any(entries.values()):
        raise Refused(f"{path} lists no picture below its header: give a line a picture.")
    return naming.labelled("a list", path, entries, called=called, notes=notes)


def _list(file, top, split, entries, notes, called):
    """Adds the pictures of one list to {split: [Entry]}, with labels as they are written."""
    rows = _rows(file)
    header = next(rows, ("", []))[1]
    columns = _columns(header)
    for wanted in ("path", "label"):
        if wanted not in columns:
            raise Refused(f"{file} has no column of {wanted}s ({', '.join(COLUMNS[wanted])}): its first line has "
                          f"{', '.join(header) or 'nothing'}.")
    folder, seen, again, outside = os.path.dirname(file), {}, 0, 0
    for place, row in rows:
        if len(row) != len(header):
            raise Refused(f"{place} of {file} has {len(row)} columns where the first line has {len(header)}.")
        where = {name: row[number] for name, number in columns.items()}
        label, side = where["label"], _split(where, split, f"{place} of {file}")
        for name, kinds in (("path", str), ("label", (str, int))):
            if where[name] in ("", None):
                raise Refused(f"{place} of {file} has no {name}: give every picture its {name}.")
            if not isinstance(where[name], kinds) or "\0" in str(where[name]):
                raise Refused(f"{place} of {file} has the {name} {where[name]!r}, which is none: give the picture its {name}.")
        full = os.path.normpath(os.path.join(folder, where["path"]))
        before, first = seen.setdefault((side, full), (label, place))
        if before != label:
            raise Refused(f"{place} of {file} gives {where['path']} the label {label}, and {first} {before}: keep one.")
        if first != place:
            again += 1
            continue
        name = full.removeprefix(os.path.join(top, ""))
        if name == full:
            outside += 1
            name = full if os.path.isabs(where["path"]) else os.path.relpath(full, top)
        entries.setdefault(side, []).append(Entry(name, label, full, _box(where, f"{place} of {file}")))
        if where.get("name") and naming.whole(label) is not None:
            called.setdefault(naming.whole(label), (where["name"], where["name"]))
    notes += [f"{again:,} lines of {os.path.basename(file)} name a picture again"] * bool(again)
    notes += [f"{outside:,} pictures of {os.path.basename(file)} lie outside its folder"] * bool(outside)


def _columns(header):
    """-> {what: its place in a line}; "name" is the class's name where another column has the label."""
    lower = [str(name).strip().lower() for name in header]
    found = {what: next(lower.index(name) for name in names if name in lower) for what, names in COLUMNS.items()
             if any(name in lower for name in names)}
    if all(name in lower for name in BOX):
        found |= {name: lower.index(name) for name in BOX}
    if "class_name" in lower and found.get("label") != lower.index("class_name"):
        found["name"] = lower.index("class_name")
    return found


def _split(where, split, place):
    if "split" not in where:
        return split
    side = SPLIT_OF.get(str(where["split"]).strip().lower())
    if side is None:
        raise Refused(f"{place} has the split {where['split']!r}: {nearest(where['split'], SPLIT_OF)}")
    return side


def _box(where, place):
    """Four whole numbers, or None where all four are left empty."""
    corners = [where.get(name) for name in BOX]
    if all(corner in ("", None) for corner in corners):
        return None
    try:
        box = tuple(round(float(corner)) for corner in corners)
    except (ValueError, TypeError, OverflowError):
        box = ()
    if not box or max(map(abs, box)) >= 2**31:
        raise Refused(f"{place} has the box {', '.join(map(str, corners))}: it wants four numbers of pixels, or nothing.")
    return box


def _rows(file):
    """The lines of a list, the header first: ("line 7", its fields)."""
    yield from (_parquet_rows if file.lower().endswith(parquet.ENDINGS) else _csv_rows)(file)


def _csv_rows(file):
    try:
        with open(file, "rb") as stream:
            data = stream.read()
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Refused(f"line {line} of {file} is not UTF-8: save the list as UTF-8.") from None
    except OSError as error:
        raise Refused(f"{file} cannot be read ({error.strerror or error}): make it readable.") from None
    first = text.partition("\n")[0]
    mark = "\t" if file.lower().endswith(".tsv") else max(",;\t", key=first.count)  # a spreadsheet may write ; in a .csv
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        for row in reader:
            if row:
                yield f"line {reader.line_num}", [field.strip() for field in row]
    except csv.Error as error:
        raise Refused(f"line {reader.line_num} of {file} is no line of a list ({error}).") from None


def _parquet_rows(file):
    import pyarrow

    table = parquet.opened(file)
    names = table.schema_arrow.names
    yield "the schema", names
    columns = sorted(_columns(names).values())
    wanted = [names[number] for number in columns]
    try:
        rows = table.read(columns=wanted).to_pydict()
    except (pyarrow.ArrowException, OSError) as error:
        raise parquet.damaged(file, error) from None
    for number, values in enumerate(zip(*(rows[name] for name in wanted))):
        row = [None] * len(names)
        for column, value in zip(columns, values):
            row[column] = value.strip() if isinstance(value, str) else value
        yield f"row {number}", row
