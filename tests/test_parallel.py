"""N processes are one: shares are the joined batch's rows, and training together ends at the same weights, also after a kill
and on another number of processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from alexnet import parallel
from alexnet.data import augment, order

TOGETHER = Path(__file__).parent / "together.py"
SETTINGS = {"recipe": "modern", "net": "tiny64,norm=batch", "epochs": 2, "batch_size": 34, "mixing": 0.4, "averaging": 0.9}
NETS = ({"net": "tiny64,norm=batch"}, {"net": "tiny64", "rate": 0.02})  # at 0.1 the loss of the second runs to 1e33


def started(processes, *words, script=TOGETHER):
    command = [sys.executable] if processes == 1 else [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--rdzv-backend", "c10d",
        "--rdzv-endpoint", "localhost:0"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TOGETHER.parents[1])}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *map(str, (script, *words))], env=env, **pipes)


def trained(processes, store, out, **changes):
    done = started(processes, store, out, json.dumps({**SETTINGS, **changes}))
    answer, said = done.communicate(timeout=280)
    assert done.returncode == 0, said[-3000:]
    return [json.loads(line) for line in answer.splitlines()]


def weights_of(out):
    return load_file(Path(out) / "checkpoints" / "last" / "weights.safetensors")


def furthest(one, other):
    """The largest difference of two runs' weights, relative to each tensor's largest value."""
    one, other = weights_of(one), weights_of(other)
    assert one.keys() == other.keys()
    return max(float((one[n] - other[n]).abs().max() / other[n].abs().max().clamp(min=1e-9)) for n in one
               if one[n].is_floating_point())


@pytest.mark.parametrize("total", [0, 1, 2, 3, 7, 33, 34, 128])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_shares_cover_the_batch_once_and_keep_neighbours_together(total, count):
    shares = [parallel.share(total, rank, count) for rank in range(count)]
    assert [at for first, end in shares for at in range(first, end)] == list(range(total))
    assert all(first % 2 == 0 for first, _ in shares)
    for most in (0, 1, 4, 5):
        pieces = list(augment.pieces(total, most))
        assert [at for piece in pieces for at in range(total)[piece]] == list(range(total))
        assert all(piece.start % 2 == 0 for piece in pieces)
        assert total < 2 or min(piece.stop - piece.start for piece in pieces) > 1  # batch norm wants two


def test_a_step_knows_its_size():
    for pictures, size in ((100, 32), (97, 32), (128, 32), (3, 32), (33, 32)):
        sizes = [order.size(pictures, size, step) for step in range(order.steps(pictures, size))]
        assert sizes == [len(order.batch(pictures, size, seed=0, epoch=0, step=step)) for step in range(len(sizes))]


@pytest.fixture(scope="module")
def alone(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "run"
    return out, trained(1, store, out)[0]


def test_two_processes_are_one(store, alone, tmp_path):
    """The last batch has 26 pictures, batch norm sees all of a batch, mixed pictures have their partners."""
    out, line = alone
    lines = trained(2, store, tmp_path / "run")
    assert furthest(out, tmp_path / "run") < 1e-10
    for other in lines:
        assert other["images"] == 128 and other["val_images"] == 48 and other["val_top1_error"] == line["val_top1_error"]
        assert other["train_loss"] == pytest.approx(line["train_loss"], rel=1e-10)
        assert other["log_loss"] == pytest.approx(line["log_loss"], rel=1e-6)  # probabilities are kept in float32


@pytest.mark.slow
def test_pieces_of_a_batch_add_up_to_it(store, tmp_path):
    """Without batch norm, whose statistics are a piece's."""
    plain = {"net": "tiny64,norm=none", "epochs": 1, "recipe": "tiny"}
    trained(1, store, tmp_path / "whole", **plain)
    trained(1, store, tmp_path / "pieces", micro_batch=8, **plain)
    assert furthest(tmp_path / "whole", tmp_path / "pieces") < 1e-10


@pytest.mark.slow
def test_each_column_its_own_process(store, alone, tmp_path):
    """The paper's own parallelism, also where the last batch is short: as the grouped net in one process."""
    out, line = alone
    lines = trained(2, store, tmp_path / "run", scheme="columns")
    assert furthest(out, tmp_path / "run") < 1e-10
    assert all(other["images"] == 128 and other["val_top1_error"] == line["val_top1_error"] for other in lines)


@pytest.mark.slow
@pytest.mark.parametrize("scheme, count", [("2014", 2), ("2014", 4), ("columns", 4)])
@pytest.mark.parametrize("net", NETS)
def test_units_and_pictures_divided_are_the_whole_net(store, tmp_path, scheme, count, net):
    line, = trained(1, store, tmp_path / "1", **net)
    trained(count, store, tmp_path / "n", scheme=scheme, **net)
    assert line["train_loss"] < 6 and furthest(tmp_path / "1", tmp_path / "n") < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
def test_three_and_four_processes_are_one(store, tmp_path, net):
    lines = [trained(count, store, tmp_path / str(count), **net)[0] for count in (1, 3, 4)]
    assert max(line["train_loss"] for line in lines) < 6
    assert furthest(tmp_path / "1", tmp_path / "3") < 1e-10 and furthest(tmp_path / "1", tmp_path / "4") < 1e-10


@pytest.mark.slow
def test_stopped_together_and_resumed_alone_and_by_three(store, alone, tmp_path):
    out, _ = alone
    run = tmp_path / "run"
    process = started(2, store, run, json.dumps({**SETTINGS, "save_minutes": 0.0}))
    while not (run / "checkpoints" / "last").exists():
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    trained(3, store, run)
    assert furthest(out, run) < 1e-10
    trained(1, store, run)  # finished


@pytest.mark.slow
def test_a_worker_that_is_killed_comes_back(store, alone, tmp_path):
    """Under torchrun --max-restarts, from the last checkpoint, to the same weights."""
    out, _ = alone
    run = tmp_path / "run"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TOGETHER.parents[1])}
    process = subprocess.Popen([
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "3", "--rdzv-backend", "c10d",
        "--rdzv-endpoint", "localhost:0", str(TOGETHER), str(store), str(run), json.dumps({**SETTINGS, "save_minutes": 0.0})],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (run / "checkpoints" / "last").exists():
        time.sleep(0.05)
        assert process.poll() is None
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(children[-1]), signal.SIGKILL)
    _, said = process.communicate(timeout=280)
    assert process.returncode == 0, said[-3000:]
    assert furthest(out, run) < 1e-10
    assert torch.isfinite(torch.cat([v.flatten().double() for v in weights_of(run).values()])).all()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["columns", "2014"])
def test_bytes_exchanged_are_those_computed(scheme):
    from benches import scale

    found = scale.run(f"two processes, {scheme}", "tiny64", 16, 1)
    assert found["sent"] == pytest.approx(scale.exchanged("tiny64", scheme, 2, 16), rel=0.01)  # norms and biases are few
