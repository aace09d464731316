"""How a network is trained: one function a recipe. `as_run` is net #145 of the source, `paper` the text of section 5, `dexp` the
source's automatic schedule, `modern` what the same anatomy is given today; notebook.py has the schedules of the other nets."""

from dataclasses import replace

from alexnet.errors import Misused, nearest
from alexnet.recipes import notebook
from alexnet.recipes.fields import Phase, Recipe, check, from_plain, options, own_rates

__all__ = ["RECIPES", "Phase", "Recipe", "from_plain", "options", "own_rates", "recipe"]


def paper():
    """Section 5 of the text: one rate for all, divided by ten when the selection error stops improving, three times."""
    return Recipe("paper", nets=("paper", "small64", "small32"), schedule="plateau")


def as_run():
    """Net #145 on ILSVRC-2012, epoch by epoch as its notebook has it; ended at 91."""
    return notebook.run("as_run")


def dexp():
    """The source's automatic successor (#170): a geometric staircase of four levels instead of a watching hand."""
    return replace(
        as_run(), name="dexp", epochs=95, planned_epochs=95, schedule="dexp", factor=250.0, levels=4,
        phases=(Phase(47.5, bias_rate=0.002), Phase(64, noise=0.0), Phase(75, layers=(("conv1", 0.0),))),
    )


def modern():
    """A first good recipe of today for the same anatomy: batch norm, one cycle, smoothed labels, averaged weights."""
    return Recipe(
        "modern", nets=("batchnorm", "small64_batchnorm", "small32_batchnorm"), epochs=24, update="nesterov",
        rate=0.1, warmup=0.2, schedule="one_cycle", smoothing=0.1, averaging=0.998, settling=2048,
        crop="resized", noise=0.0, centring="colour",
    )


def tiny():
    """Any small store in minutes: the demo's recipe."""
    return Recipe(
        "tiny", nets=("tiny64", "small32", "batchnorm"), epochs=16, batch_size=64, rate=0.01, schedule="one_cycle", warmup=0.1,
        noise=0.1,
    )


RECIPES = {make.__name__: make for make in (as_run, paper, dexp, modern, tiny)} | notebook.RECIPES


def recipe(name, **changes):
    """The recipe of this name with these fields changed; anything that is not there, or does not fit, is answered."""
    if name not in RECIPES:
        raise Misused(f"there is no recipe {name!r}: {nearest(name, RECIPES)}")
    known = options()
    for key, value in changes.items():
        if key not in known:
            raise Misused(f"a recipe has no field {key!r}: {nearest(key, known)}")
        check(key, value, known[key][0])
    made = replace(RECIPES[name](), **changes)
    if made.least_side > 1 or (made.least_side < 1 and (made.crop, made.centring) != ("resized", "colour")):
        raise Misused(f"least_side is {made.least_side:g}: it is a share up to 1, and smaller crops want --crop resized and "
                      f"--centring colour.")
    return made
