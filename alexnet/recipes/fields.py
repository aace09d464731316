"""The fields of a recipe: how a network is trained, as typed, frozen settings. `alexnet train --FIELD value` changes any."""

from dataclasses import dataclass, field, fields
from typing import Literal, get_args, get_origin, get_type_hints

from alexnet.errors import Misused


@dataclass(frozen=True)
class Phase:
    """From this epoch on: what is named here changes, what is not stays. The source stopped, edited and went on by hand."""

    epoch: float
    rate: float | None = None
    bias_rate: float | None = None
    noise: float | None = None
    layers: tuple = ()  # (layer or prefix, own rate) pairs; 0 freezes weights and biases, None goes back to the common rate


def option(default, help):
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Recipe:
    name: str
    nets: tuple  # rows to choose from: the first that fits the store
    epochs: int = option(90, "passes over the training pictures; phases stretch with it")
    batch_size: int = option(128, "pictures a step; 0: the largest power of two that the memory holds, the rate scaled with it")
    micro_batch: int = option(0, "pictures that go through the net at once, their gradients added up to a batch's; 0: all")
    update: Literal["2012", "nesterov", "lars", "muon"] = option(
        "2012", "the paper's rule (rate inside the velocity), Nesterov's, LARS for large batches, or Muon: orthogonal steps")
    rate: float = option(0.01, "learning rate, or its peak")
    bias_rate: float = option(0.0, "learning rate of biases, constant as in the source; 0: that of the weights")
    momentum: float = option(0.9, "share of the velocity kept a step")
    decay: float = option(5e-4, "weight decay; never on biases")
    decays: tuple = ()  # (layer or prefix, decay) pairs where a layer has its own
    rates: str = option("", "own rates by layer or prefix, like conv=0,fc8=0.01; 0 freezes")
    schedule: Literal["constant", "phases", "plateau", "dexp", "cosine", "one_cycle"] = option("constant", "how the rate changes")
    phases: tuple = ()  # changes at epochs of planned_epochs, with any schedule
    planned_epochs: int = 90
    factor: float = option(250.0, "dexp: the first rate over the last")
    levels: int = option(4, "dexp: steps of the staircase, equally long")
    drops: int = option(3, "plateau: how often the rate is divided by ten")
    patience: int = option(3, "plateau: epochs without a better selection error before a drop")
    warmup: float = option(0.0, "share of training over which the rate rises to its peak")
    smoothing: float = option(0.0, "label smoothing")
    averaging: float = option(0.0, "decay a step of the averaged weights that are measured and kept; 0: none")
    settling: int = option(0, "plain pictures of train that give batch norm its statistics before it is measured and kept; 0: none")
    crop: Literal["window", "resized", "centre"] = option("window", "a random window, a random part resized, or always the centre")
    least_area: float = option(0.35, "resized crops: smallest share of the picture")
    mixing: float = option(0.0, "mixup: two pictures and their labels in shares drawn from Beta(mixing, mixing); 0: none")
    least_side: float = option(1.0, "resized crops: share of the net's side that training begins with")
    full_side: float = option(0.7, "with least_side: the share of training at which the side has grown whole")
    sides: int = option(0, "with least_side: steps in which the side grows, equally long; 0: as many as there are sizes")
    crop_shared_by: int = option(1, "pictures that share one crop and reflection; 32 in the source")
    reflect: bool = option(True, "mirror half of the pictures")
    dropout: float | None = option(None, "share of their units that layers with dropout drop (left out: as the row has it)")
    noise: float = option(0.1, "colour noise along the principal components, paper 4.1; 0: none")
    reshuffle: bool = option(True, "a new order each epoch; the source kept one order for all")
    centring: Literal["image", "colour"] = option("image", "subtract the mean picture, or its mean colour")
    precision: Literal["auto", "float32", "bfloat16"] = option("auto", "auto: bfloat16 where the machine multiplies it fast")
    compile: bool = option(False, "torch.compile the network, where a compiler is there")
    stop_error: float = option(0.0, "stop once the selection top-1 error is this or less")
    stop_minutes: float = option(0.0, "stop at the end of the epoch in which this much time is up; 0: never")
    stop_patience: int = option(0, "stop after so many epochs without a better selection error; 0: never")
    save_minutes: float = option(5.0, "also save within an epoch, this often")


def from_plain(values):
    """The recipe that asdict() made, back from a run's config.json."""
    values = {**values, "decays": tuple(map(tuple, values.get("decays", ())))}
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
    if key == "rates" and isinstance(value, str):
        own_rates(value)
        return
    if key == "dropout":
        if value is not None and not (type(value) in (int, float) and 0 <= value < 1):
            raise Misused(f"dropout is {value!r}; it wants a share of the units from 0 up, below 1.")
        return
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(value, accepted) or isinstance(value, bool) != (kind is bool):
        raise Misused(f"{key} is {value!r}; it wants {kind.__name__}.")
    above_zero = ("epochs", "crop_shared_by", "factor", "levels", "least_side", "full_side")
    if kind in (int, float) and (value < 0 or value != value or (value == 0 and key in above_zero)):
        raise Misused(f"{key} is {value!r}; it wants a number above zero.")


def own_rates(text):
    """'conv=0,fc8=0.01' as {layer or prefix: rate}."""
    try:
        pairs = [part.split("=") for part in text.split(",") if part.strip()]
        found = {layer.strip(): float(rate) for layer, rate in pairs}
    except ValueError:
        raise Misused(f"rates is {text!r}; it wants layers and rates, like conv=0,fc8=0.01.") from None
    if any(not 0 <= rate < float("inf") for rate in found.values()):
        raise Misused(f"rates is {text!r}; a rate is a number from zero up.")
    return found
