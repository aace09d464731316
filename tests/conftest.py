"""What many tests stand on: a small real store, made once by the commands themselves, and a net trained on it."""

import os
from pathlib import Path

import pytest
import torch

import alexnet
from alexnet import nets, weights
from alexnet.data import sample

os.environ["NO_COLOR"] = "1"
# what is compiled is kept here, for the next time too, and not in the cache folder of whoever runs the tests
os.environ["ALEXNET_HOME"] = str(Path(__file__).parents[1] / ".pytest_cache" / "alexnet")
if "PYTEST_XDIST_WORKER" in os.environ:  # a core each: threads that wait for each other across processes cost more than they give
    os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else min(2, os.cpu_count()))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Class folders of the embedded photographs: 16 classes, 8 + 3 crops of 64 pixels each."""
    folder = tmp_path_factory.mktemp("pictures")
    sample.write(folder, size=64, train=8, val=3)
    return folder


@pytest.fixture(scope="session")
def store(pictures, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "small"
    alexnet.prepare(str(pictures), str(path), size=64, workers=1)
    return path


@pytest.fixture(scope="session")
def run(store, tmp_path_factory):
    """A finished run of two epochs."""
    path = tmp_path_factory.mktemp("run") / "tiny"
    alexnet.train(store, recipe="tiny", out=path, epochs=2, batch_size=16, precision="float32")
    return path


@pytest.fixture(autouse=True)
def table_of_rows():
    """Rows that experiments add do not outlive a test."""
    before = dict(nets.ROWS)
    yield
    nets.ROWS.clear()
    nets.ROWS.update(before)


@pytest.fixture
def plain(run, tmp_path):
    """The run's weights as a file of their own, chosen on nothing."""
    net, mean, card = weights.read(run)
    weights.write(tmp_path / "plain.safetensors", net, mean, {**card, "errors": []})
    return tmp_path / "plain.safetensors"


@pytest.fixture
def other(run, tmp_path):
    """Another net for the same pictures, sure of nothing."""
    net, mean, card = weights.read(run)
    path = tmp_path / "other.safetensors"
    weights.write(path, alexnet.AlexNet(net.row, classes=16, seed=9), mean, {**card, "errors": [], "data": {}})
    return path
