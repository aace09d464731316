"""Errors: ties as in the source, views and ensembles by averaged probabilities, every picture once, the interval."""

import csv
import json
import shutil
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

import alexnet
from alexnet import figures, rundir, weights
from alexnet.answers import show_evaluate
from alexnet.data.feed import Feed
from alexnet.data.store import open_split
from alexnet.errors import Misused, Refused
from alexnet.evaluate import passes, scores, temperature, weighing

CPU = torch.device("cpu")


@pytest.fixture
def plain(run, tmp_path):
    """The run's weights as a file of their own, chosen on nothing."""
    net, mean, card = weights.read(run)
    weights.write(tmp_path / "plain.safetensors", net, mean, {**card, "errors": []})
    return tmp_path / "plain.safetensors"


@pytest.fixture
def other(run, tmp_path):
    """Another net for the same pictures, sure of nothing."""
    net, mean, card = weights.read(run)
    path = tmp_path / "other.safetensors"
    weights.write(path, alexnet.AlexNet(net.row, classes=16, seed=9), mean, {**card, "errors": [], "data": {}})
    return path


def test_ties_share_the_places_that_are_left():
    found = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25], [0.4, 0.4, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]])
    labels = torch.tensor([0, 1, 1, 3])
    own = found.gather(1, labels[:, None])
    assert passes.credit(found, own, 1).tolist() == [1, 0.25, 0.5, 0]
    assert passes.credit(found, own, 2).tolist() == pytest.approx([1, 0.5, 1, 1 / 3])
    assert passes.credit(found, own, 4).tolist() == [1, 1, 1, 1]


def test_a_net_that_computes_no_numbers_is_never_right():
    found = torch.full((2, 6), float("nan"))
    assert passes.credit(found, found[:, :1], 5).tolist() == [0, 0]


def test_by_hand_on_the_whole_split(run, store):
    """evaluate() against the network run picture by picture with numpy doing the rest."""
    net, mean, _ = weights.read(run)
    split = open_split(store, "val")
    pictures = torch.from_numpy(split.pictures(np.arange(len(split)))).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        one = torch.cat([net(pictures[i : i + 1, :, 4:60, 4:60] - mean).softmax(1) for i in range(len(split))]).numpy()
    own = one[np.arange(len(split)), split.labels]
    answer = alexnet.evaluate(run, store)
    assert answer["images"] == len(split) == 48 and answer["refused"] == 0 and answer["views"] == 1
    assert answer["top1_error"] == pytest.approx(np.mean(one.argmax(1) != split.labels), abs=1e-9)
    ranks = (one > own[:, None]).sum(1)
    assert answer["top5_error"] == pytest.approx(np.mean(ranks >= 5), abs=1e-9)
    assert answer["log_loss"] == pytest.approx(-np.log(own).mean(), rel=1e-4)
    low, high = answer["top1_interval"]
    assert low <= answer["top1_error"] <= high


def test_ten_views_average_probabilities(run, store):
    net, mean, _ = weights.read(run)
    split = open_split(store, "val")
    picture = split.pictures([0])
    member = passes.Member(net, mean, device=CPU)
    raw = torch.from_numpy(picture).permute(0, 3, 1, 2).float()
    total = 0
    with torch.no_grad():
        for flipped in (False, True):
            for top, left in ((0, 0), (0, 8), (4, 4), (8, 0), (8, 8)):
                cut = raw[:, :, top : top + 56, left : left + 56]
                total = total + net((cut.flip(3) if flipped else cut) - mean).softmax(1)
    torch.testing.assert_close(member.probabilities(torch.from_numpy(picture), 10), total / 10)


def test_an_ensemble_averages_and_shares_are_kept(run, store):
    net, mean, _ = weights.read(run)
    other = alexnet.AlexNet(net.row, classes=16, seed=9).eval()
    split = open_split(store, "val")
    members = [passes.Member(n, mean, device=CPU) for n in (net, other)]
    each = [torch.cat([p for (p,), _ in passes.probabilities([m], Feed(split))]) for m in members]
    labels, shares = torch.from_numpy(split.labels), [0.75, 0.25]
    both = torch.cat([passes.joined(found, shares) for found, _ in passes.probabilities(members, Feed(split))])
    torch.testing.assert_close(both, 0.75 * each[0] + 0.25 * each[1])
    plain, weighed = passes.errors(members, Feed(split), [[0.5, 0.5], shares])
    assert plain == passes.measure(members, Feed(split)) and weighed["images"] == len(split)
    assert weighed["log_loss"] == pytest.approx(-both.gather(1, labels[:, None]).log().mean().item(), rel=1e-5)
    twice = alexnet.evaluate(run, run, store)
    assert twice["models"] == [str(run)] * 2 and twice["top1_error"] == alexnet.evaluate(run, store)["top1_error"]


def test_top5_of_few_classes_is_over_all_of_them():
    found = torch.tensor([[0.1, 0.2, 0.7]])
    assert passes.credit(found, found[:, :1], min(5, 3)).tolist() == [1]


def plainly(found, labels, places):
    """The source's search once more, with numpy, as it is told: no early end, every sum anew."""
    members, best = len(found), None

    def credit(shares):
        both = np.tensordot(np.float32(shares), found, 1)
        own = both[np.arange(len(labels)), labels][:, None]
        return np.clip((places - (both > own).sum(1)).clip(0) / (both == own).sum(1), 0, 1).sum()

    shares = [0.5] * members
    best = credit(shares)
    for _ in range(5):
        before = list(shares)
        for at in range(members):
            for step in range(21):
                tried = [*shares[:at], step / 20, *shares[at + 1 :]]
                if any(tried) and credit(tried) > best + 1e-3:
                    best, shares = credit(tried), tried
        if shares == before:
            break
    return shares


@pytest.mark.parametrize("places", [1, 5])
@pytest.mark.parametrize("seed", range(4))
def test_the_search_for_weights_is_the_sources(seed, places):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 12, 600)
    logits = draw.normal(size=(4, 600, 12)) * 2
    logits[np.arange(4)[:, None], np.arange(600), labels] += np.array([1.5, 0.3, 0.9, -1.0])[:, None]
    found = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    found = found.astype(np.float32)
    shares = weighing.search(torch.from_numpy(found), torch.from_numpy(labels), places)
    assert shares == plainly(found, labels, places) and shares != [0.5] * 4
    assert all(0 <= share <= 1 and share * 20 == round(share * 20) for share in shares)


def test_weights_that_are_all_zero_do_not_win():
    """Where every net is worse than chance, ties of nothing would be credited with more."""
    labels = torch.zeros(40, dtype=torch.int64)
    wrong = torch.tensor([0.0, 0.3, 0.2, 0.2, 0.1, 0.1, 0.1]).expand(2, 40, 7)
    assert weighing.search(wrong, labels, 5) == [0.5, 0.5]


def test_fitted_weights_beside_the_plain_average(run, other, store, monkeypatch):
    gone = []
    batches = Feed.batches
    monkeypatch.setattr(Feed, "batches", lambda self, plan: (gone.append(self.split.name), batches(self, plan))[1])
    answer = alexnet.evaluate(run, other, store, fit_weights="train")
    assert gone == ["train", "val"]  # every picture once
    assert answer["fitted_on"] == "train" and sum(answer["weights"]) == pytest.approx(1) and len(answer["weights"]) == 2
    plain = alexnet.evaluate(run, other, store)
    assert answer["plain"] == {key: plain[key] for key in answer["plain"]} and set(plain) <= set(answer) | {"note"}
    members = [passes.Member(*weights.read(model)[:2], device=CPU) for model in (run, other)]
    fed = {split: Feed(open_split(store, split)) for split in ("train", "val")}
    assert answer["weights"] == weighing.fitted(members, fed["train"])
    assert passes.errors(members, fed["val"], [answer["weights"]])[0].items() <= answer.items()
    fits = passes.errors(members, fed["train"], [answer["weights"], [0.5, 0.5]])
    assert fits[0]["top5_error"] < fits[1]["top5_error"]  # where it was fitted it is better
    assert f"{run} learnt from the pictures of train" in answer["note"] and str(other) not in answer["note"]
    show_evaluate(answer)


def test_few_classes_are_fitted_by_top1(run, store, tmp_path, capsys):
    """A store of four classes: top-5 error is 0 whatever the weights."""
    for number in range(4):
        for split in ("train", "val"):
            folder = tmp_path / "pictures" / split / f"class {number}"
            folder.mkdir(parents=True)
            Image.new("RGB", (64, 64), (60 * number, 90 + (split == "val"), 7)).save(folder / "1.png")
    alexnet.prepare(tmp_path / "pictures", tmp_path / "four", size=64, workers=1)
    classes = open_split(tmp_path / "four", "val").classes
    for seed in range(2):
        net = alexnet.AlexNet("tiny64", classes=4, seed=seed)
        card = weights.card(net, classes=classes, size=64, centring="colour")
        weights.write(tmp_path / str(seed), net, torch.zeros(3, 1, 1), card)
    answer = alexnet.evaluate(tmp_path / "0", tmp_path / "1", tmp_path / "four", fit_weights="train")
    assert answer["top5_error"] == 0 and "with 4 classes top-5 error is constant" in answer["note"]
    show_evaluate(answer)
    shown = capsys.readouterr().out
    assert "plain average" in shown and "weights fitted on  train" in shown and "(weight 0." in shown


def test_weights_are_never_fitted_on_what_is_reported(run, store, tmp_path):
    with pytest.raises(Misused, match="is the split that is reported"):
        alexnet.evaluate(run, run, store, fit_weights="val")
    with pytest.raises(Misused, match="there is one"):
        alexnet.evaluate(run, store, fit_weights="train")
    with pytest.raises(Misused, match="no split 'tset'"):
        alexnet.evaluate(run, run, store, fit_weights="tset")
    shutil.copytree(store, tmp_path / "store")
    shutil.copytree(store / "val", tmp_path / "store/test")
    with pytest.raises(Misused, match="holds the same pictures as val"):
        alexnet.evaluate(run, run, tmp_path / "store", fit_weights="test")


def test_misuse_is_answered(run, store):
    for wrong, answer in (((run,), "at least one MODEL"), ((), "at least one MODEL")):
        with pytest.raises(Misused, match=answer):
            alexnet.evaluate(*wrong)
    with pytest.raises(Misused, match="views is 3"):
        alexnet.evaluate(run, store, views=3)
    with pytest.raises(Refused):
        alexnet.evaluate(run, store, split="tset")


def test_a_figure_on_the_split_it_was_chosen_on_says_so(run, store, plain):
    assert "chosen on this split" in alexnet.evaluate(run, store)["note"]
    assert "note" not in alexnet.evaluate(plain, store)


def test_pictures_that_were_learnt_are_named_as_such(run, store):
    note = alexnet.evaluate(run, store, split="train")["note"]
    assert "was trained on the pictures of this split" in note and "chosen" not in note
    assert "trained on" not in alexnet.evaluate(run, store)["note"]


# ---- beside the errors ---------------------------------------------------------------------------------------------------


def seen(model, store, split="val"):
    """(probabilities (N, classes), labels), picture by picture."""
    net, mean, _ = weights.read(model)
    part = open_split(store, split)
    found = [one for (one,), _ in passes.probabilities([passes.Member(net, mean, device=CPU)], Feed(part))]
    return torch.cat(found).numpy().astype(np.float64), part.labels


def test_every_model_and_how_they_scatter(run, other, store, capsys):
    answer = alexnet.evaluate(run, other, store)
    each = [alexnet.evaluate(model, store) for model in (run, other)]
    for one, alone in zip(answer["each"], each):
        assert {key: alone[key] for key in one if key != "model"} == {key: value for key, value in one.items() if key != "model"}
    errors = [one["top1_error"] for one in each]
    assert answer["mean_top1_error"] == pytest.approx(sum(errors) / 2) and "each" not in each[0]
    assert answer["spread_top1_error"] == pytest.approx(abs(errors[0] - errors[1]) / 2**0.5)
    assert answer["top5_interval"] == scores.wilson(answer["top5_error"], 48)
    show_evaluate(answer)
    assert "over 2 models" in capsys.readouterr().out


def test_classes_and_confusions(run, store, capsys):
    answer = alexnet.evaluate(run, store, per_class=True)
    found, labels = seen(run, store)
    answers, ids = found.argmax(1), [one.id for one in open_split(store, "val").classes]
    assert {one["id"]: one["top1_error"] for one in answer["classes"]} == pytest.approx(
        {ids[k]: (answers != k)[labels == k].mean() for k in range(16)})
    errors = [one["top1_error"] for one in answer["classes"]]
    assert errors == sorted(errors, reverse=True)
    assert len(answer["confused"]) == 10
    for pair in answer["confused"]:
        true, taken = ids.index(pair["true"]), ids.index(pair["answered"])
        assert pair["count"] == ((labels == true) & (answers == taken)).sum() and pair["images"] == 3 and true != taken
    show_evaluate(answer)
    assert "most often confused" in capsys.readouterr().out and "classes" not in alexnet.evaluate(run, store)


def test_two_models_picture_by_picture(run, other, store, capsys):
    answer = alexnet.evaluate(run, other, store, compare=True)
    (first, labels), (second, _) = seen(run, store), seen(other, store)
    right = first.argmax(1) == labels, second.argmax(1) == labels
    found = answer["comparison"]
    assert found["only_first"] == (right[0] & ~right[1]).sum() and found["both_right"] == (right[0] & right[1]).sum()
    assert found["top1_difference"] == pytest.approx(answer["each"][1]["top1_error"] - answer["each"][0]["top1_error"])
    assert found["log_loss_difference"] == pytest.approx(answer["each"][1]["log_loss"] - answer["each"][0]["log_loss"])
    names = np.array(open_split(store, "val").names)
    assert [one["name"] for one in answer["differ"]] == names[right[0] != right[1]].tolist() and answer["differ"]
    assert answer["differ_count"] == found["only_first"] + found["only_second"]
    assert all((one["answers"][one["right"] == "second"]) == one["id"] for one in answer["differ"])
    show_evaluate(answer)
    assert found["verdict"] in capsys.readouterr().out
    with pytest.raises(Misused, match="--compare wants two models"):
        alexnet.evaluate(run, store, compare=True)


def test_what_more_views_cost(run, store, capsys):
    answer = alexnet.evaluate(run, store, budget=True)
    ten = alexnet.evaluate(run, store, views=10)
    assert [(one["views"], one["forward_passes"]) for one in answer["budget"]] == [(1, 1), (2, 2), (5, 5), (10, 10)]
    assert answer["budget"][0]["top1_error"] == answer["top1_error"]
    assert answer["budget"][3]["top5_interval"] == ten["top5_interval"] and answer["budget"][3]["top1_error"] == ten["top1_error"]
    assert all(one["images_per_second"] > 0 for one in answer["budget"])
    show_evaluate(answer)
    assert "one run" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_row_a_picture(run, other, store, tmp_path, ending):
    file = tmp_path / f"rows.{ending}"
    answer = alexnet.evaluate(run, store, save_predictions=str(file))
    if ending == "csv":
        rows = list(csv.DictReader(open(file)))
        rows = [{**row, "top": [row[f"top_{k}"] for k in range(1, 6)]} for row in rows]
    elif ending == "jsonl":
        rows = [json.loads(line) for line in open(file)]
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(file).to_pylist()
    found, labels = seen(run, store)
    part = open_split(store, "val")
    assert [row["name"] for row in rows] == part.names and [int(row["label"]) for row in rows] == labels.tolist()
    assert [row["id"] for row in rows] == [part.classes[k].id for k in labels] and {row["model"] for row in rows} == {str(run)}
    assert np.mean([float(row["log_loss"]) for row in rows]) == pytest.approx(answer["log_loss"], rel=1e-5)
    assert [list(map(int, row["top"])) for row in rows] == (-found).argsort(1, kind="stable")[:, :5].tolist()
    assert np.mean([int(row["rank"]) > 1 for row in rows]) == pytest.approx(answer["top1_error"])
    if ending == "csv":
        alexnet.evaluate(run, other, store, compare=True, save_predictions=str(file))
        assert [row["model"] for row in csv.DictReader(open(file))] == [str(run)] * 48 + [str(other)] * 48


def test_files_are_refused_before_the_work(run, store, tmp_path, monkeypatch):
    with pytest.raises(Misused, match="its ending may be .parquet, .csv or .jsonl"):
        alexnet.evaluate(run, store, save_predictions="rows.txt")
    with pytest.raises(Misused, match="its ending may be .png or .svg"):
        alexnet.evaluate(run, store, reliability="plot.pdf")
    with pytest.raises(Refused, match="make it first"):
        alexnet.evaluate(run, store, reliability=str(tmp_path / "none" / "plot.png"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Refused, match=r"pip install 'alexnet\[parquet\]'"):
        alexnet.evaluate(run, store, save_predictions=str(tmp_path / "rows.parquet"))


def test_refused_pictures_are_named(run, store, tmp_path):
    shutil.copytree(store, tmp_path / "store")
    lines = [{"path": f"val/{k}\udcff.png", "reason": "truncated"} for k in range(7)]
    file, card = tmp_path / "store/val/refused.jsonl", tmp_path / "store/val/store.json"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    facts = json.loads(card.read_text())
    facts["files"]["refused.jsonl"]["bytes"] = file.stat().st_size
    card.write_text(json.dumps({**facts, "refused": 7}))
    answer = alexnet.evaluate(run, tmp_path / "store")
    assert answer["refused"] == 7 and answer["images"] == 48
    assert answer["refused_pictures"] == [{"path": f"val/{k}\\xff.png", "reason": "truncated"} for k in range(5)]


# ---- the temperature -----------------------------------------------------------------------------------------------------


def tensors(content):
    return content[8 + int.from_bytes(content[:8], "little") :]


def test_a_temperature_of_another_split(plain, store, tmp_path):
    """Fitted on train, it is SciPy's; it is kept, and what is measured from then on has it."""
    was = plain.read_bytes()
    answer = alexnet.evaluate(plain, store, fit_temperature="train")
    assert tensors(plain.read_bytes()) == tensors(was) and answer["cross_fitted"] is False
    (fitted,) = answer["temperatures"]
    found, labels = seen(plain, store, "train")
    assert fitted == pytest.approx(scores.fitted_temperature(np.log(found), labels), rel=1e-4) and fitted != 1
    assert weights.read_card(plain)["temperature"] == fitted
    after = alexnet.evaluate(plain, store)
    assert after["temperatures"] == [fitted] and after["log_loss"] == answer["log_loss"] and after["ece"] == answer["ece"]
    softened = np.log(seen(plain, store)[0]) / fitted
    softened = np.exp(softened) / np.exp(softened).sum(1, keepdims=True)
    labels = open_split(store, "val").labels
    assert answer["log_loss"] == pytest.approx(-np.log(softened[np.arange(48), labels]).mean(), rel=1e-4)
    picture = open_split(store, "val").pictures([0])[0]
    assert alexnet.load(plain)(picture)[0].probability == pytest.approx(softened[0].max(), rel=1e-4)
    again = alexnet.evaluate(plain, store, fit_temperature="train")  # from the logits, not from what they were divided by
    assert again["temperatures"] == [fitted] == again["before"]["temperatures"]


def test_a_temperature_of_the_reported_split_is_cross_fitted(plain, other, store):
    before = alexnet.evaluate(plain, store)
    found, labels = seen(plain, store)
    logits, half = np.log(found), scores.halves(48)
    answer = alexnet.evaluate(plain, store, fit_temperature="val")
    assert answer["cross_fitted"] and "cross-fitted" in answer["note"]
    assert answer["before"] == {"temperatures": [1.0], "log_loss": before["log_loss"], "ece": before["ece"]}
    total = 0
    for own in (half, ~half):
        scaled = logits[own] / scores.fitted_temperature(logits[~own], labels[~own])
        total -= (scaled - np.log(np.exp(scaled).sum(1, keepdims=True)))[np.arange(own.sum()), labels[own]].sum()
    assert answer["log_loss"] == pytest.approx(total / 48, rel=1e-4)
    assert answer["temperatures"] == [pytest.approx(scores.fitted_temperature(logits, labels), rel=1e-4)]
    assert alexnet.evaluate(plain, store)["log_loss"] < min(answer["log_loss"], before["log_loss"])  # all pictures fitted
    both = alexnet.evaluate(plain, other, store, fit_temperature="val", views=2)
    assert len(both["temperatures"]) == 2 and weights.read_card(other)["temperature"] == both["temperatures"][1]
    assert "of the central view" in both["note"]


def test_a_runs_checkpoints_stay_whole(run, store, tmp_path):
    """Their sums are kept: a run stopped after an epoch is fitted, goes on, and ends where the run ended that was left alone."""

    def stop(line):
        if line["epoch"] == 2:
            raise KeyboardInterrupt

    half = tmp_path / "half"
    with pytest.raises(KeyboardInterrupt):
        alexnet.train(store, recipe="tiny", out=half, epochs=2, batch_size=16, precision="float32", on_epoch=stop)
    before = {name: rundir.RunDir(half).load(name) for name in ("best", "last")}
    last = half / "checkpoints/last/weights.safetensors"
    alexnet.evaluate(half, last, store, fit_temperature="val")
    for name, files in before.items():
        found = rundir.whole(half / "checkpoints" / name)
        own, file = "weights.safetensors", half / "checkpoints" / name / "weights.safetensors"
        assert weights.read_card(file)["temperature"] != 1 and tensors(found.pop(own)) == tensors(files.pop(own))
        assert found == files
    assert rundir.RunDir(half).load("last") == rundir.whole(half / "checkpoints/last")
    assert alexnet.train(store, out=half, resume=True)["epoch"] == 2
    ends = [rundir.RunDir(folder).load("last")["weights.safetensors"] for folder in (half, run)]
    assert tensors(ends[0]) == tensors(ends[1])


def test_the_reliability_plot_is_before_and_after(plain, store, tmp_path, monkeypatch):
    drawn, draw = [], figures.reliability
    monkeypatch.setattr(figures, "reliability", lambda series: (drawn.append(series), draw(series))[1])
    first = alexnet.evaluate(plain, store, reliability=str(tmp_path / "plot.svg"))
    answer = alexnet.evaluate(plain, store, fit_temperature="train", reliability=str(tmp_path / "plot.png"))
    assert [[error for *_, error in series] for series in drawn] == [[first["ece"]], [answer["before"]["ece"], answer["ece"]]]
    _, bins, intervals, _ = drawn[0][0]
    full = bins.pictures > 0
    assert bins.pictures.sum() == 48 and (np.array(intervals)[full].T[0] <= bins.right[full]).all()
    assert Image.open(tmp_path / "plot.png").width > 500 and ElementTree.parse(tmp_path / "plot.svg").getroot().tag.endswith("svg")


def test_a_file_that_cannot_be_written_is_refused_before_the_work(plain, store, monkeypatch):
    monkeypatch.setattr(temperature.os, "access", lambda path, mode: False)
    with pytest.raises(Refused, match="cannot be written, and its card keeps the temperature: copy the file"):
        alexnet.evaluate(plain, store, fit_temperature="val")
    assert weights.read_card(plain)["temperature"] == 1


def test_a_damaged_checkpoint_gets_no_new_sums(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    file = tmp_path / "run/checkpoints/best/loop.json"
    file.write_text(file.read_text() + " ")
    with pytest.raises(Refused, match="is damaged"):
        temperature.keep(tmp_path / "run", 2.0)


def test_two_fits_are_two_steps(run, other, store):
    with pytest.raises(Misused, match="are two steps"):
        alexnet.evaluate(run, other, store, fit_weights="train", fit_temperature="train")


def test_weights_of_another_torch_are_said(run, store, tmp_path):
    path = tmp_path / "elsewhere.safetensors"
    net, mean, card = weights.read(run)
    weights.write(path, net, mean, {**card, "environment": {**card["environment"], "torch": "1.7.0+cpu"}})
    assert "trained with torch 1.7" in alexnet.evaluate(path, store=store)["note"]
    assert "trained with torch" not in alexnet.evaluate(run, store=store).get("note", "")
