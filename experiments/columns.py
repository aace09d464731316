"""Claim 4, two columns: the half net, one dense column of as many parameters or multiply-adds, no communication, and the crossing
moved one layer at a time, opened everywhere, or left to the dense layers: what does it do that columns meet at some layers only?"""

from alexnet import nets
from experiments.arms import Arm

FIRST_FOUR = ("conv1", "conv2", "conv3", "conv4")
PAPER = {"half": "+0.088 nats, +1.7 points", "no communication": "+0.070 nats, +1.2 points",
         "crossing at conv4": "worse (#132, #133)",
         "crossing at fc6 only": "significantly worse (#127, which was widened)"}
ALIKE = 0.015  # two dense nets this near in parameters are one


def arms(row, classes):
    at = {layer.name: layer for layer in row.layers}
    halved = {name: {"maps": at[name].maps // 2} for name in FIRST_FOUR}
    shut = {"conv3": {"sees": "column"}}
    apart = {"conv2": {"maps": wider(at["conv2"].maps, 1.25)}, "fc6": {"units": 2 * at["fc6"].units, "sees": "column"},
             "fc7": {"sees": "column"}}
    opened = {name: {"sees": "both"} for name in ("conv2", "conv3", "conv4", "conv5")}
    made = {"half": ({"columns": 1}, halved), "no communication": ({}, shut | apart), "crossing everywhere": ({}, opened),
            "crossing at fc6 only": ({}, shut)}
    made |= {f"crossing at {name}": ({}, shut | {name: {"sees": "both"}}) for name in ("conv2", "conv4", "conv5")}
    found = [nets.changed(row, f"{row.name}-{name.replace(' ', '_')}", f"{row.title}; {name}", layers=layers, **fields)
             for name, (fields, layers) in made.items()]
    pairs = list(zip(made, found))
    alike = {what: dense(row, what, classes) for what in ("parameters", "multiply_adds")}
    if abs(total(alike["multiply_adds"], "parameters", classes) / total(row, "parameters", classes) - 1) < ALIKE:
        pairs.append(("dense, equal parameters and multiply-adds", alike["parameters"]))
    else:
        pairs += [(f"dense, equal {what.replace('_', '-')}", one) for what, one in alike.items()]
    return tuple(Arm(name, one) for name, one in pairs)


def wider(maps, share):
    return 2 * round(maps * share / 2)


def dense(row, what, classes):
    """One column without groups, conv1 to conv4 as wide as is nearest to the row's own total; what follows stays."""
    at = {layer.name: layer.maps for layer in row.layers if layer.name in FIRST_FOUR}

    def made(share):
        layers = {name: {"maps": max(2, wider(maps, share))} for name, maps in at.items()}
        return nets.changed(row, f"{row.name}-dense_{what}", f"{row.title}; one column, as many {what}", columns=1, layers=layers)

    wanted = total(row, what, classes)
    return min((made(percent / 200) for percent in range(60, 240)), key=lambda one: abs(total(one, what, classes) - wanted))


def total(row, what, classes):
    return sum(getattr(shape, what) for shape in nets.shapes(row, classes))


def run(work):
    row = nets.row(work.known(work.size.row))
    made = arms(row, work.ways)
    work.compare(Arm("two columns", row), made, paper=PAPER)
    for arm in made:
        costs = [total(arm.net, what, work.ways) / total(row, what, work.ways) for what in ("parameters", "multiply_adds")]
        work.say("{}: {:.2f} times the parameters of two columns, {:.2f} times the multiply-adds".format(arm.name, *costs))
