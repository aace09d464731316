"""Claim 9, depth: each middle layer left out; layers added until it hurts, with the training error beside it, which tells a net
that cannot be optimised from one that overfits; from variance-preserving initial values, those of 2012 and with batch norm; VGG."""

from dataclasses import replace
from math import sqrt

from alexnet import nets
from alexnet.nets.layers import Conv, Dense
from experiments.arms import Arm, narrow

ADDED = (1, 2, 4, 8)
MIDDLE = ("conv2", "conv3", "conv5")  # without conv4 is the net without conv3: the crossing moves to the one that is left
PAPER = {f"without {name}": "about +2 points" for name in MIDDLE}


def without(row, name):
    """Where the columns met in the layer that goes, they meet in the next."""
    gone = (name, "norm2") if name == "conv2" else (name,)
    layers = {"conv4": {"sees": "both"}} if name == "conv3" else {}
    return nets.changed(row, f"{row.name}-without_{name}", f"{row.title}; without {name}", without=gone, layers=layers)


def deeper(row, count):
    """count more layers like conv4 behind it."""
    conv4 = next(layer for layer in row.layers if layer.name == "conv4")
    more = tuple(replace(conv4, name=f"conv4_{i}") for i in range(1, count + 1))
    return nets.changed(row, f"{row.name}-plus{count}", f"{row.title}; {count} layers more", after={"conv4": more})


def as_2012(row, *, bias=1.0):
    """Initial values of 2012: as_run's own, scaled so that a layer of fewer inputs has the gain that its namesake had; what was
    added is like conv4. Biases of `bias` where 2012 had 1."""
    theirs, layers = {name: (layer, inputs) for name, layer, inputs in weighted(nets.row("as_run"))}, {}
    for name, layer, inputs in weighted(row):
        like, wider = theirs[name if name in theirs else "conv4"]
        layers[name] = {"std": like.std * sqrt(wider / inputs), "bias": bias if like.bias else 0.0}
    title = f"{row.title}; initial values of 2012, biases of {bias:g}"
    return nets.changed(row, f"{row.name}-2012-bias{bias:g}", title, layers=layers)


def weighted(row):
    """(name, layer, inputs of a unit) of the layers with weights."""
    for shape in nets.shapes(row):
        if isinstance(shape.layer, Conv | Dense):
            biased = getattr(shape.layer, "bias", 0.0) is not None
            yield shape.layer.name, shape.layer, shape.parameters // shape.output[0] - biased


def normed(row):
    return replace(nets.varied(row, norm="batch"), name=f"{row.name}-batch_norm")


def run(work):
    row, added = nets.row(work.known(work.size.row)), work.size.more.get("added", ADDED)
    control = Arm("eight layers", row)
    shorter = [Arm(f"without {name}", without(row, name)) for name in MIDDLE]
    longer = [Arm(f"{count} more", deeper(row, count)) for count in added]
    done = work.compare(control, shorter + longer, paper=PAPER)
    trained(work, control.name, done)
    for name, make, rate in (("2012's initial values", as_2012, 0.01), ("batch norm", normed, 0.1)):
        base = Arm(f"eight layers, {name}", make(row), rate=rate)
        arms = [Arm(f"{count} more, {name}", make(deeper(row, count)), rate=rate) for count in added]
        trained(work, base.name, work.compare(base, arms))
    vgg = [Arm(name, small_vgg(row, name, work.size.more["vgg_share"]), rate=0.01) for name in work.size.more.get("vgg", ())]
    if vgg:
        trained(work, control.name, work.compare(control, vgg))


def trained(work, control, done):
    """The same differences on the clean sample of train, and what they say of those on claims."""
    for name, runs in done.items():
        if name != control:
            what = f"{name}, against {control}"
            work.row(f"training: {what}", done[control].looked("clean"), runs.looked("clean"), split="clean")
            if "more" in name:
                rows = {row["what"]: row for row in work.result["rows"]}
                work.say(cause(what, rows[what], rows[f"training: {what}"]))


def cause(what, claims, training):
    """Does a deeper net lose because it cannot be optimised, or because it overfits?"""
    if claims["verdict"] != "resolved" or claims["difference"] <= 0:
        return f"{what}: no loss on claims is resolved"
    if training["verdict"] != "resolved":
        return f"{what}: worse on claims; in training nothing is resolved, so optimisation and overfitting are not told apart"
    why = "optimisation: it is worse in training too" if training["difference"] > 0 else "overfitting: it is better in training"
    return f"{what}: worse on claims by {why}"


def small_vgg(row, name, share):
    """A VGG row as narrow as said, for pictures of this row's size."""
    return replace(narrow(nets.row(name), share, f"{name}-small", f"{name}, narrow"), crop=row.crop)
