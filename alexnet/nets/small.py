"""Networks for small pictures: the anatomy of 2012 at 64 and 32 pixels; the CIFAR-10 systems that it grew from, as their
configurations have them (raw 0-255 pixels minus the mean picture); Figure 1's net; and LeNet, the ancestor."""

from dataclasses import replace

from alexnet.nets.changes import changed
from alexnet.nets.layers import Conv, Dense, Local, Pool, ResponseNorm, Row, WithinMapNorm


def small(name, title, widths, *, crop, conv1):
    """The 2012 anatomy for small pictures: the same eight layers, crossings and norms, fewer units."""
    conv1_maps, conv2_maps, middle, last, hidden = widths
    return Row(name, title, crop=crop, classes=200, layers=(
        Conv("conv1", conv1_maps, 5, **conv1, sees="picture"),
        ResponseNorm("norm1", alpha=1e-4 / 5),
        Pool("pool1"),
        Conv("conv2", conv2_maps, 5, pad=2, std=None),
        ResponseNorm("norm2", alpha=1e-4 / 5),
        Pool("pool2"),
        Conv("conv3", middle, 3, pad=1, sees="both", std=None),
        Conv("conv4", middle, 3, pad=1, std=None),
        Conv("conv5", last, 3, pad=1, std=None),
        Pool("pool5"),
        Dense("fc6", hidden, std=None, dropout=0.5),
        Dense("fc7", hidden, std=None, dropout=0.5),
        Dense("fc8", 0, then="linear"),
    ))


SMALL64 = small("small64", "the anatomy of 2012 for 64-pixel pictures", (64, 192, 384, 256, 1024), crop=56,
                conv1={"stride": 2, "pad": 2})
SMALL32 = small("small32", "the anatomy of 2012 for 32-pixel pictures", (64, 128, 192, 128, 512), crop=28,
                conv1={"pad": 2})
WHOLE64 = replace(SMALL64, name="whole64", title="small64 for whole pictures of 64 pixels", crop=64)
FINE64 = small("fine64", "whole64 with a conv1 of stride 1: four times the places, half the hidden units", (64, 192, 384, 256, 512),
               crop=64, conv1={"pad": 2})
QUICK64 = small("quick64", "two thirds of whole64, a narrow conv1: the clock's net", (32, 128, 256, 192, 512), crop=64,
                conv1={"stride": 2, "pad": 2})  # maps of 16 and 8: whole tiles of Winograd's form
TINY64 = small("tiny64", "half as wide as small64 and quick: the demo's net", (32, 96, 192, 128, 256), crop=56,
               conv1={"stride": 2, "pad": 2})
TINY36 = small("tiny36", "tiny64 for 40-pixel pictures, a third of the work: the experiments' net", (32, 96, 192, 128, 256),
               crop=36, conv1={"stride": 2, "pad": 2})


def with_conv6(row, title, bottleneck=0):
    """CNN*'s sixth convolution behind the last pool; with a linear bottleneck below the classes where there are many."""
    conv5 = next(layer for layer in row.layers if layer.name == "conv5")
    conv6 = Conv("conv6", conv5.maps, 3, pad=1, sees="both", std=None)
    linear = (Dense("bottleneck", bottleneck, then="linear", std=None),) if bottleneck else ()
    name = f"{row.name}_six" + ("_wide" if bottleneck else "")
    return changed(row, name, title, after={"pool5": (conv6,), "fc7": linear})


SIX = (
    with_conv6(SMALL64, "small64 with CNN*'s sixth convolution"),
    with_conv6(TINY64, "tiny64 with CNN*'s sixth convolution"),
    with_conv6(TINY64, "tiny64_six for many classes, over a linear bottleneck", 64),
)

# ---- CIFAR-10, named for the test errors that their configurations promise ------------------------------------------


def cifar(name, title, *, crop, layers):
    return Row(name, title, layers, crop=crop, classes=10, columns=1)


CIFAR19 = cifar("cifar19", "19 % on CIFAR-10: three convolutions, one max and two average pools", crop=32, layers=(
    Conv("conv1", 32, 5, pad=2, sees="picture", std=0.0001),
    Pool("pool1"),
    Conv("conv2", 32, 5, pad=2),
    Pool("pool2", by="average"),
    Conv("conv3", 64, 5, pad=2),
    Pool("pool3", by="average"),
    Dense("fc10", 0, then="linear"),
))

CIFAR26 = changed(CIFAR19, "cifar26", "26 % on CIFAR-10 in 80 seconds of 2012: cifar19 with a hidden layer of 64",
                  without=("fc10",), after={"fc10": (Dense("fc64", 64, std=0.1), Dense("fc10", 0, std=0.1, then="linear"))})

CIFAR18 = changed(CIFAR19, "cifar18", "18 % on CIFAR-10 in 20 minutes of 2012: cifar19 with within-map norms", after={
    "pool1": (WithinMapNorm("norm1", size=3, alpha=5e-5 / 9),), "pool2": (WithinMapNorm("norm2", size=3, alpha=5e-5 / 9),)})

CIFAR14 = changed(CIFAR19, "cifar14", "14.2 % on CIFAR-10: cifar19 on crops of 24 and their reflections", crop=24)

CIFAR13 = cifar("cifar13", "13 % on CIFAR-10: two convolutions, two locally connected layers", crop=24, layers=(
    Conv("conv1", 64, 5, pad=2, sees="picture", std=0.0001),
    Pool("pool1"),
    Conv("conv2", 64, 5, pad=2),
    Pool("pool2"),
    Local("local3", 32, 3, pad=1, std=0.04),
    Local("local4", 32, 3, pad=1, std=0.04),
    Dense("fc10", 0, then="linear"),
))

CIFAR11 = changed(CIFAR13, "cifar11", "11 % on CIFAR-10, 2012: cifar13 with response norm over 5 maps, behind both convolutions",
                  after={"conv1": (ResponseNorm("norm1", alpha=0.001 / 5, k=1.0),),
                         "conv2": (ResponseNorm("norm2", alpha=0.001 / 5, k=1.0),)})

CIFAR11_FINAL = changed(CIFAR13, "cifar11_final", "11 % on CIFAR-10, the later one: norm over 9 maps, a wider local3", layers={
    "local3": {"maps": 64}}, after={"pool1": (ResponseNorm("norm1", size=9, alpha=0.001 / 9, k=1.0),),
                                    "conv2": (ResponseNorm("norm2", size=9, alpha=0.001 / 9, k=1.0),)})

FIGURE1 = changed(CIFAR19, "figure1", "Figure 1's four-layer net; the paper does not give its layout: cifar19's")

# LeNet-5 of 1998 as it is taught: every map of C3 sees every map of S2, plain averages, a softmax at the end.
LENET = Row("lenet", "LeNet-5 (1998) as it is taught: tanh, average pools, 28-pixel grey digits", crop=28, classes=10, columns=1,
            channels=1, input_scale=1 / 78, layers=(
    Conv("conv1", 6, 5, pad=2, sees="picture", std=0.2, then="tanh"),
    Pool("pool1", 2, by="average"),
    Conv("conv2", 16, 5, std=0.08, then="tanh"),
    Pool("pool2", 2, by="average"),
    Dense("fc3", 120, std=0.05, then="tanh"),
    Dense("fc4", 84, std=0.09, then="tanh"),
    Dense("fc5", 0, std=0.1, then="linear"),
))

CIFAR = (CIFAR26, CIFAR19, CIFAR18, CIFAR14, CIFAR13, CIFAR11, CIFAR11_FINAL, FIGURE1)
