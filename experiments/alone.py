"""An experiment that has a command of its own, beside those of experiments.run: a store, a folder, a scale, and what of the scale's
size is changed. It goes on after a kill by the same words.

    python -m experiments.NAME STORE OUT --scale cpu      # toy draws its own pictures: no STORE
"""

import argparse
from dataclasses import replace
from pathlib import Path

from alexnet import nets
from alexnet.cli import keep_memory
from experiments import paired, subsets
from experiments.arms import given, measured, stop_after


def measure(run, store, out, *, name, scales, scale="cpu", minutes=None, facts, **changes):
    """run: (work); name: of its module; facts: of the result, its sentence among them. -> what OUT/NAME-SCALE.json holds"""
    changes, words = given(changes)
    size = replace(scales[scale], **changes)
    if isinstance(size.row, nets.Row):  # one that no other experiment has
        size = replace(size, row=nets.ROWS.setdefault(size.row.name, size.row).name)
    stop_after(minutes)
    return measured(run, [store] if store else [subsets.toy(Path(out) / "pictures", size=64)], out, scale=scale,
                    size=size, file=Path(out) / f"{name.replace('_', '-')}-{scale}.json",
                    facts={**facts, "command": f"python -m experiments.{name} STORE OUT --scale {scale}{words}"})


def main(run, words=None, *, about, **which):
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("store", nargs="?", help="left out with --scale toy")
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale", default="cpu", choices=list(which["scales"]))
    parser.add_argument("--minutes", type=float, help="stop and save after so many")
    for option in ("row", "classes", "a-class", "epochs", "seeds", "trials"):
        parser.add_argument(f"--{option}", type=str if option == "row" else int)
    asked = vars(parser.parse_args(words))
    if not asked["store"] and asked["scale"] != "toy":
        parser.error("name the STORE too, before OUT: only --scale toy draws its own pictures")
    keep_memory()
    found = measure(run, asked.pop("store"), asked.pop("out"), **which, **asked)
    for row in found["rows"]:
        points, paper = 100 * row["top1_difference"], row["paper"] and f" (2012: {row['paper']})"
        print(f"{row['what']:<64}{points:+.2f} points, {paired.signed(row['difference'])} nats, {row['verdict']}{paper}")
    for sentence in found.get("said", ()):
        print(sentence)
