"""transfer: the probe is the best of its convex problem, choices and reports use other pictures, the model is a MODEL."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import alexnet
from alexnet import cards, classifier, cli, features, nets, transfer, weights
from alexnet.data import picture
from alexnet.data.store import open_split
from alexnet.errors import Misused, Refused
from alexnet.evaluate import temperature
from alexnet.explain.subject import Subject
from alexnet.net import AlexNet
from alexnet.transfer import finishing, probe


def clouds(count, seed, noise=1.0):
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(3, 12)) * 3
    labels = random.integers(0, 3, count)
    points = (centres[labels] + noise * random.normal(size=(count, 12))) * np.tile([1, 100], 6) + 5  # units of unlike sizes
    return points.astype(np.float32), labels


def test_the_probe_is_where_the_gradient_ends():
    points, labels = clouds(300, 1, noise=3.0)
    found = probe.fit(points, labels, 3, decay=0.01)
    mean, spread = points.mean(0), points.std(0)
    weight = torch.tensor(found.weight * spread, requires_grad=True)
    bias = torch.tensor(found.bias + found.weight @ mean, requires_grad=True)
    scaled = torch.from_numpy((points - mean) / spread)
    loss = torch.nn.functional.cross_entropy(scaled @ weight.T + bias, torch.from_numpy(labels)) + 0.005 * weight.square().sum()
    loss.backward()
    assert weight.grad.abs().max() < 1e-3 and bias.grad.abs().max() < 1e-3
    assert probe.measured(found, *clouds(300, 2, noise=3.0))["top1_error"] < 0.35


def test_decay_is_chosen_on_the_held_pictures_and_labels_are_doubted():
    known, held = clouds(60, 1, noise=4.0), clouds(200, 2, noise=4.0)
    best, decay, lines = probe.chosen(known, held, 3)
    losses = {line["decay"]: line["log_loss"] for line in lines}
    assert decay == min(losses, key=losses.get) and losses[decay] == pytest.approx(probe.measured(best, *held)["log_loss"])
    points, labels = clouds(300, 1)
    labels[[7, 150]] = (labels[[7, 150]] + 1) % 3
    found = probe.doubted(points, labels, 3, decay=0.01, seed=0)
    assert {at for at, *_ in found} == {7, 150}
    assert all(answer == (labels[at] - 1) % 3 and best > 0.5 > own for at, answer, best, own in found)
    lines = probe.curve(clouds(400, 3, noise=4.0), held, 3, decay=0.1, seed=0)
    assert [line["images"] for line in lines] == [40, 80, 160, 280, 400] and lines[-1]["top1_error"] < lines[0]["top1_error"]
    assert probe.outlook(lines)["top1_error"] <= lines[-1]["top1_error"]


@pytest.fixture(scope="module")
def own(run, pictures, tmp_path_factory):
    """Six of the classes, as a folder of one's own without a val; transferred, probe only."""
    top = tmp_path_factory.mktemp("own")
    names = sorted(path.name for path in (pictures / "train").iterdir())[:6]
    for name in names:
        shutil.copytree(pictures / "train" / name, top / "pictures" / name)
        for file in (pictures / "val" / name).iterdir():
            shutil.copy(file, top / "pictures" / name / f"more-{file.name}")
    answer = transfer.transfer(str(top / "pictures"), out=str(top / "run"), from_=str(run), probe_only=True, holdout=0.25)
    return top, answer


def test_a_folder_becomes_a_model_that_every_command_takes(own, capsys):
    top, answer = own
    assert answer["kept"] == "probe" and answer["classes"] == 6 and sum(answer["images"].values()) == 66
    assert answer["errors"][0]["top1_error"] < 0.6 and not answer["errors"][0]["selected_on"]
    assert json.loads((top / "run" / "transfer.json").read_text())["kept"] == "probe"
    found = alexnet.evaluate(top / "run", store=top / "run" / "store")
    assert found["top1_error"] == answer["errors"][0]["top1_error"] and found["images"] == answer["images"]["val"]
    measured = {(one["split"], one["fingerprint"], one["selected_on"]) for one in cards.read_card(top / "run")["errors"]}
    assert measured == {(name, open_split(top / "run" / "store", name).fingerprint, name == "tune") for name in ("val", "tune")}
    picture = str(next((top / "pictures").rglob("*.png")))
    assert cli.main(["predict", picture, "--model", str(top / "run"), "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert len(line["top"]) == 5 and line.get("unknown", False) == (line["top"][0]["probability"] < answer["unknown_below"])


def test_a_run_that_moves_takes_its_store_along(own, tmp_path, monkeypatch):
    monkeypatch.chdir(own[0])
    shutil.copytree("run", tmp_path / "mine")
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    assert config["store"] == str(own[0] / "run" / "store")
    (tmp_path / "mine" / "config.json").write_text(json.dumps({**config, "store": "/gone/store"}))
    assert Subject(tmp_path / "mine").gallery.split.store == str(tmp_path / "mine" / "store")


def test_the_last_layer_is_the_probe_on_the_backbones_features(own, run):
    top, answer = own
    clf, backbone = alexnet.load(top / "run"), alexnet.load(run)
    part = open_split(top / "run" / "store", "train")
    squares = part.pictures(np.arange(20))
    seen = backbone.layer(squares)
    np.testing.assert_allclose(clf.layer(squares), seen, rtol=1e-5, atol=1e-5)
    last = clf.net.state_dict()
    logits = seen @ last["fc8.weight"].numpy().T + last["fc8.bias"].numpy()
    expected = probe.softmax(logits / answer["temperature"])
    np.testing.assert_allclose(clf.probabilities(squares), expected, atol=2e-4)
    kept = np.load(top / "run" / "features" / "train.npy")
    np.testing.assert_allclose(kept[:20], features.of_split(backbone, part, positions=np.arange(20)), atol=1e-4)


def test_pictures_become_squares_as_the_backbone_s_did(own, run, tmp_path):
    """The card says how: the store that transfer makes, the model that comes of it and its use follow."""
    net, mean, card = weights.read(run)
    sharp = tmp_path / "sharp.safetensors"
    weights.write(sharp, net, mean, card | {"resampling": picture.POINTS})
    top, out = own[0], tmp_path / "out"
    transfer.transfer(str(top / "pictures"), out=str(out), from_=str(sharp), probe_only=True, holdout=0.25)
    part, clf = open_split(out / "store", "val"), alexnet.load(out)
    assert part.resampling == clf.card["resampling"] == picture.POINTS != cards.read_card(top / "run")["resampling"]
    assert all(np.array_equal(part.pictures([at])[0], clf.square(top / "pictures" / name)) for at, name in enumerate(part.names))


def test_unknown_is_what_is_below_the_threshold(own):
    top, answer = own
    clf = alexnet.load(top / "run")
    part = open_split(top / "run" / "store", "tune")
    rows = clf.probabilities(part.pictures(np.arange(len(part))))
    right = rows.argmax(1) == part.labels
    assert (rows.max(1)[right] >= answer["unknown_below"]).mean() >= 0.9
    sure, unsure = np.full(6, 0.01, np.float32), np.full(6, 1 / 6, np.float32)
    sure[0] = 0.95
    assert not clf.is_unknown(clf.rank(sure)) and clf.is_unknown(clf.rank(unsure, 1))
    answered = [{**one} for one in classifier._answer(clf, [("x", part.pictures([0])[0])], 5)]
    assert answered[0].get("unknown", False) == clf.is_unknown(clf.rank(rows[0]))
    assert not alexnet.load("default").is_unknown(alexnet.load("default").rank(np.full(16, 1 / 16)))


def test_the_same_command_goes_on_and_another_is_refused(own, run, monkeypatch):
    top, answer = own
    given = {"out": str(top / "run"), "from_": str(run), "probe_only": True, "holdout": 0.25}
    again = transfer.transfer(str(top / "pictures"), **given)
    assert again["errors"] == answer["errors"] and again["temperature"] == answer["temperature"]
    monkeypatch.chdir(top / "run")  # the same pictures and backbone, called otherwise
    again = transfer.transfer("../pictures", **{**given, "from_": os.path.relpath(run), "out": "."})
    assert again["errors"] == answer["errors"]
    with pytest.raises(Refused, match="other settings"):
        transfer.transfer(str(top / "pictures"), **{**given, "holdout": 0.5})
    with pytest.raises(Misused, match="no backbone"):
        transfer.transfer(str(top / "pictures"), out=str(top / "other"), scratch=True, probe_only=True)


def test_a_wrong_folder_does_not_use_the_run_up(own, run, tmp_path):
    top, answer = own
    given = {"out": str(tmp_path / "run"), "from_": str(run), "probe_only": True, "holdout": 0.25}
    (tmp_path / "pictures.zip").write_bytes(b"PK")
    with pytest.raises(Refused, match="is an archive"):
        transfer.transfer(str(tmp_path / "pictures.zip"), **given)
    assert transfer.transfer(str(top / "pictures"), **given)["errors"] == answer["errors"]


def test_fine_tuning_is_kept_only_where_it_wins(own, run, monkeypatch):
    top, _ = own
    errors = {}
    for wins in (True, False):
        out = top / f"tuned-{wins}"
        monkeypatch.setattr(transfer, "train", pretended(wins))
        answer = transfer.transfer(str(top / "run" / "store"), out=str(out), from_=str(run), epochs=1)
        assert answer["kept"] == ("fine-tuned" if wins else "probe")
        errors[wins] = cards.read_card(out)["recipe"]["name"]
    assert errors == {True: "modern", False: "linear probe"}


def test_fine_tuning_that_leaves_the_numbers_leaves_the_probe(own, run, monkeypatch):
    top, answer = own
    monkeypatch.setattr(transfer, "RATES", dict.fromkeys(transfer.RATES, 1e18))
    found = transfer.transfer(str(top / "run" / "store"), out=str(top / "diverged"), from_=str(run), epochs=2)
    assert found["kept"] == "probe" and "left the numbers" in found["note"] and found["fine_tuned"] is None
    assert found["errors"][0]["top1_error"] == answer["errors"][0]["top1_error"]


@pytest.mark.parametrize("net, known", [("tiny64,norm=batch,dropout=none", True), ("a-net-of-their-own", False)])
def test_a_backbone_is_fine_tuned_if_its_row_is_known_varied_or_not(own, net, known, tmp_path):
    network = AlexNet(net if known else replace(nets.row("tiny64"), name=net), classes=3, seed=0)
    card = weights.card(network, classes=[(name, name) for name in "abc"], size=64, centring="colour")
    weights.write(tmp_path / "backbone.safetensors", network, torch.full((3, 1, 1), 110.0), card)
    store = own[0] / "run" / "store"
    found = transfer.transfer(str(store), out=str(tmp_path / "out"), from_=str(tmp_path / "backbone.safetensors"), epochs=1)
    assert (found["fine_tuned"] is not None) == known and ("not in the table" in found.get("note", "")) != known


def test_what_hardly_varies_is_not_blown_up():
    points, labels = clouds(60, 1)
    points[:, 0], points[:, 1] = 5, 0
    points[3, 1] = 1e-6
    found = probe.fit(points, labels, 3, decay=1e-4)
    assert np.abs(found.weight[:, :2]).max() < 100 * np.abs(found.weight[:, 2:]).max()


def pretended(wins):
    """The real training, with an answer of our own."""
    from alexnet.train import train

    def trained(*words, **settings):
        line = train(*words, **settings)
        line["best"]["top1_error"] = -1.0 if wins else 2.0
        return line

    return trained


def test_old_against_new_and_from_scratch(own, run):
    top, answer = own
    store = top / "run" / "store"
    found = transfer.transfer(str(store), out=str(top / "scratch"), scratch=True, epochs=1, net="tiny64", previous=str(top / "run"))
    assert found["kept"] == "scratch" and found["licence"] is None and found["advice"] == "keep"
    assert found["previous"]["images"] == answer["images"]["val"] and found["previous"]["models"][1] == "the new one"


def test_the_small_backbone_says_what_it_is_likely_to_cost(own, capsys):
    top, _ = own
    transfer.transfer(str(top / "run" / "store"), out=str(top / "small"), probe_only=True)
    error = next(one["top1_error"] for one in alexnet.load().card["errors"] if one["views"] == 1)
    said = capsys.readouterr().err
    assert f"{error:.0%} of its own test pictures wrong" in said and "--from MODEL" in said
    transfer.transfer(str(top / "run" / "store"), out=str(top / "named"), probe_only=True, from_="default")
    assert "own test pictures" not in capsys.readouterr().err


def test_two_classes_of_ten_and_one_class(run, pictures, tmp_path):
    names = sorted(path.name for path in (pictures / "train").iterdir())
    for name in names[:2]:
        shutil.copytree(pictures / "train" / name, tmp_path / "two" / name)
    answer = transfer.transfer(str(tmp_path / "two"), out=str(tmp_path / "run"), from_=str(run), probe_only=True, holdout=0.3)
    assert answer["classes"] == 2 and {one["class"] for one in answer["few"]} == set(names[:2])
    shutil.rmtree(tmp_path / "two" / names[0])
    with pytest.raises(Refused, match="one class only"):
        transfer.transfer(str(tmp_path / "two"), out=str(tmp_path / "one"), from_=str(run), probe_only=True, holdout=0.3)


def test_where_all_is_right_the_temperature_stays_1(own, monkeypatch, tmp_path):
    """The fit has no end then: a net that is sure of everything could call nothing unknown."""
    top, _ = own
    shutil.copytree(top / "run", tmp_path / "run")
    model, kept = tmp_path / "run" / "checkpoints" / "best" / "weights.safetensors", finishing.evaluate

    def fitted(model, **given):
        temperature.keep(model, temperature.COLDEST)
        return kept(model, store=given["store"], split=given["split"])

    monkeypatch.setattr(finishing, "evaluate", fitted)
    assert finishing.calibrated(model, str(top / "run" / "store"), "tune")["temperature"] == 1.0


def test_a_previous_model_of_other_classes_is_refused_before_the_work(own, run, tmp_path):
    top, _ = own
    with pytest.raises(Refused, match="was trained on other classes"):
        transfer.transfer(str(top / "run" / "store"), out=str(tmp_path / "new"), from_=str(run), previous=str(run))
    assert not (tmp_path / "new" / "features").exists()
