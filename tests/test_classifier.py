"""Pictures in, ranked classes out: every kind of picture, one or many, in order, written to a file."""

import csv
import io
import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import alexnet
from alexnet import classifier, evaluate, predictions, weights
from alexnet.data import augment, picture
from alexnet.data import store as stores
from alexnet.errors import Misused, Refused
from alexnet.evaluate import temperature


@pytest.fixture(scope="module")
def clf(run):
    return classifier.load(run, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def cat(pictures):
    return pictures / "val" / "cat" / "0001.png"


def test_every_kind_of_picture_is_the_same_picture(clf, cat):
    opened = Image.open(cat).convert("RGB")
    kinds = [cat, str(cat), cat.read_bytes(), opened, np.asarray(opened)]
    one = clf(cat)
    assert isinstance(one[0], alexnet.Ranked) and len(one) == len(clf.classes) == 16
    assert [r.probability for r in one] == sorted((r.probability for r in one), reverse=True)
    assert sum(r.probability for r in one) == pytest.approx(1, abs=1e-5)
    assert all(clf.classes[r.index] == (r.id, r.name) for r in one)
    assert all(clf(kind) == one for kind in kinds)
    many = clf(kinds)
    assert len(many) == len(kinds) and all(m[0].index == one[0].index for m in many)
    assert clf([]) == [] and len(clf([cat])) == 1 and len(clf(cat, top=3)) == 3


def test_probabilities_are_those_of_evaluate(clf, run, store):
    split = stores.open_split(store, "val")
    net, mean, card = weights.read(run)
    batch = torch.from_numpy(split.pictures(np.arange(len(split))))
    with torch.inference_mode():
        logits = net(augment.views(batch, mean=mean, crop=net.row.crop, count=1)[0])
    expected = torch.softmax(logits / card["temperature"], dim=1).numpy()
    np.testing.assert_allclose(clf.probabilities(batch.numpy()), expected, atol=1e-6)
    right = clf.probabilities(batch.numpy()).argmax(1) == split.labels
    assert 1 - right.mean() == pytest.approx(evaluate.evaluate(run, store)["top1_error"])


def test_views_are_those_of_evaluate(clf, run, store, pictures, capfd):
    split = stores.open_split(store, "val")
    many, one = (clf.probabilities(split.pictures(np.arange(len(split))), views) for views in (10, 1))
    assert np.abs(many - one).max() > 1e-3
    assert 1 - (many.argmax(1) == split.labels).mean() == pytest.approx(evaluate.evaluate(run, store, views=10)["top1_error"])
    file = pictures / split.names[0]
    told, = alexnet.predict(str(file), model=run, views=10, device="cpu")
    assert [line["probability"] for line in told["top"]] == pytest.approx(sorted(many[0], reverse=True)[:5], abs=1e-5)
    assert clf(file, top=5, views=10)[0].probability == pytest.approx(told["top"][0]["probability"], abs=1e-5)
    with pytest.raises(Misused, match="--views is 3"):
        clf(file, views=3)


def test_temperature_of_the_card_is_applied(run, cat):
    net, mean, card = weights.read(run)
    plain, warm = (
        classifier.Classifier(net, mean, {**card, "temperature": t}, device=torch.device("cpu")) for t in (1.0, 4.0)
    )
    assert [r.index for r in plain(cat)] == [r.index for r in warm(cat)]
    assert warm(cat)[0].probability < plain(cat)[0].probability


def test_preprocess_feeds_the_net(clf, cat):
    batch = clf.preprocess([cat, cat])
    assert batch.shape == (2, 3, clf.card["crop"], clf.card["crop"])
    with torch.inference_mode():
        assert int(clf.net(batch)[0].argmax()) == clf(cat)[0].index


def test_features_of_the_last_hidden_layer_or_a_named_one(clf, cat):
    found = clf.features([cat, cat])
    assert found.dtype == np.float32 and found.shape == (2, 256) and clf.net.last_hidden == "fc7"
    np.testing.assert_array_equal(found, clf.features([cat, cat], layer="fc7"))
    assert clf.features(cat, layer="pool1").shape[0] == 1
    with pytest.raises(Misused, match="no layer 'fc77'.*fc7"):
        clf.features(cat, layer="fc77")


def test_equals_are_ranked_by_index(clf):
    assert [r.index for r in clf.rank(np.full(16, 1 / 16, np.float32), 3)] == [0, 1, 2]


def test_what_is_no_picture_is_refused(clf, tmp_path):
    (tmp_path / "a.jpg").write_text("no")
    for wrong in (tmp_path / "a.jpg", tmp_path / "none.jpg", np.zeros((5, 5, 7), np.uint8), b""):
        with pytest.raises(Refused):
            clf(wrong)


def test_paths_are_found_in_order(tmp_path, monkeypatch):
    for name in ("b/2.png", "b/1.JPG", "b/.hidden.png", ".cache/x.png", "b/c/3.webp", "notes.txt", "a.png"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_bytes(b"")
    (tmp_path / "[x].png").write_bytes(b"")  # a name, not a pattern
    monkeypatch.chdir(tmp_path)
    assert [path for path, _ in classifier.paths(["."])] == [
        "./[x].png",
        "./a.png",
        "./b/1.JPG",
        "./b/2.png",
        "./b/c/3.webp",
    ]
    assert list(classifier.paths(["b/*.png", "[x].png", "no*.gif"])) == [
        ("b/2.png", None),
        ("[x].png", None),
        ("no*.gif", "nothing matches this pattern"),
    ]
    (tmp_path / "empty").mkdir()
    assert list(classifier.paths(["empty"])) == [("empty", "there is no picture in this folder")]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a.png\r\n\nb/2.png\ncaf\xe9.png")))
    found = [path for path, _ in classifier.paths(["-"])]
    assert found == ["a.png", "b/2.png", os.fsdecode(b"caf\xe9.png")]
    assert predictions.as_text(found[-1]) == "caf\\xe9.png"


def test_predict_keeps_the_order_over_several_batches(run, pictures, monkeypatch, capfd):
    monkeypatch.setattr(classifier, "BATCH", 5)
    given = [str(path) for path in sorted(pictures.glob("val/*/*.png"))][:13]
    heard = []
    found = alexnet.predict(
        *given[:7], "missing.png", *given[7:], model=run, top=1, device="cpu", on_answer=heard.append
    )
    assert [one["path"] for one in found] == [*given[:7], "missing.png", *given[7:]] and heard == found
    clf = classifier.load(run, device="cpu")
    assert [one["top"][0]["index"] for one in found if "top" in one] == [ranked[0].index for ranked in clf(given)]
    assert "error" in found[7] and capfd.readouterr().out == ""


def test_answers_are_written(run, cat, tmp_path):
    found = alexnet.predict(str(cat), "missing.png", model=run, top=2, out=str(tmp_path / "a.jsonl"))
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == found
    alexnet.predict(str(cat), "missing.png", model=run, top=2, out=str(tmp_path / "a.csv"))
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert [row["rank"] for row in rows] == ["1", "2", ""] and rows[0]["name"] == found[0]["top"][0]["name"]
    assert rows[2]["path"] == "missing.png" and rows[2]["error"] and not any(row["unknown"] for row in rows)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.csv", "a.jsonl"]


def test_a_file_of_answers_says_what_is_unknown(run, cat, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    temperature.keep(tmp_path / "run", unknown_below=0.999)
    alexnet.predict(str(cat), model=tmp_path / "run", top=2, out=str(tmp_path / "a.csv"))
    assert [row["unknown"] for row in csv.DictReader((tmp_path / "a.csv").open())] == ["true", "true"]
    parquet = pytest.importorskip("pyarrow.parquet")
    alexnet.predict(str(cat), "missing.png", model=tmp_path / "run", out=str(tmp_path / "a.parquet"))
    assert [row["unknown"] for row in parquet.read_table(tmp_path / "a.parquet").to_pylist()] == [True, None]


def test_two_that_write_one_file_leave_it_whole(run, cat, tmp_path):
    out = tmp_path / "a.jsonl"
    with classifier.writing(out) as first, classifier.writing(out) as second:
        for number in range(3):
            first({"path": f"first {number}"})
            second({"path": f"second {number}"})
    said = [json.loads(line)["path"].split()[0] for line in out.read_text().splitlines()]
    assert said == ["first"] * 3 and [file.name for file in tmp_path.iterdir()] == ["a.jsonl"]
    with pytest.raises(ZeroDivisionError), classifier.writing(out) as write:
        write({"path": "half"})
        raise ZeroDivisionError
    assert out.read_text().count("first") == 3 and [file.name for file in tmp_path.iterdir()] == ["a.jsonl"]


def test_parquet_is_written_or_its_extra_named(run, cat, tmp_path):
    out = tmp_path / "a.parquet"
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        with pytest.raises(Refused, match="pyarrow.*alexnet\\["):
            alexnet.predict(str(cat), model=run, out=str(out))
        return
    found = alexnet.predict(str(cat), "missing.png", model=run, out=str(out))
    rows = parquet.read_table(out).to_pylist()
    assert [row["path"] for row in rows] == [one["path"] for one in found] and rows[1]["error"] == found[1]["error"]


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"out": "a.xlsx"}, "ending may be"),
        ({"out": "no/such/a.csv"}, "folder no/such is not there"),
        ({"top": 0}, "--top is 0"),
        ({"views": 3}, "--views is 3; it may be 1, 2, 5, 9, 10"),
        ({"device": "tpu9"}, "device 'tpu9'"),
    ],
)
def test_predict_refuses_before_it_reads(run, cat, settings, said):
    with pytest.raises(Refused, match=said):
        alexnet.predict(str(cat), model=run, **settings)


def test_the_square_is_the_one_of_prepare(clf, store, pictures):
    split = stores.open_split(store, "val")
    for place in (0, 7):
        np.testing.assert_array_equal(picture.square(pictures / split.names[place], 64), split.pictures([place])[0])
        np.testing.assert_array_equal(clf.square(pictures / split.names[place]), split.pictures([place])[0])


def test_a_batch_in_an_array_is_many_pictures(clf, pictures):
    squares = np.stack([clf.square(path) for path in sorted((pictures / "train").rglob("*.png"))[:3]])
    assert clf(squares, top=2) == clf(list(squares), top=2) == [clf(one, top=2) for one in squares]


def test_a_zero_byte_in_a_path_is_that_paths_error(run, cat, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{cat}\nan\0odd.png\n{cat}\n".encode())))
    found = alexnet.predict("-", model=run)
    assert [list(one) for one in found] == [["path", "top"], ["path", "error"], ["path", "top"]] and "null" in found[1]["error"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(Refused, match="was given no picture"):
        alexnet.features("-", model=run, out=tmp_path / "none.npy")


def test_a_class_whose_name_is_no_text_is_kept_and_told_escaped(run, cat, tmp_path):
    from alexnet import weights

    net, mean, card = weights.read(run)
    name = os.fsdecode(b"caf\xe9")
    weights.write(tmp_path / "odd.safetensors", net, mean, {**card, "classes": [[name, name]] * len(card["classes"])})
    found = alexnet.predict(cat, model=tmp_path / "odd.safetensors", out=tmp_path / "odd.jsonl", top=1)
    assert found[0]["top"][0]["name"] == "caf\\xe9" and "caf\\\\xe9" in (tmp_path / "odd.jsonl").read_text()
    assert alexnet.load(tmp_path / "odd.safetensors").classes[0].id == name


def test_the_card_says_how_photographs_are_made_small(plain, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (200, 240, 3), dtype=np.uint8)
    usual = alexnet.load(plain).square(pixels)
    temperature.keep(plain, resampling=picture.POINTS)
    sharp = alexnet.load(plain).square(pixels)
    assert np.array_equal(usual, picture.square(pixels, 64)) and np.array_equal(sharp, picture.square(pixels, 64, picture.POINTS))
    assert not np.array_equal(usual, sharp)
    alexnet.export(plain, out=tmp_path / "there", to="hub")
    alexnet.convert(tmp_path / "there", out=tmp_path / "back.safetensors")
    assert alexnet.load(tmp_path / "back.safetensors").card["resampling"] == picture.POINTS


def test_what_ships_asks_for_the_sharpness_it_was_taught_with():
    assert alexnet.load().card["resampling"] == picture.POINTS
