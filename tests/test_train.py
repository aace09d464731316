"""The loop: interrupted and resumed = uninterrupted, bit for bit; signals; alarms; refusals; stops."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import alexnet
from alexnet import optim, parts, rundir, weights
from alexnet import train as loop
from alexnet.data import store as stores
from alexnet.errors import Misused, Refused

SHORT = dict(recipe="tiny", epochs=2, batch_size=16, precision="float32")  # 8 steps an epoch


class Killed(BaseException):
    pass


def final(run, name="last"):
    return load_file(Path(run) / "checkpoints" / name / "weights.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    """Uninterrupted, one worker."""
    run = tmp_path_factory.mktemp("whole") / "run"
    alexnet.train(store, out=run, workers=1, **SHORT)
    return run


def killed_after(monkeypatch, steps, store, out, **settings):
    """Train, die in the middle of that step as kill -9 would have it, with nothing saved on the way out."""
    real, count = loop.Loop.one_step, iter(range(10**6))

    def one_step(self, *batch):
        if next(count) == steps:
            raise Killed
        real(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "one_step", one_step)
        with pytest.raises(Killed):
            alexnet.train(store, out=out, resume=True, **settings)


@pytest.mark.parametrize("steps, save_minutes, workers", [(0, 5.0, 1), (3, 0.0, 3), (8, 0.0, 2), (13, 5.0, 3)])
def test_killed_and_resumed_is_uninterrupted(monkeypatch, store, whole, tmp_path, steps, save_minutes, workers):
    killed_after(monkeypatch, steps, store, tmp_path / "run", save_minutes=save_minutes, workers=workers, **SHORT)
    alexnet.train(store, out=tmp_path / "run", resume=True, **SHORT)
    assert same(final(whole), final(tmp_path / "run"))
    assert same(final(whole, "best"), final(tmp_path / "run", "best"))
    ours, theirs = ([{k: line[k] for k in ("epoch", "images", "train_loss", "val_top1_error", "log_loss", "lr")}
                     for line in rundir.epochs(r)] for r in (tmp_path / "run", whole))
    assert ours == theirs


@pytest.mark.parametrize("recipe, net, changes", [
    ("modern", "small32_batchnorm", {"averaging": 0.9, "mixing": 0.4, "least_side": 0.5}),
    ("modern", "tiny64", {"update": "muon", "averaging": 0.0}),
    ("paper", "tiny64", {"patience": 1}), ("as_run", "tiny64", {})])
def test_every_recipe_resumes_exactly(monkeypatch, store, pictures, tmp_path, recipe, net, changes):
    if net.startswith("small32"):
        alexnet.prepare(str(pictures), str(tmp_path / "store"), size=32, workers=1)
        store = tmp_path / "store"
    settings = dict(recipe=recipe, net=net, epochs=3, batch_size=32, precision="float32", **changes)
    alexnet.train(store, out=tmp_path / "whole", **settings)
    killed_after(monkeypatch, 7, store, tmp_path / "run", save_minutes=0.0, **settings)
    alexnet.train(store, out=tmp_path / "run", resume=True, **settings)
    assert same(final(tmp_path / "whole"), final(tmp_path / "run"))


def command(store, out, *more):
    words = ["train", store, "--out", out, "--recipe", "tiny", "--epochs", 2, "--batch-size", 16, "--precision", "float32", *more]
    return [sys.executable, "-m", "alexnet", *map(str, words)]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}


@pytest.mark.slow
def test_kill_9_of_the_command_and_another_number_of_workers(store, whole, tmp_path):
    """A real process, really killed, wherever it happens to be; seeded, so that a failure can be seen again."""
    run, moments = tmp_path / "run", random.Random(7)
    for _ in range(2):
        process = subprocess.Popen(command(store, run, "--resume", "--save-minutes", 0, "--workers", 3), env=environment(),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(1.5, 4.0))
        process.kill()
        process.wait()
    subprocess.run(command(store, run, "--resume"), check=True, capture_output=True, env=environment())
    assert same(final(whole), final(run))


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_finish_the_step_save_and_say_so(store, whole, tmp_path, number, code):
    run = tmp_path / "run"
    process = subprocess.Popen(command(store, run, "--epochs", 300), env=environment(), stderr=subprocess.PIPE, text=True,
                               stdout=subprocess.DEVNULL)
    while not (run / "checkpoints" / "last").exists():
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == code and "--resume" in said and "Traceback" not in said
    assert rundir.RunDir(run).load("last")


SIGUSR1 = """
import json, os, signal, sys
import alexnet
from alexnet.train import Loop

store, out, settings = sys.argv[1:]
real, seen = Loop.one_step, []

def one_step(self, *batch):
    real(self, *batch)
    seen.append(os.path.exists(out + "/checkpoints/last"))
    if len(seen) == 3:
        os.kill(os.getpid(), signal.SIGUSR1)

Loop.one_step = one_step
alexnet.train(store, out=out, **json.loads(settings))
print(json.dumps(seen))
"""


def test_sigusr1_saves_and_goes_on(store, whole, tmp_path):
    words = [sys.executable, "-c", SIGUSR1, str(store), str(tmp_path / "run"), json.dumps(SHORT)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[:5] == [False, False, False, True, True] and same(final(whole), final(tmp_path / "run"))


def test_a_disk_that_is_full_ends_the_training(monkeypatch, store, tmp_path):
    def full(path, content):
        if path.parent.name == "last-new":
            raise OSError(28, "No space left on device")
        real(path, content)

    real, done = rundir.write_file, []
    monkeypatch.setattr(rundir, "write_file", full)
    with pytest.raises(Refused, match="No space.*--resume goes on"):
        alexnet.train(store, out=tmp_path / "run", on_epoch=done.append, **SHORT | {"epochs": 5})
    assert len(done) == 2  # at the next save, not at the end of all


def test_a_finished_run_says_so(store, whole, capsys):
    before = final(whole)
    answer = alexnet.train(store, out=whole, resume=True, **SHORT)
    assert answer["epoch"] == 2 and "finished" in capsys.readouterr().err and same(before, final(whole))
    (whole / "report.html").touch()
    assert subprocess.run(command(store, whole, "--resume"), capture_output=True).returncode == 0
    assert not (whole / "report.html").stat().st_size  # nothing was trained, so nothing is drawn anew


def test_the_runs_folder(whole):
    config, env = (json.loads((whole / name).read_text()) for name in ("config.json", "environment.json"))
    assert config["recipe"]["name"] == "tiny" and config["net"] == "tiny64" and config["precision"] == "float32"
    assert {"torch", "python", "device", "threads", "commit", "data_fingerprint", "command"} <= env.keys()
    lines = rundir.epochs(whole)
    assert [line["epoch"] for line in lines] == [1, 2] and all(line["images"] == 128 and line["val_images"] == 48 for line in lines)
    assert {"epoch", "images", "train_loss", "val_images", "val_top1_error", "val_top5_error", "log_loss", "lr",
            "images_per_second"} <= lines[0].keys()
    assert len((whole / "metrics.csv").read_text().splitlines()) == 3
    assert weights.read_card(whole)["epoch"] in (1, 2)


def test_what_is_measured_is_what_is_kept(run, store):
    """The epoch's line and `alexnet evaluate` agree on the best epoch's weights."""
    best = min(rundir.epochs(run), key=lambda line: line["val_top1_error"])
    answer = alexnet.evaluate(run, store)
    assert answer["top1_error"] == best["val_top1_error"]
    assert answer["log_loss"] == pytest.approx(best["log_loss"], rel=1e-4)


def test_the_share_dropped_is_part_of_the_net(store, tmp_path):
    short = {**SHORT, "epochs": 1}
    alexnet.train(store, out=tmp_path / "none", net="tiny64,dropout=none", **short)
    alexnet.train(store, out=tmp_path / "zero", net="tiny64", dropout=0, **short)
    alexnet.train(store, out=tmp_path / "half", dropout=0.5, **short)
    alexnet.train(store, out=tmp_path / "third", dropout=0.3, **short)
    assert same(final(tmp_path / "none"), final(tmp_path / "zero"))
    assert not same(final(tmp_path / "zero"), final(tmp_path / "half"))
    assert not same(final(tmp_path / "half"), final(tmp_path / "third"))
    assert alexnet.load(tmp_path / "third").card["net"] == "tiny64,dropout=0.3"
    alexnet.train(store, out=tmp_path / "third", resume=True, net="tiny64", dropout=0.3, **short)
    with pytest.raises(Refused, match="net 'tiny64,dropout=0.3', not 'tiny64,dropout=0.5'"):
        alexnet.train(store, out=tmp_path / "third", resume=True, net="tiny64", dropout=0.5, **short)
    with pytest.raises(Misused, match="below 1"):
        alexnet.train(store, out=tmp_path / "other", dropout=1, **short)


def test_resuming_as_something_else_is_refused(store, whole, tmp_path, pictures):
    for changes, answer in (({"rate": 0.5}, "rate 0.01, not 0.5"), ({"recipe": "paper"}, "recipe 'tiny', not 'paper'"),
                            ({"net": "small64"}, "net 'tiny64', not 'small64'")):
        with pytest.raises(Refused, match=answer):
            alexnet.train(store, out=whole, resume=True, **{**SHORT, **changes})
    for changes, answer in (({"seed": 5}, "seed 0, not 5"), ({"holdout": 0.2}, "holdout 0.0, not 0.2")):
        with pytest.raises(Refused, match=answer):
            alexnet.train(store, out=whole, resume=True, **SHORT, **changes)
    with pytest.raises(Refused, match="not empty"):
        alexnet.train(store, out=whole, **SHORT)
    other = tmp_path / "store"
    alexnet.prepare(str(pictures), str(other), size=64, encoding="jpeg", workers=1)
    with pytest.raises(Refused, match="not the store this run was started on"):
        alexnet.train(other, out=whole, resume=True, **SHORT)
    mixed = tmp_path / "mixed"
    shutil.copytree(store / "train", mixed / "train")
    shutil.copytree(other / "val", mixed / "val")
    with pytest.raises(Refused, match="mixed/val is not the store"):
        alexnet.train(mixed, out=whole, resume=True, **SHORT)


def test_stops(store, tmp_path):
    ended = alexnet.train(store, out=tmp_path / "error", stop_error=0.99, **{**SHORT, "epochs": 50})
    assert "error asked for" in ended["stopped"] and ended["epoch"] < 50
    ended = alexnet.train(store, out=tmp_path / "minutes", stop_minutes=0.0001, **{**SHORT, "epochs": 50})
    assert "minutes asked for" in ended["stopped"] and ended["epoch"] == 1
    ended = alexnet.train(store, out=tmp_path / "patience", stop_patience=1, **{**SHORT, "epochs": 50, "rate": 1e-9})
    assert "without a better error" in ended["stopped"] and ended["epoch"] <= 3


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(monkeypatch, store, tmp_path):
    run = tmp_path / "run"
    real = loop.augment.augment

    def poisoned(pictures, draws, **settings):
        batch = real(pictures, draws, **settings)
        return batch * float("nan") if poisoned.step == 11 else batch

    def one_step(self, *batch):
        poisoned.step = self.epoch * self.steps + self.step
        step(self, *batch)

    step = loop.Loop.one_step
    monkeypatch.setattr(loop.augment, "augment", poisoned)
    monkeypatch.setattr(loop.Loop, "one_step", one_step)
    with pytest.raises(Refused, match="epoch 2, step 4 is not a finite number"):
        alexnet.train(store, out=run, save_minutes=0.0, **SHORT)
    kept = rundir.RunDir(run).load("last")
    assert json.loads(kept["loop.json"])["step"] == 3
    assert all(value.isfinite().all() for value in final(run).values() if value.is_floating_point())


def test_the_plateau_alarm_sounds_once(monkeypatch, store, tmp_path, capsys):
    """Biases and weights at zero rate: nothing can be learnt, and somebody says so after 500 updates."""
    monkeypatch.setattr(loop, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(loop.Loop, "one_step", lambda self, pictures, labels: still(self, labels))
    alexnet.train(store, out=tmp_path / "run", **{**SHORT, "epochs": 70})
    said = capsys.readouterr().err
    assert said.count("nothing is learnt yet") == 1 and "ln(16)" in said
    assert [event["event"] for event in rundir.read_log(tmp_path / "run")].count("alarm") == 1


def still(loop, labels):
    loop.totals += torch.tensor([np.log(16) * len(labels), len(labels)], dtype=torch.float64)
    loop.step += 1


def test_a_holdout_decides_where_there_is_no_val(store, tmp_path):
    line = alexnet.train(store, out=tmp_path / "run", holdout=0.25, **{**SHORT, "epochs": 1})
    assert line["images"] == 96 and line["val_images"] == 32 and "held out" in line["select"]
    measured = weights.read_card(tmp_path / "run")["errors"][0]
    assert measured["split"] == "0.25 of train, held out" and measured["fingerprint"] is None  # train's would be that of all of it
    assert "chosen" not in alexnet.evaluate(tmp_path / "run", store, split="train")["note"]


@pytest.fixture
def odd(store, monkeypatch):
    """The store with something wrong in it."""
    def with_(change):
        real = stores.open_split

        def opened(path, split="train"):
            part = real(path, split)
            change(part)
            return part

        monkeypatch.setattr(parts, "open_split", opened)
    return with_


def test_odd_data_are_refused(odd, store, tmp_path):
    odd(lambda part: setattr(part, "classes", part.classes[:1]))
    with pytest.raises(Refused, match="one class only, 'astronaut'"):
        alexnet.train(store, out=tmp_path / "a", **SHORT)
    odd(lambda part: setattr(part, "labels", part.labels + 5))
    with pytest.raises(Refused, match="outside its 16 classes"):
        alexnet.train(store, out=tmp_path / "b", **SHORT)
    odd(lambda part: setattr(part, "classes", part.classes[::-1]) if part.name == "val" else None)
    with pytest.raises(Refused, match="other classes"):
        alexnet.train(store, out=tmp_path / "c", **SHORT)


def test_rows_that_do_not_fit_are_refused_naming_those_that_do(store, tmp_path):
    with pytest.raises(Refused, match="paper takes pictures of 224 to 336 pixels, the store has 64.*small64"):
        alexnet.train(store, out=tmp_path / "a", **SHORT, net="paper")
    with pytest.raises(Misused, match="did you mean"):
        alexnet.train(store, out=tmp_path / "b", **SHORT, net="smal64")
    with pytest.raises(Refused, match="no split 'tune' to decide on"):
        alexnet.train(store, out=tmp_path / "c", **SHORT, select="tune")
    assert not any(tmp_path.iterdir())  # what was refused leaves nothing behind


def test_settings_reach_the_optimiser(monkeypatch, store, tmp_path):
    """as_run's late phase: conv1 does not move any more, the others do."""
    seen = []
    real = optim.apply
    monkeypatch.setattr(optim, "apply", lambda rule, now: (seen.append(now), real(rule, now)))
    alexnet.train(store, out=tmp_path / "run", recipe="as_run", net="tiny64", epochs=4, batch_size=64)
    assert [s.rate for s in seen][:2] == [0.01] * 2 and seen[-1].rate == 1e-5 and seen[-1].layers == {"conv1": 0}


# ---- beginning from other weights ------------------------------------------------------------------------------------


def test_from_copies_what_fits_and_says_what_is_new(whole, store, tmp_path, capsys):
    line = alexnet.train(store, out=tmp_path / "run", from_=whole, net="tiny64,pooling=average", rate=0.0, **{**SHORT, "epochs": 1})
    assert line["epoch"] == 1
    begun, source = final(tmp_path / "run"), final(whole, "best")
    assert all(torch.equal(begun[name], source[name]) for name in source)  # a rate of zero left them as they came
    said = capsys.readouterr().err
    assert said.count("copied") == 8
    event = next(e for e in map(json.loads, open(tmp_path / "run/log.jsonl")) if e["event"] == "from")
    assert [one["layer"] for one in event["layers"]] == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]


def test_copy_takes_only_what_it_names(whole, store, tmp_path, capsys):
    alexnet.train(store, out=tmp_path / "run", from_=whole, copy="conv", net="tiny64", rate=0.0, **{**SHORT, "epochs": 1})
    begun, source = final(tmp_path / "run"), final(whole, "best")
    assert torch.equal(begun["conv5.weight"], source["conv5.weight"]) and not torch.equal(begun["fc6.weight"], source["fc6.weight"])
    assert "fc6         new: not asked for" in capsys.readouterr().err


def test_other_shapes_and_other_classes_begin_anew(whole):
    from alexnet.net import AlexNet
    from alexnet.nets import row

    card = weights.read_card(whole)
    same = [tuple(c) for c in card["classes"]]
    wider = AlexNet("small64", classes=len(same), seed=0)
    with pytest.raises(Refused, match="nothing of .* fits small64"):
        weights.copy_into(wider, whole, classes=same)
    net = AlexNet(row("tiny64"), classes=len(same), seed=0)
    lines = {line["layer"]: line for line in weights.copy_into(net, whole, classes=[("x", "x")] * len(same))}
    assert not lines["fc8"]["copied"] and lines["fc8"]["why"] == "other classes" and lines["fc7"]["copied"]


def test_a_net_for_larger_pictures_begins_as_the_same_function_of_stretched_maps(whole):
    from alexnet.net import AlexNet, stretched
    from alexnet.nets import changed

    source, _, card = weights.read(whole)
    net = AlexNet(changed(source.row, "larger", "", crop=72), classes=len(card["classes"]), seed=0)
    lines = weights.copy_into(net, whole, classes=[tuple(c) for c in card["classes"]])
    assert all(line["copied"] for line in lines)
    assert next(line["why"] for line in lines if line["layer"] == "fc6") == "from maps of 3 x 3 to 4 x 4"
    maps = torch.randn(5, 128, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(net.fc6(maps), source.fc6(stretched(maps, (3, 3))), atol=1e-5)
    assert not torch.allclose(net.fc6(maps), source.fc6(maps[:, :, :3, :3]), atol=1e-2)


def test_a_run_from_other_weights_is_resumed_to_the_same_bits(whole, store, tmp_path, monkeypatch):
    settings = dict(from_=whole, copy="conv", net="tiny64", **SHORT)
    alexnet.train(store, out=tmp_path / "run", **settings)
    killed_after(monkeypatch, 11, store, tmp_path / "again", save_minutes=0.0, **settings)
    alexnet.train(store, out=tmp_path / "again", resume=True)
    assert same(final(tmp_path / "run"), final(tmp_path / "again"))
    with pytest.raises(Refused, match="has copy 'conv'"):
        alexnet.train(store, out=tmp_path / "again", resume=True, copy="fc")
    with pytest.raises(Misused, match="name that too"):
        alexnet.train(store, out=tmp_path / "other", copy="fc", **SHORT)


def test_own_rates_freeze_by_prefix(store, tmp_path):
    alexnet.train(store, out=tmp_path / "run", rates="conv=0,fc8=0.001", net="tiny64", **{**SHORT, "epochs": 1})
    from alexnet.net import AlexNet

    begun, after = AlexNet("tiny64", classes=len(weights.read_card(tmp_path / "run")["classes"]), seed=0), final(tmp_path / "run")
    assert torch.equal(begun.conv3.weight, after["conv3.weight"]) and torch.equal(begun.conv3.bias, after["conv3.bias"])
    assert not torch.equal(begun.fc7.weight, after["fc7.weight"]) and not torch.equal(begun.fc8.weight, after["fc8.weight"])
