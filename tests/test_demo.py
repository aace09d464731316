"""The demo from end to end on fewer pictures, again on top of itself, and its honesty."""

from functools import partial

import pytest

from alexnet import demo
from alexnet.data import sample
from alexnet.errors import Refused


def test_demo_and_again(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(sample, "write", partial(sample.write, train=8, val=3))
    found = demo.demo(out=str(tmp_path / "demo"), epochs=1)
    assert (tmp_path / "demo" / "report.html").exists() and (tmp_path / "demo" / "run" / "config.json").exists()
    assert [one["views"] for one in found["evaluations"]] == [1, 10] and found["classes"] == 16
    assert "ten views" in (tmp_path / "demo" / "report.html").read_text()
    assert len(found["answers"]) >= 3 and found["chance_top1_error"] == 15 / 16
    again = demo.demo(out=str(tmp_path / "demo"), epochs=1)
    assert again["evaluations"][0]["top1_error"] == found["evaluations"][0]["top1_error"]
    said = capfd.readouterr()
    assert said.out == "" and "already" in said.err and "finished" in said.err


def test_demo_leaves_other_folders_alone(tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(Refused, match="holds no demo"):
        demo.demo(out=str(tmp_path))


@pytest.mark.parametrize(
    "error, high, said",
    [
        (0.1, 0.15, "Far better than chance: right on 90 of 100"),
        (0.7, 0.8, "Better than"),
        (0.93, 0.95, "no better than guessing"),
    ],
)
def test_what_is_claimed_is_what_was_measured(error, high, said):
    assert said in demo.verdict({"top1_error": error, "top1_interval": [0, high]}, 0.9375)
