"""Other programs' files, built here in each format's own terms and run by its own arithmetic, mean the same as what they become;
what goes out comes back bit for bit; what does not fit is one sentence. No real file was read: docs/exchange.md says which."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import alexnet
from alexnet import cards, weights
from alexnet.data.picture import POINTS
from alexnet.errors import Misused, Refused
from alexnet.exchange import ilsvrc, torchvision
from tests.foreign import kernels, made, probabilities, same, square

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
    path = made(tmp_path / "ours.safetensors", row, unknown_below=0.3, resampling=POINTS)
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


def test_a_file_is_no_folder_to_export_into(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    from alexnet.export import places

    with pytest.raises(Refused, match="a.jpg is a file and no folder"):
        places(["onnx"], tmp_path / "a.jpg" / "x.onnx")
