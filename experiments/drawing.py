"""The experiments' figures: Figure 1 measured again, and each experiment's differences with their intervals in one column."""

from matplotlib.ticker import MaxNLocator, PercentFormatter

from alexnet.figures.canvas import BLUE, GREEN, INK, MUTED, ORANGE, new, settled

COLOURS = {"relu": BLUE, "tanh": ORANGE, "leaky": GREEN}
DASHES = {"2012": "-", "preserving": "--"}


def training(curves, *, error):
    """curves: 'kind, start' -> a list of (epoch, training error) a seed. Solid from the initial values of 2012, dashed from
    variance-preserving ones; a thin line a seed."""
    figure = new(6.4, 4.0, layout="constrained")
    axes = figure.subplots()
    for name, seeds in curves.items():
        kind, _, start = name.partition(", ")
        for number, seed in enumerate(seeds):
            epochs, errors = zip(*seed) if seed else ((), ())
            axes.plot(epochs, errors, DASHES[start], color=COLOURS[kind], linewidth=1.3, label="" if number else name)
    axes.axhline(error, color=MUTED, linewidth=1, linestyle=":")
    bare(axes, "training error")
    axes.set_xlabel("epoch", fontsize=9, color=MUTED, loc="right")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.legend(loc="upper right", fontsize=8.5, frameon=False, labelcolor="linecolor")
    return settled(figure)


def differences(rows, *, title):
    """rows: of a result file, those in nats. A dot with its interval; full where it is resolved, hollow where not."""
    figure = new(8.6, 1.1 + 0.3 * len(rows), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, color=INK, fontweight="bold")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        colour = BLUE if row["verdict"] == "resolved" else MUTED
        axes.plot(row["interval"], (place, place), color=colour, linewidth=1.6)
        fill = colour if colour == BLUE else "white"
        axes.plot(row["difference"], place, "o", color=colour, markersize=5.5, markerfacecolor=fill)
    axes.axvline(0, color=INK, linewidth=0.9, alpha=0.5)
    bare(axes, "")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_yticks(range(len(rows)), [row["what"].replace(", against ", " - ") for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("log loss a picture, nats: right of the line is worse", fontsize=9, color=MUTED, loc="right")
    return settled(figure)


def bare(axes, title):
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, fontweight="bold", pad=9)
    axes.tick_params(length=0, labelsize=9, colors=MUTED)
    axes.grid(axis="both", color=INK, alpha=0.12, linewidth=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set(color=INK, alpha=0.4)
