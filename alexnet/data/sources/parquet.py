"""Hugging Face's image Parquet: a column of pictures (a struct of bytes and path, or bytes alone) and a column of labels, with the
classes' names in the schema. Its pages are compressed, so the pictures are unpacked first, encoded as they are."""

import functools
import hashlib
import json
import os

import numpy as np

from alexnet.data.sources import folders, naming
from alexnet.data.sources.listing import Entry
from alexnet.errors import Refused

LAYOUT = "image Parquet (a column of pictures' bytes and one of labels, in train-00000-of-00001.parquet)"
ENDINGS = (".parquet", ".pq")
PICTURES = ("image", "img", "picture", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes")
LABELS = ("label", "labels", "cls", "class", "target", "fine_label", "fine_labels", "class_label", "class_id", "class_name")
BLOCK = 64  # pictures in memory at a time


def read(path):
    if os.path.isdir(path):
        folder, found = path, naming.files(path, ENDINGS)
    else:
        folder, found = os.path.dirname(path), [os.path.basename(path)]
        if not path.lower().endswith(ENDINGS) or not os.path.isfile(path):
            return None
    if not found:
        return None
    if not _pyarrow():
        if os.path.isdir(path) and folders.read(path):
            return None  # class folders with a table beside them
        raise Refused(f"{os.path.join(folder, found[0])} is Parquet, which pyarrow reads: pip install 'alexnet[parquet]'.")
    notes, tables = [], {}
    for name in found:
        schema = opened(os.path.join(folder, name)).schema_arrow
        if picture := _picture_column(schema, os.path.join(folder, name)):
            tables[name] = picture
    if not tables:
        return None
    if rest := [name for name in found if name not in tables]:
        notes.append(f"{folders.some(rest)} was left out: it has no column of pictures")
    return _source(path, folder, tables, notes)


def _pyarrow():
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        return False
    return True


def opened(path):
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        naming.refuse_pointer(path)
        return parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(path, error) from None


def damaged(path, error):
    return Refused(f"{path} cannot be read as Parquet ({str(error).splitlines()[0].rstrip('.')}): fetch it again.")


def _picture_column(schema, path):
    """-> the path of the leaf that holds the bytes (image.bytes, or image), or None."""
    from pyarrow import types

    def is_bytes(kind):
        return types.is_binary(kind) or types.is_large_binary(kind)

    leaves = {}
    for column in schema:
        if types.is_struct(column.type):
            inside = {part.name: part.type for part in column.type}
            if "bytes" in inside and is_bytes(inside["bytes"]):
                leaves[column.name] = f"{column.name}.bytes"
        elif is_bytes(column.type):
            leaves[column.name] = column.name
    known = [name for wanted in PICTURES for name in leaves if name.lower() == wanted]
    structs = [name for name, leaf in leaves.items() if leaf != name]
    if not known and len(structs) > 1:
        raise Refused(f"{path} has several columns of pictures ({', '.join(structs)}): call the one to take image.")
    return next((leaves[name] for name in [*known, *structs]), None)  # bytes of no known name may be anything


def _source(path, folder, tables, notes):
    named, column, entries = None, None, {}
    for split, names in naming.by_split(list(tables), notes).items():
        entries[split] = []
        for name in names:
            file = os.path.join(folder, name)
            table = opened(file)
            if column is None:
                column = _label_column(table.schema_arrow, file, notes)
            names_here = _class_names(table.schema_arrow, column)
            if named and names_here and names_here != named:
                raise Refused(f"{file} names other classes than the files before it: prepare them one by one.")
            named = named or names_here
            entries[split] += _entries(table, file, name, column, tables[name])
    every = [entry for split in entries.values() for entry in split]
    if len({entry.name for entry in every}) < len(every) or "" in {entry.name for entry in every}:
        entries = {split: [_numbered(entry, folder) for entry in those] for split, those in entries.items()}
    source = naming.labelled("image Parquet", path, entries, named=named, notes=notes)
    used = {entry.path for split in source.splits.values() for entry in split}
    leaf_of = {file: leaf for name, leaf in tables.items() if (file := os.path.join(folder, name)) in used}
    source.bytes = sum(_leaf_bytes(file, leaf) for file, leaf in leaf_of.items())
    # from the source itself, so that splits made of it meanwhile (prepare --holdout) are those that are unpacked
    source.unpack = functools.partial(_unpack, source, leaf_of)
    return source


def _label_column(schema, path, notes):
    known = [name for wanted in LABELS for name in schema.names if name.lower() == wanted]
    if not known:
        known = [name for name in schema.names if _class_names(schema, name)]
    if not known:
        raise Refused(f"{path} has pictures and no column of labels ({', '.join(LABELS[:4])}, ...): its columns are "
                      f"{', '.join(schema.names)}; call the one with the labels label.")
    also = [name for name in schema.names if name not in known and name.lower().endswith(("label", "labels", "class"))]
    if known[1:] + also:
        notes.append(f"the labels are those of the column {known[0]}; left out: {', '.join(known[1:] + also)}")
    return known[0]


def _class_names(schema, column):
    """The names that Hugging Face keeps in the schema, in the order of the labels, or None."""
    try:
        feature = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][column]
        return [str(name) for name in feature["names"]]
    except (KeyError, TypeError, ValueError):
        return None


def _entries(table, file, name, column, leaf):
    """Entries as they lie in the table: of each the row, as its offset."""
    import pyarrow

    if column not in table.schema_arrow.names:
        raise Refused(f"{file} has no column {column}, which the files before it have: make them alike.")
    struct = leaf.removesuffix(".bytes")
    inside = [part.name for part in table.schema_arrow.field(struct).type] if leaf != struct else []
    columns = [column, *([f"{struct}.path"] if "path" in inside else [])]
    try:
        rows = table.read(columns=columns)
        labels = rows.column(column).to_pylist()
        paths = rows.column(struct).combine_chunks().field("path").to_pylist() if "path" in inside else [""] * len(labels)
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(file, error) from None
    wrong = next((label for label in labels if not isinstance(label, (int, str, type(None)))), None)
    if wrong is not None:
        raise Refused(f"{file} has {wrong!r} in its column {column}: a label is one whole number or one word.")
    return [
        Entry(path or "", label if not isinstance(label, str) else label.strip() or None, file, None, row)
        for row, (label, path) in enumerate(zip(labels, paths))
    ]


def _numbered(entry, folder):
    return entry._replace(name=f"{os.path.relpath(entry.path, folder)}/{entry.offset:05d}")


def _leaf_bytes(file, leaf):
    """What the pictures of a file take, at most: the length of its pages before they were compressed."""
    facts = opened(file).metadata
    groups = [facts.row_group(number) for number in range(facts.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    return sum(column.total_uncompressed_size for column in columns if column.path_in_schema == leaf)


def _unpack(source, leaf_of, folder, tell):
    splits, places = {}, {}
    for split, entries in source.splits.items():
        splits[split] = []
        for entry in entries:
            if entry.path not in places:
                places[entry.path] = _unpacked(entry.path, leaf_of[entry.path], folder, tell)
            path, starts, lengths = places[entry.path]
            splits[split].append(entry._replace(path=path, offset=int(starts[entry.offset]), length=int(lengths[entry.offset])))
    return type(source)(source.kind, source.path, source.classes, splits, source.licence, source.notes)


def _unpacked(file, leaf, folder, tell):
    """-> (the file with the pictures one after the other, where each begins, how long each is). Named by what it was made from, and
    its lengths are written last, so that it is whole when they are there."""
    status = os.stat(file)
    key = hashlib.blake2b(repr((os.fsencode(file), status.st_size, status.st_mtime_ns, leaf)).encode(), digest_size=12).hexdigest()
    path, index = os.path.join(folder, f"{key}.pictures"), os.path.join(folder, f"{key}.npy")
    if os.path.isfile(index):
        lengths = np.load(index)
        tell(len(lengths))
    else:
        lengths = []
        with open(path, "wb") as out:
            for pictures in _pictures(file, leaf):
                for picture in pictures:
                    data = picture.as_buffer() if picture.is_valid else b""
                    lengths.append(len(data))
                    out.write(data)
                tell(len(pictures))
        lengths = np.array(lengths, np.int64)
        np.save(f"{path}.npy", lengths)
        os.replace(f"{path}.npy", index)
    return path, np.cumsum(lengths) - lengths, lengths


def _pictures(file, leaf):
    import pyarrow

    struct = leaf.removesuffix(".bytes")
    try:
        for batch in opened(file).iter_batches(BLOCK, columns=[leaf]):
            column = batch.column(0)
            yield column if leaf == struct else column.field("bytes")
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(file, error) from None
