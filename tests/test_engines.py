"""The engines: which is chosen and why, kept on disk and opened without torch, the gate before int8, the net when it is wanted."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from alexnet import cards, classifier, compiled, engines, gate, processor, weights
from alexnet.data.store import open_split
from alexnet.errors import Misused, Refused
from alexnet.evaluate import temperature
from alexnet.exchange import backends
from alexnet.places import digest

needs_all = pytest.mark.skipif(any(kind.missing() for kind in (backends.OpenVino, backends.OnnxRuntime)), reason="no engines here")
AMX = {"avx512f", "amx_bf16", "amx_int8", "avx512_vnni"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ALEXNET_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "engines"


@pytest.fixture
def model(run, tmp_path):
    """A weights file of its own."""
    return shutil.copy(weights.find(run), tmp_path / "model.safetensors")


@pytest.fixture(scope="module")
def squares(store):
    return open_split(store, "val").pictures(np.arange(40))


@pytest.fixture
def pretended(monkeypatch):
    return lambda flags: monkeypatch.setattr(processor, "flags", lambda: flags)


def passed(model, **changes):
    """As if these weights had passed the gate."""
    with cards.WeightsFile(model) as stored:
        ranges = {layer["name"]: [0.0, 100.0] for layer in stored.card["row"]["layers"] if layer["kind"] in ("Conv", "Dense")}
        told = {"passed": True, "backend": "openvino", "units": [], "ranges": ranges | {"conv1": [-200.0, 200.0]}} | changes
        gate.write(engines.gate_file(model), {"weights": stored.digest, "precisions": {"int8": told}})


# ---- the choice ------------------------------------------------------------------------------------------------------------


def test_arrays_are_read_as_torch_reads_them(run, tmp_path):
    net, mean, card = weights.read(run)
    for dtype in (None, torch.float16, torch.bfloat16):
        weights.write(tmp_path / "w.safetensors", net, mean, card, dtype=dtype)
        expected = weights.read(tmp_path / "w.safetensors")[0].state_dict()
        with cards.WeightsFile(tmp_path / "w.safetensors") as stored:
            found = stored.arrays()
        np.testing.assert_array_equal(found.pop("mean"), mean.to(dtype or mean.dtype).float().numpy())
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value.numpy())


@needs_all
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "torch"])
def test_every_engine_says_what_torch_says(run, squares, backend):
    net, mean, card = weights.read(run)
    expected = classifier.Classifier(net, mean, card, device="cpu").probabilities(squares)
    made = engines.engine(run, precision="float32", backend=backend)
    assert made.name == f"{backend} float32"
    np.testing.assert_allclose(made.probabilities(squares), expected, atol=1e-5)


@needs_all
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_picture_alone_has_the_same_bits_and_nearly_so_in_company(run, squares, backend):
    made = engines.engine(run, precision="float32", backend=backend)
    alone = made.probabilities(squares[:1])
    together = made.probabilities(np.concatenate([squares, squares]))  # 80: more than go through at once
    assert together.shape == (80, 16)
    np.testing.assert_array_equal(made.probabilities(squares[:1]), alone)
    np.testing.assert_allclose(together[[0, 40]], alone.repeat(2, 0), atol=1e-3)
    np.testing.assert_array_equal(together[0], made.probabilities(np.concatenate([squares, squares]))[0])


def test_the_choice_goes_by_the_processor_and_the_gate(pretended):
    def first(gate):
        return engines.chosen("auto", gate)[0][0]

    ok = {"passed": True, "units": []}
    pretended({"avx2"})
    assert first({}) == "float32" and first({"int8": ok}) == "int8"
    assert first({"int8": {**ok, "units": ["avx512_vnni"]}}) == "float32"  # without VNNI int8 may run over
    assert engines.available()[0][0] == "onnxruntime"
    pretended(AMX)
    assert first({}) == "bfloat16" and first({"int8": ok}) == "int8"
    assert first({"int8": {**ok, "passed": False}}) == "bfloat16"
    assert first({"bfloat16": {"passed": False}}) == "float32"
    assert engines.available()[0][0] == "openvino"
    pretended({"avx512f", "avx512_vnni"})
    assert first({"int8": {**ok, "units": ["amx_int8"]}}) == "float32"  # passed on other units
    pretended(set())  # not Linux, not x86
    assert first({"int8": ok}) == "float32" and [name for name, _, _ in engines.available()][0] == "onnxruntime"


def test_what_is_missing_or_fails_is_passed_over_and_said(run, monkeypatch):
    monkeypatch.setattr(backends.OnnxRuntime, "missing", classmethod(lambda cls: "onnxruntime is not installed"))
    monkeypatch.setattr(backends.OpenVino, "imported", classmethod(lambda cls: 1 / 0))
    monkeypatch.setattr(backends.OpenVino, "missing", classmethod(lambda cls: None))
    made = engines.engine(run)
    assert made.name == "torch float32"
    assert "onnxruntime is not installed" in made.why and "openvino failed (ZeroDivisionError" in made.why
    with pytest.raises(Refused, match=r"no engine runs float32 here with backend onnxruntime.*pip install 'alexnet\[exchange\]'"):
        engines.engine(run, backend="onnxruntime", precision="float32")


def test_what_is_unknown_is_refused(run):
    for wrong in ({"precision": "float8"}, {"backend": "tensorrt"}):
        with pytest.raises(Misused, match="float8|tensorrt"):
            engines.engine(run, **wrong)


@needs_all
def test_random_weights_need_no_gate_and_int8_wants_ranges(run):
    with cards.WeightsFile(run) as stored:
        tensors = stored.arrays()
        made = engines.weights_of(stored.card, tensors.pop("mean"), tensors)
    given = np.zeros((2, 64, 64, 3), np.uint8)
    assert engines.build(made).probabilities(given).shape == (2, 16)
    with pytest.raises(Misused, match="int8 wants ranges"):
        engines.build(made, precision="int8")
    int8 = engines.build(made, precision="int8", backend="openvino", ranges={"conv2": [0, 90], "fc6": [0, 90]})
    assert int8.name == "openvino int8" and int8.probabilities(given).shape == (2, 16)


# ---- on disk ---------------------------------------------------------------------------------------------------------------


@needs_all
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_kept_engine_is_the_same_and_a_damaged_one_is_made_again(model, squares, home, backend):
    expected = engines.engine(model, backend=backend, precision="float32").probabilities(squares)
    (file,) = home.iterdir()
    engines.engine(model, backend=backend, precision="float32")
    assert list(home.iterdir()) == [file]  # it was opened, not made
    for harmed in (lambda whole: b"no", lambda whole: whole[:1000], lambda whole: whole[:50_000] + b"?" * 64 + whole[50_064:]):
        file.write_bytes(harmed(file.read_bytes()))
        again = engines.engine(model, backend=backend, precision="float32")
        np.testing.assert_array_equal(again.probabilities(squares), expected)
        (file,) = home.iterdir()
        with open(file, "rb") as content:
            assert digest(content).startswith(file.name.split(".")[1])  # whole again
    temperature.keep(model, 3.0)
    assert engines.engine(model, backend=backend, precision="float32").probabilities(squares).max() < expected.max()
    assert len(list(home.iterdir())) == 2  # another temperature is another engine


@needs_all
def test_with_an_engine_kept_neither_torch_nor_onnx_is_imported(model, pictures):
    cat = str(pictures / "val" / "cat" / "0001.png")
    code = ("import sys, alexnet; answer = alexnet.predict(sys.argv[1], model=sys.argv[2], device='cpu', top=1)[0]['top'][0]\n"
            "print(answer['index'], sorted({'torch', 'onnx', 'matplotlib', 'sklearn'} & sys.modules.keys()))")
    said = [subprocess.run([sys.executable, "-c", code, cat, model], capture_output=True, text=True, check=True).stdout.strip()
            for _ in range(2)]
    best = classifier.load(model, device="cpu")(cat)[0].index
    assert said == [f"{best} ['onnx']", f"{best} []"]


def test_only_so_many_are_kept_those_used_last(home):
    for number in range(compiled.KEPT + 2):
        path = compiled.keep(f"k{number}", lambda path: path.write_text(str(number)))
        os.utime(path, (number, number))
        assert compiled.found("k0") == next(home.glob("k0.*"))  # used, so it stays
    assert {file.name[:2] for file in home.iterdir()} == {"k0", "k3", "k4", "k5"}


@needs_all
def test_where_nothing_can_be_kept_it_works_all_the_same(run, squares, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALEXNET_HOME", str(tmp_path / "file" / "home"))
    for backend in ("onnxruntime", "openvino"):
        assert engines.engine(run, backend=backend).probabilities(squares).shape == (40, 16)


# ---- the gate --------------------------------------------------------------------------------------------------------------


def test_int8_is_refused_until_the_gate_is_passed(model, pretended):
    with pytest.raises(Refused, match="these never went through it"):
        engines.engine(model, precision="int8")
    passed(model, passed=False)
    with pytest.raises(Refused, match="these did not pass it"):
        engines.engine(model, precision="int8")
    pretended(AMX)
    assert "int8" not in engines.engine(model).name


@needs_all
def test_a_passed_gate_is_for_these_tensors_and_this_program(model, run, squares):
    passed(model)
    assert engines.engine(model, precision="int8").name == "openvino int8"
    with pytest.raises(Refused, match="the gate measured openvino, not onnxruntime"):
        engines.engine(model, precision="int8", backend="onnxruntime")
    temperature.keep(model, 2.0)
    assert engines.engine(model, precision="int8").name == "openvino int8"  # the same tensors
    net, mean, card = weights.read(model)
    net.fc6.bias.data += 1
    weights.write(model, net, mean, card)
    with pytest.raises(Refused, match="never went through"):
        engines.engine(model, precision="int8")


@needs_all
def test_the_gate_measures_and_writes_beside_the_weights(model, store, squares):
    answer = gate.gate(model, store)
    int8 = answer["int8"]
    written = json.loads(engines.gate_file(model).read_text())["precisions"]
    split, training = (open_split(store, name) for name in ("val", "train"))
    net, mean, card = weights.read(model)
    exact = classifier.Classifier(net, mean, card, device="cpu").probabilities(split.pictures(np.arange(len(split))))
    assert int8["float32_error"] == pytest.approx(1 - (exact.argmax(1) == split.labels).mean())
    assert int8["images"] == len(split) and int8["split"] == "val" and int8["fingerprint"] == split.fingerprint
    assert int8["calibrated_on"] == {"split": "train", "images": len(training), "fingerprint": training.fingerprint}
    assert int8["difference"] == pytest.approx(int8["error"] - int8["float32_error"])
    assert int8["passed"] == (int8["difference"] <= 0.003 + 1e-9) and written["int8"] == int8
    if not backends.UNITS["bfloat16"] & processor.flags():  # float32 ran in its place, which says nothing
        assert answer["bfloat16"]["passed"] is None and "bfloat16" not in written
    if int8["passed"]:
        found = engines.engine(model, precision="int8").probabilities(squares)
        assert (np.abs(found - exact[:40]).max() < 0.2) and not np.array_equal(found, exact[:40])


def test_the_gate_refuses_what_it_cannot_measure(model, store, tmp_path):
    for wrong, said in (({"precisions": ("int4",)}, "no gate for 'int4'"), ({"backend": "torch"}, "not 'torch'"),
                        ({"split": "vla"}, "no split 'vla'")):
        with pytest.raises(Misused, match=said):
            gate.gate(model, store, **wrong)


def test_a_range_ends_where_rounding_costs_least():
    random = np.random.default_rng(0)
    even = random.uniform(0, 10, 50_000).astype(np.float32)
    assert gate.fitted(even, 0.0, 10.0) == pytest.approx([0, 10], rel=0.05)
    outlier = np.concatenate([random.normal(0, 1, 50_000), [-40.0]]).astype(np.float32)
    least, largest = gate.fitted(outlier, -40.0, 4.0)
    assert least == -largest and 10 < largest < 40
    assert gate.fitted(np.zeros(9, np.float32), 0.0, 0.0) == [0.0, 1.0]


# ---- in use ----------------------------------------------------------------------------------------------------------------


def test_loading_changes_nothing_in_the_process(run):
    code = ("import os, sys, torch, numpy, signal, PIL.Image, alexnet\n"
            "def state(): return torch.get_num_threads(), dict(os.environ), os.sched_getaffinity(0), signal.getsignal(2), "
            "torch.is_grad_enabled(), torch.get_default_dtype()\n"
            "before = state(); alexnet.load(sys.argv[1], device='cpu')(numpy.zeros((70, 80, 3), numpy.uint8)); "
            "print(before == state())")
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_the_net_is_read_when_it_is_asked_for_and_is_the_same(model, squares):
    clf = classifier.load(model, device="cpu")
    assert "member" not in vars(clf)
    assert clf.features(squares[0]).shape == (1, 256) and clf.device == torch.device("cpu")
    with torch.inference_mode():
        prob = clf.net.activations(clf.preprocess(list(squares)))["prob"].numpy()
    np.testing.assert_allclose(clf.probabilities(squares), prob, atol=2e-2)  # bfloat16, where there are units for it
    clf, other = (classifier.load(model, device="cpu") for _ in range(2))
    net, mean, card = weights.read(model)
    net.fc8.bias.data += 1
    weights.write(model, net, mean, card)  # another file takes its place: what was loaded is what is read
    assert not torch.equal(clf.net.fc8.bias, net.fc8.bias)
    third, content = classifier.load(model, device="cpu"), bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)  # the file itself is changed
    with pytest.raises(Refused, match="holds other weights than when it was loaded"):
        third.features(squares[0])
    torch.testing.assert_close(other.net.fc8.bias, clf.net.fc8.bias)


@pytest.mark.parametrize("kept", [True, False])
def test_where_open_files_cannot_be_replaced_it_is_opened_again(model, squares, monkeypatch, kept):
    monkeypatch.setattr(cards, "REPLACEABLE", kept)
    clf = classifier.load(model, device="cpu")
    assert clf.stored.file.closed is not kept
    temperature.keep(model, 2.0)  # the tensors are the same
    assert clf.features(squares[0]).shape == (1, 256) and clf.stored.file.closed is not kept


def test_auto_is_the_processor_where_no_driver_shows(monkeypatch):
    monkeypatch.setattr(engines.os.path, "exists", lambda path: False)
    assert engines.on_cpu("auto") is (os.name != "nt") and engines.on_cpu("cpu") and engines.on_cpu(torch.device("cpu"))
    assert not engines.on_cpu("cuda") and not engines.on_cpu("mps")
    monkeypatch.setattr(engines.os.path, "exists", lambda path: path == "/dev/nvidiactl")
    assert not engines.on_cpu("auto") and engines.on_cpu("cpu")
