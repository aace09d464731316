"""One number that makes a trained network as sure as it should be: the temperature that its logits are divided by, fitted on a
split and kept in the card of its weights file, where everything that uses the net reads it. The tensors stay, bit for bit."""

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from alexnet import weights
from alexnet.data.feed import in_turn
from alexnet.errors import Refused
from alexnet.evaluate.passes import BATCH
from alexnet.evaluate.scores import COLDEST, HOTTEST, fitted_temperature, halves
from alexnet.progress import Progress
from alexnet.rundir import RunDir, replace_file, whole


class Fit(NamedTuple):
    """What a network's logits are divided by: before, once all pictures were fitted, and, where the pictures fitted are those
    that are reported, what the pictures of each half get from the other half."""

    before: float
    all: float
    crossed: tuple = ()


def fit(logits, labels, *, before, crossed):
    """logits (N, classes), not divided by any temperature yet."""
    logits, labels = np.asarray(logits), np.asarray(labels)
    if not np.isfinite(logits).all():
        raise Refused("the logits are not all finite numbers, and no temperature mends that: train the model at a smaller --rate.")
    best, half = fitted_temperature(logits, labels), halves(len(labels))
    if not crossed:
        return Fit(before, best)
    if len(labels) < 2:
        raise Refused("a temperature fitted and reported on the same split wants two pictures or more: fit it on another split.")
    return Fit(before, best, tuple(fitted_temperature(logits[other], labels[other]) for other in (~half, half)))


def at_the_end(temperature):
    """The search ran to its end: the net is right throughout, or knows nothing."""
    return not COLDEST * 1.001 < temperature < HOTTEST / 1.001


def may_keep(model):
    """Refuse before the measuring what cannot be written after it."""
    path = weights.find(model)
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise Refused(f"{path} cannot be written, and its card keeps the temperature: copy the file and name the copy.")


def keep(model, temperature=None, *, views=1, **facts):
    """Put the temperature, or other facts, on the card of the model's weights file. In a run the checkpoint is replaced whole, with
    its sums."""
    path = Path(weights.find(model))
    if temperature:
        facts |= on_card(weights.read_card(path), temperature, views)
    folder = path.parent
    checkpoint = (folder / "sums.json").exists()
    files = whole(folder) if checkpoint else {path.name: path.read_bytes()}
    if not files:
        raise Refused(f"{folder} is damaged, its files do not match their checksums: name another checkpoint of the run.")
    files[path.name] = with_facts(files[path.name], **facts)
    try:
        if checkpoint:
            run = RunDir(folder.parent.parent)
            run.checkpoints = folder.parent
            run.save(folder.name, files)
        else:
            replace_file(path, files[path.name])
    except OSError as error:
        raise Refused(f"{path} cannot be written ({error.strerror}), and its card keeps the temperature: copy the file and name "
                      "the copy.") from error


def on_card(card, temperature, views):
    """Those of several views were fitted beside the central view's, and go when it changes."""
    of_views = card.get("temperature_of_views", {})
    if views > 1:
        return {"temperature_of_views": {**of_views, str(views): temperature}}
    stale = of_views and temperature != card["temperature"]
    return {"temperature": temperature, **({"temperature_of_views": {}} if stale else {})}


def with_facts(content, **facts):
    """The bytes of a weights file with these on its card: a new header before the same tensors."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    card = {**json.loads(header["__metadata__"]["card"]), **facts}
    header["__metadata__"]["card"] = json.dumps(card)
    written = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    written += b" " * (-len(written) % 8)  # the tensors begin at a multiple of 8
    return len(written).to_bytes(8, "little") + written + content[end:]


def of_members(members, feed, *, crossed, views):
    """(a Fit a member, what has to be said of it). Of several views it is that of their mean, at the central view's temperature."""
    logits = [[] for _ in members]
    with Progress("fitting the temperature", len(feed)) as bar:
        for pictures, labels in feed.batches(in_turn(len(feed), BATCH)):
            for batches, member in zip(logits, members):
                batches.append(member.logits_of(pictures, views).cpu())
            bar.advance(len(labels))
    fits = [fit(torch.cat(batches).numpy(), feed.labels, before=member.temperature(views), crossed=crossed)
            for batches, member in zip(logits, members)]
    notes = [f"the temperature is that of {views} views together; the central view keeps its own"] * (views > 1)
    if crossed:
        notes += ["log loss and calibration error are cross-fitted: each half of the split by the temperature of the other half"]
    if any(at_the_end(fit.all) for fit in fits):
        notes += ["a temperature ran to the end of the search: the split has too few pictures for it, or the net knows nothing"]
    return fits, notes
