"""The drawing of a row: its numbers come from the row, columns cross where a layer sees both, and no text covers another."""

import json
import re
from itertools import combinations

import pytest

from alexnet import cli, drawing, nets
from alexnet.errors import Misused, Refused
from alexnet.nets import layers
from alexnet.nets.drawing import described, stages

ACROSS = {(0, 1), (1, 0)}


def by_name(row):
    return {stage["name"]: stage for stage in stages(nets.row(row))}


def texts_of(svg):
    """matplotlib names every text that it turns into outlines."""
    return re.findall(r"<!-- (.*?) -->", svg.read_text(encoding="utf-8"))


def links_of(svg, name):
    """-> {layer: pairs (part of what it reads, own part)}, from what is in the file."""
    found = {}
    for layer, one, other in re.findall(rf'id="{name}/(\w+)/(\d)-(\d)"', svg.read_text(encoding="utf-8")):
        found.setdefault(layer, set()).add((int(one) - 1, int(other) - 1))
    return found


@pytest.mark.parametrize("name", nets.ROWS)
def test_every_row_is_drawn_with_its_sizes(name, tmp_path):
    svg = tmp_path / "net.svg"
    assert nets.draw(name, svg) == {"file": str(svg), "nets": [name]}
    texts, row = texts_of(svg), nets.row(name)
    for shape in nets.shapes(row):
        layer = shape.layer
        if isinstance(layer, layers.Conv | layers.Local | layers.Dense):
            assert layer.name in texts
            parts = [1, row.columns]
            assert any(f"{shape.output[0] // part}" in texts or f"{shape.output[0] // part:,}" in texts for part in parts)
        if isinstance(layer, layers.Conv | layers.Local):
            assert f"{shape.output[1]}" in texts and f"{layer.kernel} × {layer.kernel}" in texts
        if isinstance(layer, layers.Pool):
            assert any(f"pool {layer.kernel}/{layer.stride}" in text for text in texts)
    assert ("column 2" in texts) == (row.columns == 2)


def test_the_numbers_of_figure_2():
    found = by_name("paper")
    assert [stage["size"] for stage in found.values()] == [
        (3, 224, 224), (48, 55, 55), (128, 27, 27), (192, 13, 13), (192, 13, 13), (128, 13, 13),
        (2048, 1, 1), (2048, 1, 1), (1000, 1, 1)]
    assert [stage["kernel"] for stage in found.values()] == [None, 11, 5, 3, 3, 3, None, None, None]
    assert [stage["parts"] for stage in found.values()] == [1, 2, 2, 2, 2, 2, 2, 2, 1]
    assert found["conv1"]["stride"] == 4 and found["conv2"]["over"] == 27 and found["conv3"]["over"] == 13
    assert found["conv2"]["path"] == ["ReLU", "response norm", "max pool 3/2", "→ 27 × 27"]
    assert by_name("as_run")["conv2"]["path"] == ["response norm", "max pool 3/2", "→ 27 × 27", "ReLU"]


@pytest.mark.parametrize("name, crossing", [("paper", {"conv3", "fc6", "fc7"}), ("no_crossing", set()), ("half", set()),
                                            ("crossing_conv5", {"conv5", "fc6", "fc7"}),
                                            ("six_conv", {"conv3", "conv6", "fc6", "fc7"})])
def test_columns_cross_where_a_layer_sees_both(name, crossing, tmp_path):
    nets.draw(name, tmp_path / "net.svg")
    links = links_of(tmp_path / "net.svg", name)
    assert {layer for layer, pairs in links.items() if pairs >= ACROSS} == crossing
    own = {(part, part) for part in range(nets.row(name).columns)}
    assert all(pairs == own for layer, pairs in links.items() if layer not in crossing | {"conv1", "fc8"})
    assert links["fc8"] == {(part, 0) for part in range(nets.row(name).columns)}


def test_the_side_path_starts_at_the_picture_and_is_added(tmp_path):
    found, order = by_name("net137"), list(by_name("net137"))
    assert found["nails"]["path"] == ["blur"] and found["nails"]["size"] == (3, 56, 56)
    assert [found[name]["side"] for name in ("nails", "low2", "conv1", "conv2")] == [True, True, False, False]
    assert order[found["low2"]["source"]] == "nails" and order[found["conv1"]["source"]] == "picture"
    assert order[found["conv2"]["source"]] == "conv1" and order[found["conv2"]["added"]] == "low2"
    nets.draw("net137", tmp_path / "net.svg")
    assert texts_of(tmp_path / "net.svg").count("+") == 2


def test_the_row_decides_what_is_drawn(tmp_path):
    wider = nets.changed(nets.PAPER, "wider", "another conv4", layers={"conv4": {"maps": 444, "kernel": 7, "pad": 3}})
    nets.draw(wider, tmp_path / "wider.svg")
    nets.draw("paper", tmp_path / "paper.svg")
    assert {"222", "7 × 7"} <= set(texts_of(tmp_path / "wider.svg")) - set(texts_of(tmp_path / "paper.svg"))
    nets.draw("small64,nonlinearity=tanh,pooling=average+lenet", tmp_path / "two.svg")
    texts = texts_of(tmp_path / "two.svg")
    assert "ReLU" not in texts and "average pool 3/2" in texts and "LeNet-5" in " ".join(texts)


def test_several_rows_stand_on_one_scale():
    alone, paper, both = (drawing.networks([described(nets.row(name)) for name in names])
                          for names in (["lenet"], ["paper"], ["lenet", "paper"]))
    sides = [_side_of_first_box(figure) for figure in (alone, both)]
    assert sides[0] == pytest.approx(sides[1]) and sides[0] == pytest.approx(_side_of_first_box(paper) * (28 / 224) ** 0.5)
    assert both.get_figwidth() == pytest.approx(max(alone.get_figwidth(), paper.get_figwidth()))


def _side_of_first_box(figure):
    corners = figure.axes[0].patches[0].get_xy()
    return corners[:, 1].max() - corners[:, 1].min()


@pytest.mark.parametrize("names", ["lenet+paper", "net137", "six_conv_22k", "cifar13", "tiny64", "bvlc"])
def test_no_text_covers_another(names):
    figure = drawing.networks([described(nets.row(name)) for name in names.split("+")])
    width, height = figure.canvas.get_width_height()
    renderer = figure.canvas.get_renderer()
    texts = [(text.get_text(), text.get_window_extent(renderer)) for text in figure.axes[0].texts]
    for text, box in texts:
        assert 0 < box.x0 and box.x1 < width and 0 < box.y0 and box.y1 < height, text
    for (one, a), (other, b) in combinations(texts, 2):
        across, down = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert across <= 0 or down <= 3, (one, other)  # pixels: lines of text may touch where no letter reaches


def test_both_spellings_of_the_command(tmp_path, capsys):
    for number, words in enumerate((["--draw", "cifar19", "FILE"], ["cifar19", "--draw", "FILE"])):
        file = tmp_path / f"{number}.png"
        assert cli.main(["nets", *(str(file) if word == "FILE" else word for word in words)]) == 0
        out = capsys.readouterr().out
        assert out.count("\n") == 1 and str(file) in out and file.read_bytes().startswith(b"\x89PNG")
    assert cli.main(["nets", "--json", "--draw", "lenet+cifar19", str(tmp_path / "two.svg")]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(tmp_path / "two.svg"), "nets": ["lenet", "cifar19"]}


def test_what_cannot_be_drawn_is_refused_in_a_sentence(tmp_path):
    for name, draw, why in (("a.pdf", "paper", "ends in .png or .svg, 'a.pdf' does not"), ("paper", "a.pdf", "'a.pdf' does not"),
                            ("paper", "lenet", "'paper' does not"), (None, "paper", "given 'paper'; it wants a row and a file"),
                            ("a.svg", "b.svg", "given 'b.svg' and 'a.svg'"), ("a.svg", "papr", "did you mean paper")):
        with pytest.raises(Misused, match=re.escape(why)):
            nets.nets(name, draw=draw)
    with pytest.raises(Refused, match="cannot be written"):
        nets.draw("lenet", tmp_path / "nowhere" / "a.svg")
