"""Figures from arrays: the kernels' sheet pixel by pixel, files that open, equal bytes, nothing global."""

import io
import math
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from alexnet import figures

LINES = [
    {
        "epoch": e + 1,
        "train_loss": 2 / (e + 1),
        "log_loss": 2.2 / (e + 1),
        "val_top1_error": 0.9 / (e + 1),
        "val_top5_error": 0.5 / (e + 1),
        "lr": 0.01,
    }
    for e in range(5)
]


def test_kernels_share_one_range_and_stand_apart():
    weights = np.random.default_rng(0).normal(size=(96, 3, 11, 11))
    sheet = figures.kernel_sheet(weights, columns=2)
    assert sheet.shape == (6 * 12 + 1, 16 * 12 + 1, 3) and sheet.dtype == np.uint8
    assert not sheet[::12].any() and not sheet[:, ::12].any()  # gaps of one black pixel
    assert sheet.max() == 255
    low, high = weights.min(), weights.max()
    for kernel in (0, 17, 48, 95):  # the second column's first kernel begins the fourth row
        top, left = kernel // 16 * 12 + 1, kernel % 16 * 12 + 1
        expected = np.round((weights[kernel].astype(np.float32) - low) / (high - low) * 255).transpose(1, 2, 0)
        np.testing.assert_allclose(sheet[top : top + 11, left : left + 11], expected, atol=1)


def test_columns_begin_their_own_rows():
    sheet = figures.kernel_sheet(np.ones((40, 3, 2, 2)) * np.arange(40)[:, None, None, None], columns=2)
    assert sheet.shape == (4 * 3 + 1, 16 * 3 + 1, 3)  # 20 a column: two rows each
    assert sheet[2 * 3 + 1, 1, 0] == round(20 / 39 * 255)
    assert figures.kernel_sheet(np.zeros((7, 1, 3, 3)), columns=2).shape == (5, 7 * 4 + 1, 3)


@pytest.mark.parametrize("draw", [figures.curves, figures.loss_curve, figures.error_curve, figures.rate_curve])
@pytest.mark.parametrize(
    "lines", [LINES, LINES[:1], [], [{**LINES[0], "train_loss": math.nan, "log_loss": None}, LINES[1]]]
)
def test_curves_of_any_log(draw, lines):
    assert Image.open(io.BytesIO(figures.as_png(draw(lines)))).width > 300


def test_panels_of_any_number_and_any_name():
    picture = np.zeros((64, 64, 3), np.uint8)
    top = [("a $5 dog, Canis", 0.6, False), ("x" * 80, 0.3, True), ("z", 0.1, False)]
    for count in (1, 5, 8):
        figure = figures.panels([picture] * count, ["a_very $long$ name, with synonyms"] * count, [top] * count)
        assert len(figures.as_png(figure)) > 1000


def test_files_are_what_they_say_and_always_the_same(tmp_path):
    for ending in ("png", "svg"):
        first, second = (figures.save(figures.curves(LINES), tmp_path / f"{n}.{ending}").read_bytes() for n in "ab")
        assert first == second
    assert Image.open(tmp_path / "a.png").format == "PNG"
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")


def test_an_embedded_drawing_takes_the_page_s_colours_and_fetches_nothing():
    text = figures.as_svg(figures.error_curve(LINES))
    assert text.startswith("<svg") and "currentColor" in text and figures.INK not in text and "<!DOCTYPE" not in text
    ElementTree.fromstring(text)
    other = figures.as_svg(figures.loss_curve(LINES))
    ids = [
        set(part.split('"')[0] for part in drawing.split(' id="')[1:] if part.startswith("f"))
        for drawing in (text, other)
    ]
    assert ids[0] and not ids[0] & ids[1]  # two drawings may stand in one page


def test_nothing_global_is_touched():
    import matplotlib

    before = dict(matplotlib.rcParams), "matplotlib.pyplot" in sys.modules
    figures.as_svg(figures.curves(LINES))
    assert (dict(matplotlib.rcParams), "matplotlib.pyplot" in sys.modules) == before
