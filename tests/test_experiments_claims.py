"""The claims at toy scale: their statistics, their arms and their bookkeeping, not their results."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from alexnet import nets, ops
from alexnet.data import packing
from alexnet.data.store import open_split
from alexnet.errors import Misused, Refused
from alexnet.evaluate.passes import Member
from alexnet.net import AlexNet
from alexnet.nets.layers import Conv, Dense, ResponseNorm, Row
from experiments import (
    arms,
    columns,
    depth,
    inside,
    norms,
    paired,
    pools,
    pretraining,
    relu,
    run,
    subsets,
    table,
    views_and_ensembles,
)
from experiments.claims import CLAIMS


@pytest.fixture(scope="module")
def stripes(tmp_path_factory):
    return subsets.toy(tmp_path_factory.mktemp("toy"), size=64)


# ---- the statistics ----------------------------------------------------------------------------------------------------


def drawn(random, effect, *, seeds=3, pictures=400):
    """Losses of two arms: hard and easy pictures, better and worse seeds, and chance."""
    hard = random.gamma(2, 0.5, pictures)
    control, other = (hard + 0.05 * random.standard_normal((seeds, 1)) + 0.4 * random.standard_normal((seeds, pictures))
                      for _ in range(2))
    return control, other + effect


def test_an_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(1)
    intervals = [paired.difference(*drawn(random, 0.2))["interval"] for _ in range(400)]
    held = np.mean([low < 0.2 < high for low, high in intervals])
    assert 0.92 <= held <= 0.98
    pictures_alone = [paired.difference(*(one[:1] for one in drawn(random, 0.2)))["interval"] for _ in range(400)]
    assert np.mean([low < 0.2 < high for low, high in pictures_alone]) < 0.7  # which is why one seed resolves nothing


def test_what_seeds_make_of_single_pictures_counts_once():
    """Where seeds differ in nothing else, the interval is that of so many pictures, not 1.4 times as wide."""
    random = np.random.default_rng(5)
    pairs = [0.4 * random.standard_normal((2, 3, 990)) for _ in range(400)]
    found = [paired.difference(*pair)["interval"] for pair in pairs]
    same = [paired.difference(*pair, same_runs=True)["interval"] for pair in pairs]
    for intervals in (found, same):
        assert 0.93 <= np.mean([low < 0 < high for low, high in intervals]) <= 0.98
        wide = np.median([high - low for low, high in intervals])
        assert 0.9 < wide / (2 * 1.96 * 0.4 * (2 / 3 / 990) ** 0.5) < 1.3


def test_an_effect_of_the_size_said_before_is_mostly_found():
    random = np.random.default_rng(2)
    sizes = [paired.beforehand(drawn(random, 0)[0]) for _ in range(100)]
    found = [paired.difference(*drawn(random, float(np.median(sizes))))["resolved"] for _ in range(200)]
    assert 0.7 <= np.mean(found) <= 0.99
    assert paired.beforehand(drawn(random, 0, seeds=1)[0]) is None


def test_beside_one_thing_only_the_control_has_seeds():
    random = np.random.default_rng(0)
    control = random.random((1, 400)) + 0.3 * random.standard_normal((3, 1)) + 0.01 * random.standard_normal((3, 400))
    other = control.mean(0, keepdims=True) + 0.02 * random.standard_normal((1, 400))
    fixed, alone = paired.difference(control, other, fixed=True), paired.difference(control[:1], other, fixed=True)
    assert fixed["over"] == "pictures and seeds" and alone["over"] == "pictures" and not alone["resolved"]
    assert fixed["interval"][0] < 0 < fixed["interval"][1]
    wide = np.ptp(fixed["interval"]) / 2
    assert wide > 2 * control.mean(1).std(ddof=1) / 3**0.5 > 20 * np.ptp(alone["interval"]) / 2  # the seeds' scatter counts
    assert wide == pytest.approx(4.303 * control.mean(1).std(ddof=1) / 3**0.5, rel=0.05)  # two degrees of freedom


def test_one_seed_and_the_same_runs():
    random = np.random.default_rng(3)
    control, other = drawn(random, 1.0)
    alone = paired.difference(control[:1], other[:1])
    assert not alone["resolved"] and paired.verdict(alone) == "not resolved: one seed"
    same = paired.difference(control, control + 0.01 * random.standard_normal(control.shape), same_runs=True)
    assert np.diff(same["interval"])[0] < 0.1 * np.diff(paired.difference(control, other)["interval"])[0]


def test_ratios_and_what_was_not_reached():
    assert paired.ratio([2, 4], [4, 8])["ratio"] == pytest.approx(2)
    never = paired.ratio([3, 4, 3, 4, 3], [float("inf")] * 5)
    assert never["ratio"] is None and never["reached"] == [5, 0] and never["resolved"] and never["p"] < 0.05
    lines = [{"epoch": 1, "val_top1_error": 0.5}, {"epoch": 2, "val_top1_error": 0.1}]
    assert paired.crossing(lines, 0.3, key="epoch", at_start=0.9) == pytest.approx(1.5)
    assert paired.crossing(lines, 0.7, key="epoch", at_start=0.9) == pytest.approx(0.5)
    assert paired.crossing(lines, 0.05, key="epoch", at_start=0.9) == float("inf")


# ---- the arms ----------------------------------------------------------------------------------------------------------


def test_no_two_arms_are_the_same_net():
    row = nets.row("tiny64")
    families = [norms.arms(row), pools.arms(row), columns.arms(row, 40)]
    families.append([one for name in depth.MIDDLE for one in [depth.without(row, name)]]
                    + [make(depth.deeper(row, count)) for count in (1, 2) for make in (replace, depth.as_2012, depth.normed)])
    families.append(views_and_ensembles.designs(row)[1:])
    for family in families:
        rows = [row, *(nets.row(getattr(one, "net", one)) for one in family)]
        assert len({one.layers + (one.columns,) for one in rows}) == len(rows)
        assert len({one.name for one in rows}) == len(rows)
        for one in rows:
            assert AlexNet(one, classes=5, seed=0).eval()(torch.zeros(1, 3, 56, 56)).shape == (1, 5)


def test_arms_of_as_run_are_the_controls_of_2012():
    row = nets.row("as_run")
    made = {arm.name: nets.row(arm.net).layers for arm in (*norms.arms(row), *pools.arms(row), *columns.arms(row, 1000))}
    for name, control in (("no norm", "no_norm"), ("layer 1 only", "no_norm2"), ("pools of 2 / 2", "non_overlapping"),
                          ("half", "half"), ("no communication", "no_crossing"), ("crossing at conv4", "crossing_conv4")):
        assert made[name] == nets.row(control).layers
    assert [one.name for one in views_and_ensembles.designs(row)] == ["as_run", "net120", "net131", "net135", "net137"]


@pytest.mark.parametrize("name", ["tiny36", "tiny64", "small64", "as_run"])
def test_pools_that_do_not_overlap_leave_the_sizes_behind_them(name):
    control, apart = (pools.sizes(one) for one in (nets.row(name), pools.apart(nets.row(name))))
    assert all(apart[layer] == control[layer] for layer in pools.KEPT)
    assert sum(abs(apart[layer] - control[layer]) for layer in control) <= 4  # #147's: 28, 26 and 11 for 27, 27 and 13


def test_initial_values_of_2012_have_the_gains_of_2012():
    row = nets.row("as_run")
    assert depth.as_2012(row).layers == row.layers
    small = {layer.name: layer for layer in depth.as_2012(depth.deeper(nets.row("tiny64"), 1), bias=0.1).layers}
    assert small["conv2"].std == pytest.approx(0.01 * (48 / 16) ** 0.5) and small["conv4_1"].std == small["conv4"].std > 0.03
    assert (small["conv2"].bias, small["conv3"].bias, small["fc8"].bias) == (0.1, 0.0, 0.0)


def test_a_dense_column_costs_what_the_two_cost():
    row = nets.row("small64")
    for what in ("parameters", "multiply_adds"):
        made = columns.dense(row, what, 200)
        assert made.columns == 1 and columns.total(made, what, 200) == pytest.approx(columns.total(row, what, 200), rel=0.03)


def test_variance_preserving_values_preserve_it():
    for kind in relu.KINDS:
        net = AlexNet(relu.made(nets.row("figure1"), kind, "preserving"), seed=0).eval()
        found = net.activations(64 * torch.randn(8, 3, 32, 32))
        assert 0.2 < found["fc10"].std() < 5
        old = AlexNet(relu.made(nets.row("figure1"), kind, "2012"), seed=0)
        assert old.conv1.weight.std().item() == pytest.approx(1e-4, rel=0.1)


def test_a_constant_in_a_norms_place_and_its_denominators():
    row = nets.row("tiny64")
    constant = next(arm.net for arm in norms.arms(row) if arm.name.startswith("constant"))
    layer = next(one for one in constant.layers if isinstance(one, ResponseNorm))
    x = 100 * torch.randn(2, 32, 9, 9).to(memory_format=torch.channels_last)
    constants = {"size": layer.size, "beta": layer.beta, "k": layer.k, "columns": 2}
    torch.testing.assert_close(ops.response_norm(x, alpha=layer.alpha, **constants), x * layer.k**-layer.beta)
    real = next(one for one in row.layers if isinstance(one, ResponseNorm))
    beside = (x / ops.response_norm(x, alpha=real.alpha, **constants)).pow(1 / layer.beta) / layer.k
    found = inside.spread(x, real, 2)
    assert found["within_5_percent"] == pytest.approx(float((beside <= 1.05).float().mean()), abs=0.01)
    assert found["quantiles"] == pytest.approx(torch.quantile(beside.flatten(), torch.tensor([0.01, 0.5, 0.99])).tolist(), rel=0.01)


def test_the_halved_net_is_the_mean_of_its_masked_nets_logs(stripes):
    """With one masked layer below the classes that is no approximation, but for the sampling."""
    row = Row("one_mask", "one masked layer", columns=1, crop=56, layers=(
        Conv("conv1", 8, 8, stride=8, sees="picture", std=0.002), Dense("fc2", 32, std=0.1, dropout=0.5),
        Dense("fc3", 0, std=0.1, then="linear")))
    member = Member(AlexNet(row, classes=6, seed=0), torch.full((3, 1, 1), 128.0), device=torch.device("cpu"))
    found = inside.masked(member, stripes, masks=800, split="claims", most=8)
    halved, logs, plain = (found[name][0] for name in ("halved", "mean of logs", "mean of probabilities"))
    assert np.abs(halved - logs).max() < 0.1 * halved.std() + 0.02
    assert np.abs(halved - plain).max() > 0


# ---- the pictures and the bookkeeping ----------------------------------------------------------------------------------


def test_experiments_may_set_the_same_apart_at_once(stripes, tmp_path, monkeypatch):
    """Another one begins when the first has packed everything but not yet put it under its name, and is done before it."""
    finish, others = packing.finish, []

    def meanwhile(*given):
        if not others:
            others.append(tmp_path / "same")
            subsets.subset(stripes, others[0], classes=3, a_class=5, clean=6)
        finish(*given)

    monkeypatch.setattr(packing, "finish", meanwhile)
    found = subsets.subset(stripes, tmp_path / "same", classes=3, a_class=5, clean=6)
    assert [found] == others and len(open_split(found, "train")) == 15
    assert [one.name for one in tmp_path.iterdir()] == ["same"]  # and nothing half-written stays


def test_figure_1_is_given_cifars_pictures_whatever_is_named_beside_them(stripes, tmp_path):
    stores = [subsets.toy(tmp_path / str(size), size=size) for size in (40, 32)]
    row = arms.TOY["toy32"]
    assert subsets.fitting([stripes, *stores], row) == subsets.fitting(stores[::-1], row) == stores[1]
    with pytest.raises(Refused, match=r"none of the stores has them: name one prepared with --size 36"):
        subsets.fitting([stripes], row)


def test_a_subset_keeps_apart_what_was_apart(stripes, tmp_path):
    store = subsets.subset(stripes, tmp_path / "some", classes=3, a_class=5, clean=6)
    whole, some = ({name: open_split(one, name) for name in subsets.WANTED} for one in (stripes, store))
    chosen = [one.id for one in some["train"].classes]
    assert chosen == [whole["train"].classes[i].id for i in (0, 2, 4)] and np.bincount(some["train"].labels).max() <= 5
    for name in subsets.WANTED:
        assert set(some[name].names) <= set(whole[name].names)
        for index, path in enumerate(some[name].names):
            assert path.startswith(chosen[some[name].labels[index]])
    clean = open_split(store, "clean")
    assert len(clean) == 6 and set(clean.names) <= set(some["train"].names)
    place = some["claims"].names[0]
    same = whole["claims"].pictures([whole["claims"].names.index(place)])
    assert (some["claims"].pictures([0]) == same).all()
    others = subsets.subset(stripes, tmp_path / "others", classes=3, others=True)
    assert not set(chosen) & {one.id for one in open_split(others, "train").classes}
    assert (others / "claims").is_dir() and subsets.subset(stripes, tmp_path / "all")  # nothing left out: links


def test_a_claim_is_trained_once_and_read_again(stripes, tmp_path):
    words = ["pools", "3", "--scale", "toy", str(stripes), str(tmp_path)]
    run.main(words[:1] + words[2:])
    file = tmp_path / "claim-03-pools-toy.json"
    first = json.loads(file.read_text())
    assert first["finished"] and [row["unit"] for row in first["rows"]] == ["nats a picture"] * 2
    assert [arm["name"] for arm in first["arms"]] == ["overlapping pools", "pools of 2 / 2", "strided convolutions"]
    assert all(row["beforehand"] > 0 and row["seeds"] == [2, 2] for row in first["rows"])
    logs = {log: log.read_bytes() for log in (tmp_path / "runs").rglob("log.jsonl")}
    run.main(words[1:])  # by its number this time
    again = json.loads(file.read_text())
    assert (again["rows"], again["arms"]) == (first["rows"], first["arms"])
    assert {log: log.read_bytes() for log in logs} == logs and len(logs) == 6


def test_rows_of_experiments_are_known_by_name(stripes, tmp_path):
    claim = next(claim for claim in CLAIMS if claim.name == "pretraining")
    work = arms.Work([stripes], tmp_path, scale="cpu", size=replace(claim.sizes["cpu"], row="tiny64"))
    for row in pretraining.rows(work).values():  # the table has a tiny64_six of its own, the same net
        assert nets.row(work.known(row)).layers == row.layers
    with pytest.raises(Misused, match="two different rows"):
        work.known(replace(nets.row("small64"), name="tiny64"))


def test_a_rate_that_leaves_the_numbers_is_not_chosen(stripes, tmp_path):
    claim = next(claim for claim in CLAIMS if claim.name == "pools")
    work = arms.Work([stripes], tmp_path, scale="toy", size=replace(claim.sizes["toy"], seeds=1))
    arm = arms.Arm("two rates", nets.row(work.known("toy64")), choices=({"rate": 1e18}, {"rate": 0.01}))
    chosen, trials = work.choose(arm)
    assert chosen == {"rate": 0.01} and trials[0]["tune_log_loss"] is None and trials[1]["tune_log_loss"] > 0
    assert work.choose(arm) == (chosen, trials)  # and it is remembered


def test_a_ladder_is_climbed_on_where_its_end_is_best(stripes, tmp_path, monkeypatch):
    """Log losses that fall to a rate below, above or inside those tried first; a diverged one counts as bad."""
    claim = next(claim for claim in CLAIMS if claim.name == "pools")
    work = arms.Work([stripes], tmp_path, scale="toy", size=replace(claim.sizes["toy"], trials=3))
    for best, tries in ((0.1, 3), (0.011, 5), (0.0001, 5), (1.0, 5)):
        def train(arm, *, seed, watcher=None, rate, best=best):
            return None, {"log_loss": abs(np.log(rate / best)), "val_top1_error": 0.5}

        monkeypatch.setattr(work, "train", train)
        work.result = {}
        chosen, found = work.choose(arms.Arm("one", "toy64", rate=0.1))
        assert len(found) == tries, best
        inside_too = min(one["rate"] for one in found) < chosen["rate"] < max(one["rate"] for one in found)
        assert inside_too == ("said" not in work.result) and (best != 0.011 or chosen["rate"] == pytest.approx(0.0111, rel=0.01))


def test_the_table_is_fresh_and_tells_what_was_not_run(tmp_path):
    assert table.fresh(table.PAGE.read_text()) == table.PAGE.read_text()
    row = {"what": "a, against b", "paper": "+1", "unit": "nats a picture", "difference": 0.1, "interval": [0.05, 0.15],
           "pictures": 10, "seeds": [2, 2], "beforehand": 0.07, "verdict": "resolved", "classes": 6}
    (tmp_path / "claim-03-pools-cpu.json").write_text(json.dumps({"rows": [row], "finished": False, "environment": {}}))
    text = table.table(CLAIMS, tmp_path)
    assert text.count("not run") == len(CLAIMS) + len(table.ELSEWHERE) - 1
    pair = {**row, "what": "six, pre-trained, all (425 a class), against five, from scratch, all (425 a class)",
            "top1_difference": -0.02, "top1_interval": [-0.03, -0.01]}
    (tmp_path / "claim-08-pretraining-gpu.json").write_text(json.dumps({"rows": [pair]}))
    (tmp_path / "paper-intervals.json").write_text((table.ROOT / "results" / "paper-intervals.json").read_text())
    lines = {line[1]: line for line in table.beside(tmp_path)}
    assert lines["1 CNN*"][2:5] == ("-1.7", "-2.00", "-3.00 to -1.00") and lines["5 CNNs"][2:4] == ("-2.6", "not run")
    assert "+0.1000 nats | +0.0500 to +0.1500 | 0.0700 | resolved | cpu scale; not finished |" in text


def test_every_claim_runs_at_toy_scale(tmp_path):
    run.main(["--scale", "toy", str(tmp_path)])
    files = sorted(tmp_path.glob("claim-*.json"))
    assert len(files) == len(CLAIMS) and all(json.loads(file.read_text())["finished"] for file in files)
    assert (tmp_path / "claim-01-relu-toy-figure1.svg").exists()
