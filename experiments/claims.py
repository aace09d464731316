"""The claims as a table: what is said, the difference that the paper or its notebook gives, the function that measures it, and how
large the experiment is at each scale."""

from typing import NamedTuple

from experiments import columns, decay_and_bias, depth, norms, pools, pretraining, regularisers, relu, views_and_ensembles
from experiments.arms import Size

SCALES = ("toy", "cpu", "gpu")
TOY = Size("toy64", epochs=1, seeds=2, batch_size=32, more={"clean": 32})
CPU = Size("tiny36", classes=20, epochs=12, seeds=3, trials=3)
GPU = Size("small64", classes=50, epochs=24, seeds=3, trials=3, batch_size=128, more={"clean": 5000})  # some 8 minutes a claim


def sized(base, more=None, **fields):
    """A scale's common size with what one claim has otherwise."""
    return Size(**{**vars(base), **fields, "more": {**base.more, **(more or {})}})


class Claim(NamedTuple):
    number: int
    name: str
    sentence: str
    paper: str  # the difference that the paper or its notebook gives
    run: object
    sizes: dict  # scale -> Size


CLAIMS = (
    Claim(1, "relu", "ReLU reaches 25 % training error on CIFAR-10 sooner than tanh", "6 times fewer epochs", relu.run, {
        "toy": sized(TOY, {"error": 0.8, "choosers": 1}, row="toy32", epochs=2),
        "cpu": Size("figure1", a_class=100, epochs=200, seeds=3, trials=7, batch_size=32),
        "gpu": Size("figure1", a_class=1000, epochs=100, seeds=5, trials=9, batch_size=128, more={"clean": 10_000})}),
    Claim(2, "norms", "Response norm lowers the error", "-0.081 nats, -1.4 points; CIFAR-10 13 to 11 %", norms.run, {
        "toy": sized(TOY, seeds=1, more={"cifar": Size("cifar11", epochs=1, seeds=1, batch_size=32, more={"clean": 32})}),
        "cpu": sized(CPU, {"cifar": Size("cifar11", a_class=1000, epochs=40, seeds=3, trials=3)}),
        "gpu": sized(GPU, {"cifar": Size("cifar11", epochs=40, seeds=3, trials=3)})}),
    Claim(3, "pools", "Overlapping pools are a little better", "-0.016 nats, -0.4 points", pools.run, {
        "toy": TOY, "cpu": CPU, "gpu": sized(GPU, seeds=8)}),
    Claim(4, "columns", "Two columns beat one of half the maps; they need to meet only here and there",
          "half +0.088 nats, +1.7 points; no communication +0.070 nats", columns.run, {
        "toy": sized(TOY, seeds=1), "cpu": CPU, "gpu": GPU}),
    Claim(5, "regularisers", "Dropout, crops and colour noise keep the net from overfitting", "colour noise over -1 point",
          regularisers.run, {
        "toy": sized(TOY, {"masks": 8, "masked_pictures": 16, "longest": 2, "patience": 1, "decays": 2}, seeds=1, trials=1),
        "cpu": sized(CPU, {"masks": 1000, "masked_pictures": 2000, "longest": 8, "patience": 4}),
        "gpu": sized(GPU, {"masks": 1000, "masked_pictures": 10_000, "longest": 4, "patience": 5})}),
    Claim(6, "views", "Ten views are better than one", "-1.5 points, -0.091 nats", views_and_ensembles.views, {
        "toy": TOY, "cpu": CPU, "gpu": GPU}),
    Claim(7, "ensembles", "Five nets are better than one, seven with a pre-trained pair better still", "-2.6 and -4.0 points",
          views_and_ensembles.ensembles, {
        "toy": sized(TOY, {"members": 2, "pre_epochs": 1}, classes=3),
        "cpu": sized(CPU, {"pre_epochs": 4, "ensembles": 3}),
        "gpu": sized(GPU, {"pre_epochs": 8, "ensembles": 3})}),
    Claim(8, "pretraining", "A sixth convolution pays only after pre-training on more pictures", "-1.7 points", pretraining.run, {
        "toy": sized(TOY, {"limits": (4,), "pre_epochs": 1}, classes=3),
        "cpu": sized(CPU, {"limits": (50, 100, 500), "pre_epochs": 5, "pre_a_class": 200}),
        "gpu": sized(GPU, {"limits": (50, 100, 500), "pre_epochs": 8}, epochs=40)}),
    Claim(9, "depth", "Every middle layer is worth about two points", "+2 points without it", depth.run, {
        "toy": sized(TOY, {"added": (1,), "vgg": ("vgg11",), "vgg_share": 1 / 16}, seeds=1),
        "cpu": sized(CPU, {"added": (1, 4), "vgg": ("vgg11",), "vgg_share": 1 / 8}),
        "gpu": sized(GPU, {"added": (1, 4, 8), "vgg": ("vgg11", "vgg16"), "vgg_share": 1 / 2})}),
    Claim(11, "decay_and_bias", "Weight decay lowers the training error, and biases of 1 speed the beginning up", "no number",
          decay_and_bias.run, {
        "toy": sized(TOY, {"plateau": {"seeds": 2, "epochs": 2}}, seeds=1),
        "cpu": sized(CPU, {"plateau": {"seeds": 5, "classes": 20, "a_class": 64, "epochs": 150}}),
        "gpu": sized(GPU, {"plateau": {"seeds": 5, "classes": 100, "a_class": 64, "epochs": 200}})}),
)
