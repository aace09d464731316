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
    dots(axes, [(row["what"].replace(", against ", " - "), row["difference"], row["interval"], row["verdict"]) for row in rows])
    axes.set_xlabel("log loss a picture, nats: right of the line is worse", fontsize=9, color=MUTED, loc="right")
    return settled(figure)


def points(panels):
    """panels: title -> (name, row of a result file) each: the differences in top-1 error, panels beside each other."""
    figure = new(8.6, 1.2 + 0.3 * max(map(len, panels.values())), layout="constrained")
    for axes, (title, rows) in zip(figure.subplots(1, len(panels)), panels.items()):
        dots(axes, [(name, 100 * row["top1_difference"], [100 * end for end in row["top1_interval"]], row["top1_verdict"])
                    for name, row in rows], title)
        axes.set_xlabel("points of top-1 error: right is worse", fontsize=9, color=MUTED, loc="right")
    return settled(figure)


def dots(axes, rows, title=""):
    """rows: (name, difference, interval, verdict). A dot with its interval; full where it is resolved, hollow where not."""
    for place, (_, difference, interval, verdict) in enumerate(rows):
        colour = BLUE if verdict == "resolved" else MUTED
        axes.plot(interval, (place, place), color=colour, linewidth=1.6)
        axes.plot(difference, place, "o", color=colour, markersize=5.5, markerfacecolor=colour if colour == BLUE else "white")
    axes.axvline(0, color=INK, linewidth=0.9, alpha=0.5)
    bare(axes, title)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def bare(axes, title):
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, fontweight="bold", pad=9)
    axes.tick_params(length=0, labelsize=9, colors=MUTED)
    axes.grid(axis="both", color=INK, alpha=0.12, linewidth=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set(color=INK, alpha=0.4)
