"""What training and bytes buy: the error of the weights that ship on `tune`, along their training and by the size of the file.

    python -m benches.curves first=RUN,RUN,RUN second=RUN,RUN,RUN      # the runs of each release, each begun from the one before it
    python -m benches.curves third=second,RUN,RUN                      # begun from the end of another release
    python -m benches.curves                                           # draws again what is in results/

Writes results/default-training.csv and docs/gallery/curves.png; sizes are those of `python -m benches.sizes`.
"""

import csv
import json
import sys
from itertools import cycle
from pathlib import Path

from matplotlib.ticker import PercentFormatter

from alexnet.figures import save
from alexnet.figures.canvas import BLUE, GREEN, INK, MUTED, ORANGE, new, settled
from benches.record import RESULTS

KEPT = {"val_top1_error": "tune_top1_error", "val_top5_error": "tune_top5_error", "train_loss": "train_loss", "lr": "rate"}
FILE, FIGURE = RESULTS / "default-training.csv", RESULTS.parent / "docs" / "gallery" / "curves.png"


def joined(release, runs, known):
    """The epochs of runs that went on from one another, pictures and seconds counted through. known: releases in the file, whose
    end the first may be."""
    images = seconds = 0
    if runs[0] in known:
        end = known[runs[0]][-1]
        images, seconds, runs = int(end["images_seen"]), float(end["seconds"]), runs[1:]
    for number, run in enumerate(runs, 1):
        with open(Path(run) / "metrics.csv") as file:
            lines = list(csv.DictReader(file))
        for line in lines:
            yield {"release": release, "run": number, "epoch": line["epoch"], "images_seen": images + int(line["images_seen"]),
                   "seconds": round(seconds + float(line["seconds"]), 1), **{name: line[key] for key, name in KEPT.items()}}
        images, seconds = images + int(lines[-1]["images_seen"]), seconds + float(lines[-1]["seconds"])


def drawn(lines, sizes):
    figure = new(9.6, 3.9, layout="constrained")
    left, right = figure.subplots(1, 2)
    *earlier, latest = dict.fromkeys(line["release"] for line in lines)
    looks = *zip(cycle((MUTED, BLUE, ORANGE, GREEN)), cycle(("--", "-", "-.")), earlier), (INK, "-", latest)
    for colour, style, release in looks:
        own = [line for line in lines if line["release"] == release]
        at, errors = [int(line["images_seen"]) / 1e6 for line in own], [float(line["tune_top1_error"]) for line in own]
        left.plot(at, errors, style, color=colour, linewidth=1.6)
        left.annotate(f"{release}: {errors[-1]:.1%}", (at[-1], errors[-1]), xytext=(0, -12), textcoords="offset points",
                      fontsize=9, color=colour, ha="right")
    left.set_ylim(min(float(line["tune_top1_error"]) for line in lines) - 0.05, None)
    left.set_xlabel("million pictures seen", fontsize=9, color=MUTED, loc="right")
    nets = {}
    for row in sizes:
        nets.setdefault(row["net"].partition(",")[0], []).append(row)
    for colour, (net, rows) in zip((INK, ORANGE, BLUE, MUTED), nets.items()):  # the latest release first, in its colour
        for row in rows:
            at = row["bytes"] / 1e6, row["top1_error"]
            right.plot(*at, "o", color=colour, markersize=6, markerfacecolor="white" if row["computed"] else colour)
            right.annotate(row["storage"], at, xytext=(2, 5), textcoords="offset points", fontsize=7, color=INK, rotation=30)
        most = max(rows, key=lambda row: row["bytes"])
        right.annotate(net, (most["bytes"] / 1e6, most["top1_error"]), xytext=(0, -13), textcoords="offset points", fontsize=9,
                       color=colour, ha="right")
    right.set_ylim(min(row["top1_error"] for row in sizes) - 0.01, None)
    right.set_xlabel("megabytes (hollow: computed, no such file)", fontsize=9, color=MUTED, loc="right")
    right.set_xscale("log")
    right.set_xticks((3, 6, 12, 24, 48), ("3", "6", "12", "24", "48"), minor=False)
    right.minorticks_off()
    right.set_xlim(2.8, max(row["bytes"] for row in sizes) / 1e6 * 1.4)
    for axes, title in ((left, "error on tune, along the training"), (right, "error on tune, by what is stored")):
        axes.set_title(title, loc="left", fontsize=10.5, color=INK, fontweight="bold", pad=9)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=int(axes is right), symbol=" %"))
        axes.tick_params(length=0, labelsize=9, colors=MUTED)
        axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.8)
        axes.spines[["top", "right", "left"]].set_visible(False)
    return settled(figure)


def main():
    if sys.argv[1:]:
        releases = {}
        for line in csv.DictReader(FILE.read_text().splitlines()) if FILE.exists() else ():
            releases.setdefault(line["release"].removesuffix(" release"), []).append(line)
        for name, runs in (word.split("=") for word in sys.argv[1:]):
            releases[name] = list(joined(f"{name} release", runs.split(","), releases))
        lines = [line for own in releases.values() for line in own]
        with open(FILE, "w", newline="") as file:
            table = csv.DictWriter(file, lines[0], lineterminator="\n")
            table.writeheader()
            table.writerows(lines)
    with open(FILE) as file:
        save(drawn(list(csv.DictReader(file)), json.loads((RESULTS / "sizes.json").read_text())["rows"]), FIGURE)


if __name__ == "__main__":
    main()
