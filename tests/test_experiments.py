"""The experiments run at toy size: their steps, not their results."""

import json

import pytest
import torch

import alexnet
from alexnet import nets, weights
from alexnet.data.feed import Feed
from alexnet.data.store import open_split
from alexnet.evaluate.passes import Member
from alexnet.evaluate.settling import settle
from alexnet.net import AlexNet
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
    assert arms["modern"] != arms["2012"]
    assert len(arms) == 2 + 2 * len(ingredients.INGREDIENTS) + len(ingredients.BEYOND) + len(ingredients.ALONE)
    for name, (then, today) in ingredients.INGREDIENTS.items():
        assert {key for key, value in arms[f"2012 + {name}"].items() if value != arms["2012"][key]} == set(today)
        assert {key for key, value in arms[f"modern - {name}"].items() if value != arms["modern"][key]} == set(then)


def test_ingredients_stand_beside_the_recipe_that_they_vary(tmp_path):
    found = ingredients.measure(None, tmp_path, scale="toy")
    kept = json.loads((tmp_path / "ingredients-toy.json").read_text())
    assert kept["finished"] and kept["rows"] == found["rows"]
    assert {arm["name"] for arm in kept["arms"]} == set(ingredients.arms())
    beside = {row["what"].partition(", against ")[::2] for row in kept["rows"]}
    assert beside == {(name, name.split(" ")[0]) for name in ingredients.arms() if " " in name} | {("modern", "2012")}
    by_name = {arm["name"]: arm for arm in kept["arms"]}
    assert by_name["modern"]["net"] == "toy64,norm=batch" and by_name["modern - batch norm"]["net"] == "toy64"
    assert by_name["modern + twice as long"]["epochs"] == [2] and by_name["2012"]["chosen"]["rate"] == 0.01


def test_large_batches_stand_beside_a_small_one(tmp_path):
    found = large_batch.measure(None, tmp_path, scale="toy")
    kept = json.loads((tmp_path / "large-batch-toy.json").read_text())
    assert kept["finished"] and kept["rows"] == found["rows"]
    assert [arm["fields"]["batch_size"] for arm in kept["arms"]] == [16, 16, 64, 64, 64, 64]
    rates = [0.1, 0.1, 0.1, 0.2, 8.0, 0.2]  # scaled by the root of four; LARS has its own
    assert [arm["chosen"]["rate"] for arm in kept["arms"]] == pytest.approx(rates)
    assert all(", against 16 pictures" in row["what"] for row in kept["rows"]) and len(kept["rows"]) == 5


def test_what_ships_says_what_it_was_measured_on(run, store, tmp_path):
    out = tmp_path / "default.safetensors"
    ship.main([str(run), str(store), "--storage", "bytes", "--tune", "train", "--note", "a toy", "--out", str(out),
               "--before", str(run)])
    card = weights.read_card(out)
    before, = card["before"]
    assert before["epochs"] == card["epoch"] and before["recipe"]["name"] == card["recipe"]["name"] and before["seconds"] > 0
    assert [stage["epochs"] for stage in ship.stages(out)] == [before["epochs"], card["epoch"]]  # what begins from it says both
    assert set(before["recipe"]) < set(card["recipe"]) and "reached" not in card["ledger"]  # only what is not as usual
    said = repr(alexnet.load(out))
    assert ", then " in said and f"{card['errors'][0]['top1_error']:.1%}" in said and card["net"] in said and "a toy" in said
    assert card["note"] == "a toy" and card["storage"] == "bytes" and "licence" in card["data"] and card["temperature"] != 1
    assert "/" not in card["environment"]["command"]
    one, ten = card["errors"]
    assert (one["views"], ten["views"], one["images"]) == (1, 10, 48) and one["selected_on"]  # this run chose on val
    again = alexnet.evaluate(out, store=store)
    assert again["top1_error"] == one["top1_error"] and again["log_loss"] == pytest.approx(one["log_loss"])
    assert sum(pair["count"] for pair in card["confused"]) <= 48


def test_halfway_is_the_mean_with_statistics_of_its_own(store):
    one, other = (AlexNet(nets.row("tiny64,norm=batch"), classes=16, seed=seed) for seed in (1, 2))
    middle, member, feed = (one.conv2.weight + other.conv2.weight) / 2, member_of(one), Feed(open_split(store, "train"))
    ship.halfway(one, other, member, feed)
    assert torch.allclose(one.conv2.weight, middle) and not torch.allclose(other.conv2.weight, middle)
    means = one.norm2.running_mean.clone()
    settle(member, feed, ship.SETTLING)
    assert torch.equal(one.norm2.running_mean, means) and means.abs().max() > 0


def member_of(net):
    return Member(net, torch.zeros(3, 1, 1), device=torch.device("cpu"))
