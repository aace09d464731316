"""doctor: what is here is told as it is, what is odd comes as a line that begins with what to do, and nothing makes it fail."""

import importlib.metadata
import json
import os
import subprocess
import sys

import pytest
import torch

import alexnet
from alexnet import answers, cards, cli, engines, machine, ops
from alexnet.doctor import doctor, numbers, outside, versions
from alexnet.ops import native, winograd


@pytest.fixture(scope="module")
def found():
    return doctor()


def test_one_object_on_one_line_and_one_screen_for_people(capfd):
    assert cli.main(["doctor", "--json"]) == 0
    out = capfd.readouterr().out
    keys = {"versions", "processor", "memory", "devices", "precision", "ops", "engines", "decoder", "allocator", "cache", "do"}
    assert out.count("\n") == 1 and keys <= json.loads(out).keys()
    assert cli.main(["doctor"]) == 0
    assert len(capfd.readouterr().out.splitlines()) <= 40


def test_versions_are_those_that_run(found):
    assert found["versions"]["torch"] == torch.__version__ and found["versions"]["alexnet"] == alexnet.__version__
    assert found["processor"]["threads"] == torch.get_num_threads()
    assert not found["versions"].keys() & found["missing"].keys()


def test_every_operation_has_its_backend_and_a_reason(found):
    assert set(ops.__all__) - {"backend", "convolution"} <= found["ops"].keys()
    quick = found["ops"]["convolutions of 3 x 3 and 5 x 5"]["cpu"]
    assert quick["backend"] == ("winograd" if winograd.usable()[0] else "torch") and winograd.usable()[1] in quick["why"]
    batch = torch.zeros(1, 4, 2, 2).contiguous(memory_format=torch.channels_last)
    assert tuple(found["ops"]["response_norm"]["cpu"].values()) == ops.backend(batch)
    assert found["ops"]["blur"]["cpu"]["backend"] == "reference"
    assert ("cuda" in found["ops"]["response_norm"]) == torch.cuda.is_available()


def test_without_the_kernel_each_operation_says_what_it_takes_instead(monkeypatch):
    monkeypatch.setattr(native, "library", lambda: (None, "left out: a test"))
    told = doctor()
    choice = {name: each["cpu"]["backend"] for name, each in told["ops"].items()}
    assert choice["response_norm"] == "cpu" and choice["within_map_norm"] == "reference"
    assert any(line.endswith("left out: a test.") for line in told["do"])


def test_the_engines_are_told_with_reasons(found, monkeypatch):
    assert {one["name"] for one in found["engines"]} == {"openvino", "onnxruntime", "torch"}
    assert all(one["why"] for one in found["engines"])
    monkeypatch.setattr(engines, "available", lambda: [("openvino", False, "openvino is not installed"), ("torch", True, "x")])
    assert any(line.startswith("Install an engine") for line in doctor()["do"])


def test_a_missing_package_names_its_extra(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name in ("pyarrow", "simplejpeg"):
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ['pyarrow>=16; extra == "parquet"', 'pyarrow; extra == "all"'])
    there, missing = versions()
    assert missing["pyarrow"] == "pip install 'alexnet[parquet]'" and missing["simplejpeg"] == "pip install simplejpeg"
    told = doctor()
    assert "Pillow for every picture" in told["decoder"]
    assert any(line.startswith("Install simplejpeg") for line in told["do"])


def test_versions_outside_the_range_are_told():
    there = {"torch": "2.14.0+cpu", "numpy": "1.26.4", "rich": "12.9"}
    lines = outside(there, ["torch<2.14,>=2.11", "numpy>=1.26", "rich>=13", "pyarrow>=16; extra == 'parquet'"])
    assert lines == ["Install torch<2.14: 2.14.0+cpu is here.", "Install rich>=13: 12.9 is here."]
    assert numbers("2.13.0+cpu") == [2, 13, 0]


def test_threads_and_allocator_and_places_that_are_odd(monkeypatch, tmp_path):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setenv("ALEXNET_MALLOC", "default")
    monkeypatch.setenv("ALEXNET_HOME", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(machine, "cores", lambda: {"cores": 64, "allowed": 0.5})
    monkeypatch.setattr(machine, "load", lambda: 7.0)
    lines = doctor()["do"]
    assert any(line.startswith("Wait, or set OMP_NUM_THREADS lower: other work takes the cores (a load of 7.0") for line in lines)
    assert any(line.startswith("Set OMP_NUM_THREADS=1: ") for line in lines)
    assert any(line.startswith("Unset ALEXNET_MALLOC: ") for line in lines)
    assert any(line.startswith("Set ALEXNET_HOME ") for line in lines)


def test_weights_that_are_damaged_or_not_there(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cards, "SHIPPED", tmp_path)
    assert any(line.startswith("Name a --model") for line in doctor()["do"])
    (tmp_path / "default.safetensors").write_bytes(b"not a weights file")
    told = doctor()
    assert any(line.startswith("Reinstall alexnet: the weights default") for line in told["do"])
    answers.show_doctor(told)
    assert "default" in capsys.readouterr().out


def test_the_cache_is_where_it_was_asked_for(monkeypatch, tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    monkeypatch.setenv("ALEXNET_HOME", str(tmp_path))
    assert doctor()["cache"] == {"folder": str(tmp_path), "bytes": 5, "files": 1, "writable": True}


def test_a_container_has_what_it_was_given(monkeypatch, tmp_path):
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text("1000000\n")
    monkeypatch.setattr(machine, "CONTROL", tmp_path)
    assert machine.cores()["allowed"] == min(1.5, len(os.sched_getaffinity(0))) and machine.memory() == 1_000_000
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.cores()["allowed"] == len(os.sched_getaffinity(0)) and machine.memory() > 1e8


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_what_becomes_of_freed_memory_is_tried_out():
    code = "from alexnet import cli, machine\nprint(machine.keeps_memory())\ncli.keep_memory()\nprint(machine.keeps_memory())"
    words = {key: value for key, value in os.environ.items() if key not in ("ALEXNET_MALLOC", "LD_PRELOAD")}
    done = subprocess.run([sys.executable, "-c", code], env=words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
