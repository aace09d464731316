"""Caffe's files, built here in the three forms that they have had and run by Caffe's arithmetic, mean the same as what they
become; what goes out comes back bit for bit; a damaged one is one sentence."""

import struct

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import alexnet
from alexnet import weights
from alexnet.errors import Refused
from tests.foreign import RANDOM, kernels, made, probabilities, same, square, values


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
