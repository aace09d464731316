"""Which pictures a run trains on, which decide for it, and whether they can be trained on at all: what is settled about the
data before the first step. Odd data are refused here, in one sentence."""

import numpy as np
import torch

from alexnet import recipes
from alexnet.data import augment, order
from alexnet.data.feed import Feed
from alexnet.data.store import open_split, splits
from alexnet.errors import Misused, Refused
from alexnet.nets import ROWS, fitting, row

MAY_CHANGE = ("stop_error", "stop_minutes", "stop_patience", "save_minutes")  # when a run is resumed


class Part:
    """The pictures of a split that take part, by position."""

    def __init__(self, split, positions=None, name=None):
        self.split, self.positions, self.name = split, positions, name or split.name

    @property
    def fingerprint(self):
        """Of a whole split; a part of one has none of its own."""
        return self.split.fingerprint if self.positions is None else None

    def share(self, group):
        """What one of several processes measures: a stretch of the pictures."""
        if group.count == 1:
            return self
        places = np.arange(len(self.split)) if self.positions is None else self.positions
        return Part(self.split, places[slice(*group.share(len(places)))], self.name)

    def feed(self, device, workers):
        return Feed(self.split, self.positions, device=device, workers=workers)


def parts(store, select, holdout, seed):
    """What is trained on, and what decides."""
    training = open_split(store, "train")
    if holdout:
        if not 0 < holdout < 1:
            raise Misused(f"--holdout is {holdout}; it wants a share between 0 and 1, like 0.1.")
        kept, held = order.holdout(training.labels, holdout, seed)
        if not len(held):
            raise Refused(f"{store} has one picture a class in train, so none can be held out: give --select a split of its own.")
        return Part(training, kept), Part(training, held, f"{holdout:g} of train, held out")
    if select not in splits(store):
        raise Refused(f"{store} has no split {select!r} to decide on: --holdout 0.1 keeps a tenth of train for it, "
                      f"--select takes {', '.join(splits(store))}.")
    return Part(training), Part(open_split(store, select))


def check(training, chosen, config):
    split = training.split
    if len(split.classes) < 2:
        raise Refused(f"{split.path} has one class only, {split.classes[0].name!r}: is the folder one level too high or too low?")
    if [c.id for c in split.classes] != [c.id for c in chosen.split.classes]:
        raise Refused(f"{split.path} and {chosen.split.path} hold other classes; prepare both from one source.")
    for part in (split, chosen.split):
        if len(part) and not 0 <= part.labels.min() <= part.labels.max() < len(part.classes):
            raise Refused(f"{part.path} has labels outside its {len(part.classes)} classes; prepare it again.")
    for key, part in (("fingerprint", split), ("select_fingerprint", chosen.split)):
        if config and config[key] != part.fingerprint:
            raise Refused(f"{part.path} is not the store this run was started on ({config['store']}, {config[key][:12]}); "
                          f"resume with that one, or begin another --out.")


def dropping(net, share):
    """The row by its name, with this share of the units dropped; None: as the row has it."""
    return net if share is None or net is None else row(f"{net},dropout={share:g}").name


def choose_row(preferred, net, training):
    """The row that is asked for, or the first of the preferred that fits the store's pictures."""
    size = training.split.size
    if net:
        if net not in fitting(size, [row(net).name]):
            least, most = row(net).sizes
            raise Refused(f"net {net} takes pictures of {least} to {most} pixels, the store has {size}: rows that fit are "
                          f"{', '.join(fitting(size)) or 'none'}, or prepare with --size {least * 8 // 7}.")
        return net
    fits = fitting(size, preferred) or fitting(size)
    if not fits:
        ranges = sorted({row(name).sizes for name in ROWS})
        raise Refused(f"no net fits pictures of {size} pixels: the rows take "
                      f"{', '.join(f'{least} to {most}' for least, most in ranges)}; prepare with --size 64 or 256.")
    return fits[0]


def check_resumed(config, run, *, recipe, net, seed, select, holdout, from_, copy, **changes):
    """A run goes on as what it is; what was left out, or is as it was, is no change."""
    recipes.recipe(config["recipe"]["name"], **changes)  # names and types
    left_out = {"seed": 0, "select": "val", "holdout": 0.0, "copy": ""}
    net = dropping(net, changes.get("dropout"))
    asked = {"name": recipe, "net": net, "seed": seed, "select": select, "holdout": holdout, "from": from_, "copy": copy, **changes}
    held = {"from": None, "copy": "", **config["recipe"]}
    held.update((key, config[key]) for key in ("net", *left_out, "from") if key in config)
    for key, value in asked.items():
        if key == "batch_size" and value == 0:
            continue  # what was found the first time holds
        if value is not None and value != left_out.get(key) and key not in MAY_CHANGE and value != held.get(key):
            raise Refused(f"the run in {run.path} has {'recipe' if key == 'name' else key} {held.get(key)!r}, not {value!r}: "
                          f"resume it as it is, or begin another --out.")


def mean_of(split, crop, centring):
    """The mean picture's central window, or its one colour: what is subtracted from every picture."""
    image = augment.central(split.mean, crop)
    return image if centring == "image" else torch.tensor(split.colour.mean, dtype=torch.float32)[:, None, None]
