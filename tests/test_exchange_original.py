"""The 2012 program's checkpoints: written here opcode by opcode as Python 2 wrote them, computed here by that program's
definitions, and read without executing anything. Hostile files try."""

import io
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
from alexnet.errors import Refused
from alexnet.exchange import original, pickled
from alexnet.exchange.chains import of_row
from alexnet.exchange.found import widened
from tests.test_exchange import made, same

RANDOM = np.random.default_rng(7)
CROP, CLASSES = 99, 6  # 99 leaves 23, 11, 5 and 2 pixels a side, so that the order in memory shows


class Options:
    """Stands for options.OptionsParser, an old-style instance in every checkpoint."""


class Python2(pickle._Pickler):
    """Protocol 2 as cPickle of Python 2.7 wrote it: text as byte strings, arrays by numpy.core.multiarray, instances by OBJ."""

    def save(self, value, *more):
        if isinstance(value, str | bytes):
            content = value.encode("latin1") if isinstance(value, str) else value
            short = len(content) < 256
            return self.write((b"U" if short else b"T") + len(content).to_bytes(1 if short else 4, "little") + content)
        if isinstance(value, np.ndarray):
            return self.array(value)
        if isinstance(value, Options):
            self.write(b"(coptions\nOptionsParser\no")
            self.save(vars(value))
            return self.write(b"b")
        return super().save(value, *more)

    def array(self, value):
        by_columns = value.flags.f_contiguous and not value.flags.c_contiguous
        self.write(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85U\x01bt")  # (0,) is TUPLE1
        self.write(b"R(K\x01")
        self.save(value.shape)
        self.write(b"cnumpy\ndtype\n(")
        for one in (value.dtype.str[1:], 0, 1):
            self.save(one)
        self.write(b"tR(")
        for one in (3, value.dtype.str[0], None, None, None, -1, -1, 0):
            self.save(one)
        self.write(b"tb")
        self.save(bool(by_columns))
        self.save(value.tobytes("F" if by_columns else "C"))
        self.write(b"tb")


def stored(value, path):
    with open(path, "wb") as file:
        Python2(file, 2).dump(value)
    return path


def matrix(rows, columns, order="C"):
    return np.array(RANDOM.normal(0, (1.5 / rows) ** 0.5, (rows, columns)), np.float32, order=order)


def net145(widths=(8, 8, 12, 12, 8, 10, 10)):
    """The layers of #145 by its own file's names, slim: neurons in layers of their own, fc2048bb fed in its own order."""
    one, two, three, four, five, six, seven = widths
    layers = {
        "data": {"type": "data", "dataIdx": 0, "outputs": 3 * CROP**2},
        "labels": {"type": "data", "dataIdx": 1, "outputs": 1},
    }

    def add(name, kind, inputs, neuron=None, **facts):
        layers[name] = {
            "name": name,
            "type": kind,
            "inputs": inputs,
            "gpu": "ab".find(name[-1:]) if name[-1] in "ab" else 0,
            **facts,
        }
        if neuron:
            layers[f"{name}_neuron"] = {
                "name": f"{name}_neuron",
                "type": "neuron",
                "inputs": [name],
                "gpu": layers[name]["gpu"],
                "neuron": {"type": neuron, "params": {}, "usesActs": True},
            }

    def conv(name, inputs, channels, filters, size, pad, stride=1, neuron=None):
        add(
            name,
            "conv",
            inputs,
            neuron,
            channels=[channels] * len(inputs),
            filters=filters,
            filterSize=[size] * len(inputs),
            padding=[-pad] * len(inputs),
            stride=[stride] * len(inputs),
            groups=[1] * len(inputs),
            randSparse=[False] * len(inputs),
            weights=[matrix(channels * size**2, filters) for _ in inputs],
            biases=matrix(filters, 1),
            sharedBiases=True,
        )

    def fc(name, inputs, below, outputs, neuron=None):
        add(
            name,
            "fc",
            inputs,
            neuron,
            outputs=outputs,
            biases=matrix(1, outputs, "F"),
            weights=[matrix(below, outputs, "F") for _ in inputs],
        )

    def norm(name, kind, below, **facts):
        add(name, kind, [below], size=5, pow=0.75, channels=8, **facts)

    def pool(name, below, neuron=None):
        add(name, "pool", [below], neuron, pool="max", sizeX=3, stride=2, start=0)

    for c in "ab":
        conv(f"conv1{c}", ["data"], 3, one, 11, 0, 4)
        norm(f"rnorm1{c}", "cmrnorm", f"conv1{c}", scale=1e-4 / 5, minDiv=2.0)
        pool(f"pool1{c}", f"rnorm1{c}", "relu")
        conv(f"conv2{c}", [f"pool1{c}_neuron"], one, two, 5, 2, neuron="relu")
        norm(f"rnorm2{c}", "cmrnorm", f"conv2{c}_neuron", scale=1e-4 / 5, minDiv=2.0)
        norm(f"cnorm2{c}", "rnorm", f"rnorm2{c}", scale=0.001 / 25)
        pool(f"pool2{c}", f"cnorm2{c}")
    for c in "ab":
        conv(f"conv3{c}", ["pool2a", "pool2b"], two, three, 3, 1, neuron="relu")
        conv(f"conv4{c}", [f"conv3{c}_neuron"], three, four, 3, 1, neuron="relu")
        conv(f"conv5{c}", [f"conv4{c}_neuron"], four, five, 3, 1)
        pool(f"pool3{c}", f"conv5{c}", "relu")
    for c in "ab":
        fc(f"fc2048{c}", ["pool3a_neuron", "pool3b_neuron"], five * 4, six, "relu")
        add(f"hs1{c}", "hs", [f"fc2048{c}_neuron"], keep=0.5, enable=True)
    for c, inputs in (("a", ["hs1a", "hs1b"]), ("b", ["hs1b", "hs1a"])):
        fc(f"fc2048b{c}", inputs, six, seven, "relu")
        add(f"hs2{c}", "hs", [f"fc2048b{c}_neuron"], keep=0.5, enable=True)
    fc("fc1000", ["hs2a", "hs2b"], seven, CLASSES)
    add("probs", "softmax", ["fc1000"])
    add("logprob", "cost.logreg", ["labels", "probs"], coeff=1.0)
    for one in layers.values():
        one["inputLayers"] = [layers[name] for name in one.get("inputs", [])]  # as the program keeps them
        if "weights" in one:
            one["weightsInc"] = [np.zeros_like(each) for each in one["weights"]]
    return {name: {"name": name, **one} for name, one in layers.items()}


def checkpoint(layers):
    op = Options()
    op.options = {"minibatch_size": 128, "load_file": "", "gpu": [0, 1]}
    return {
        "model_state": {
            "layers": layers,
            "epoch": 90,
            "batchnum": 1301,
            "train_outputs": [({"logprob": [1.7, 0.4]}, 1024)],
            "test_outputs": [],
        },
        "op": op,
    }


def metadata(side=113, names=("b, c", "a", "f", "d", "e", "g")):
    return {
        "batch_size": 1024,
        "num_vis": 3 * side**2,
        "data_mean": RANDOM.uniform(90, 130, (3 * side**2, 1)).astype(np.float32),
        "color_pca": (np.array([19.7, 37.1, 121.8]), np.asfortranarray(np.linalg.qr(RANDOM.normal(size=(3, 3)))[0])),
        "label_names": list(names),
    }


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
    path = made(tmp_path / "ours.safetensors", row, mean="image" if row != "half" else "colour")
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


# ---- hostile and damaged ----------------------------------------------------------------------------------------------------


def hostile(folder):
    """Name -> a pickle that would make a folder if anything in it ran."""
    target = str(folder / "done").encode()
    make = b"(U" + bytes([len(target)]) + target + b"t"
    ndarray = b"cnumpy\nndarray\n"
    return {
        "reduce": b"\x80\x02cos\nmkdir\n" + make + b"R.",
        "posix": b"\x80\x02cposix\nmkdir\n" + make + b"R.",
        "inst": b"(U" + bytes([len(target)]) + target + b"ios\nmkdir\n.",
        "builtin": b"\x80\x02c__builtin__\neval\n(U\x08__import__tR.",
        "getattr": b"\x80\x02c__builtin__\ngetattr\n(" + ndarray + b"U\x06tofiletR.",
        "numpy": b"\x80\x02cnumpy\nload\n" + make + b"R.",
        "multiarray": b"\x80\x02cnumpy.core.multiarray\nfromfile\n" + make + b"R.",
        "build a name": b"\x80\x02cnumpy\ndtype\n}U\x05_makecos\nmkdir\nsb.",
        "set on a name": b"\x80\x02cnumpy\ndtype\n(N}U\x05_makeU\x01xstb.",
        "stack global": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93" + make + b"R.",
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\x0cos.makedirs0\x93" + make + b"R.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"Pnoisy\n.",
        "copy_reg": b"\x80\x02ccopy_reg\n_reconstructor\n(cos\nmkdir\nc__builtin__\nobject\nNtR.",
        "program's module": b"\x80\x02coptions\nos\n" + make + b"R.",  # a blank: read, nothing happens, no layers
        "asks for much": b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b".",
        "cut off": b"\x80\x02}q\x00U",
        "nothing": b"\x80\x02N.",
        "not filled": b"\x80\x02}U\x0bmodel_state}U\x06layers](}(U\x04nameU\x01cU\x04typeU\x02fcU\x06inputs](U\x01deU\x07weights]"
        b"cnumpy.core.multiarray\n_reconstruct\n(" + ndarray + b"K\0\x85U\x01btRaU\x06biasesK\x01u}(U\x04nameU\x01dU\x04type"
        b"U\x04dataU\x07outputsK\x03uess.",
    }


def test_hostile_pickles_execute_nothing(tmp_path):
    for name, content in hostile(tmp_path).items():
        file = tmp_path / "90.1"
        file.write_bytes(content)
        with pytest.raises(
            Refused, match="nothing in it was executed|no checkpoint|no whole checkpoint|begun and never|fits no row"
        ):
            alexnet.convert(str(file), str(tmp_path / "no.safetensors"), from_="original")
        assert not (tmp_path / "done").exists(), name
    assert not (tmp_path / "no.safetensors").exists()
    assert pickle.loads(hostile(tmp_path)["reduce"]) is None and (tmp_path / "done").exists()  # the attack is a real one


def test_a_name_keeps_its_meaning_for_the_next_file(tmp_path):
    """What one file does to the names it may use is gone with it."""
    file = tmp_path / "1.1"
    file.write_bytes(b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(N}U\x05_makeNstb.")
    with pytest.raises(Refused):
        pickled.load(file)
    array = RANDOM.normal(size=(3, 4)).astype(">f8")
    stored({"a": array, "n": [1, 2.5, None, (True,)], "f": np.asfortranarray(array)}, file)
    found = pickled.load(file)
    np.testing.assert_array_equal(found[b"a"].array(), array)
    np.testing.assert_array_equal(found[b"f"].array(), array)
    assert found[b"n"] == [1, 2.5, None, (True,)]


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda layers: layers.pop("conv4b"), "inputs that are not there"),
        (lambda layers: layers["conv2a"].update(weights=[matrix(201, 8)]), r"conv2a has a matrix of 201 rows"),
        (lambda layers: layers["fc2048bb"]["weights"].pop(), "fc2048bb has 1 matrices for 2 inputs"),
        (lambda layers: layers["conv5a"].pop("biases"), "no whole checkpoint .* KeyError"),
        (lambda layers: layers["conv4b"].update(biases=matrix(3, 1)), "conv4b has 3 biases for 12 maps"),
        (lambda layers: layers["rnorm1b"].update(minDiv=1.0), "its columns are not alike"),
        (
            lambda layers: [layers[f"rnorm1{c}"].update(minDiv=1.5) for c in "ab"],
            r"agrees for 1 steps, then the file has \(cmrnorm 5 2e-05 0.75 1.5\)",
        ),
        (lambda layers: layers["conv3a"].update(groups=[2, 2]), "conv3a is connected in groups"),
        (lambda layers: layers["conv4a"].update(inputs=["conv3b_neuron"]), "not fed by what conv4 of the row as_run sees"),
        (lambda layers: layers["fc1000"].update(weights=[matrix(10, 5, "F"), matrix(10, 6, "F")]), "no whole checkpoint"),
        (lambda layers: layers["conv1a"].update(inputs=["probs"]), "itself among them"),
        (
            lambda layers: layers["fc2048a"].update(weights=[np.zeros((32, 10), np.complex64)] * 2),
            "of kind 'c8'; numbers are accepted",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(change, said, tmp_path):
    layers = net145()
    change(layers)
    for one in layers.values():
        one.pop("inputLayers", None)
    stored(checkpoint(layers), tmp_path / "1.1")
    with pytest.raises(Refused, match=said):
        alexnet.convert(str(tmp_path / "1.1"), str(tmp_path / "no.safetensors"))


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


def test_numbers_and_ordered_dictionaries_are_plain(tmp_path):
    file = io.BytesIO()
    file.write(
        b"\x80\x02ccollections\nOrderedDict\n](](U\x01aK\x01e](U\x01bcnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02i4K\0K\x01tR"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tbU\x04\x07\0\0\0tRee\x85R."
    )
    (tmp_path / "1.1").write_bytes(file.getvalue())
    assert pickled.load(tmp_path / "1.1") == {b"a": 1, b"b": 7}
