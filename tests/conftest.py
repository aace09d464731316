"""What many tests stand on: a small real store, made once by the commands themselves, and a net trained on it."""

import os
from pathlib import Path

import pytest
import torch

import alexnet
from alexnet.data import sample

os.environ["NO_COLOR"] = "1"
# what is compiled is kept here, for the next time too, and not in the cache folder of whoever runs the tests
os.environ["ALEXNET_HOME"] = str(Path(__file__).parents[1] / ".pytest_cache" / "alexnet")
torch.set_num_threads(min(2, os.cpu_count()))


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
