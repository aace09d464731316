"""Checkpoints survive a cut at any moment; the log forgets what will happen again."""

import json
import os
import threading
import time

import pytest

from alexnet import rundir
from alexnet.errors import Refused
from alexnet.rundir import RunDir


def files(step, content=b"weights"):
    return {"weights.safetensors": content, "loop.json": json.dumps({"epoch": 1, "step": step}).encode()}


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path / "run")
    run.check(resume=False)
    run.make()
    return run


class Cut(Exception):
    pass


def test_whatever_write_is_cut_a_whole_checkpoint_remains(run, monkeypatch):
    """Every file operation of save() in turn is made to fail, as if the power went just before it."""
    run.save("last", files(1))
    run.save("last", files(2))
    operations = [(rundir.os, "replace"), (rundir.os, "fsync"), (rundir.shutil, "rmtree"), (rundir, "write_file")]
    cuts = 0
    for module, name in operations:
        real = getattr(module, name)
        for nth in range(8):
            calls = iter(range(100))

            def cutting(*args, **kwargs):
                if next(calls) == nth:
                    raise Cut
                return real(*args, **kwargs)

            with monkeypatch.context() as patch:
                patch.setattr(module, name, cutting)
                try:
                    run.save("last", files(3 + cuts))
                except Cut:
                    cuts += 1
            found = run.load("last")
            assert found and json.loads(found["loop.json"])["step"] >= 2
    assert cuts > 8
    run.save("last", files(99))
    assert json.loads(run.load("last")["loop.json"])["step"] == 99


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(run, capsys):
    run.save("last", files(1))
    run.save("last", files(2))
    damaged = run.checkpoints / "last" / "weights.safetensors"
    damaged.write_bytes(b"weightz")
    assert json.loads(run.load("last")["loop.json"])["step"] == 1
    assert "damaged; an older checkpoint takes its place" in capsys.readouterr().err
    os.remove(run.checkpoints / "last-before" / "weights.safetensors")
    assert run.load("last") is None


def test_saving_goes_on_beside_the_caller_in_order_and_a_failure_is_raised(run, monkeypatch):
    real, gate, saved = rundir.write_file, threading.Event(), []

    def slow(path, content):
        gate.wait(10)
        saved.append(path.parent.name)
        real(path, content)

    monkeypatch.setattr(rundir, "write_file", slow)
    run.save_later({"best": files(1), "last": files(1)})
    assert not saved and run.load("last") is None  # the caller is here, and nothing is written
    gate.set()
    run.save_later({"last": files(2)})
    run.settle()
    assert list(dict.fromkeys(saved)) == ["best-new", "last-new"] and json.loads(run.load("last")["loop.json"])["step"] == 2

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rundir, "write_file", full)
    run.save_later({"last": files(3)})
    with pytest.raises(Refused, match="No space.*--resume goes on"):
        run.save_later({"last": files(4)})
    run.settle()  # said once
    assert json.loads(run.load("last")["loop.json"])["step"] == 2


def test_the_log_is_cut_back_and_metrics_follow(run):
    line = {"epoch": 1, "images": 10, "train_loss": 1.0}
    run.log("epoch", **line)
    size = run.log_size()
    run.log("epoch", **{**line, "epoch": 2})
    assert [e["epoch"] for e in rundir.epochs(run.path)] == [1, 2]
    run.cut_log(size)
    assert [e["epoch"] for e in rundir.epochs(run.path)] == [1]
    assert (run.path / "metrics.csv").read_text().splitlines()[1].startswith("1,10,1.0")


def test_a_half_written_line_is_left_out(run):
    run.log("epoch", epoch=1)
    with open(run.path / "log.jsonl", "a") as file:
        file.write('{"event": "epo')
    assert len(rundir.read_log(run.path)) == 1


def test_a_folder_with_something_in_it_is_refused(run):
    run.write("config.json", {})
    with pytest.raises(Refused, match="not empty"):
        RunDir(run.path).check(resume=False)
    RunDir(run.path).check(resume=True)
    with pytest.raises(Refused, match="is a file"):
        RunDir(run.path / "config.json").check(resume=True)
    with pytest.raises(Refused, match="cannot be written"):
        RunDir(run.path / "config.json" / "deeper").make()


def test_two_that_replace_one_file_at_once_both_put_a_whole_one_there(tmp_path, monkeypatch):
    file, real = tmp_path / "card.json", rundir.write_file

    def beside(path, content):
        monkeypatch.setattr(rundir, "write_file", real)
        real(path, content)
        rundir.replace_file(file, b"another's")
        assert file.read_bytes() == b"another's"

    monkeypatch.setattr(rundir, "write_file", beside)
    rundir.replace_file(file, b"mine")
    assert file.read_bytes() == b"mine" and list(tmp_path.iterdir()) == [file]


def test_what_a_write_leaves_behind_is_taken_away(tmp_path, monkeypatch):
    """At once where it fails, by a later write where the process was killed; what another may be writing now stays."""
    file = tmp_path / "card.json"
    rundir.replace_file(file, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(rundir.os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            rundir.replace_file(file, b"new")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]
    for name, age in (("00000000.new", 2 * rundir.STALE), ("11111111.new", 60), ("brandnew.new", 2 * rundir.STALE)):
        (tmp_path / f"card.json.{name}").write_bytes(b"half")
        os.utime(tmp_path / f"card.json.{name}", (time.time() - age,) * 2)
    rundir.replace_file(file, b"new")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["card.json", "card.json.11111111.new", "card.json.brandnew.new"]


def test_tensorboard_gets_what_it_shows_where_it_is_installed(run, monkeypatch):
    """A stand-in for its writer: the tags, the values, the epoch."""
    import sys
    import types

    seen = []

    class Writer:
        def __init__(self, folder, purge_step):
            seen.append((str(folder), purge_step))

        def add_scalar(self, *scalar):
            seen.append(scalar)

        def flush(self):
            pass

    line = {key: number for number, key in enumerate(rundir.METRICS)} | {"epoch": 3}
    run.log("epoch", **line)  # not installed here: nothing happens
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=Writer))
    run.log("epoch", **line)
    assert seen[0] == (str(run.path / "tensorboard"), 3)
    assert ("val/top1_error", line["val_top1_error"], 3) in seen and len(seen) == 1 + len(rundir.EVENTS)
