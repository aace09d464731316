"""The experiments run at toy size: their steps, not their results."""

import json

import pytest

import alexnet
from alexnet import weights
from benches import ship
from experiments import cnn_star, ingredients, large_batch


def test_cnn_stars_chain_hands_its_weights_on(pictures, tmp_path):
    words = [str(pictures / "train"), str(tmp_path / "out"), "--epochs", "1", "--limit", "5", "--most", "8"]
    cnn_star.main(words)
    lines = json.loads((tmp_path / "out" / "chain.json").read_text())
    assert [(line["classes"], line["copied"], line["new"]) for line in lines] == [(2, 0, 0), (4, 5, 4), (8, 6, 4), (2, 8, 1)]
    cnn_star.main(words)  # a finished chain is only read
    assert json.loads((tmp_path / "out" / "chain.json").read_text()) == lines


def test_ingredients_differ_in_what_they_say():
    arms = ingredients.arms()
    assert arms["modern"] != arms["2012"] and len(arms) == 2 + 2 * len(ingredients.INGREDIENTS) + len(ingredients.BEYOND)
    for name, (then, today) in ingredients.INGREDIENTS.items():
        assert {key for key, value in arms[f"2012 + {name}"].items() if value != arms["2012"][key]} == set(today)
        assert {key for key, value in arms[f"modern - {name}"].items() if value != arms["modern"][key]} == set(then)


def test_ingredients_choose_a_rate_on_one_split_and_report_another(store, tmp_path):
    words = [str(store), str(tmp_path), "--arms", "modern + growing crops", "--row", "small64", "--epochs", "1",
             "--trials", "2", "--select", "train", "--report", "val"]
    ingredients.main(words)
    found = json.loads((tmp_path / "ingredients.json").read_text())
    (new,) = found["arms"]["modern + growing crops"]
    assert new["net"] == "small64,norm=batch" and new["images"] == 48
    assert len(new["trials"]) == 2 and new["select_error"] == min(trial["select_error"] for trial in new["trials"])
    assert {"rate": new["rate"], "select_error": new["select_error"]} in new["trials"]
    assert [trial["rate"] for trial in new["trials"]] == pytest.approx([0.1, 0.1 / 3])
    ingredients.main(words)  # finished runs are only read
    again = json.loads((tmp_path / "ingredients.json").read_text())
    assert again["arms"] == found["arms"]


def test_large_batches_stand_beside_a_small_one(tmp_path):
    found = large_batch.measure(None, tmp_path, scale="toy")
    kept = json.loads((tmp_path / "large-batch-toy.json").read_text())
    assert kept["finished"] and kept["rows"] == found["rows"]
    assert [arm["fields"]["batch_size"] for arm in kept["arms"]] == [16, 64, 64, 64]
    assert [arm["chosen"]["rate"] for arm in kept["arms"]] == pytest.approx([0.1, 0.1, 0.2, 8.0])  # the root of four; LARS's own
    assert all(", against 16 pictures" in row["what"] for row in kept["rows"]) and len(kept["rows"]) == 3


def test_what_ships_says_what_it_was_measured_on(run, store, tmp_path):
    out = tmp_path / "default.safetensors"
    ship.main([str(run), str(store), "--storage", "bytes", "--tune", "train", "--note", "a toy", "--out", str(out)])
    card = weights.read_card(out)
    assert card["note"] == "a toy" and card["storage"] == "bytes" and "licence" in card["data"] and card["temperature"] != 1
    one, ten = card["errors"]
    assert (one["views"], ten["views"], one["images"]) == (1, 10, 48) and one["selected_on"]  # this run chose on val
    again = alexnet.evaluate(out, store=store)
    assert again["top1_error"] == one["top1_error"] and again["log_loss"] == pytest.approx(one["log_loss"])
    assert sum(pair["count"] for pair in card["confused"]) <= 48
