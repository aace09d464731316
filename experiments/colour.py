"""Claim 10, paper 6.1: one column learns colour and the other does not, "in every run". A colour-selectivity number a kernel of
the first layer; how far the columns' means lie apart; and how far apart they would lie by chance: one-column nets whose kernels are
dealt to two halves at random, and the net's own kernels dealt anew. Arms: norm within a column and across both, columns that cross
and that never do.

    python -m experiments.colour STORE OUT --scale cpu        # STORE: 32 or 64 pixels, with tune and claims

The measure, fixed before any run: |mean selectivity of column 1 - that of column 2|, averaged over seeds. A second one counts a
kernel by its energy, so that kernels which never grew say little. Resolved is an arm whose p, times the number of arms, is below
0.05. "In every run" is asked run by run: in how many do the columns lie further apart than 95 of 100 deals of that net's kernels?
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from alexnet import nets, weights
from alexnet.cli import keep_memory
from alexnet.data.order import generator
from alexnet.data.store import open_split
from alexnet.errors import Misused
from alexnet.figures import colour_selectivity
from alexnet.nets.layers import Conv, Dense, Pool, ResponseNorm, Row
from experiments.arms import Arm, Size, given, last, measured, stop_after
from experiments.paired import LEVEL, POWER

CLAIM = "the two columns specialise: one in colour, one not, whatever the seed"
PAPER = "every run, independent of the initial values"
SCALES = {
    "toy": Size(epochs=1, seeds=2, trials=1, batch_size=16, more={"draws": 200}),
    "cpu": Size(epochs=8, a_class=2000, seeds=8, trials=1, batch_size=64, more={"draws": 10_000}),
    "gpu": Size(epochs=40, seeds=16, trials=3, batch_size=128, more={"draws": 10_000}),
}


def colour_row(size, *, columns=2, norm="column", crossing=True):
    """Small and quick, with kernels large enough to have a colour: three convolutions of the anatomy of 2012."""
    crop, stride = {32: (28, 2), 64: (56, 4)}.get(size, (size * 7 // 8, 2))
    name = f"colour{crop}-" + ("one_column" if columns == 1 else f"{norm}-{'crossing' if crossing else 'apart'}")
    title = f"for colour: {columns} column{'s' * (columns > 1)}, norm over {norm}, {'crossing' if crossing else 'never crossing'}"
    sees = "both" if crossing else "column"
    return Row(name, title, crop=crop, classes=10, columns=columns, layers=(
        Conv("conv1", 32, 7, stride=stride, pad=3, sees="picture"),
        ResponseNorm("norm1", alpha=1e-4 / 5, sees=norm),
        Pool("pool1"),
        Conv("conv2", 64, 3, pad=1, std=None),
        ResponseNorm("norm2", alpha=1e-4 / 5, sees=norm),
        Conv("conv3", 64, 3, pad=1, sees=sees, std=None),
        Pool("pool5"),
        Dense("fc6", 128, std=None, sees=sees),
        Dense("fc8", 0, then="linear"),
    ))


def arms(size):
    """The paper's own first."""
    pairs = (("column", True), ("column", False), ("both", True), ("both", False))
    return [Arm(f"norm {'per column' if norm == 'column' else 'across'}, {'crossing' if crossing else 'never crossing'}",
                colour_row(size, norm=norm, crossing=crossing)) for norm, crossing in pairs]


def run(work):
    """The null first: what is held against it was said before it was seen."""
    size, draws = open_split(work.source, "train").size, work.size.more["draws"]
    work.write(measure="|mean colour selectivity of column 1 - of column 2|, averaged over seeds", level=LEVEL, columns=[])
    single = work.runs(Arm("one column", colour_row(size, columns=1)))
    alone = [kernels(folder) for folder in single.folders]
    by_chance = {key: dealt(alone, draws=draws, weighted=key == "weighted") for key in ("plain", "weighted")}
    work.write(null={"nets": single.said(), "kernels": [of.round(4).tolist() for of, _ in alone],
                     **{key: quantiles(values) for key, values in by_chance.items()},
                     "smallest": smallest(alone, by_chance["plain"])})
    wanted = arms(size)[: work.size.more.get("arms")]
    for arm in wanted:
        runs = work.runs(arm)
        pairs = [kernels(folder) for folder in runs.folders]
        found = {"arm": arm.name, "nets": runs.said(), "kernels": [of.round(4).tolist() for of, _ in pairs]}
        for key in by_chance:
            found[key] = held(pairs, by_chance[key], draws=draws, weighted=key == "weighted")
        work.write(columns=work.result["columns"] + [found])
        plain = found["plain"]
        verdict = "resolved" if plain["p"] * len(wanted) < LEVEL else "not resolved"
        work.add({"what": f"colour selectivity, column against column: {arm.name}", "paper": PAPER, "unit": "of 1",
                  "difference": plain["apart"] - plain["by_chance"], "interval": plain["beyond_interval"], "p": plain["p"],
                  "seeds": [len(pairs), len(alone)], "row": nets.row(work.known(arm.net)).name,
                  "verdict": verdict, "beforehand": work.result["null"]["smallest"]})
        beyond = sum(p < LEVEL for p in plain["each_p"])
        said = (f"{arm.name}: the columns' means lie {plain['apart']:.3f} apart, by chance {plain['by_chance']:.3f} "
                f"(p {plain['p']:.4f}, one of {len(wanted)} arms; the net's own kernels dealt anew: p {plain['p_own']:.4f}; "
                f"kernels weighed by energy: p {found['weighted']['p']:.4f}); beyond chance in {beyond} of {len(pairs)} runs")
        work.write(said=[*work.result.get("said", ()), said])


# ---- the numbers ---------------------------------------------------------------------------------------------------------------


def kernels(folder):
    """(selectivity (K,), energy (K,)) of the first layer's kernels, column after column."""
    weight = weights.read(last(folder))[0].conv1.weight.detach().numpy()
    return colour_selectivity(weight), (weight.astype(np.float64) ** 2).sum((1, 2, 3))


def apart(selectivity, energy=None, order=None):
    """How far the two halves' means lie apart. order (draws, K): the kernels dealt anew, a row a deal -> (draws,)"""
    order = np.arange(len(selectivity))[None] if order is None else order
    energy = np.ones(len(selectivity)) if energy is None else energy
    half = order.shape[1] // 2
    means = [(selectivity[part] * energy[part]).sum(1) / energy[part].sum(1) for part in (order[:, :half], order[:, half:])]
    return np.abs(means[0] - means[1])


def dealt(nets_kernels, **how):
    """(draws,): how far the halves lie apart by chance, the mean over nets."""
    return dealt_each(nets_kernels, **how).mean(0)


def dealt_each(nets_kernels, *, draws, weighted=False, seed=0):
    """(nets, draws): each net's kernels dealt to two halves at random, how far the halves lie apart."""
    random, found = generator(seed, "deal"), []
    for selectivity, energy in nets_kernels:
        order = random.permuted(np.tile(np.arange(len(selectivity)), (draws, 1)), axis=1)
        found.append(apart(selectivity, energy if weighted else None, order))
    return np.stack(found)


def held(pairs, by_chance, *, draws, weighted=False):
    """The columns as they are, against the null of one-column nets (`p`) and against their own kernels dealt anew (`p_own`)."""
    each = np.array([apart(of, energy if weighted else None)[0] for of, energy in pairs])
    by_net = dealt_each(pairs, draws=draws, weighted=weighted, seed=1)
    own, middle = by_net.mean(0), float(by_chance.mean())
    wide = float(student.ppf(1 - LEVEL / 2, len(each) - 1) * each.std(ddof=1) / len(each) ** 0.5) if len(each) > 1 else None
    beyond = [float(each.mean()) - middle + end for end in (-wide, wide)] if wide is not None else [None, None]
    return {"apart": float(each.mean()), "each": each.tolist(), "each_p": list(map(at_least, each, by_net)), "by_chance": middle,
            "beyond_interval": beyond, "own_by_chance": float(own.mean()), "p": at_least(each.mean(), by_chance),
            "p_own": at_least(each.mean(), own)}


def smallest(alone, by_chance):
    """What would be found four times in five, said from the one-column nets alone: what lies beyond chance, and the scatter over
    seeds that their first and second halves have."""
    each = np.array([apart(of)[0] for of, _ in alone])
    scatter = float(each.std(ddof=1)) / len(each) ** 0.5 if len(each) > 1 else 0.0
    return float(np.quantile(by_chance, 1 - LEVEL) - by_chance.mean() + student.ppf(POWER, max(len(each) - 1, 1)) * scatter)


def at_least(value, draws):
    """The share of deals that lie as far apart; the deal that was seen is counted as one of them."""
    return float((1 + (draws >= value - 1e-12).sum()) / (1 + len(draws)))


def quantiles(values):
    places = {f"quantile_{share:g}": float(np.quantile(values, share)) for share in (0.05, 0.5, 0.95)}
    return {"mean": float(values.mean()), **places}


# ---- as a command ---------------------------------------------------------------------------------------------------------------


def measure(store, out, *, scale="cpu", arms=None, minutes=None, **changes):
    """arms: only so many of them; minutes: stop and save after so many; changes: of the scale's Size (epochs, seeds, a_class,
    batch_size). -> what run() wrote; killed, the same call goes on."""
    which, words = open_split(store, "train").size, given({**changes, "arms": arms})[1]
    row = nets.ROWS.setdefault(colour_row(which).name, colour_row(which))
    size = replace(SCALES[scale], row=row.name, **given(changes)[0])
    size = replace(size, more={**size.more, **given({"arms": arms})[0]})
    if size.seeds < 8 and scale != "toy":
        raise Misused(f"seeds is {size.seeds}; the claim is about every run, so it wants 8 or more.")
    stop_after(minutes)
    return measured(run, [store], out, scale=scale, size=size, file=Path(out) / f"colour-{scale}.json", facts={
        "claim": 10, "sentence": CLAIM, "command": f"python -m experiments.colour STORE OUT --scale {scale}{words}"})


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale", default="cpu", choices=list(SCALES))
    for option, help in (("epochs", ""), ("seeds", "8 or more"), ("a-class", "pictures of each class"), ("batch-size", ""),
                         ("arms", "only so many, in their order")):
        parser.add_argument(f"--{option}", type=int, help=help)
    parser.add_argument("--minutes", type=float, help="stop and save after so many; the same command goes on")
    asked = vars(parser.parse_args(words))
    keep_memory()
    print(as_text(measure(asked.pop("store"), asked.pop("out"), **asked)))


def as_text(found):
    lines = [f"{'columns apart in colour selectivity':<40}{'apart':>8}{'by chance':>11}{'p':>9}{'p, own kernels':>16}"]
    for one in found["columns"]:
        for key in ("plain", "weighted"):
            name = one["arm"] + (", by energy" if key == "weighted" else "")
            lines.append(f"{name:<40}{one[key]['apart']:>8.3f}{one[key]['by_chance']:>11.3f}{one[key]['p']:>9.4f}"
                         f"{one[key]['p_own']:>16.4f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
