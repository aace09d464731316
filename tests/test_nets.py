"""The table of networks: parameters against counts worked out by hand, and the numbers that the paper and the source state."""

import pytest

import alexnet
from alexnet import nets
from alexnet.errors import Misused

# weights + biases, layer by layer, by hand
PUBLISHED = [96 * 3 * 121 + 96, 256 * 48 * 25 + 256, 384 * 256 * 9 + 384, 384 * 192 * 9 + 384, 256 * 192 * 9 + 256,
             4096 * 9216 + 4096, 4096 * 4096 + 4096, 1000 * 4096 + 1000]
BY_HAND = {
    "paper": sum(PUBLISHED),
    "as_run": sum(PUBLISHED),
    "single_tower": (64 * 3 * 121 + 64) + (192 * 64 * 25 + 192) + (384 * 192 * 9 + 384) + (256 * 384 * 9 + 256)
    + (256 * 256 * 9 + 256) + (4096 * 9216 + 4096) + (4096 * 4096 + 4096) + (1000 * 4096 + 1000),
    # no bias but a scale and an offset behind every hidden layer: its count of units once more
    "batchnorm": sum(PUBLISHED) + (96 + 256 + 384 + 384 + 256 + 4096 + 4096),
    "small64": (64 * 75 + 64) + (192 * 32 * 25 + 192) + (384 * 192 * 9 + 384) + (384 * 192 * 9 + 384) + (256 * 192 * 9 + 256)
    + (1024 * 2304 + 1024) + (1024 * 1024 + 1024) + (200 * 1024 + 200),
    "small64_batchnorm": (64 * 75 + 128) + (192 * 32 * 25 + 384) + 2 * (384 * 192 * 9 + 768) + (256 * 192 * 9 + 512)
    + (1024 * 2304 + 2048) + (1024 * 1024 + 2048) + (200 * 1024 + 200),
    "small32": (64 * 75 + 64) + (128 * 32 * 25 + 128) + (192 * 128 * 9 + 192) + (192 * 96 * 9 + 192) + (128 * 96 * 9 + 128)
    + (512 * 1152 + 512) + (512 * 512 + 512) + (200 * 512 + 200),
    "small32_batchnorm": (64 * 75 + 128) + (128 * 32 * 25 + 256) + (192 * 128 * 9 + 384) + (192 * 96 * 9 + 384)
    + (128 * 96 * 9 + 256) + (512 * 1152 + 1024) + (512 * 512 + 1024) + (200 * 512 + 200),
    "tiny64": (32 * 75 + 32) + (96 * 16 * 25 + 96) + (192 * 96 * 9 + 192) + (192 * 96 * 9 + 192) + (128 * 96 * 9 + 128)
    + (256 * 1152 + 256) + (256 * 256 + 256) + (200 * 256 + 200),
}


def test_every_row_has_its_count_by_hand():
    assert {row["name"]: row["parameters"] for row in alexnet.nets()} == BY_HAND


def test_the_published_numbers():
    layers = {layer["name"]: layer for layer in alexnet.nets("as_run")[0]["layers"]}
    stated = {"conv1": 34_944, "conv2": 307_456, "conv3": 885_120, "conv4": 663_936, "conv5": 442_624, "fc6": 37_752_832,
              "fc7": 16_781_312, "fc8": 4_097_000}
    assert {name: layers[name]["parameters"] for name in stated} == stated
    assert BY_HAND["paper"] == 60_965_224 and BY_HAND["single_tower"] == 61_100_840
    assert [layers[n]["output"][1] for n in ("conv1", "pool1", "pool2", "pool5")] == [55, 27, 13, 6]
    assert alexnet.nets("paper")[0]["neurons"] == 659_272


def test_rounding_up_is_the_sources_geometry():
    # 224 at 11 / 4: 1 + ceil(213 / 4) = 55; rounded down it would be 54
    down = nets.Row("x", "", nets.PAPER.layers, rounding="floor")
    assert nets.shapes(nets.PAPER)[0].output == (96, 55, 55) and nets.shapes(down)[0].output == (96, 54, 54)


def test_paper_and_source_differ_where_the_facts_say():
    paper, run = ({layer.name: layer for layer in nets.row(name).layers} for name in ("paper", "as_run"))
    assert paper["norm1"].alpha == 1e-4 and run["norm1"].alpha == pytest.approx(2e-5)
    assert [run[f"conv{i}"].std for i in range(1, 6)] == [0.01, 0.01, 0.03, 0.03, 0.03]
    assert [paper[f"conv{i}"].std for i in range(1, 6)] == [0.01] * 5
    for row in (paper, run):
        assert [row[n].bias for n in ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")] == [0, 1, 0, 1, 1, 1, 1, 0]
    assert run["conv1"].then == run["conv5"].then == "linear" and run["pool1"].then == run["pool5"].then == "relu"
    assert "wnorm2" in run and "wnorm2" not in paper


def test_a_row_survives_its_spec():
    for row in nets.ROWS.values():
        assert nets.from_spec(row.spec()) == row


def test_unknown_rows_are_answered_with_the_nearest():
    with pytest.raises(Misused, match="small64"):
        nets.row("smal64")


def test_rows_fit_pictures_a_little_larger_than_their_crop():
    assert nets.fitting(256)[0] == "paper" and "small64" in nets.fitting(64) and "small32" in nets.fitting(32)
    assert nets.fitting(128) == []
