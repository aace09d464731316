"""A table with a row a picture, as a file: Parquet, CSV or JSON lines, by the ending of its name. Columns are arrays; a column of
several values a picture is a list there, and numbered columns in CSV."""

import csv
import json
import os
from pathlib import Path

import numpy as np

from alexnet.errors import Misused, Refused
from alexnet.rundir import placing

ENDINGS = (".parquet", ".csv", ".jsonl")


def check(path, *, option, endings=ENDINGS):
    """Refuse, before the work, a file that could not be written after it."""
    path = Path(path)
    if path.suffix.lower() not in endings:
        raise Misused(f"{option} is {as_text(path)!r}; its ending may be {', '.join(endings[:-1])} or {endings[-1]}.")
    if not path.absolute().parent.is_dir():
        raise Refused(f"{option} {as_text(path)}: the folder {as_text(path.parent)} is not there; make it first.")
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise Refused("writing .parquet needs pyarrow: pip install 'alexnet[parquet]', or name a .csv or .jsonl.") from None


def as_text(name):
    """A name of the source; what is not UTF-8 in it stands escaped."""
    try:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a character, as JSON may have it
        return os.fspath(name).encode("utf-8", "backslashreplace").decode()


def write(path, columns):
    """columns: {name: N values, or an array (N, k)}. Half a file is never left behind."""
    path, ending = Path(path), Path(path).suffix.lower()
    with placing(path) as new:
        if ending == ".parquet":
            write_parquet(new, columns)
        else:
            with open(new, "w", encoding="utf-8", newline="") as file:
                (write_csv if ending == ".csv" else write_jsonl)(file, columns)


def write_csv(file, columns):
    flat = {}
    for name, values in columns.items():
        wide = getattr(values, "ndim", 1) == 2
        flat.update({f"{name}_{k + 1}": values[:, k] for k in range(values.shape[1])} if wide else {name: values})
    table = csv.writer(file)
    table.writerow(flat)
    table.writerows(zip(*(map(short, plain(values)) for values in flat.values())))


def short(value):
    return f"{value:.6g}" if isinstance(value, float) else value


def write_jsonl(file, columns):
    for row in zip(*map(plain, columns.values())):
        file.write(json.dumps(dict(zip(columns, row)), ensure_ascii=False) + "\n")


def write_parquet(path, columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    def column(values):
        if getattr(values, "ndim", 1) == 1:
            return pa.array(values)
        return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])

    pq.write_table(pa.table({name: column(values) for name, values in columns.items()}), path)


def plain(values):
    return values.tolist() if hasattr(values, "tolist") else values
