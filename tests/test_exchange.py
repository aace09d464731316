"""Other programs' files, built here in each format's own terms and run by its own arithmetic, mean the same as what they become;
what goes out comes back bit for bit; what does not fit is one sentence. No real file was read: docs/exchange.md says which."""

import json
import struct

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import alexnet
from alexnet import cards, nets, weights
from alexnet.errors import Misused, Refused
from alexnet.exchange import ilsvrc, torchvision
from alexnet.exchange.found import widened
from alexnet.net import AlexNet

RANDOM = np.random.default_rng(5)
WIDTHS = {"conv1": 8, "conv2": 12, "conv3": 16, "conv4": 12, "conv5": 8, "fc6": 24, "fc7": 20, "low2": 12}


def values(*shape):
    inputs = np.prod(shape[1:]) if len(shape) > 1 else 1
    return (RANDOM.normal(0, 1, shape) * (1.5 / inputs) ** 0.5).astype(np.float32)


def kernels(columns=1, first=11, places=36, classes=7):
    """Layer -> (weight, bias) for a slim net of the published anatomy."""
    found, below = {}, 3
    for name, side in (("conv1", first), ("conv2", 5), ("conv3", 3), ("conv4", 3), ("conv5", 3)):
        groups = 2 if columns == 2 and name in ("conv2", "conv4", "conv5") else 1
        found[name] = values(WIDTHS[name], below // groups, side, side), values(WIDTHS[name])
        below = WIDTHS[name]
    below *= places
    for name, units in (("fc6", WIDTHS["fc6"]), ("fc7", WIDTHS["fc7"]), ("fc8", classes)):
        found[name] = values(units, below), values(units)
        below = units
    return found


def made(path, row, classes=7, seed=3, mean="image", temperature=1.3, size=None):
    """A weights file of ours with a slim net of this row."""
    row = widened(nets.row(row), WIDTHS)
    net, size = AlexNet(row, classes=classes, seed=seed), size or row.crop + 9
    for value in net.parameters():
        inputs = value[0].numel() if value.dim() > 1 else 1
        torch.nn.init.normal_(value, 0, (1.5 / inputs) ** 0.5, generator=torch.Generator().manual_seed(seed))
    middle = torch.rand((3, row.crop, row.crop) if mean == "image" else (3, 1, 1), generator=torch.Generator().manual_seed(1)) * 200
    named = [(f"n{i:04}", f"thing {i}") for i in range(classes)]
    weights.write(path, net, middle, weights.card(net, classes=named, size=size, centring=mean, temperature=temperature))
    return path


def square(size):
    return RANDOM.integers(0, 256, (1, size, size, 3), dtype=np.uint8)


def probabilities(path, squares):
    return weights.read(path)[0], alexnet.load(path, precision="float32").probabilities(squares)[0]


def same(one, two):
    """Two weights files hold the same bits, and mean the same."""
    (a, mean_a, card_a), (b, mean_b, card_b) = weights.read(one), weights.read(two)
    assert a.state_dict().keys() == b.state_dict().keys()
    assert all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())
    assert torch.equal(mean_a, mean_b) and mean_a.dtype == mean_b.dtype
    for key in ("classes", "size", "crop", "temperature", "centring"):
        assert card_a[key] == card_b[key], key


# ---- torchvision and the hub -----------------------------------------------------------------------------------------------


def tower(given):
    """torchvision's alexnet as it is published: a state dict with its names, and what it makes of a normalised batch."""
    names = ("features.0", "features.3", "features.6", "features.8", "features.10", "classifier.1", "classifier.4", "classifier.6")
    state = {
        f"{theirs}.{part}": torch.from_numpy(value)
        for theirs, (_, pair) in zip(names, given.items())
        for part, value in zip(("weight", "bias"), pair)
    }

    def run(x):
        for i, (stride, pad) in zip((0, 3, 6, 8, 10), ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))):
            x = F.relu(F.conv2d(x, state[f"features.{i}.weight"], state[f"features.{i}.bias"], stride, pad))
            x = F.max_pool2d(x, 3, 2) if i in (0, 3, 10) else x
        x = F.adaptive_avg_pool2d(x, 6).flatten(1)
        for i in (1, 4, 6):
            x = F.linear(x, state[f"classifier.{i}.weight"], state[f"classifier.{i}.bias"])
            x = F.relu(x) if i < 6 else x
        return torch.softmax(x, 1)[0].numpy()

    return state, run


def normalised(squares, crop, mean, std):
    first = (squares.shape[1] - crop) // 2
    cut = torch.from_numpy(squares[:, first : first + crop, first : first + crop]).permute(0, 3, 1, 2) / 255
    return (cut - torch.tensor(mean).reshape(1, 3, 1, 1)) / torch.tensor(std).reshape(1, 3, 1, 1)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_torchvision_comes_in(ending, tmp_path):
    state, run = tower(kernels())
    file = tmp_path / f"alexnet-owt{ending}"
    save_file(state, file) if ending == ".safetensors" else torch.save({"state_dict": state}, file)
    answer = alexnet.convert(str(file), str(tmp_path / "here.safetensors"))
    assert answer["classes"] == 7 and answer["net"] == "single_tower~" and not answer["parity"]["compared"]
    given = square(256)
    expected = run(normalised(given, 224, torchvision.MEAN, torchvision.STD))
    np.testing.assert_allclose(probabilities(answer["out"], given)[1], expected, atol=2e-6)
    assert cards.read_card(answer["out"])["size"] == 256


@pytest.mark.parametrize("mean", ["image", "colour"])
@pytest.mark.parametrize("out", ["alexnet.pth", "alexnet.safetensors"])
def test_ours_to_torchvision_and_back(tmp_path, mean, out):
    path = made(tmp_path / "ours.safetensors", "single_tower", mean=mean)
    one = alexnet.export(str(path), str(tmp_path / out), to="torchvision")[0]
    given = torchvision.arrays(one["file"])
    assert given.keys() == {f"{name}.{part}" for name in torchvision.NAMES.values() for part in ("weight", "bias")}
    alexnet.convert(one["file"], str(tmp_path / "again.safetensors"))
    same(path, tmp_path / "again.safetensors")
    said = json.loads((tmp_path / f"{out}.json").read_text())["normalize"]
    if mean == "colour":  # what is said beside it is what its own program wants
        _, run = tower({name: (given[f"{theirs}.weight"], given[f"{theirs}.bias"]) for name, theirs in torchvision.NAMES.items()})
        squares, stored = square(233), alexnet.load(path, precision="float32")
        stored.card["temperature"] = 1.0
        expected = run(normalised(squares, 224, said["mean"], said["std"]))
        with torch.inference_mode():
            ours = torch.softmax(stored.net(stored.preprocess([squares[0]])), 1)[0].numpy()
        np.testing.assert_allclose(ours, expected, atol=2e-6)


@pytest.mark.parametrize("row", ["single_tower", "as_run", "batchnorm"])
def test_a_hub_folder_comes_back(tmp_path, row):
    path = made(tmp_path / "ours.safetensors", row)
    one = alexnet.export(str(path), str(tmp_path / "hub"), to="hub")[0]
    config = json.loads((tmp_path / "hub" / "config.json").read_text())
    assert config["num_classes"] == 7 and config["label_names"][0] == "n0000" and config["label_descriptions"]["n0001"] == "thing 1"
    assert config["num_features"] == 20 and config["pretrained_cfg"]["input_size"] == [3, 224, 224]
    assert config["pretrained_cfg"]["classifier"] == ("classifier.6" if row == "single_tower" else "fc8")
    assert "alexnet.load(" in (tmp_path / "hub" / "README.md").read_text()
    alexnet.convert(one["file"], str(tmp_path / "again.safetensors"))
    same(path, tmp_path / "again.safetensors")


def test_a_folder_in_timm_s_schema_comes_in(tmp_path):
    state, run = tower(kernels())
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    names = [f"n{9 - i}" for i in range(7)]  # not in sorted order: the outputs are put in order
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "architecture": "alexnet",
                "num_classes": 7,
                "num_features": 20,
                "label_names": names,
                "label_descriptions": {"n9": "nine, 9"},
                "pretrained_cfg": {
                    "input_size": [3, 224, 224],
                    "crop_pct": 0.9,
                    "mean": mean,
                    "std": std,
                    "interpolation": "bilinear",
                },
            }
        )
    )
    alexnet.convert(str(tmp_path), str(tmp_path / "here.safetensors"))
    card, given = cards.read_card(tmp_path / "here.safetensors"), square(249)
    assert card["size"] == 249 and card["classes"][0] == ["n3", "n3"] and card["classes"][-1] == ["n9", "nine"]
    np.testing.assert_allclose(
        probabilities(tmp_path / "here.safetensors", given)[1], run(normalised(given, 224, mean, std))[::-1], atol=2e-6
    )


# ---- Caffe ----------------------------------------------------------------------------------------------------------------


def varint(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def part(number, content):
    return varint(number * 8 + 2) + varint(len(content)) + content


def blob(array, form):
    data = part(5, array.astype("<f4").tobytes())
    if form == "new":
        return part(7, part(1, b"".join(map(varint, array.shape)))) + data
    sizes = (1,) * (4 - array.ndim) + array.shape
    if form == "v1" and array.ndim == 1:  # one by one, as an unpacked field
        data = b"".join(varint(5 * 8 + 5) + struct.pack("<f", one) for one in array)
    return b"".join(varint(i * 8) + varint(side) for i, side in enumerate(sizes, 1)) + data


def caffemodel(given, form, caffenet):
    """A NetParameter in one of the three forms that Caffe's files have had, layers in the order of the network."""
    order = [
        "data",
        "conv1",
        *(("relu1", "pool1", "norm1") if caffenet else ("relu1", "norm1", "pool1")),
        "conv2",
        "conv3",
        "conv4",
        "conv5",
        "pool5",
        "fc6",
        "drop6",
        "fc7",
        "fc8",
        "prob",
    ]
    content = part(1, b"AlexNet")
    for name in order:
        blobs = [blob(one[:, ::-1] if name == "conv1" and one.ndim == 4 else one, form) for one in given.get(name, ())]
        if form == "new":
            message = (
                part(1, name.encode()) + part(2, b"Convolution") + b"".join(part(7, one) for one in blobs) + varint(10 * 8) + b"\1"
            )
        elif form == "v1":
            message = (
                part(3, name.encode()) + part(4, name.encode()) + varint(5 * 8) + b"\4" + b"".join(part(6, one) for one in blobs)
            )
        else:
            message = part(1, part(1, name.encode()) + part(2, b"conv") + b"".join(part(50, one) for one in blobs))
        content += part(100 if form == "new" else 2, message)
    return content


def caffe_runs(given, x, caffenet):
    """By torch's own operations: ceil pools, one norm over all maps, groups; x is centred RGB."""

    def norm(x):
        return F.local_response_norm(x, 5, 1e-4, 0.75, 1.0)

    def pool(x):
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    torched = {name: [torch.from_numpy(one) for one in pair] for name, pair in given.items()}
    for name, settings in (
        ("conv1", (4, 0, 1, 1)),
        ("conv2", (1, 2, 1, 2)),
        ("conv3", (1, 1, 1, 1)),
        ("conv4", (1, 1, 1, 2)),
        ("conv5", (1, 1, 1, 2)),
    ):
        x = F.relu(F.conv2d(x, *torched[name], *settings))
        if name in ("conv1", "conv2"):
            x = norm(pool(x)) if caffenet else pool(norm(x))
    x = pool(x).flatten(1)
    for name in ("fc6", "fc7", "fc8"):
        x = F.linear(x, *torched[name])
        x = F.relu(x) if name != "fc8" else x
    return torch.softmax(x, 1)[0].numpy()


@pytest.mark.parametrize("form, caffenet", [("new", False), ("v1", True), ("v0", False)])
def test_caffe_comes_in(form, caffenet, tmp_path):
    given, file = kernels(columns=2), tmp_path / "net.caffemodel"
    file.write_bytes(caffemodel(given, form, caffenet))
    mean = RANDOM.uniform(90, 130, (3, 256, 256)).astype(np.float32)  # blue first
    (tmp_path / "mean.binaryproto").write_bytes(blob(mean[None], "v1"))
    answer = alexnet.convert(str(file), str(tmp_path / "here.safetensors"), mean=str(tmp_path / "mean.binaryproto"))
    assert answer["net"] == ("caffenet~" if caffenet else "bvlc~")
    squares = square(256)
    x = torch.from_numpy((squares[0].transpose(2, 0, 1) - mean[::-1])[None, :, 14:241, 14:241].astype(np.float32))
    np.testing.assert_allclose(probabilities(answer["out"], squares)[1], caffe_runs(given, x, caffenet), atol=2e-6)
    plain = alexnet.convert(str(file), str(tmp_path / "plain.safetensors"))
    assert "mean picture was not given" in plain["note"]


@pytest.mark.parametrize("row", ["bvlc", "caffenet"])
@pytest.mark.parametrize("mean", ["image", "colour"])
def test_ours_to_caffe_and_back(tmp_path, row, mean):
    path = made(tmp_path / "ours.safetensors", row, mean=mean)
    one = alexnet.export(str(path), str(tmp_path / "net.caffemodel"), to="caffe")[0]
    alexnet.convert(one["file"], str(tmp_path / "again.safetensors"))
    same(path, tmp_path / "again.safetensors")
    (tmp_path / "net.caffemodel.json").unlink()  # without what stands beside it: Caffe's files alone
    (tmp_path / "names").write_text("".join(f"n{i:04} thing {i}, more\n" for i in range(7)))
    alexnet.convert(
        one["file"], str(tmp_path / "bare.safetensors"), mean=one["file"] + ".mean.binaryproto", classes=str(tmp_path / "names")
    )
    (a, mean_a, card_a), (b, mean_b, card_b) = weights.read(path), weights.read(tmp_path / "bare.safetensors")
    assert all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items()) and torch.equal(mean_a, mean_b)
    assert card_a["classes"] == card_b["classes"]


def test_a_damaged_caffemodel_is_one_sentence(tmp_path):
    content, file = caffemodel(kernels(columns=2), "new", False), tmp_path / "net.caffemodel"
    for damaged, said in (
        (content[:-9], "cut off"),
        (b"", "has 0 arrays"),
        (b"\xff" * 40, "cut off or no Protocol"),
        (content.replace(b"fc7", b"fcX"), "its layer fc7 has 0 arrays"),
        (content.replace(part(1, varint(8)), part(1, varint(9))), "an array of sizes"),
    ):
        file.write_bytes(damaged)
        with pytest.raises(Refused, match=said):
            alexnet.convert(str(file), str(tmp_path / "no.safetensors"))
    assert not (tmp_path / "no.safetensors").exists()
    wrong = kernels(columns=2)
    wrong["conv4"] = values(12, 16, 3, 3), values(12)  # not in groups
    file.write_bytes(caffemodel(wrong, "new", False))
    with pytest.raises(Refused, match=r"conv4.weight is \[12, 16, 3, 3\] there, \[12, 8, 3, 3\] in the row"):
        alexnet.convert(str(file), str(tmp_path / "no.safetensors"))


# ---- the ONNX Model Zoo ---------------------------------------------------------------------------------------------------


def zoo_model(given, side=227, alpha=1e-4):
    """A graph as the zoo's bvlcalexnet has it: data_0 to prob_1, names as Caffe2 gave them."""
    from onnx import TensorProto, helper, numpy_helper

    constants, nodes, x = [], [], "data_0"

    def node(kind, *more, **settings):
        nonlocal x
        out = f"{kind}_{len(nodes)}"
        nodes.append(helper.make_node(kind, [x, *more], [out], **settings))
        x = out

    for name, (stride, pad, groups) in (
        ("conv1", (4, 0, 1)),
        ("conv2", (1, 2, 2)),
        ("conv3", (1, 1, 1)),
        ("conv4", (1, 1, 2)),
        ("conv5", (1, 1, 2)),
        ("fc6", (0, 0, 0)),
        ("fc7", (0, 0, 0)),
        ("fc8", (0, 0, 0)),
    ):
        weight, bias = given[name]
        constants += [
            numpy_helper.from_array(np.ascontiguousarray(weight[:, ::-1] if name == "conv1" else weight), f"{name}_w_0"),
            numpy_helper.from_array(bias, f"{name}_b_0"),
        ]
        if name == "fc6":
            node("Flatten")
        if name.startswith("conv"):
            node(
                "Conv",
                f"{name}_w_0",
                f"{name}_b_0",
                kernel_shape=list(weight.shape[2:]),
                strides=[stride] * 2,
                pads=[pad] * 4,
                group=groups,
            )
        else:
            node("Gemm", f"{name}_w_0", f"{name}_b_0", transB=1)
        if name != "fc8":
            node("Relu")
        if name in ("conv1", "conv2"):
            node("LRN", size=5, alpha=alpha, beta=0.75, bias=1.0)
        if name in ("conv1", "conv2", "conv5"):
            node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1] if side == 224 and name == "conv1" else [0] * 4)
    node("Softmax", axis=1)
    inputs = [helper.make_tensor_value_info("data_0", TensorProto.FLOAT, [1, 3, side, side])]
    graph = helper.make_graph(
        nodes, "bvlc_alexnet", inputs, [helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, 7])], constants
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7)


def test_the_zoo_s_net_comes_in_with_its_parity(tmp_path):
    given, file = kernels(columns=2), tmp_path / "bvlcalexnet-12.onnx"
    file.write_bytes(zoo_model(given).SerializeToString())
    answer = alexnet.convert(str(file), str(tmp_path / "here.safetensors"))
    assert answer["net"] == "bvlc~" and answer["parity"]["compared"] and answer["parity"]["largest_difference"] < 1e-5
    net = weights.read(answer["out"])[0]
    assert all(torch.equal(getattr(net, name).weight, torch.from_numpy(weight)) for name, (weight, _) in given.items())
    file.write_bytes(zoo_model(given, side=224).SerializeToString())
    assert "takes 224 pixels" in alexnet.convert(str(file), str(tmp_path / "here.safetensors"))["parity"]["why"]
    file.write_bytes(zoo_model(given, alpha=1e-3).SerializeToString())
    with pytest.raises(Refused, match="0 of them with Caffe's constants"):
        alexnet.convert(str(file), str(tmp_path / "no.safetensors"))


# ---- what does not fit ------------------------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        import os

        return os.mkdir, (str(self.path),)


def test_a_hostile_state_dict_executes_nothing(tmp_path):
    evil = Evil()
    evil.path = tmp_path / "done"
    torch.save({"features.0.weight": evil}, tmp_path / "evil.pth")
    with pytest.raises(Refused, match="nothing in it was executed"):
        alexnet.convert(str(tmp_path / "evil.pth"), str(tmp_path / "no.safetensors"))
    assert not evil.path.exists() and not (tmp_path / "no.safetensors").exists()


def test_what_does_not_fit_is_one_sentence(tmp_path):
    state, _ = tower(kernels())
    file, out = str(tmp_path / "a.pth"), str(tmp_path / "no.safetensors")
    for change, said in (
        ({"classifier.4.bias": None}, "it has no classifier.4.bias"),
        ({"features.1.running_mean": torch.zeros(3)}, "more"),
        ({"classifier.1.weight": torch.zeros(24, 7)}, r"fc6.weight is \[24, 7\] there, \[24, 288\] in the row"),
        ({"features.8.bias": torch.full((12,), torch.nan)}, "conv4.bias holds values that are no numbers"),
    ):
        torch.save({name: value for name, value in {**state, **change}.items() if value is not None}, file)
        with pytest.raises(Refused, match=said):
            alexnet.convert(file, out)
    torch.save(state, file)
    (tmp_path / "few").write_text("a\tA\nb\tB\n")
    (tmp_path / "odd.bytes").write_bytes(b"hello, world")
    (tmp_path / "torn.pth").write_bytes(open(file, "rb").read()[:-5000])
    for words, options, kind, said in (
        ((file, out), {"classes": str(tmp_path / "few")}, Refused, "names 2 classes, .* has 7 outputs"),
        ((file, out), {"mean": "x"}, Misused, "--mean is for caffe and onnx"),
        ((str(tmp_path / "odd.bytes"), out), {}, Refused, "of no format that convert knows"),
        ((str(tmp_path / "torn.pth"), out), {}, Refused, "cannot be read as tensors alone"),
        ((str(tmp_path / "nowhere"), out), {}, Misused, "there is no file"),
        ((file, str(tmp_path)), {}, Misused, "is a folder"),
    ):
        with pytest.raises(kind, match=said):
            alexnet.convert(*words, **options)
    path = made(tmp_path / "ours.safetensors", "as_run")
    for to, said in (
        ("torchvision", "layout of single_tower only"),
        ("caffe", "for bvlc and caffenet"),
        ("onx", "did you mean onnx"),
    ):
        with pytest.raises((Refused, Misused), match=said):
            alexnet.export(str(path), str(tmp_path / "out"), to=to)
    with pytest.raises(Refused, match="ours already"):
        alexnet.convert(str(path), out)


def test_the_thousand_classes_stand_in_their_order():
    classes = ilsvrc.classes()
    assert len(classes) == 1000 and [id for id, _ in classes] == sorted({id for id, _ in classes})
    anchors = {
        0: ("n01440764", "tench"),
        1: ("n01443537", "goldfish"),
        134: ("n02012849", "crane"),
        207: ("n02099601", "golden retriever"),
        281: ("n02123045", "tabby"),
        388: ("n02510455", "giant panda"),
        517: ("n03126707", "crane"),
        999: ("n15075141", "toilet tissue"),
    }
    assert {i: classes[i] for i in anchors} == anchors
    assert ilsvrc.words()["n02123045"] == "tabby, tabby cat" and all(name and id[0] == "n" and len(id) == 9 for id, name in classes)
