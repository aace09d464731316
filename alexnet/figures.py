"""Draws arrays and log lines: first-layer kernels (Figure 3 of the paper), learning curves, pictures with bars (4).

Every function returns a matplotlib Figure with its own canvas: no pyplot, nothing global, safe in threads. Colours are
told apart by the colour-blind, and nothing is said by colour alone: lines differ in dash and carry their names.
"""

import io
import re
import textwrap
import zlib

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter

INK, MUTED = "#1c2733", "#6b7785"
BLUE, ORANGE, GREEN = "#2378b8", "#d4620a", "#2a8c6a"
RIGHT, WRONG = "#f5aca6", "#b5d2ec"  # light red and light blue, as in Figure 4
KERNELS_A_ROW = 16


def kernel_sheet(weights, *, columns=2):
    """(N, 3, h, w) -> uint8 (H, W, 3): one range for all kernels, 16 a row, gaps of one black pixel, a column of the
    net after the other, each beginning its own row."""
    weights = np.asarray(weights, dtype=np.float32)
    count, channels, height, width = weights.shape
    if channels == 1:
        weights = weights.repeat(3, axis=1)
    low, high = weights.min(), weights.max()
    shades = np.round((weights - low) / max(high - low, 1e-12) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    groups = np.array_split(shades, columns if count % columns == 0 else 1)
    across = min(KERNELS_A_ROW, len(groups[0]))
    rows = -(-len(groups[0]) // across)  # of one column of the net
    sheet = np.zeros((len(groups) * rows * (height + 1) + 1, across * (width + 1) + 1, 3), np.uint8)
    for group, kernels_of_column in enumerate(groups):
        for number, kernel in enumerate(kernels_of_column):
            row, place = group * rows + number // across, number % across
            top, left = row * (height + 1) + 1, place * (width + 1) + 1
            sheet[top : top + height, left : left + width] = kernel
    return sheet


def kernels(weights, *, columns=2):
    """Figure 3 of the paper: the kernels of the first column of the net above those of the second."""
    sheet = kernel_sheet(weights, columns=columns)
    height, width = sheet.shape[:2]
    scale = max(1, round(1200 / width))  # whole pixels, so that every weight is a clean square
    figure = _figure(width * scale / 150, height * scale / 150)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    return figure


def curves(lines):
    """Loss, errors and rate over the epochs, side by side."""
    figure = _figure(12.6, 3.5, layout="constrained")
    for axes, draw in zip(figure.subplots(1, 3), (_loss, _errors, _rate)):
        draw(axes, lines)
    return _settled(figure)


def loss_curve(lines):
    return _one(_loss, lines)


def error_curve(lines):
    return _one(_errors, lines)


def rate_curve(lines):
    return _one(_rate, lines)


def panels(pictures, names, tops):
    """Figure 4, left: pictures (uint8 H, W, 3) under their true names, below each its ranked (label, probability,
    correct): a bar each, the most probable on top, light red and ticked where it is the true class."""
    across, down = min(4, max(len(pictures), 1)), max(1, -(-len(pictures) // 4))
    wide, high = 2.75 * across, 4.0 * down  # inches
    figure = _figure(wide, high)
    for number, (picture, name, top) in enumerate(zip(pictures, names, tops)):
        left, base = number % across * 2.75, (down - 1 - number // across) * 4.0
        above = figure.add_axes(((left + 0.225) / wide, (base + 1.3) / high, 2.3 / wide, 2.3 / high))
        below = figure.add_axes(((left + 0.1) / wide, (base + 0.25) / high, 2.55 / wide, 1.0 / high))
        above.imshow(picture, interpolation="lanczos")
        above.set_axis_off()
        above.set_title(_short(name, 26), fontsize=10, color=INK, fontweight="bold", pad=4, parse_math=False)
        _bars(below, top)
    return figure


def _bars(axes, top):
    places = np.arange(len(top))[::-1]
    fills = [RIGHT if correct else WRONG for _, _, correct in top]
    axes.barh(places, [probability for _, probability, _ in top], height=0.82, color=fills)
    for place, (label, _, correct) in zip(places, top):
        text = ("✓ " if correct else "") + _short(label, 27, lines=1)
        weight = "bold" if correct else "normal"
        axes.text(0.025, place, text, va="center", fontsize=9, color=INK, fontweight=weight, parse_math=False)
    axes.set(xlim=(0, 1), ylim=(-0.6, max(len(top), 5) - 0.4), xticks=(0, 0.5, 1))
    axes.set_xticklabels(("0", "½", "1"))
    axes.yaxis.set_major_locator(NullLocator())
    axes.tick_params(length=0, labelsize=8, colors=MUTED)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(MUTED)


def _loss(axes, lines):
    _axes(axes, "loss")
    shown = [
        _line(axes, lines, "train_loss", "training", BLUE, "-"),
        _line(axes, lines, "log_loss", "held out", ORANGE, "--"),
    ]
    _reach(axes, shown)
    _name_lines(axes, shown)


def _errors(axes, lines):
    _axes(axes, "error on held-out pictures")
    shown = [
        _line(axes, lines, "val_top1_error", "top-1", ORANGE, "-"),
        _line(axes, lines, "val_top5_error", "top-5", GREEN, "--"),
    ]
    _reach(axes, shown, ceiling=1.0)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None, symbol=" %"))
    _name_lines(axes, shown)


def _rate(axes, lines):
    _axes(axes, "learning rate")
    shown = [_line(axes, lines, "lr", "", BLUE, "-")]
    values = shown[0][2]
    steps = set(values)
    if len(steps) <= 8 and min(steps, default=0) > 0 and max(steps) / min(steps) > 30:  # divided by ten now and then
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        return
    _reach(axes, shown)
    axes.yaxis.set_major_formatter(lambda value, place: f"{value:g}")


def _line(axes, lines, key, name, colour, dash):
    """Draws one key of the log over the epochs; -> (name, epochs, values, colour) of what was finite."""
    pairs = [(line["epoch"], line[key]) for line in lines if isinstance(line.get(key), int | float)]
    epochs, values = np.array(pairs, dtype=float).reshape(-1, 2).T
    finite = np.isfinite(values)
    epochs, values = epochs[finite], values[finite]
    mark = "o" if len(values) <= 12 else None
    axes.plot(epochs, values, dash, color=colour, linewidth=2, marker=mark, markersize=3.5, solid_capstyle="round")
    return name, epochs, values, colour


def rate_range(rates, losses, *, proposed, chance):
    """A range test: the smoothed loss over the rates that were tried, with the proposed rate marked."""
    figure = _figure(5.4, 3.3, layout="constrained")
    axes = figure.subplots()
    _axes(axes, "loss while the rate rises")
    axes.set_xlabel("learning rate", fontsize=9, color=MUTED, loc="right")
    axes.set_xscale("log")
    axes.plot(rates, losses, color=BLUE, linewidth=2)
    axes.axhline(chance, color=MUTED, linewidth=1, linestyle=":")
    axes.annotate("chance", (rates[0], chance), (0, 3), textcoords="offset points", fontsize=8.5, color=MUTED)
    axes.axvline(proposed, color=ORANGE, linewidth=1.4, linestyle="--")
    axes.annotate(f"proposed: {proposed:.2g}", (proposed, min(losses)), (-6, 2), textcoords="offset points", fontsize=9,
                  color=ORANGE, ha="right")
    axes.set_ylim(min(losses) - 0.06 * chance, max(max(losses[: len(losses) // 2]), chance) * 1.12)
    return _settled(figure)


def reliability(series):
    """series: (name, bins of equal width with .pictures, .confidence, .right, the interval of each bin's .right, calibration
    error), one or two. Above, how often the first answer is right at each confidence, beside the diagonal of a net that is as sure
    as it should be, a dot as large as its bin is full; below, how often it is so sure."""
    figure = _figure(5.0, 5.6, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for axes, title in ((above, "right answers, by confidence in them"), (below, "share of pictures")):
        _axes(axes, title)
        axes.set_xlabel("")
        axes.set(xlim=(0, 1), xticks=np.arange(6) / 5)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    above.set(ylim=(0, 1))
    above.plot((0, 1), (0, 1), ":", color=MUTED, linewidth=1.2)
    for (name, bins, intervals, error), colour, dash, fill in zip(series, (BLUE, ORANGE), ("-", "--"), (0.35, 0.0)):
        seen, width = np.asarray(bins.pictures) > 0, 1 / len(bins.pictures)
        share = np.asarray(bins.pictures) / max(np.sum(bins.pictures), 1)
        said = f"{name}: " * bool(name) + f"calibration error {100 * error:.1f} %"
        above.plot(bins.confidence[seen], bins.right[seen], dash, color=colour, linewidth=1.8, label=said)
        above.vlines(bins.confidence[seen], *np.asarray(intervals)[seen].T, color=colour, linewidth=1, alpha=0.45)
        above.scatter(bins.confidence[seen], bins.right[seen], 8 + 220 * share[seen], color=colour, zorder=3, clip_on=False)
        middles = (np.arange(len(share)) + 0.5) * width
        below.bar(middles, share, 0.92 * width, color=(colour, fill), edgecolor=colour, linestyle=dash)
    above.legend(loc="upper left", fontsize=9, frameon=False, labelcolor="linecolor")
    below.set_xlabel("confidence", fontsize=9, color=MUTED, loc="right")
    return _settled(figure)


def _name_lines(axes, shown):
    """Each line's name and last value stand at its end, moved apart where they would touch."""
    low, high = axes.get_ylim()
    ends = sorted((line for line in shown if len(line[2])), key=lambda line: line[2][-1])
    heights = [(line[2][-1] - low) / (high - low) for line in ends]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + 0.15)
    over = max(0.0, max(heights, default=0) - 0.95)
    for (name, _, values, colour), height in zip(ends, heights):
        value = axes.yaxis.get_major_formatter()
        number = f"{values[-1]:.1%}".replace("%", " %") if isinstance(value, PercentFormatter) else f"{values[-1]:.2f}"
        axes.annotate(
            f"{name}\n{number}",
            (1.02, height - over),
            xycoords="axes fraction",
            color=colour,
            fontsize=9,
            fontweight="bold",
            va="center",
            linespacing=1.15,
        )


def _reach(axes, shown, ceiling=None):
    """Zero below, a little air above."""
    top = max((values.max() for _, _, values, _ in shown if len(values)), default=1.0) * 1.08
    axes.set_ylim(0, min(top, ceiling * 1.02) if ceiling else top or 1.0)


def _axes(axes, title):
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, fontweight="bold", pad=9)
    axes.set_xlabel("epoch", fontsize=9, color=MUTED, loc="right")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.tick_params(length=0, labelsize=9, colors=MUTED)
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set(color=INK, alpha=0.4)
    axes.set_facecolor("none")


def _one(draw, lines):
    figure = _figure(3.5, 2.7, layout="constrained")
    draw(figure.subplots(), lines)
    return _settled(figure)


def _figure(width, height, **settings):
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white", **settings)
    FigureCanvasAgg(figure)
    return figure


def _settled(figure):
    """The layout is worked out once: it would move a little with every drawing."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _short(name, width, lines=2):
    """The first synonym, in at most so many lines."""
    first = str(name).split(",")[0].strip()
    wrapped = textwrap.wrap(first, width) or [""]
    return "\n".join(wrapped[:lines]) + ("…" if len(wrapped) > lines else "")


def save(figure, path):
    """Writes what the ending of the path says: .png or .svg, on white, the same bytes for the same figure."""
    if str(path).endswith(".svg"):
        with open(path, "w", encoding="utf-8") as file:
            file.write(_svg(figure, transparent=False))
    else:
        figure.savefig(path, metadata={"Software": None})
    return path


def as_png(figure):
    memory = io.BytesIO()
    figure.savefig(memory, format="png", metadata={"Software": None})
    return memory.getvalue()


def as_svg(figure):
    """An <svg> element to stand inside a page: no ground of its own, and the page's text colour for its ink."""
    text = _svg(figure, transparent=True)
    text = text[text.index("<svg") :].replace(INK, "currentColor").replace(MUTED, f"var(--soft, {MUTED})")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    return re.sub(r'<g id="[^"]*_\d+">', "<g>", text)  # ids must be the page's only ones


def _svg(figure, *, transparent):
    memory = io.StringIO()
    figure.savefig(memory, format="svg", transparent=transparent, metadata={"Date": None, "Creator": None})
    # ids of clips and markers are drawn at random: numbered in order instead, behind a stem that depends on the drawing
    parts = re.split(r"\b([pm][0-9a-f]{10})\b", memory.getvalue())
    stem = f"f{zlib.crc32(''.join(parts[::2]).encode()):08x}"
    numbers = {}
    parts[1::2] = [f"{stem}-{numbers.setdefault(name, len(numbers))}" for name in parts[1::2]]
    return "".join(parts)
