"""The paper's own intervals: a few rows by hand, and the file in results/ is what the command makes."""

import json
from math import sqrt
from pathlib import Path

import pytest

from experiments import intervals

FOUND = intervals.result()


def test_the_tables_by_hand():
    """37.5 % of 150,000: 1.96 sqrt(0.375 * 0.625 / 150,000) = 0.245 points; Wilson's ends differ from that in the fourth digit."""
    by = {(one["table"], one["model"], one["set"]): one for one in FOUND["tables"]}
    assert len(by) == 10
    assert by[1, "CNN", "2010 test"]["top1_interval"] == pytest.approx([0.37255, 0.37745], abs=1e-5)
    wide = 1.959964 * sqrt(0.182 * 0.818 / 50_000)
    assert by[2, "1 CNN", "2012 val"]["top5_interval"] == pytest.approx([0.182 - wide, 0.182 + wide], abs=3e-5)
    assert by[2, "7 CNNs*", "2012 test"]["top1_interval"] is None


def test_the_differences_by_hand():
    """Overlapping pools: two samples of 50,000 near 41 % have a standard error of 0.311 points, so 0.39 is not beyond 0.61; the
    norm's 1.37 is."""
    by = {(one["section"], one["what"][:8], one["places"]): one for one in FOUND["differences"]}
    pools, norm = by["3.4", "overlapp", 1], by["3.3", "response", 1]
    error = sqrt(0.40664 * 0.59336 / 50_000 + 0.41054 * 0.58946 / 50_000)
    assert pools["two_samples_interval"] == pytest.approx([0.0039 - 1.96 * error, 0.0039 + 1.96 * error], abs=1e-5)
    assert not pools["beyond_two_samples"] and norm["beyond_two_samples"]
    share = pools["most_disagreement"]  # at that share the paired interval ends at zero
    assert 1.959964 * sqrt((share - 0.0039**2) / 50_000) == pytest.approx(0.0039)
    assert not pools["beyond_paired"] and pools["assumed_disagreement"] == pytest.approx(0.2417, abs=1e-3)
    assert by["4.1", "colour n", 1]["beyond_two_samples"] and ("4.1", "colour n", 5) not in by


def test_the_notebooks_like_runs():
    """40.60, 40.53, 40.42, 40.44: mean 40.4975, squared deviations 0.010506 + 0.001056 + 0.006006 + 0.003306 = 0.020875."""
    assert FOUND["alike"]["spread_top1_error"] == pytest.approx(sqrt(0.020875 / 3) / 100, rel=1e-3)
    assert FOUND["alike"]["two_runs_top1"] == pytest.approx(3.182 * sqrt(2 * 0.020875 / 3) / 100, rel=1e-3)


def test_the_command_and_its_file(tmp_path, capsys):
    intervals.main(["--json", "--results", str(tmp_path)])
    told, kept = json.loads(capsys.readouterr().out), json.loads((tmp_path / "paper-intervals.json").read_text())
    assert told == kept == json.loads((Path(__file__).parents[1] / "results" / "paper-intervals.json").read_text())
    intervals.main(["--results", str(tmp_path)])
    assert "overlapping pools" in capsys.readouterr().out
