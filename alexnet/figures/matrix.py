"""Which classes are taken for which: the confusion matrix as a picture."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.ticker import MaxNLocator

from alexnet.figures.canvas import INK, MUTED, new, settled, short

NAMED = 32  # classes whose names fit beside the rows
SHADES = ("#ffffff", "#b5d2ec", "#2378b8", "#0a2540")  # evenly darker, so that print and the colour-blind lose nothing


def confusion(counts, names):
    """counts (true, answered), in the order of the names: each row as shares of its class, on a square-root scale, which shows
    rare confusions too."""
    counts = np.asarray(counts, np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    classes, named = len(counts), len(counts) <= NAMED
    side = max(4.2, 0.24 * classes + 2.0) if named else 6.4
    figure = new(side, side, layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(shares, cmap=LinearSegmentedColormap.from_list("ink", SHADES), norm=PowerNorm(0.5, 0, 1),
                        interpolation="nearest")
    bar = figure.colorbar(shown, ax=axes, shrink=0.5, aspect=24, pad=0.02, ticks=(0, 0.05, 0.2, 0.5, 1))
    bar.ax.set_yticklabels(("0", "5 %", "20 %", "50 %", "100 %"))
    bar.ax.tick_params(length=0, labelsize=8, colors=MUTED)
    bar.outline.set_visible(False)
    if named:
        axes.set_xticks(range(classes), [_escaped(name) for name in names], rotation=90, fontsize=8)
        axes.set_yticks(range(classes), [_escaped(name) for name in names], fontsize=8)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("answered" if named else "answered, class by number", fontsize=9, color=MUTED)
    axes.set_ylabel("true", fontsize=9, color=MUTED)
    axes.tick_params(length=0, labelsize=8, colors=INK if named else MUTED)
    axes.spines[:].set(color=INK, alpha=0.3)
    return settled(figure)


def _escaped(name):
    return short(name, 18, lines=1).replace("$", r"\$")
