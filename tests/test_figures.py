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


def test_colour_selectivity_is_the_share_that_a_grey_picture_does_not_show():
    random = np.random.default_rng(1)
    grey = np.repeat(random.normal(size=(1, 1, 5, 5)), 3, axis=1)
    opponent = random.normal(size=(1, 1, 5, 5)) * np.array([1, -1, 0])[:, None, None]
    one = np.zeros((1, 3, 5, 5))
    one[0, 0, 2, 2] = 4  # a third of the red alone is grey
    found = figures.colour_selectivity(np.concatenate([grey, opponent, one, grey + opponent, 0 * grey]))
    np.testing.assert_allclose(found[[0, 1, 2, 4]], [0, 1, 2 / 3, 0], atol=1e-12)
    assert 0 < found[3] < 1
    assert figures.colour_selectivity(np.ones((2, 1, 3, 3))).tolist() == [0, 0]


def test_numbers_stand_below_their_kernels():
    weights = np.random.default_rng(0).normal(size=(40, 3, 8, 8))
    plain, numbered = (np.asarray(Image.open(io.BytesIO(figures.as_png(figures.kernels(weights, numbers=numbers)))))
                       for numbers in (False, True))
    assert numbered.shape[0] > plain.shape[0] and numbered.shape[1] == plain.shape[1]
    strips = figures.kernel_sheet(weights, below=3)
    assert strips.shape == (4 * 12 + 1, 16 * 9 + 1, 3) and not strips[9:13].any() and strips[13:21].any()


def test_map_sheet_shows_the_strongest_of_each_column_on_one_scale():
    maps = np.zeros((40, 7, 7))
    maps[:, 3, 3] = np.arange(40)  # the first column has 0 to 19, the second 20 to 39
    sheet = figures.map_sheet(maps, columns=2, most=16)
    assert sheet.shape == (4 * 8 + 2, 8 * 8 + 1) and sheet.dtype == np.uint8
    middles = np.concatenate([sheet[[4, 12], 4::8].reshape(-1), sheet[[21, 29], 4::8].reshape(-1)])
    strengths = np.concatenate([np.arange(19, 3, -1), np.arange(39, 23, -1)])
    assert (np.diff(middles[:16].astype(int)) > 0).all() and middles[16] == 0  # darker for stronger; the strongest black
    top = np.quantile(maps[24:], 0.998)
    np.testing.assert_allclose(middles, 255 * (1 - np.sqrt(np.minimum(strengths / top, 1))), atol=1)
    signed = figures.map_sheet(np.array([[[-1.0, 0], [0, 1]]]))
    assert signed[1, 1] == 255 and signed[2, 2] == 0 and signed[1, 2] in (127, 128)


@pytest.mark.parametrize("classes", [2, 16, 100])
def test_a_confusion_matrix_of_any_size(classes):
    counts = np.random.default_rng(0).integers(0, 5, (classes, classes))
    counts[0] = 0  # a class without pictures
    drawn = figures.confusion(counts, [f"a $long$ name, or another {i}" for i in range(classes)])
    shown = drawn.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown[1:], counts[1:] / counts[1:].sum(1, keepdims=True))
    assert not shown[0].any() and Image.open(io.BytesIO(figures.as_png(drawn))).width > 300


def test_rows_of_pictures_of_any_length_and_name():
    picture = np.zeros((32, 32, 3), np.uint8)
    row = [(picture, "a $5 dog, Canis", None), (picture, "x" * 60, True), (picture, "z", False)]
    drawn = figures.neighbours([row, row[:1], row[:2]])
    assert len(drawn.axes[0].images) == 6 and len(drawn.axes[0].patches) == 2  # those of the same class are framed
    assert len(figures.as_png(drawn)) > 1000
    drawn = figures.looked([(picture, "one", [("by hiding", picture)])] * 2)
    assert len(drawn.axes[0].images) == 4 and len(figures.as_png(drawn)) > 1000
    assert len(figures.as_png(figures.feature_maps(picture, [("conv1", "8 maps", picture[:, :, 0])]))) > 1000


def test_nothing_global_is_touched():
    import matplotlib

    before = dict(matplotlib.rcParams), "matplotlib.pyplot" in sys.modules
    figures.as_svg(figures.curves(LINES))
    assert (dict(matplotlib.rcParams), "matplotlib.pyplot" in sys.modules) == before
