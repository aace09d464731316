"""The table of networks: parameters against counts worked out by hand, the numbers that the paper and the source state, and
what each row changes in the row that it comes from."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest

import alexnet
from alexnet import nets
from alexnet.errors import Misused
from alexnet.nets import layers
from alexnet.nets.changes import VALUES

# Weights + biases, layer by layer, by hand. Where a column sees only itself, an output map has the weights of half the input maps.
CONV1, CONV2, CONV3 = 96 * 3 * 121 + 96, 256 * 48 * 25 + 256, 384 * 256 * 9 + 384
CONV4, CONV5, CONV6 = 384 * 192 * 9 + 384, 256 * 192 * 9 + 256, 256 * 256 * 9 + 256
FC6, FC7, FC8 = 4096 * 9216 + 4096, 4096 * 4096 + 4096, 1000 * 4096 + 1000
DENSE = FC6 + FC7 + FC8
PUBLISHED = CONV1 + CONV2 + CONV3 + CONV4 + CONV5 + DENSE
SIX = PUBLISHED + CONV6
CONV3_APART, CONV4_BOTH = 384 * 128 * 9 + 384, 384 * 384 * 9 + 384
SIDE_PATH = 256 * 3 * 25  # no bias of its own: conv2, which it is added to, has one
NET120 = (64 * 3 * 121 + 64) + (256 * 32 * 25 + 256) + SIDE_PATH + CONV3 + CONV4 + CONV5 + DENSE
VGG_HEAD = (4096 * 512 * 49 + 4096) + FC7 + FC8
SMALL64 = ((64 * 75 + 64) + (192 * 32 * 25 + 192) + (384 * 192 * 9 + 384) + (384 * 192 * 9 + 384) + (256 * 192 * 9 + 256)
           + (1024 * 2304 + 1024) + (1024 * 1024 + 1024) + (200 * 1024 + 200))
SMALL32 = ((64 * 75 + 64) + (128 * 32 * 25 + 128) + (192 * 128 * 9 + 192) + (192 * 96 * 9 + 192) + (128 * 96 * 9 + 128)
           + (512 * 1152 + 512) + (512 * 512 + 512) + (200 * 512 + 200))
THREE_CONVS = (32 * 75 + 32) + (32 * 32 * 25 + 32) + (64 * 32 * 25 + 64)  # CIFAR-10's; 32 -> 16 -> 8 -> 4, or 24 -> 12 -> 6 -> 3
CIFAR19 = THREE_CONVS + (10 * 64 * 16 + 10)
TWO_CONVS = (64 * 75 + 64) + (64 * 64 * 25 + 64)
PLACES = 6 * 6  # of a locally connected layer, each with kernels and biases of its own
CIFAR13 = TWO_CONVS + PLACES * (32 * 64 * 9 + 32) + PLACES * (32 * 32 * 9 + 32) + (10 * 32 * PLACES + 10)

TINY64 = ((32 * 75 + 32) + (96 * 16 * 25 + 96) + (192 * 96 * 9 + 192) + (192 * 96 * 9 + 192) + (128 * 96 * 9 + 128)
          + (256 * 1152 + 256) + (256 * 256 + 256) + (200 * 256 + 200))
BY_HAND = {
    "paper": PUBLISHED,
    "as_run": PUBLISHED,
    "half": (48 * 3 * 121 + 48) + (128 * 48 * 25 + 128) + (192 * 128 * 9 + 192) + (192 * 192 * 9 + 192)
    + (256 * 192 * 9 + 256) + DENSE,
    "non_overlapping": PUBLISHED,
    "no_norm": PUBLISHED,
    "no_norm2": PUBLISHED,
    # conv2 is 320 maps wide, so conv3 sees 160; fc6 8192 units of 4608 inputs; fc7 4096 units of 4096; fc8 joins them
    "no_crossing": CONV1 + (320 * 48 * 25 + 320) + (384 * 160 * 9 + 384) + CONV4 + CONV5 + (8192 * 4608 + 8192) + FC7 + FC8,
    "crossing_conv2": CONV1 + (256 * 96 * 25 + 256) + CONV3_APART + CONV4 + CONV5 + DENSE,
    "crossing_conv4": CONV1 + CONV2 + CONV3_APART + CONV4_BOTH + CONV5 + DENSE,
    "crossing_conv5": CONV1 + CONV2 + CONV3_APART + CONV4 + (256 * 384 * 9 + 256) + DENSE,
    "dense_parameters": (76 * 3 * 121 + 76) + (200 * 76 * 25 + 200) + (288 * 200 * 9 + 288) + (288 * 288 * 9 + 288)
    + (256 * 288 * 9 + 256) + DENSE,
    "dense_multiply_adds": (72 * 3 * 121 + 72) + (192 * 72 * 25 + 192) + (296 * 192 * 9 + 296) + (296 * 296 * 9 + 296)
    + (256 * 296 * 9 + 256) + DENSE,
    "net120": NET120,
    "net131": NET120,
    "net133": NET120 - CONV3 - CONV4 + CONV3_APART + CONV4_BOTH,
    "net135": NET120,
    "net137": NET120,
    "net141": NET120 + CONV6,
    "six_conv": SIX,
    "six_conv_10k": SIX - FC8 + (10_184 * 4096 + 10_184),
    "six_conv_22k": SIX - FC8 + (2048 * 4096 + 2048) + (21_843 * 2048 + 21_843),
    "caffenet": PUBLISHED,
    "bvlc": PUBLISHED,
    "single_tower": (64 * 3 * 121 + 64) + (192 * 64 * 25 + 192) + (384 * 192 * 9 + 384) + (256 * 384 * 9 + 256)
    + (256 * 256 * 9 + 256) + DENSE,
    "vgg11": (64 * 27 + 64) + (128 * 64 * 9 + 128) + (256 * 128 * 9 + 256) + (256 * 256 * 9 + 256)
    + (512 * 256 * 9 + 512) + 3 * (512 * 512 * 9 + 512) + VGG_HEAD,
    "vgg16": (64 * 27 + 64) + (64 * 64 * 9 + 64) + (128 * 64 * 9 + 128) + (128 * 128 * 9 + 128) + (256 * 128 * 9 + 256)
    + 2 * (256 * 256 * 9 + 256) + (512 * 256 * 9 + 512) + 5 * (512 * 512 * 9 + 512) + VGG_HEAD,
    # no bias but a scale and an offset behind every hidden layer: its count of units once more
    "batchnorm": PUBLISHED + (96 + 256 + 384 + 384 + 256 + 4096 + 4096),
    "small64": SMALL64,
    "small64_batchnorm": SMALL64 + (64 + 192 + 384 + 384 + 256 + 1024 + 1024),
    "whole64_batchnorm": SMALL64 + (64 + 192 + 384 + 384 + 256 + 1024 + 1024) + 1024 * 256 * (16 - 9),
    "fine64_batchnorm": (64 * 75) + (192 * 32 * 25) + 2 * (384 * 192 * 9) + (256 * 192 * 9) + 512 * 256 * 64 + 512 * 512
    + (200 * 512 + 200) + 2 * (64 + 192 + 384 + 384 + 256 + 512 + 512),
    "small32": SMALL32,
    "small32_batchnorm": SMALL32 + (64 + 128 + 192 + 192 + 128 + 512 + 512),
    "quick64": (32 * 75 + 32) + (128 * 16 * 25 + 128) + 2 * (256 * 128 * 9 + 256) + (192 * 128 * 9 + 192)
    + (512 * 192 * 16 + 512) + (512 * 512 + 512) + (200 * 512 + 200),
    "tiny64": TINY64,
    "tiny36": TINY64 - 256 * 128 * (9 - 4),
    "small64_six": SMALL64 + (256 * 256 * 9 + 256),
    "tiny64_six": TINY64 + (128 * 128 * 9 + 128),
    # the bottleneck, and fc8 on 64 units instead of 256
    "tiny64_six_wide": TINY64 + (128 * 128 * 9 + 128) + (64 * 256 + 64) - 200 * (256 - 64),
    "cifar26": THREE_CONVS + (64 * 64 * 16 + 64) + (10 * 64 + 10),
    "cifar19": CIFAR19,
    "cifar18": CIFAR19,
    "cifar14": THREE_CONVS + (10 * 64 * 9 + 10),
    "cifar13": CIFAR13,
    "cifar11": CIFAR13,
    "cifar11_final": TWO_CONVS + PLACES * (64 * 64 * 9 + 64) + PLACES * (32 * 64 * 9 + 32) + (10 * 32 * PLACES + 10),
    "figure1": CIFAR19,
    "lenet": (6 * 25 + 6) + (16 * 6 * 25 + 16) + (120 * 400 + 120) + (84 * 120 + 84) + (10 * 84 + 10),
}
STATED = {  # by the notebook, the source's configurations, or the networks' own papers
    "paper": 60_965_224, "as_run": 60_965_224, "half": 59_798_312, "six_conv": 61_555_304, "single_tower": 61_100_840,
    **dict.fromkeys(("net120", "net131", "net135", "net137"), 60_870_376), "vgg11": 132_863_336, "vgg16": 138_357_544,
    "cifar26": 145_578, "cifar19": 89_578, "cifar18": 89_578, "cifar13": 1_116_490, "cifar11": 1_116_490,
    "cifar11_final": 2_112_970, "lenet": 61_706,
}


@pytest.fixture(scope="module")
def table():
    return {row["name"]: row for row in alexnet.nets()}


def by_name(row):
    return {layer.name: layer for layer in nets.row(row).layers}


def sides(row):
    """Layer -> side of its maps."""
    return {shape.layer.name: shape.output[1] for shape in nets.shapes(nets.row(row))}


def test_every_row_has_its_count_by_hand(table):
    assert {name: row["parameters"] for name, row in table.items()} == BY_HAND


def test_the_counts_by_hand_are_those_stated():
    assert {name: BY_HAND[name] for name in STATED} == STATED


def test_the_published_numbers(table):
    found = {layer["name"]: layer for layer in table["as_run"]["layers"]}
    stated = {"conv1": 34_944, "conv2": 307_456, "conv3": 885_120, "conv4": 663_936, "conv5": 442_624, "fc6": 37_752_832,
              "fc7": 16_781_312, "fc8": 4_097_000}
    assert {name: found[name]["parameters"] for name in stated} == stated
    assert [found[n]["output"][1] for n in ("conv1", "pool1", "pool2", "pool5")] == [55, 27, 13, 6]
    assert table["paper"]["neurons"] == table["as_run"]["neurons"] == 659_272
    assert {table[name]["neurons"] for name in ("net120", "net131", "net135", "net137")} == {562_472}
    products = (55**2 * 96 * 363 + 27**2 * 256 * 1200 + 13**2 * (384 * 2304 + 384 * 1728 + 256 * 1728)
                + 9216 * 4096 + 4096 * 4096 + 4096 * 1000)
    assert table["as_run"]["multiply_adds"] == products


def test_sizes_of_maps_are_those_stated():
    maps = sides("non_overlapping")
    assert [maps[n] for n in ("conv1", "pool1", "conv2", "pool2", "conv5", "pool5")] == [55, 28, 26, 13, 11, 6]
    maps = {shape.layer.name: shape.output for shape in nets.shapes(nets.row("net137"))}
    assert maps["nails"] == (3, 56, 56) and maps["low2"] == maps["conv2"] == (256, 27, 27)
    assert sides("six_conv")["conv6"] == sides("net141")["conv6"] == 6
    for row, side in (("caffenet", 6), ("bvlc", 6), ("single_tower", 6), ("vgg11", 7), ("vgg16", 7), ("small64", 3), ("tiny64", 3),
                      ("tiny36", 2)):
        assert sides(row)["pool5"] == side, row
    assert [sides("cifar19")[f"pool{i}"] for i in (1, 2, 3)] == [16, 8, 4] and sides("cifar14")["pool3"] == 3
    assert sides("cifar13")["local4"] == 6 and sides("lenet")["pool2"] == 5


def test_dense_controls_weigh_what_they_control(table):
    run = table["as_run"]
    assert table["dense_parameters"]["parameters"] == pytest.approx(run["parameters"], rel=0.001)
    assert table["dense_multiply_adds"]["multiply_adds"] == pytest.approx(run["multiply_adds"], rel=0.002)
    for name in ("dense_parameters", "dense_multiply_adds"):
        assert nets.row(name).columns == 1 and all(shape.groups == 1 for shape in nets.shapes(nets.row(name)))


def test_rounding_up_is_the_sources_geometry():
    # 224 at 11 / 4: 1 + ceil(213 / 4) = 55; rounded down it would be 54
    down = nets.Row("x", "", nets.PAPER.layers, rounding="floor")
    assert nets.shapes(nets.PAPER)[0].output == (96, 55, 55) and nets.shapes(down)[0].output == (96, 54, 54)


def test_paper_and_source_differ_where_the_facts_say():
    paper, run = by_name("paper"), by_name("as_run")
    assert paper["norm1"].alpha == 1e-4 and run["norm1"].alpha == pytest.approx(2e-5)
    assert [run[f"conv{i}"].std for i in range(1, 6)] == [0.01, 0.01, 0.03, 0.03, 0.03]
    assert [paper[f"conv{i}"].std for i in range(1, 6)] == [0.01] * 5
    for row in (paper, run):
        assert [row[n].bias for n in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")] == [0, 1, 0, 1, 1, 1, 1, 0]
    assert run["conv1"].then == run["conv5"].then == "linear" and run["pool1"].then == run["pool5"].then == "relu"
    assert "wnorm2" in run and "wnorm2" not in paper


def differences(one, other):
    """What the second row has otherwise than the first: (layer, field) -> value; None: there, or gone, as a whole."""
    one, other = by_name(one), by_name(other)
    found = {(name, None): type((one | other)[name]).__name__ for name in one.keys() ^ other.keys()}
    for name in one.keys() & other.keys():
        found |= {(name, key): value for key, value in asdict(other[name]).items() if asdict(one[name])[key] != value}
    return found


DIFFERENCES = {
    ("net120", "net131"): {},  # in order alone, below
    ("net131", "net135"): {("norm1", "k"): 2.0, ("norm2", "k"): 2.0},
    ("net135", "net137"): {("cnorm2", None): "ContrastNorm", ("wnorm2", None): "WithinMapNorm"},
    ("net131", "net133"): {("conv3", "sees"): "column", ("conv4", "sees"): "both"},
    ("net137", "net141"): {("conv6", None): "Conv"},
    ("net137", "as_run"): {("blur", None): "Blur", ("nails", None): "Nails", ("low2", None): "Conv", ("conv1", "maps"): 96,
                           ("conv2", "plus"): ""},
    ("as_run", "half"): {("conv1", "maps"): 48, ("conv2", "maps"): 128, ("conv3", "maps"): 192, ("conv4", "maps"): 192},
    ("as_run", "non_overlapping"): {("pool1", "kernel"): 2, ("pool2", "kernel"): 2, ("pool5", "kernel"): 2, ("conv2", "pad"): 1,
                                    ("conv5", "pad"): 0},
    ("as_run", "no_norm"): {("norm1", None): "ResponseNorm", ("norm2", None): "ResponseNorm", ("wnorm2", None): "WithinMapNorm"},
    ("as_run", "no_norm2"): {("norm2", None): "ResponseNorm", ("wnorm2", None): "WithinMapNorm"},
    ("as_run", "no_crossing"): {("conv2", "maps"): 320, ("conv3", "sees"): "column", ("fc6", "sees"): "column",
                                ("fc6", "units"): 8192, ("fc7", "sees"): "column"},
    ("as_run", "crossing_conv4"): {("conv3", "sees"): "column", ("conv4", "sees"): "both"},
    ("as_run", "six_conv"): {("conv6", None): "Conv"},
    ("six_conv", "six_conv_10k"): {},  # in classes alone
    ("six_conv", "six_conv_22k"): {("bottleneck", None): "Dense"},
    ("paper", "bvlc"): {**{(norm, key): value for norm in ("norm1", "norm2")
                           for key, value in (("alpha", 1e-4 / 5), ("k", 1.0), ("sees", "both"))},
                        **{(name, "bias"): 0.1 for name in ("conv2", "conv4", "conv5", "fc6", "fc7")},
                        ("fc6", "std"): 0.005, ("fc7", "std"): 0.005},
    ("bvlc", "caffenet"): {(name, "bias"): 1.0 for name in ("conv2", "conv4", "conv5", "fc6", "fc7")},
    ("cifar19", "cifar26"): {("fc64", None): "Dense", ("fc10", "std"): 0.1},
    ("cifar19", "cifar18"): {("norm1", None): "WithinMapNorm", ("norm2", None): "WithinMapNorm"},
    ("cifar19", "cifar14"): {},  # in the crop alone
    ("cifar13", "cifar11"): {("norm1", None): "ResponseNorm", ("norm2", None): "ResponseNorm"},
    ("cifar11", "cifar11_final"): {("local3", "maps"): 64, ("norm1", "size"): 9, ("norm2", "size"): 9,
                                   ("norm1", "alpha"): 0.001 / 9, ("norm2", "alpha"): 0.001 / 9},
}


@pytest.mark.parametrize("pair", DIFFERENCES, ids=" to ".join)
def test_a_row_differs_in_what_is_named_and_nothing_else(pair):
    assert differences(*pair) == DIFFERENCES[pair]


def test_orders_and_fields_of_rows():
    def order(row, *, to):
        names = list(by_name(row))
        return names[names.index("conv1") : names.index(to) + 1]

    assert order("net120", to="conv2") == ["conv1", "pool1", "norm1", "conv2"]
    assert order("net131", to="conv2") == ["conv1", "norm1", "pool1", "conv2"]
    assert order("net135", to="pool2")[3:] == ["conv2", "norm2", "cnorm2", "pool2"]
    assert order("net137", to="pool2")[3:] == ["conv2", "norm2", "wnorm2", "pool2"]
    assert order("caffenet", to="conv3") == ["conv1", "pool1", "norm1", "conv2", "pool2", "norm2", "conv3"]
    assert order("cifar11", to="local3") == ["conv1", "norm1", "pool1", "conv2", "norm2", "pool2", "local3"]
    assert order("cifar11_final", to="local3") == ["conv1", "pool1", "norm1", "conv2", "norm2", "pool2", "local3"]
    assert list(by_name("six_conv"))[-6:] == ["conv5", "pool5", "conv6", "fc6", "fc7", "fc8"]
    assert list(by_name("six_conv_22k"))[-3:] == ["fc7", "bottleneck", "fc8"]
    assert by_name("six_conv_22k")["bottleneck"] == layers.Dense("bottleneck", 2048, then="linear")
    for row in ("caffenet", "bvlc"):
        assert (nets.row(row).crop, nets.row(row).dropout_scales, nets.row(row).columns) == (227, "train", 2)
    assert [nets.row(name).classes for name in ("six_conv", "six_conv_10k", "six_conv_22k")] == [1000, 10_184, 21_843]
    assert {nets.row(name).columns for name in ("half", "cifar19", "lenet", "vgg16")} == {1}
    assert [nets.row(name).crop for name in ("cifar19", "cifar14", "cifar13", "lenet")] == [32, 24, 24, 28]
    conv6, low2, local3 = by_name("six_conv")["conv6"], by_name("net120")["low2"], by_name("cifar13")["local3"]
    assert (conv6.sees, conv6.bias, conv6.std, conv6.then) == ("both", 1.0, 0.03, "relu")
    assert (low2.bias, low2.then, low2.stride, low2.pad) == (None, "linear", 2, 0) and (local3.std, local3.pad) == (0.04, 1)


def test_the_table_in_the_docs_names_every_row():
    """docs/paper.md, 'The rows and where they come from': a line a row, in the table's order, with its parameters."""
    text = (Path(__file__).parent.parent / "docs" / "paper.md").read_text(encoding="utf-8")
    part = text.split("## The rows and where they come from")[1].split("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in part.splitlines() if line.startswith("| `")]
    assert {line[0].strip("`"): int(line[-1].replace(",", "")) for line in lines} == BY_HAND
    assert [line[0].strip("`") for line in lines] == list(nets.ROWS)
    for name, number, *_ in lines:  # the authors' number is the one that the row's title begins with
        assert number == (re.match(r"(?:net )?(#[\w-]+)|", nets.row(name.strip("`")).title)[1] or ""), name


def test_unknown_rows_are_answered_with_the_nearest():
    with pytest.raises(Misused, match="small64"):
        nets.row("smal64")


def test_rows_fit_pictures_a_little_larger_than_their_crop():
    assert nets.fitting(256)[0] == "paper" and "small64" in nets.fitting(64) and "small32" in nets.fitting(32)
    assert nets.fitting(128) == []


def test_every_row_survives_its_spec_as_text():
    choices = [f"{field}={value}" for field, values in VALUES.items() for value in values]
    varied = [nets.row(f"{name},{choice}") for name in ("small64", "net120", "lenet") for choice in choices]
    for row in [*nets.ROWS.values(), *varied]:
        assert nets.from_spec(json.loads(json.dumps(row.spec()))) == row
        assert nets.row(row.name) == row


def test_a_varied_row_changes_in_its_field_throughout():
    tanh = nets.row("small64,nonlinearity=tanh")
    assert {layer.then for layer in tanh.layers} == {"tanh", "linear"} and tanh.layers[-1].then == "linear"
    assert [layer.then for layer in nets.row("as_run,nonlinearity=leaky").layers][:4] == ["linear", "linear", "leaky", "leaky"]
    for by in ("average", "convolution"):
        pools = [layer for layer in nets.row(f"small64,pooling={by}").layers if isinstance(layer, layers.Pool)]
        assert [pool.by for pool in pools] == [by] * 3
        assert {pool.then for pool in pools} == {"relu" if by == "convolution" else "linear"}
    assert {layer.then for layer in nets.row("lenet,pooling=convolution").layers[:4]} == {"tanh"}  # as the rest of the row
    assert nets.row("paper,dropout=train").dropout_scales == "train" and nets.row("bvlc,dropout=test").dropout_scales == "test"
    assert nets.row("paper,dropout=train").layers == nets.PAPER.layers
    assert not any(layer.dropout for layer in nets.row("paper,dropout=none").layers)
    shares = {layer.name: layer.dropout for layer in nets.row("small64_batchnorm,dropout=0.25").layers if layer.dropout}
    assert shares == {"norm6": 0.25, "norm7": 0.25} and nets.row("paper,dropout=0.25").dropout_scales == "test"
    assert not any(layer.dropout for layer in nets.row("paper,dropout=0").layers)
    assert not any(isinstance(layer, nets.changes.NORMS) for layer in nets.row("net120,norm=none").layers)
    both = nets.row("small64,nonlinearity=tanh,pooling=average")
    assert both.name == "small64,nonlinearity=tanh,pooling=average" and both.title.endswith("; nonlinearity tanh, pooling average")
    assert both == nets.varied(nets.row("small64"), nonlinearity="tanh", pooling="average")


def test_a_learned_pool_has_its_weights_counted():
    counts = {one["name"]: one["parameters"] for one in alexnet.nets("small64,pooling=convolution")[0]["layers"]}
    assert (counts["pool1"], counts["pool2"], counts["pool5"]) == (64 * 32 * 9 + 64, 192 * 96 * 9 + 192, 256 * 128 * 9 + 256)


def test_batch_norm_can_be_put_in_and_taken_out():
    assert nets.row("small64,norm=batch").layers == nets.row("small64_batchnorm").layers
    assert nets.row("small64_batchnorm,norm=batch").layers == nets.row("small64_batchnorm").layers
    for row in ("small64_batchnorm,norm=none", "batchnorm,norm=none"):
        bare = [layer for layer in nets.row(row).layers if isinstance(layer, (layers.Conv, layers.Dense))]
        assert [layer.bias for layer in bare] == [0.0] * 8 and [layer.then for layer in bare] == ["relu"] * 7 + ["linear"]
        assert [layer.dropout for layer in bare] == [0, 0, 0, 0, 0, 0.5, 0.5, 0]
    # the side path ends in a sum: what is normalised is the sum
    side = by_name("net137,norm=batch")
    assert list(side)[:7] == ["blur", "nails", "low2", "conv1", "norm1", "pool1", "conv2"]
    assert side["low2"] == by_name("net137")["low2"]
    assert (side["conv2"].plus, side["conv2"].then, side["conv2"].bias, side["norm2"].then) == ("low2", "linear", None, "relu")
    assert by_name("six_conv_22k,norm=batch")["norm_bottleneck"].then == "linear"
    for name in nets.ROWS:
        names = [layer.name for layer in nets.row(f"{name},norm=batch").layers]
        assert len(names) == len(set(names)), name  # conv6 and fc6 each have a norm


@pytest.mark.parametrize("given, answer", {
    "small64,dropout=1": "dropout is '1'; it may be test, train, none or a share.",
    "cifar18,dropout=0.5": "cifar18 has no layer that drops units: dropout=none is all that it can be.",
    "small64,norms=none": "a row has no field 'norms' to vary: did you mean norm?",
    "small64,norm=batches": "norm is 'batches'; it may be none, batch.",
    "small64,tanh": "'tanh' is no choice for a row; write field=value, such as nonlinearity=tanh.",
    "small64,none": "'none' is no choice for a row; write field=value, such as norm=none or dropout=none.",
    "small64,norm": "'norm' is no choice for a row; write field=value, such as norm=none or norm=batch.",
    "small64,": "'' is no choice for a row; write field=value, such as nonlinearity=relu or pooling=max or",
    "smal64,norm=none": "there is no net 'smal64': did you mean small64 or",
}.items())
def test_wrong_choices_are_answered_in_one_sentence(given, answer):
    with pytest.raises(Misused) as refused:
        nets.row(given)
    assert str(refused.value).startswith(answer)
