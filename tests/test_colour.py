"""Claim 10: the statistics find columns that specialise and nothing in columns that do not; the whole experiment at toy size."""

import json

import numpy as np
import pytest

from alexnet import nets
from alexnet.data.order import generator
from experiments import colour, subsets


def kernels(count, specialised, seed):
    random = generator(seed, "kernels")
    values = random.uniform(0, 1, count)
    return np.sort(values) if specialised else values, np.ones(count)


def test_columns_that_specialise_are_found_and_others_are_not():
    alone = [kernels(32, False, seed) for seed in range(8)]
    null = colour.dealt(alone, draws=2000)
    for specialised in (True, False):
        pairs = [kernels(32, specialised, 100 + seed) for seed in range(8)]
        found = colour.held(pairs, null, draws=2000)
        assert (found["p"] < 0.01) == (found["p_own"] < 0.01) == specialised
        assert (sum(p < 0.05 for p in found["each_p"]) == 8) == specialised
    assert found["apart"] == pytest.approx(null.mean(), abs=3 * null.std())


def test_p_is_even_where_there_is_nothing():
    alone = [kernels(16, False, seed) for seed in range(4)]
    null = colour.dealt(alone, draws=4000, seed=0)
    values = colour.dealt(alone, draws=400, seed=7)
    ps = np.array([colour.at_least(value, null) for value in values])
    assert 0.4 < ps.mean() < 0.6 and 0.01 < (ps < 0.05).mean() < 0.1


def test_energy_decides_how_much_a_kernel_says():
    selectivity, energy = np.array([0.0, 1.0, 0.0, 0.0]), np.array([1.0, 3.0, 1.0, 1.0])
    assert colour.apart(selectivity)[0] == 0.5
    assert colour.apart(selectivity, energy)[0] == 0.75
    assert colour.apart(selectivity, None, np.array([[1, 0, 2, 3], [0, 2, 3, 1]])).tolist() == [0.5, 0.5]


def test_the_arms_differ_in_norm_and_crossing_alone():
    rows = [arm.net for arm in colour.arms(32)]
    for row in rows:
        assert row.columns == 2 and nets.shapes(row, 10)[-1].output == (10, 1, 1)
    seen = {(row.layers[1].sees, row.layers[5].sees) for row in rows}
    assert seen == {("column", "both"), ("column", "column"), ("both", "both"), ("both", "column")}
    assert len({row.name for row in rows}) == 4


def test_the_whole_at_toy_size(tmp_path):
    store = subsets.toy(tmp_path, size=32)
    found = colour.measure(store, tmp_path / "out", scale="toy")
    assert len(found["columns"]) == 4 and all(len(one["kernels"]) == 2 and len(one["kernels"][0]) == 32 for one in found["columns"])
    assert found["null"]["nets"]["name"] == "one column" and 0 < found["columns"][0]["plain"]["p"] <= 1
    again = colour.measure(store, tmp_path / "out", scale="toy")  # finished runs are only read
    assert again["columns"] == json.loads((tmp_path / "out" / "colour-toy.json").read_text())["columns"] == found["columns"]
    assert "by energy" in colour.as_text(found)
