"""Errors: ties as in the source, views and ensembles by averaged probabilities, every picture once, the interval."""

import csv
import json
import shutil
import sys

import numpy as np
import pytest
import torch

import alexnet
from alexnet import weights
from alexnet.answers import show_evaluate
from alexnet.data.feed import Feed
from alexnet.data.store import open_split
from alexnet.errors import Misused, Refused
from alexnet.evaluate import passes, scores

CPU = torch.device("cpu")


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


def test_the_split_it_was_chosen_on_is_known_by_its_pictures(run, store, pictures, tmp_path):
    shutil.copytree(pictures / "val", tmp_path / "pictures" / "val")
    for folder in (tmp_path / "pictures" / "val").iterdir():
        next(folder.iterdir()).unlink()
    alexnet.prepare(str(tmp_path / "pictures"), str(tmp_path / "other"), size=64, workers=1)
    assert "chosen" not in alexnet.evaluate(run, tmp_path / "other").get("note", "")
    shutil.copytree(store / "val", tmp_path / "renamed" / "test")
    assert "chosen on this split" in alexnet.evaluate(run, tmp_path / "renamed", split="test")["note"]
    net, mean, card = weights.read(run)
    before = [{key: value for key, value in one.items() if key != "fingerprint"} for one in card["errors"]]
    weights.write(tmp_path / "before.safetensors", net, mean, {**card, "errors": before})  # by the name alone, as far as it goes
    assert "chosen on this split" in alexnet.evaluate(tmp_path / "before.safetensors", tmp_path / "other")["note"]


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


def test_refused_pictures_are_named(run, store, tmp_path, capsys):
    shutil.copytree(store, tmp_path / "store")
    lines = [{"path": "val/like.png", "reason": "near duplicate of a.png, which is in train", "left_out": True}]
    lines += [{"path": f"val/{k}\udcff.png", "reason": "truncated"} for k in range(7)]
    file, card = tmp_path / "store/val/refused.jsonl", tmp_path / "store/val/store.json"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    facts = json.loads(card.read_text())
    facts["files"]["refused.jsonl"]["bytes"] = file.stat().st_size
    card.write_text(json.dumps({**facts, "refused": 7}))
    answer = alexnet.evaluate(run, tmp_path / "store")
    assert (answer["refused"], answer["left_out"], answer["images"]) == (7, 1, 48)
    assert answer["refused_pictures"] == [{"path": f"val/{k}\\xff.png", "reason": "truncated"} for k in range(5)]
    show_evaluate(answer)
    assert "7 refused and not counted, 1 left out that look like pictures of train" in capsys.readouterr().out


def test_weights_of_another_torch_are_said(run, store, tmp_path):
    path = tmp_path / "elsewhere.safetensors"
    net, mean, card = weights.read(run)
    weights.write(path, net, mean, {**card, "environment": {**card["environment"], "torch": "1.7.0+cpu"}})
    assert "trained with torch 1.7" in alexnet.evaluate(path, store=store)["note"]
    assert "trained with torch" not in alexnet.evaluate(run, store=store).get("note", "")
