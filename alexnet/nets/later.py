"""What came after 2012: Caffe's two copies of the network, the one-column net of 2014 that other libraries call AlexNet, and
the deeper VGG nets of the same year."""

from alexnet.nets.changes import changed
from alexnet.nets.imagenet import PAPER
from alexnet.nets.layers import Conv, Dense, Pool, Row

# Caffe: a 227-pixel crop, the norm over all maps as one row (alpha over n, k = 1), inverse dropout, fc6 and fc7 begin at 0.005
_CAFFE_NORM = {"alpha": 1e-4 / 5, "k": 1.0, "sees": "both"}
BVLC = changed(PAPER, "bvlc", "Caffe's bvlc_alexnet: 227 pixels, one norm over both columns, biases that begin at 0.1", crop=227,
               dropout_scales="train", layers={
    "norm1": _CAFFE_NORM, "norm2": _CAFFE_NORM, "conv2": {"bias": 0.1}, "conv4": {"bias": 0.1}, "conv5": {"bias": 0.1},
    "fc6": {"bias": 0.1, "std": 0.005}, "fc7": {"bias": 0.1, "std": 0.005}})

_NORM1, _POOL1, _CONV2, _NORM2, _POOL2 = BVLC.layers[1:6]
CAFFENET = changed(BVLC, "caffenet", "Caffe's CaffeNet: bvlc with each norm behind its pool, biases that begin at 1",
                   without=("norm1", "norm2"), after={"pool1": (_NORM1,), "pool2": (_NORM2,)},
                   layers={name: {"bias": 1.0} for name in ("conv2", "conv4", "conv5", "fc6", "fc7")})

SINGLE_TOWER = Row("single_tower", "the one-column net of 2014, in torchvision's layout", columns=1, rounding="floor",
                   dropout_scales="train", input_scale=1 / 58, layers=(
    Conv("conv1", 64, 11, stride=4, pad=2, sees="picture", std=None),
    Pool("pool1"),
    Conv("conv2", 192, 5, pad=2, std=None),
    Pool("pool2"),
    Conv("conv3", 384, 3, pad=1, std=None),
    Conv("conv4", 256, 3, pad=1, std=None),
    Conv("conv5", 256, 3, pad=1, std=None),
    Pool("pool5", dropout=0.5),
    Dense("fc6", 4096, std=None, dropout=0.5),
    Dense("fc7", 4096, std=None),
    Dense("fc8", 0, then="linear"),
))


def vgg(name, title, *blocks):
    """blocks: the widths of the 3x3 convolutions before each 2/2 pool."""
    layers = []
    for i, widths in enumerate(blocks, 1):
        layers += [Conv(f"conv{i}_{j}", maps, 3, pad=1, sees="both", std=None) for j, maps in enumerate(widths, 1)]
        layers.append(Pool(f"pool{i}", 2))
    dense = (Dense("fc6", 4096, std=None, dropout=0.5), Dense("fc7", 4096, std=None, dropout=0.5), Dense("fc8", 0, then="linear"))
    return Row(name, title, (*layers, *dense), columns=1, rounding="floor", dropout_scales="train", input_scale=1 / 58)


LATER = (
    CAFFENET,
    BVLC,
    SINGLE_TOWER,
    vgg("vgg11", "VGG-11 (2014): eight 3x3 convolutions", (64,), (128,), (256, 256), (512, 512), (512, 512)),
    vgg("vgg16", "VGG-16 (2014): thirteen 3x3 convolutions", (64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
)
