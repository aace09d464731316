"""The networks of 2012 for ImageNet. First the two that matter: `paper`, which reads like section 3.5, and `as_run`, net #145
of the source. Then the controls behind the paper's claims, the designs of its ensembles, and the six-layer nets; numbers with #
are the authors' own."""

from alexnet.nets.changes import changed
from alexnet.nets.layers import Blur, ContrastNorm, Conv, Dense, Nails, Pool, ResponseNorm, Row, WithinMapNorm

PAPER = Row("paper", "the network as the text of the paper has it", layers=(
    Conv("conv1", 96, 11, stride=4, sees="picture"),
    ResponseNorm("norm1"),
    Pool("pool1"),
    Conv("conv2", 256, 5, pad=2, bias=1.0),
    ResponseNorm("norm2"),
    Pool("pool2"),
    Conv("conv3", 384, 3, pad=1, sees="both"),
    Conv("conv4", 384, 3, pad=1, bias=1.0),
    Conv("conv5", 256, 3, pad=1, bias=1.0),
    Pool("pool5"),
    Dense("fc6", 4096, bias=1.0, dropout=0.5),
    Dense("fc7", 4096, bias=1.0, dropout=0.5),
    Dense("fc8", 0, then="linear"),
))

AS_RUN = Row("as_run", "net #145 of the source: the network whose errors the paper reports", layers=(
    Conv("conv1", 96, 11, stride=4, sees="picture", then="linear"),
    ResponseNorm("norm1", alpha=1e-4 / 5),
    Pool("pool1", then="relu"),
    Conv("conv2", 256, 5, pad=2, bias=1.0),
    ResponseNorm("norm2", alpha=1e-4 / 5),
    WithinMapNorm("wnorm2"),
    Pool("pool2"),
    Conv("conv3", 384, 3, pad=1, sees="both", std=0.03),
    Conv("conv4", 384, 3, pad=1, bias=1.0, std=0.03),
    Conv("conv5", 256, 3, pad=1, bias=1.0, std=0.03, then="linear"),
    Pool("pool5", then="relu"),
    Dense("fc6", 4096, bias=1.0, dropout=0.5),
    Dense("fc7", 4096, bias=1.0, dropout=0.5),
    Dense("fc8", 0, then="linear"),
))

# ---- controls: what each part of the design is worth ----------------------------------------------------------------

HALF = changed(AS_RUN, "half", "#145-half, paper 3.2: one column, with conv5 and the dense layers kept whole", columns=1, layers={
    "conv1": {"maps": 48}, "conv2": {"maps": 128}, "conv3": {"maps": 192}, "conv4": {"maps": 192}})

NON_OVERLAPPING = changed(AS_RUN, "non_overlapping", "#147, paper 3.4: pools of 2 / 2, paddings set for the same 6 x 6", layers={
    "pool1": {"kernel": 2}, "pool2": {"kernel": 2}, "pool5": {"kernel": 2}, "conv2": {"pad": 1}, "conv5": {"pad": 0}})

NO_NORM = changed(AS_RUN, "no_norm", "#148, paper 3.3: no normalisation at all", without=("norm1", "norm2", "wnorm2"))

NO_NORM2 = changed(AS_RUN, "no_norm2", "#167: no normalisation in layer 2, which cost nothing", without=("norm2", "wnorm2"))

NO_CROSSING = changed(AS_RUN, "no_crossing", "#150: the columns never meet before fc8; conv2 and fc6 are widened for it", layers={
    "conv2": {"maps": 320}, "conv3": {"sees": "column"}, "fc6": {"units": 8192, "sees": "column"}, "fc7": {"sees": "column"}})


def crossing(at):
    return changed(AS_RUN, f"crossing_{at}", f"the columns meet at {at} instead of conv3",
                   layers={"conv3": {"sees": "column"}, at: {"sees": "both"}})


def dense(name, title, widths):
    """One column that is as wide as its equal in weights, or in products, allows; conv5 stays, and so does fc6."""
    layers = {f"conv{i}": {"maps": maps} for i, maps in enumerate(widths, 1)}
    return changed(AS_RUN, name, title, columns=1, layers=layers)


# ---- the five designs of the ensemble -------------------------------------------------------------------------------

NET120 = Row("net120", "#120: a blurred, thinned-out side path into conv2; contrast norm; norm behind the pool", layers=(
    Blur("blur"),
    Nails("nails"),
    Conv("low2", 256, 5, stride=2, sees="both", bias=None, then="linear"),
    Conv("conv1", 64, 11, stride=4, sees="picture", then="linear"),
    Pool("pool1", then="relu"),
    ResponseNorm("norm1", alpha=1e-4 / 5, k=1.0),
    Conv("conv2", 256, 5, pad=2, bias=1.0, plus="low2"),
    ResponseNorm("norm2", alpha=1e-4 / 5, k=1.0),
    ContrastNorm("cnorm2"),
    *AS_RUN.layers[6:],
))

NET131 = Row("net131", "#131: #120 with its first norm on the linear conv1, before the pool", layers=(
    *NET120.layers[:4],
    ResponseNorm("norm1", alpha=1e-4 / 5, k=1.0),
    Pool("pool1", then="relu"),
    *NET120.layers[6:],
))

NET133 = changed(NET131, "net133", "#133: #131 whose columns meet at conv4 instead of conv3", layers={
    "conv3": {"sees": "column"}, "conv4": {"sees": "both"}})

NET135 = changed(NET131, "net135", "#135: #131 with k = 2 in its response norms", layers={"norm1": {"k": 2.0}, "norm2": {"k": 2.0}})

NET137 = changed(NET135, "net137", "#137: #135 with the within-map norm in the place of contrast norm", without=("cnorm2",),
                 after={"cnorm2": (WithinMapNorm("wnorm2"),)})

# ---- six convolutions, for pre-training on more pictures ------------------------------------------------------------

CONV6 = {"pool5": (Conv("conv6", 256, 3, pad=1, sees="both", bias=1.0, std=0.03),)}

SIX_CONV = changed(AS_RUN, "six_conv", "#146, section 6's CNN*: a sixth convolution behind the last pool", after=CONV6)
SIX_CONV_10K = changed(SIX_CONV, "six_conv_10k", "#146-2009: six_conv for the 10,184 classes of Fall 2009", classes=10_184)
SIX_CONV_22K = changed(SIX_CONV, "six_conv_22k", "#146-2011: 21,843 classes of Fall 2011 over a linear bottleneck", classes=21_843,
                       after={"fc7": (Dense("bottleneck", 2048, then="linear"),)})
NET141 = changed(NET137, "net141", "#141: #137 with a sixth convolution; overfits from scratch", after=CONV6)

CONTROLS = (
    HALF, NON_OVERLAPPING, NO_NORM, NO_NORM2, NO_CROSSING, crossing("conv2"), crossing("conv4"), crossing("conv5"),
    dense("dense_parameters", "one column without groups, as many parameters as net #145", (76, 200, 288, 288)),
    dense("dense_multiply_adds", "one column without groups, as many multiply-adds as net #145", (72, 192, 296, 296)),
)
ENSEMBLE = (NET120, NET131, NET133, NET135, NET137, NET141)
SIX = (SIX_CONV, SIX_CONV_10K, SIX_CONV_22K)
