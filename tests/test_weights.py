"""One file carries everything; what does not fit is answered in one sentence."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import alexnet
from alexnet import cards, weights
from alexnet.data.store import open_split
from alexnet.errors import Misused, Refused


def test_a_run_is_a_model(run, store):
    net, mean, card = weights.read(run)
    split = open_split(store, "train")
    assert [tuple(c) for c in card["classes"]] == [tuple(c) for c in split.classes]
    assert card["net"] == "tiny64" and card["size"] == 64 and card["crop"] == 56 and mean.shape == (3, 56, 56)
    assert card["data"]["fingerprint"] == split.fingerprint and card["recipe"]["epochs"] == 2 and card["temperature"] == 1.0
    assert card["errors"][0]["split"] == "val" and card["errors"][0]["selected_on"] is True
    assert weights.read_card(run) == card and not net.training


def test_the_card_is_in_the_header_where_other_tools_see_it(run):
    from safetensors import safe_open

    with safe_open(weights.find(run), "pt") as file:
        assert json.loads(file.metadata()["card"])["net"] == "tiny64"


def test_half_storage_reads_back_as_float32(run, tmp_path):
    net, mean, card = weights.read(run)
    weights.write(tmp_path / "half.safetensors", net, mean, card, dtype=torch.float16)
    again = weights.read(tmp_path / "half.safetensors")[0]
    assert again.fc6.weight.dtype == torch.float32
    assert (again.fc6.weight - net.fc6.weight).abs().max() < 1e-3
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * weights.find(run).stat().st_size


def test_byte_storage_has_a_scale_for_each_output(run, tmp_path):
    net, mean, card = weights.read(run)
    net.conv3.weight.data[0] *= 100  # one loud kernel costs the others nothing
    net.conv3.weight.data[1] = 0
    weights.write(tmp_path / "bytes.safetensors", net, mean, card, dtype=torch.int8)
    again, mean_again, _ = weights.read(tmp_path / "bytes.safetensors")
    for name, value in net.state_dict().items():
        found = again.state_dict()[name]
        if value.dim() < 2:
            assert torch.equal(found, value)
        else:
            step = value.flatten(1).abs().amax(1) / 127
            assert ((found - value).flatten(1).abs().amax(1) <= 0.501 * step).all()
    assert torch.equal(mean, mean_again)
    assert (tmp_path / "bytes.safetensors").stat().st_size < 0.35 * weights.find(run).stat().st_size
    with cards.WeightsFile(tmp_path / "bytes.safetensors") as stored:  # as the engines read it
        arrays = stored.arrays()
    assert all((arrays[name] == value.numpy()).all() for name, value in again.state_dict().items())


def test_what_does_not_fit_is_refused(run, tmp_path):
    with pytest.raises(Misused, match="no model 'defalt'"):
        weights.find("defalt")
    with pytest.raises(Refused, match="no checkpoint"):
        weights.find(tmp_path)
    content = weights.find(run).read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:-100])
    with pytest.raises(Refused, match="not a whole safetensors file"):
        weights.read(tmp_path / "cut.safetensors")
    tensors = load_file(weights.find(run))
    save_file(tensors, tmp_path / "bare.safetensors")
    with pytest.raises(Refused, match="carries no card"):
        weights.read(tmp_path / "bare.safetensors")
    card = {"card": json.dumps(weights.read_card(run))}
    tensors["fc7.weight"] = tensors["fc7.weight"][:5].clone()
    save_file(tensors, tmp_path / "shape.safetensors", metadata=card)
    with pytest.raises(Refused, match=r"fc7.weight has \[5, 256\] in the file and \[256, 256\]"):
        weights.read(tmp_path / "shape.safetensors")
    del tensors["fc7.weight"]
    save_file(tensors, tmp_path / "less.safetensors", metadata=card)
    with pytest.raises(Refused, match="fc7.weight has nothing in the file"):
        weights.read(tmp_path / "less.safetensors")


def test_a_store_of_other_classes_is_refused(run, store, pictures, tmp_path):
    other = tmp_path / "other"
    (other / "train").mkdir(parents=True)
    for name in ("astronaut", "zebra"):
        (other / "train" / name).mkdir()
        picture = next((pictures / "train").glob("*/*.png"))
        (other / "train" / name / "1.png").write_bytes(picture.read_bytes())
    alexnet.prepare(str(other), str(tmp_path / "store"), size=64, workers=1)
    with pytest.raises(Refused, match="other classes"):
        alexnet.evaluate(run, tmp_path / "store", split="train")


def test_the_weights_that_ship_say_what_they_are_and_what_their_engine_may_do():
    clf = alexnet.load()
    assert len(clf.classes) == 200 and not [one for one in clf.classes if one.name == one.id]
    assert "research" in clf.card["data"]["licence"] and 0.3 < clf.card["temperature"] < 3
    errors = {one["views"]: one for one in clf.card["errors"]}
    assert set(errors) == {1, 10} and errors[10]["top1_error"] < errors[1]["top1_error"] < 0.5 and not errors[1]["selected_on"]
    gate = json.loads((cards.SHIPPED / "default.engines.json").read_text())
    assert gate["weights"] == clf.digest and gate["precisions"]["int8"]["float32_error"] == errors[1]["top1_error"]
    assert sum(file.stat().st_size for file in cards.SHIPPED.iterdir()) < 12e6
