"""Schedules that were run by hand in 2012, as data: the ImageNet nets of the lab notebook, the chain behind CNN*, the CIFAR-10
systems, and what Caffe and VGG did with the same rule. A recipe has the name of the row it belongs to."""

from functools import partial

from alexnet.recipes.fields import Phase, Recipe

# epochs at which: rate to 1e-3; to 1e-4; conv1 (in the earlier nets conv2 too) to 1e-5; colour noise off; those layers frozen;
# the rest to 1e-5; stop. None: not done, or not recorded.
NOTEBOOK = {
    "as_run": (25, 51, 67, 67, 72, 79, 91),  # ILSVRC-2012: "1 CNN"
    "as_run_2010": (23, 51, 68, 68, 72, 78, 93),  # Table 1
    "net120": (22, 49, 66, 66, 73, 81, 95),
    "net131": (22, 46, 66, 66, 75, 81, 100),
    "net135": (20, 47, 66, 66, 75, 81, 96),
    "net137": (26, 50, None, 75, 75, 84, 99),
    "half": (20, 48, 66, 66, 72, None, 96),
    "non_overlapping": (23, 51, None, 79, 79, 79, 90),  # when its noise went off is not recorded: ours, as the rest
    "no_norm": (22, 44, 69, 69, 73, 86, 97),
    "no_crossing": (25, 49, 66, 66, 72, 79, 92),
}
CONV2_TOO = ("net120", "net131", "net135", "net137")
BIASES_DROPPED = ("as_run_2010", "net131", "net135", "net137", "non_overlapping")  # to 0.002; when is not recorded
# (of `half` those of conv1 and conv2 alone ended at 0.002; a phase has one rate for all biases, and leaves them at 0.02)
SOURCE = {"bias_rate": 0.02, "schedule": "phases", "crop_shared_by": 32, "reshuffle": False, "precision": "float32"}


def run(name):
    """One net of the notebook. Biases that ended at 0.002 are dropped with the weights' second drop."""
    to_3, to_4, slow, quiet, freeze, to_5, stop = NOTEBOOK[name]
    layers = ("conv1", "conv2") if name in CONV2_TOO else ("conv1",)
    bias = 0.002 if name in BIASES_DROPPED else None
    phases = [Phase(to_3, rate=1e-3), Phase(to_4, rate=1e-4, bias_rate=bias), Phase(quiet, noise=0.0)]
    phases += [Phase(slow, layers=tuple((layer, 1e-5) for layer in layers))] if slow else []
    phases += [Phase(freeze, layers=tuple((layer, 0.0) for layer in layers))]
    phases += [Phase(to_5, rate=1e-5)] if to_5 else []
    net = name.removesuffix("_2010")
    return Recipe(name, nets=(net, "small64", "small32"), epochs=stop, planned_epochs=stop, rate=0.01,
                  phases=tuple(sorted(phases, key=lambda phase: phase.epoch)), **SOURCE)


# ---- the chain behind 1 CNN*: each stage begins from the one before (train --from), momentum at zero -----------------
# #145 on ILSVRC-2012 -> six_conv_2009 (conv1-5 copied) -> six_conv_2011 (conv1-6 copied) -> six_conv_2012 (all but fc8 copied)

CHAIN = {
    "six_conv_2009": (6.65, 0.001, (
        Phase(0, layers=(("conv6", 0.01), ("fc", 0.01))),
        Phase(2.16, layers=(("conv6", None), ("fc", None))),
    )),
    "six_conv_2011": (8.11, 0.001, (
        Phase(0, layers=(("fc", 0.01), ("bottleneck", 0.01))),
        Phase(6, layers=(("fc", None), ("bottleneck", None))),
    )),
    "six_conv_2012": (54, 0.001, (  # from the net of Fall 2011: 39.0 / 16.6 %, the paper's 1 CNN*
        Phase(0, layers=(("conv1", 1e-4),)),
        Phase(0.03, layers=(("fc8", 0.01),)),  # after 300 batches of 10,009
        Phase(5, layers=(("conv1", 1e-5),)),
        Phase(7, layers=(("conv1", 0.0),)),
        Phase(9, layers=(("fc8", None),)),
        Phase(22, rate=1e-4),
        Phase(38, noise=0.0),
        Phase(42, rate=1e-5),
    )),
    "six_conv_2012_2009": (52, 0.001, (  # from the net of Fall 2009: 39.1 / 16.9 %
        Phase(0, layers=(("conv1", 1e-4),)),
        Phase(3, layers=(("conv1", 1e-5),)),
        Phase(4, layers=(("conv1", 0.0),)),
        Phase(22, rate=1e-4),
        Phase(38, noise=0.0),
        Phase(42, rate=1e-5),
    )),
}
CHAIN_NETS = {"six_conv_2009": "six_conv_10k", "six_conv_2011": "six_conv_22k"}


def link(name):
    stop, rate, phases = CHAIN[name]
    return Recipe(name, nets=(CHAIN_NETS.get(name, "six_conv"), "small64", "small32"), epochs=round(stop + 0.49),
                  planned_epochs=round(stop + 0.49), rate=rate, phases=phases, **SOURCE)


# ---- CIFAR-10: rate 0.001, biases 0.002; decay a layer; (epochs at one rate, at a tenth, at a hundredth) -------------

CONVS = ("conv", 0.004)
CIFAR = {  # decays, epochs, crops and reflections a picture, biases dropped too
    "cifar26": ((CONVS, ("fc", 0.03)), (13, 3, 0), False, True),  # none is stated: Caffe's 8 + 2, made longer
    "cifar19": ((CONVS, ("fc", 3.0)), (120, 10, 10), False, True),
    "cifar18": ((CONVS, ("fc", 1.0)), (120, 10, 10), False, True),
    "cifar14": ((CONVS, ("fc", 0.0)), (120, 10, 10), True, True),
    "cifar13": ((("local", 0.004), ("fc", 0.004)), (140, 10, 10), True, False),
    "cifar11": ((("local", 0.004), ("fc", 0.004)), (450, 10, 10), True, False),
    "cifar11_final": ((("local", 0.004), ("fc", 0.01)), (500, 10, 10), True, False),
}


def cifar(name):
    """The configuration's own decays and drops. Those of 13 and 11 % held the fifth batch back for the first 100 to 350 epochs
    and then folded it in; here all five are there from the start."""
    decays, (whole, tenth, hundredth), cropped, biases = CIFAR[name]
    drops = [(whole, 1e-4), (whole + tenth, 1e-5)] if tenth else []
    phases = tuple(Phase(epoch, rate=rate, bias_rate=2 * rate if biases else None) for epoch, rate in drops)
    epochs = whole + tenth + hundredth
    return Recipe(name, nets=(name,), epochs=epochs, planned_epochs=epochs, rate=0.001, bias_rate=0.002, decay=0.0, decays=decays,
                  schedule="phases", phases=phases, noise=0.0, reshuffle=False, reflect=cropped, crop="window", precision="float32")


# ---- after 2012 -----------------------------------------------------------------------------------------------------


def caffe(name):
    """450,000 steps of 256, divided by ten every 100,000; biases at twice the rate throughout."""
    drops = tuple(Phase(20 * i, rate=0.01 / 10**i, bias_rate=0.02 / 10**i) for i in range(1, 5))
    return Recipe(name, nets=(name, "small64", "small32"), epochs=90, batch_size=256, rate=0.01, bias_rate=0.02, schedule="phases",
                  phases=drops, noise=0.0)


def vgg():
    """Simonyan and Zisserman: batches of 256, divided by ten when it stops improving, three times in 74 epochs."""
    return Recipe("vgg", nets=("vgg11", "small64", "small32"), epochs=74, batch_size=256, rate=0.01, schedule="plateau",
                  centring="colour")


def lenet():
    """Handwritten digits: never mirrored, no colour."""
    return Recipe("lenet", nets=("lenet",), epochs=20, batch_size=64, rate=0.02, schedule="one_cycle", warmup=0.1, decay=1e-4,
                  noise=0.0, reflect=False, crop="window")


RECIPES = {name: partial(run, name) for name in NOTEBOOK if name != "as_run"}
RECIPES |= {name: partial(link, name) for name in CHAIN} | {name: partial(cifar, name) for name in CIFAR}
RECIPES |= {name: partial(caffe, name) for name in ("bvlc", "caffenet")} | {"vgg": vgg, "lenet": lenet}
