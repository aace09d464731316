"""Rows on the disk while more of them come."""

import json

import numpy as np
import pytest

from alexnet.rows import Rows

TABLE = np.arange(40, dtype=np.float32).reshape(10, 4)
OF = ["weights", "fc7"]


def test_it_goes_on_from_the_rows_that_were_kept_and_from_no_others(tmp_path):
    rows = Rows(tmp_path / "a", OF, (10, 4), every=0)
    rows.add(TABLE[:6], errors={"2": "no picture"})
    rows.every = 1e9
    rows.add(TABLE[6:8])  # not kept yet
    again = Rows(tmp_path / "a", OF, (10, 4))
    assert again.done == 6 and again.facts["errors"] == {"2": "no picture"} and (again.table[:6] == TABLE[:6]).all()
    assert Rows(tmp_path / "a", ["others"], (10, 4)).done == Rows(tmp_path / "a", OF, (11, 4)).done == 0
    again.add(TABLE[6:])
    assert Rows(tmp_path / "a", OF, (10, 4)).done == 10 and (Rows(tmp_path / "a", OF, (10, 4)).table == TABLE).all()


@pytest.mark.parametrize("spoil", [
    lambda rows: rows.file.unlink(),
    lambda rows: rows.file.write_bytes(rows.file.read_bytes()[:-1]),
    lambda rows: rows.card.write_text("{"),
    lambda rows: rows.card.write_text(json.dumps({"rows": None})),
    lambda rows: rows.card.write_text("[]"),
])
def test_what_is_not_whole_is_begun_again(tmp_path, spoil):
    rows = Rows(tmp_path / "a", OF, (10, 4), every=0)
    rows.add(TABLE[:6])
    spoil(rows)
    assert Rows(tmp_path / "a", OF, (10, 4)).done == 0


def test_dropped_files_leave_the_rows_readable_and_other_stems_alone(tmp_path):
    for stem, of in (("a", OF), ("a", ["before"]), ("b", OF)):
        rows = Rows(tmp_path / stem, of, (10, 4), every=0)
        rows.add(TABLE)
    rows = Rows(tmp_path / "a", OF, (10, 4))
    (tmp_path / "a").touch()
    rows.drop()
    assert {file.name[:2] for file in tmp_path.iterdir()} == {"a", "b-"} and (rows.table == TABLE).all()


def test_in_memory_and_without_rows(tmp_path):
    rows = Rows(None, OF, (10, 4))
    rows.add(TABLE)
    assert (rows.table == TABLE).all() and not list(tmp_path.iterdir())
    assert Rows(tmp_path / "none", OF, (0, 4)).table.shape == (0, 4)
