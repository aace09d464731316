"""What is drawn against numbers: learning curves, the range test of the rate, how far confidence can be believed."""

import numpy as np
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter

from alexnet.figures.canvas import BLUE, GREEN, INK, MUTED, ORANGE, new, settled


def curves(lines):
    """Loss, errors and rate over the epochs, side by side."""
    figure = new(12.6, 3.5, layout="constrained")
    for axes, draw in zip(figure.subplots(1, 3), (_loss, _errors, _rate)):
        draw(axes, lines)
    return settled(figure)


def loss_curve(lines):
    return _one(_loss, lines)


def error_curve(lines):
    return _one(_errors, lines)


def rate_curve(lines):
    return _one(_rate, lines)


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
    figure = new(5.4, 3.3, layout="constrained")
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
    return settled(figure)


def reliability(series):
    """series: (name, bins of equal width with .pictures, .confidence, .right, the interval of each bin's .right, calibration
    error), one or two. Above, how often the first answer is right at each confidence, beside the diagonal of a net that is as sure
    as it should be, a dot as large as its bin is full; below, how often it is so sure."""
    figure = new(5.0, 5.6, layout="constrained")
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
    return settled(figure)


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
    """One of the three alone, with fixed margins: to work a layout out takes longer than to draw."""
    figure = new(3.5, 2.7)
    draw(figure.add_axes((0.15, 0.15, 0.6, 0.72)), lines)
    return figure
