"""Claim 13: the small rows differ as the notebook's do; the verdict on the order; the whole at toy size."""

import json

from alexnet import nets
from experiments import notebook_order, subsets


def row(name, difference, verdict="resolved"):
    return {"what": f"{name}, against #145", "difference": difference, "verdict": verdict}


def test_the_small_rows_differ_as_the_notebooks_do():
    for scale in notebook_order.SHARES:
        names = ("as_run", "no_norm", "half", "no_crossing")
        base, none, half, apart = (notebook_order.small(nets.row(name), scale) for name in names)
        at = [{layer.name: layer for layer in one.layers} for one in (base, none, half, apart)]
        assert set(at[0]) - set(at[1]) == {"norm1", "norm2", "wnorm2"} and (half.columns, base.columns) == (1, 2)
        assert at[2]["conv5"].maps == at[0]["conv5"].maps and at[2]["fc6"].units == at[0]["fc6"].units
        assert at[3]["fc6"].units == 2 * at[0]["fc6"].units and at[3]["conv3"].sees == "column" and at[0]["conv3"].sees == "both"
        assert at[0]["conv1"].then == "linear" and at[0]["pool1"].then == "relu"
        for one in (base, none, half, apart):
            assert one.crop == 56 and nets.shapes(one, 40)[-1].output == (40, 1, 1)
    assert at[0]["conv3"].maps == 2 * at[2]["conv3"].maps == 288


def test_what_may_be_said_of_the_order():
    names = [number for _, number, *_ in notebook_order.DESIGNS]
    found = notebook_order.order([row(name, 0.01 * n) for n, name in enumerate(names, 1)])
    assert found["same_order"] and found["order"] == ["#145", *names] and "best" in found["verdict"]
    found = notebook_order.order([row(names[0], 0.03, "not resolved"), row(names[1], 0.02), row(names[2], 0.01)])
    assert not found["same_order"] and found["verdict"].startswith(f"not resolved: {names[0]} is")
    found = notebook_order.order([row(name, -0.01) for name in names])
    assert "does not survive" in found["verdict"] and "are better" in found["verdict"]


def test_every_other_design_is_nearer_than_a_point():
    assert all(abs(points) < 1 for *_, points in notebook_order.BELOW)
    assert all(points >= 1 for *_, points, _ in notebook_order.DESIGNS)


def test_the_whole_at_toy_size(tmp_path):
    store = subsets.toy(tmp_path, size=64)
    found = notebook_order.measure(store, tmp_path / "out", scale="toy")
    assert [one["name"] for one in found["arms"]] == ["#145", *(number for _, number, *_ in notebook_order.DESIGNS)]
    assert len(found["rows"]) == 5 and found["finished"] and found["said"]
    again = notebook_order.measure(store, tmp_path / "out", scale="toy")  # finished runs are only read
    kept = json.loads((tmp_path / "out" / "notebook-order-toy.json").read_text())
    assert again["rows"] == kept["rows"] == found["rows"]
