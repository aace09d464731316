"""The 2012 program's checkpoints: written here as Python 2 wrote them (python2.py), computed by its definitions, and read
without executing anything."""

import json
import os
import pickle
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import alexnet
from alexnet import nets, weights
from alexnet.data.picture import POINTS
from alexnet.exchange import original
from alexnet.exchange.chains import of_row
from alexnet.exchange.found import widened
from tests.foreign import made, same
from tests.python2 import CLASSES, CROP, RANDOM, checkpoint, metadata, net145, stored


def by_definition(layers, picture):
    """What that program computes of a centred picture (3, CROP, CROP), layer by layer in its own terms."""
    acts = {"data": torch.from_numpy(picture)}
    for name, one in layers.items():
        kind = one["type"]
        inputs = [acts[each] for each in one.get("inputs", []) if each in acts]
        x = inputs[0] if inputs else None
        if kind == "conv":
            total = 0
            for given, weight, pad, size, stride in zip(inputs, one["weights"], one["padding"], one["filterSize"], one["stride"]):
                side = given.shape[1]
                places = 1 + int(np.ceil((-2 * pad + side - size) / stride))  # the last window may hang over
                over = (places - 1) * stride + size - (side - 2 * pad)
                given = F.pad(given, (-pad, -pad + over, -pad, -pad + over))
                total = total + torch.from_numpy(weight).T @ F.unfold(given[None], size, stride=stride)[0]
            acts[name] = (total + torch.from_numpy(one["biases"])).reshape(-1, places, places)
        elif kind == "fc":
            total = sum(given.reshape(1, -1) @ torch.from_numpy(np.array(weight)) for given, weight in zip(inputs, one["weights"]))
            acts[name] = total + torch.from_numpy(np.array(one["biases"]))
        elif kind == "cmrnorm":
            squares = F.pad((x**2)[None, None], (0, 0, 0, 0, 2, 2))[0, 0]
            total = sum(squares[i : i + len(x)] for i in range(5))
            acts[name] = x / (one["minDiv"] + one["scale"] * total) ** one["pow"]
        elif kind == "rnorm":
            total = F.avg_pool2d((x**2)[None], 5, 1, 2, divisor_override=1)[0]
            acts[name] = x / (1 + one["scale"] * total) ** one["pow"]
        elif kind == "pool":
            acts[name] = F.max_pool2d(x[None], 3, 2, ceil_mode=True)[0]
        elif kind in ("neuron", "hs", "softmax"):
            acts[name] = {"neuron": F.relu, "hs": lambda x: x * 0.5, "softmax": lambda x: torch.softmax(x, 1)}[kind](x)
    return acts["probs"][0].numpy()


@pytest.mark.parametrize("form", ["folder", "list", "zip"])
def test_a_checkpoint_of_net_145_comes_in(form, tmp_path):
    layers, meta = net145(), metadata()
    (tmp_path / "ConvNet").mkdir()
    content = checkpoint(list(layers.values()) if form == "list" else layers)
    file = stored(content, tmp_path / "ConvNet" / "90.1301")
    stored(checkpoint(net145()), tmp_path / "ConvNet" / "9.1400")  # an older one
    given = tmp_path / "ConvNet" if form == "folder" else file
    if form == "zip":
        given = tmp_path / "ConvNet" / "zipped"
        with zipfile.ZipFile(given, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data", file.read_bytes())
    stored(meta, tmp_path / "batches.meta")
    out = str(tmp_path / "here.safetensors")
    answer = alexnet.convert(str(given), out, **({} if form == "folder" else {"meta": str(tmp_path / "batches.meta")}))
    assert answer["net"] == "as_run~" and answer["format"] == "original" and answer["classes"] == CLASSES
    net, mean, card = weights.read(out)
    assert card["size"] == 113 and card["crop"] == CROP and card["centring"] == "image"
    assert card["classes"] == [["a", "a"], ["b, c", "b"], *([one, one] for one in "defg")]  # put in order, outputs with them
    np.testing.assert_allclose(card["data"]["colour"]["vectors"], meta["color_pca"][1])
    square = RANDOM.integers(0, 256, (1, 113, 113, 3), dtype=np.uint8)
    centred = square[0].transpose(2, 0, 1)[:, 7:106, 7:106] - meta["data_mean"].reshape(3, 113, 113)[:, 7:106, 7:106]
    expected = by_definition(layers, centred)[[1, 0, 3, 4, 2, 5]]
    assert expected.max() - expected.min() > 0.05
    np.testing.assert_allclose(alexnet.load(out, precision="float32").probabilities(square)[0], expected, atol=2e-6)


@pytest.mark.parametrize(
    "row",
    [
        "as_run",
        "half",
        "no_norm",
        "no_crossing",
        "net120",
        "net137",
        "six_conv",
        "six_conv_22k",
        "crossing_conv4",
        "non_overlapping",
        "cifar13",
        "cifar18",
        "cifar11_final",
    ],
)
def test_ours_to_2012_and_back(row, tmp_path):
    mean = "image" if row != "half" else "colour"
    path = made(tmp_path / "ours.safetensors", row, mean=mean, unknown_below=0.3, resampling=POINTS)
    one = alexnet.export(str(path), str(tmp_path / "1.1"), to="original")[0]
    answer = alexnet.convert(one["file"], str(tmp_path / "again.safetensors"))
    same(path, tmp_path / "again.safetensors")
    assert weights.read_card(path)["row"]["layers"] == weights.read_card(answer["out"])["row"]["layers"]


def test_each_row_is_told_from_the_others():
    """No two rows of the table that a checkpoint may hold do the same at the same widths."""
    seen = {}
    for name, row in nets.ROWS.items():
        key = str(
            (of_row(row), row.columns, row.crop, [getattr(layer, "maps", getattr(layer, "units", 0)) for layer in row.layers])
        )
        assert key not in seen or {name, seen[key]} in ({"figure1", "cifar19"}, {"six_conv", "six_conv_10k"}), (name, seen[key])
        seen[key] = name


def test_what_is_written_is_python_2_s(tmp_path):
    import pickletools

    path = made(tmp_path / "ours.safetensors", "as_run")
    alexnet.export(str(path), str(tmp_path / "1.1"), to="original")
    names, globals_ = set(), set()
    for opcode, argument, _ in pickletools.genops((tmp_path / "1.1").read_bytes()):
        names.add(opcode.name)
        if opcode.name == "GLOBAL":
            globals_.add(argument)
    assert not {"BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "FRAME", "MEMOIZE", "STACK_GLOBAL"} & names and opcode.name == "STOP"
    assert globals_ == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    content = pickle.loads((tmp_path / "1.1").read_bytes(), encoding="latin1")  # numpy's own constructors take it too
    layers = content["model_state"]["layers"]
    assert layers["fc12a"]["weights"][0].flags.f_contiguous and layers["conv1b"]["weights"][0].shape == (363, 4)
    assert list(layers)[:3] == ["data", "labels", "conv1a"] and layers["probs"]["type"] == "softmax"


def test_names_of_ilsvrc_become_ids():
    assert original.known(["goldfish, Carassius auratus", "crane", "crane"], []) == [
        ("n01443537", "goldfish"),
        ("n02012849", "crane"),
        ("n03126707", "crane"),
    ]
    assert original.known(["tench", "crane"], []) == [("tench", "tench"), ("crane", "crane")]  # one is no ILSVRC entry: names stay


@pytest.mark.slow
def test_the_real_size(tmp_path):
    """#145 whole: 61 million weights, their increments beside them as in a real file, converted by a process of its own."""
    net = alexnet.AlexNet(nets.row("as_run"), classes=1000, seed=0)
    path = tmp_path / "direct.safetensors"
    named = [(f"n{i:08}", f"thing {i}") for i in range(1000)]
    weights.write(path, net, torch.rand(3, 224, 224) * 200, weights.card(net, classes=named, size=256, centring="image"))
    alexnet.export(str(path), str(tmp_path / "1.1"), to="original")
    with open(tmp_path / "1.1", "rb") as file:
        content = pickle.loads(file.read(), encoding="latin1")
    for one in content["model_state"]["layers"].values():
        if "weights" in one:
            one["weightsInc"] = [np.zeros_like(each) for each in one["weights"]]
    stored(content, tmp_path / "90.1301")
    del content
    os.rename(tmp_path / "1.1.batches.meta", tmp_path / "batches.meta")
    code = (
        "import sys, json, alexnet; print(json.dumps(alexnet.convert(*sys.argv[1:])));"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    words, began = [str(tmp_path / "90.1301"), str(tmp_path / "here.safetensors")], time.perf_counter()
    ran = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True)
    took, size = time.perf_counter() - began, os.path.getsize(words[0])
    answer, most = (json.loads(line) for line in ran.stdout.splitlines())
    print(f"{size / 1e6:.0f} MB of checkpoint in {took:.1f} s, the process included; {most / 1e3:.0f} MB of memory at most")
    assert most * 1024 < 2.6 * size  # the file, the tensors, the weights file
    assert answer["net"] == "as_run" and answer["parameters"] == 60_965_224
    same(path, answer["out"])
    square = RANDOM.integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    np.testing.assert_array_equal(*(alexnet.load(one, precision="float32").probabilities(square) for one in (path, answer["out"])))


def test_classes_on_both_columns_are_joined(tmp_path):
    """As in #146-2011, whose 21,843 classes are two halves side by side, and unequal ones."""
    layers = net145()
    whole = layers.pop("fc1000")
    rest = {name: layers.pop(name) for name in ("probs", "logprob")}
    for c, part in (("a", slice(0, 2)), ("b", slice(2, 6))):
        layers[f"fc1000{c}"] = {
            **{**whole, "name": f"fc1000{c}", "gpu": "ab".index(c), "outputs": len(range(6)[part])},
            "weights": [np.asfortranarray(one[:, part]) for one in whole["weights"]],
            "biases": np.asfortranarray(whole["biases"][:, part]),
        }
    layers["concat"] = {"name": "concat", "type": "concat", "inputs": ["fc1000a", "fc1000b"], "gpu": 0}
    layers |= {"probs": {**rest["probs"], "inputs": ["concat"]}, "logprob": rest["logprob"]}
    for one in layers.values():
        one.pop("inputLayers", None)
    stored(checkpoint(layers), tmp_path / "1.1")
    alexnet.convert(str(tmp_path / "1.1"), str(tmp_path / "here.safetensors"))
    found = weights.read(tmp_path / "here.safetensors")[0].fc8
    np.testing.assert_array_equal(found.weight.detach().numpy(), np.concatenate(whole["weights"]).T)
    np.testing.assert_array_equal(found.bias.detach().numpy(), whole["biases"][0])


def test_the_parts_are_told_by_what_feeds_them():
    """Two columns whose inputs are listed the other way round are the same net."""
    layers = net145()
    row, tensors = original.fitted(
        {
            name: {**one, "weights": [Given(w) for w in one["weights"]], "biases": Given(one["biases"])}
            if "weights" in one
            else one
            for name, one in layers.items()
        },
        "f",
    )
    np.testing.assert_array_equal(tensors["fc7.weight"][10:, :10], layers["fc2048bb"]["weights"][1].T)
    np.testing.assert_array_equal(tensors["fc7.weight"][:10, :10], layers["fc2048ba"]["weights"][0].T)
    assert row == widened(
        nets.row("as_run"), {"conv1": 16, "conv2": 16, "conv3": 24, "conv4": 24, "conv5": 16, "fc6": 20, "fc7": 20}, CROP
    )


class Given:
    def __init__(self, value):
        self.value = value

    def array(self):
        return self.value
