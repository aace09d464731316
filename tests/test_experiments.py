"""The experiments run at toy size: their steps, not their results."""

import json

from experiments import cnn_star


def test_cnn_stars_chain_hands_its_weights_on(pictures, tmp_path):
    words = [str(pictures / "train"), str(tmp_path / "out"), "--epochs", "1", "--limit", "5", "--most", "8"]
    cnn_star.main(words)
    lines = json.loads((tmp_path / "out" / "chain.json").read_text())
    assert [(line["classes"], line["copied"], line["new"]) for line in lines] == [(2, 0, 0), (4, 5, 4), (8, 6, 4), (2, 8, 1)]
    cnn_star.main(words)  # a finished chain is only read
    assert json.loads((tmp_path / "out" / "chain.json").read_text()) == lines
