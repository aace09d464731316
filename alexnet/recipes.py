"""How a network is trained, as typed settings: one function a recipe, and `alexnet train --FIELD value` changes any field.
`as_run` is net #145 of the source, `paper` the text of section 5, `modern` what the same anatomy is given today."""

from dataclasses import dataclass, field, fields, replace
from typing import Literal, get_args, get_origin, get_type_hints

from alexnet.errors import Misused, nearest


@dataclass(frozen=True)
class Phase:
    """From this epoch on: what is named here changes, what is not stays. The source stopped, edited and went on by hand."""

    epoch: float
    rate: float | None = None
    noise: float | None = None
    layers: tuple = ()  # (layer, rate) pairs; a rate of 0 freezes weights and biases of the layer


def option(default, help):
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Recipe:
    name: str
    nets: tuple  # rows to choose from: the first that fits the store
    epochs: int = option(90, "passes over the training pictures; phases stretch with it")
    batch_size: int = option(128, "pictures a step")
    update: Literal["2012", "nesterov"] = option("2012", "the paper's rule (rate inside the velocity), or Nesterov's")
    rate: float = option(0.01, "learning rate, or its peak")
    bias_rate: float = option(0.0, "learning rate of biases, constant as in the source; 0: that of the weights")
    momentum: float = option(0.9, "share of the velocity kept a step")
    decay: float = option(5e-4, "weight decay; never on biases")
    schedule: Literal["constant", "phases", "plateau", "cosine", "one_cycle"] = option("constant", "how the rate changes")
    phases: tuple = ()  # for schedule "phases", over planned_epochs
    planned_epochs: int = 90
    drops: int = option(3, "plateau: how often the rate is divided by ten")
    patience: int = option(3, "plateau: epochs without a better selection error before a drop")
    warmup: float = option(0.0, "share of training over which the rate rises to its peak")
    smoothing: float = option(0.0, "label smoothing")
    averaging: float = option(0.0, "decay a step of the averaged weights that are measured and kept; 0: none")
    crop: Literal["window", "resized", "centre"] = option("window", "a random window, a random part resized, or always the centre")
    least_area: float = option(0.35, "resized crops: smallest share of the picture")
    crop_shared_by: int = option(1, "pictures that share one crop and reflection; 32 in the source")
    reflect: bool = option(True, "mirror half of the pictures")
    noise: float = option(0.1, "colour noise along the principal components, paper 4.1; 0: none")
    reshuffle: bool = option(True, "a new order each epoch; the source kept one order for all")
    centring: Literal["image", "colour"] = option("image", "subtract the mean picture, or its mean colour")
    precision: Literal["auto", "float32", "bfloat16"] = option("auto", "auto: bfloat16 where the machine multiplies it fast")
    compile: bool = option(False, "torch.compile the network, where a compiler is there")
    stop_error: float = option(0.0, "stop once the selection top-1 error is this or less")
    stop_minutes: float = option(0.0, "stop at the end of the epoch in which this much time is up; 0: never")
    stop_patience: int = option(0, "stop after so many epochs without a better selection error; 0: never")
    save_minutes: float = option(5.0, "also save within an epoch, this often")


def paper():
    """Section 5 of the text: one rate for all, divided by ten when the selection error stops improving, three times."""
    return Recipe("paper", nets=("paper", "small64", "small32"), schedule="plateau")


def as_run():
    """Net #145 on ILSVRC-2012, epoch by epoch as its notebook has it; ended at 91."""
    return Recipe(
        "as_run", nets=("as_run", "small64", "small32"), epochs=91, planned_epochs=91, precision="float32",
        rate=0.01, bias_rate=0.02, schedule="phases", crop_shared_by=32, reshuffle=False,
        phases=(
            Phase(25, rate=1e-3),
            Phase(51, rate=1e-4),
            Phase(67, layers=(("conv1", 1e-5),), noise=0.0),
            Phase(72, layers=(("conv1", 0.0),)),
            Phase(79, rate=1e-5),
        ),
    )


def modern():
    """A first good recipe of today for the same anatomy: batch norm, one cycle, smoothed labels, averaged weights."""
    return Recipe(
        "modern", nets=("batchnorm", "small64_batchnorm", "small32_batchnorm"), epochs=24, update="nesterov",
        rate=0.1, warmup=0.2, schedule="one_cycle", smoothing=0.1, averaging=0.998, crop="resized", noise=0.0,
        centring="colour",
    )


def tiny():
    """Any small store in minutes: the demo's recipe."""
    return Recipe(
        "tiny", nets=("tiny64", "small32", "batchnorm"), epochs=16, batch_size=64, rate=0.01, schedule="one_cycle", warmup=0.1,
        noise=0.1,
    )


RECIPES = {make.__name__: make for make in (as_run, paper, modern, tiny)}


def recipe(name, **changes):
    """The recipe of this name with these fields changed; anything that is not there, or does not fit, is answered."""
    if name not in RECIPES:
        raise Misused(f"there is no recipe {name!r}: {nearest(name, RECIPES)}")
    known = options()
    for key, value in changes.items():
        if key not in known:
            raise Misused(f"a recipe has no field {key!r}: {nearest(key, known)}")
        check(key, value, known[key][0])
    return replace(RECIPES[name](), **changes)


def from_plain(values):
    """The recipe that asdict() made, back from a run's config.json."""
    phases = tuple(Phase(**{**p, "layers": tuple(map(tuple, p["layers"]))}) for p in values["phases"])
    return Recipe(**{**values, "nets": tuple(values["nets"]), "phases": phases})


def options():
    """Field -> (type, help): those that may be changed from outside."""
    hints = get_type_hints(Recipe)
    return {f.name: (hints[f.name], f.metadata["help"]) for f in fields(Recipe) if "help" in f.metadata}


def check(key, value, kind):
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise Misused(f"{key} is {value!r}; it may be {', '.join(map(str, get_args(kind)))}.")
        return
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(value, accepted) or isinstance(value, bool) != (kind is bool):
        raise Misused(f"{key} is {value!r}; it wants {kind.__name__}.")
    if kind in (int, float) and (value < 0 or value != value or (value == 0 and key in ("epochs", "batch_size", "crop_shared_by"))):
        raise Misused(f"{key} is {value!r}; it wants a number above zero.")


