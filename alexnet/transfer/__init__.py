"""A trained net made one's own: class folders in, a working MODEL out. Features of a trained backbone are taken once and kept; a
linear probe on them is fitted in seconds; fine-tuning follows and is kept only where it wins on `tune`, pictures held out for
choices. `val`, held out too, is looked at once, at the end.

    alexnet transfer FOLDER --out RUN            RUN is then a MODEL: alexnet predict photo.jpg --model RUN
"""

import json
import os
import time
from pathlib import Path
from typing import Annotated

import numpy as np

from alexnet import cards, classifier, features, nets, rundir, weights
from alexnet.data import sources
from alexnet.data import store as stores
from alexnet.data.picture import POINTS
from alexnet.data.prepare import prepare
from alexnet.errors import Diverged, Misused, Refused
from alexnet.evaluate import evaluate
from alexnet.progress import say
from alexnet.train import train
from alexnet.transfer import finishing, probe

TUNE = 0.15  # of the pictures, for choices; in plain folders
RATES = {"batch": 0.02, "other": 0.001}  # of fine-tuning: rows with batch norm stand more


def transfer(
    folder: Annotated[str, "a folder a class, or any other source that prepare reads; or a store"],
    *,
    out: Annotated[str, "the run's folder; the same command goes on where it stopped"],
    from_: Annotated[str | None, "the trained backbone: any MODEL (default: default)", "MODEL"] = None,
    probe_only: Annotated[bool, "stop after the linear probe: seconds"] = False,
    scratch: Annotated[bool, "no backbone: train from nothing, and inherit no licence"] = False,
    previous: Annotated[str | None, "a MODEL made before: old against new on the same held-out pictures", "RUN"] = None,
    holdout: Annotated[float, "share held out to report on, where the source has no val of its own"] = 0.2,
    group: Annotated[str | None, "a regular expression: names in which it finds the same stay on one side"] = None,
    epochs: Annotated[int, "of fine-tuning, or of training from scratch"] = 20,
    net: Annotated[str | None, "with --scratch: a row of `alexnet nets`"] = None,
    seed: Annotated[int, "of everything that is drawn"] = 0,
    device="auto",
):
    """Fit the user's classes; returns what was found, and writes it to RUN/transfer.json."""
    began, out = time.monotonic(), Path(out)
    if scratch and (from_ or probe_only):
        raise Misused("--scratch has no backbone: leave --from and --probe-only out.")
    backbone = None if scratch else classifier.load(from_, device=device)
    asked = {"folder": os.path.abspath(folder), "from": None if scratch else os.path.abspath(weights.find(from_)),
             "weights": backbone and backbone.digest, "probe_only": probe_only, "holdout": holdout,
             "group": group, "epochs": epochs, "net": net, "seed": seed}
    _enter(out, asked)
    store, tune = _store(folder, out, backbone and backbone.card, holdout, group)
    rundir.RunDir(out).write("config.json", {"transfer": asked, **rundir.RunDir(out).place_of(store)})
    parts = {name: stores.open_split(store, name) for name in ("train", tune, "val")}
    _check(parts["train"])
    if previous:
        cards.same_classes(cards.read_card(previous), parts["val"], previous)
    if backbone and not from_:
        _warn(backbone.card)
    found = {"classes": len(parts["train"].classes), "images": {name: len(part) for name, part in parts.items()},
             "few": _few(parts["train"])}
    if scratch:
        found |= _from_scratch(out, store, tune, net=net, epochs=epochs, seed=seed, device=device)
    else:
        found |= _probed(out, backbone, parts, tune, seed)
        if not probe_only:
            found |= _fine_tuned(out, backbone.card, store, tune, found, epochs=epochs, seed=seed, device=device)
    model = out / "checkpoints" / "best" / "weights.safetensors"
    found |= finishing.calibrated(model, store, tune)
    found |= finishing.reported(model, store)
    if previous:
        found |= _compared(previous, model, store)
    licence = cards.read_card(model)["data"].get("licence")
    found = {"model": str(out), **found, "licence": licence, "seconds": round(time.monotonic() - began, 1)}
    rundir.RunDir(out).write("transfer.json", found)
    return found


def _enter(out, asked):
    run, before = rundir.RunDir(out), None
    if (out / "config.json").exists():
        before = json.loads((out / "config.json").read_text())
    if before is None:
        run.check(resume=False)
    elif before.get("transfer") != asked and "store" in before:  # without one nothing was made yet: a wrong FOLDER, perhaps
        odd = next((key for key in asked if before.get("transfer", {}).get(key) != asked[key]), "another verb")
        raise Refused(f"{out} holds a run with other settings ({odd.replace('_', ' ')}): repeat it as it was, or name another "
                      "--out.")
    run.make()
    run.write("config.json", {"transfer": asked})


def _store(folder, out, backbone, holdout, group):
    """-> (the store, the split for choices): one given as it is, else made of the folder as the backbone's pictures were."""
    if names := stores.splits(folder):
        if missing := {"train", "val"} - set(names):
            raise Refused(f"the store {folder} has no {' and no '.join(sorted(missing))}: prepare the pictures with --holdout "
                          "tune=0.15,val=0.2, or give transfer the pictures themselves.")
        if "tune" not in names:
            say(f"{folder} has no split `tune`: choices are made on val, and the error reported leans a little to the good side.")
        return str(folder), "tune" if "tune" in names else "val"
    own = "val" in sources.recognise(folder).splits
    store, known = str(out / "store"), backbone or {}
    how = {"size": known.get("size", 64), "resampling": "points" if known.get("resampling") == POINTS else None, "group": group}
    shares = f"tune={TUNE}" + ("" if own else f",val={holdout:g}")
    try:
        prepare(str(folder), store, holdout=shares, **how)
    except Refused as error:
        if "leaves tune without any" not in str(error) or own:
            raise
        say("there are too few pictures to hold some out for choices beside those reported on: val serves for both.")
        prepare(str(folder), store, holdout=f"val={holdout:g}", **how)
        return store, "val"
    return store, "tune"


def _warn(card):
    """What the small backbone that ships is likely to cost."""
    error = next(one for one in card["errors"] if one["views"] == 1)
    say(f"the backbone that ships is small: pictures of {card['size']} pixels, {len(card['classes'])} classes, "
        f"{error['top1_error']:.0%} of its own test pictures wrong. Where details decide, a net of 224 pixels trained on all of "
        "ImageNet is likely to do better: alexnet convert FILE MODEL, then --from MODEL.")


def _check(part):
    if len(part.classes) < 2:
        raise Refused(f"{part.path} has one class only, {part.classes[0].name!r}: a classifier tells two or more apart.")


def _few(part, least=10):
    """Classes with so few training pictures that their errors say little."""
    counts = np.bincount(part.labels, minlength=len(part.classes))
    return [{"class": part.classes[i].name, "images": int(counts[i])} for i in np.flatnonzero(counts < least)]


# ---- the probe ------------------------------------------------------------------------------------------------------------------


def _probed(out, clf, parts, tune, seed):
    """Features, taken once; the probe on them; what it finds odd about the labels, and what more pictures would bring."""
    table = {name: _kept(out / "features", clf, part) for name, part in parts.items() if name != "val" or name == tune}
    training, classes = parts["train"], len(parts["train"].classes)
    known, held = (table["train"], training.labels), (table[tune], parts[tune].labels)
    began = time.monotonic()
    best, decay, lines = probe.chosen(known, held, classes)
    took = time.monotonic() - began
    error = next(line["top1_error"] for line in lines if line["decay"] == decay)
    measured = {"split": parts[tune].name, "fingerprint": parts[tune].fingerprint, "images": len(parts[tune]), "views": 1,
                "precision": "float32", "selected_on": True}
    _write_probe(out, clf, best, training, {**measured, "top1_error": error})
    say(f"linear probe on {clf.last_hidden}: {error:.1%} wrong of {len(parts[tune]):,} held-out pictures, fitted in {took:.1f} s")
    lines_of_curve = probe.curve(known, held, classes, decay=decay, seed=seed)
    doubts = probe.doubted(*known, classes, decay=decay, seed=seed)
    return {"kept": "probe", "probe": {"layer": clf.last_hidden, "decay": decay, "seconds": round(took, 2), "tried": lines,
                                       "top1_error": error},
            "curve": lines_of_curve, "outlook": probe.outlook(lines_of_curve),
            "doubted": finishing.doubts(out, training, doubts)}


def _kept(folder, clf, part):
    """A split's features from the disk, where they are those of these weights and pictures."""
    key, file = {"weights": clf.digest, "fingerprint": part.fingerprint}, folder / f"{part.name}.npy"
    try:
        if json.loads(file.with_suffix(".json").read_text()) == key:
            return np.load(file)
    except (OSError, ValueError):
        pass
    folder.mkdir(exist_ok=True)
    found = features.of_split(clf, part)
    np.save(file, found)
    rundir.replace_file(file.with_suffix(".json"), json.dumps(key).encode())
    return found


def _write_probe(out, clf, best, part, error):
    """The backbone with the probe for its last layer, as the run's best."""
    import torch

    from alexnet.net import AlexNet

    net = AlexNet(clf.net.row, classes=len(part.classes), seed=0)
    last = net.row.layers[-1].name
    own = {**{name: value for name, value in clf.net.state_dict().items() if not name.startswith(f"{last}.")},
           f"{last}.weight": torch.from_numpy(best.weight), f"{last}.bias": torch.from_numpy(best.bias)}
    net.load_state_dict(own)
    net.of_parts = clf.net.of_parts
    before = clf.card
    card = weights.card(net, classes=part.classes, size=before["size"], centring=before["centring"],
                        resampling=part.resampling, errors=[error],
                        recipe={"name": "linear probe", "backbone": before.get("net"), "of": before.get("recipe", {}).get("name")},
                        data=_data(part, before), note=f"a linear probe on {clf.last_hidden} of {before['net']}")
    rundir.RunDir(out).save("best", {"weights.safetensors": weights.pack(net, clf.member.mean.cpu(), card), "loop.json": b"{}"})


def _data(part, backbone=None):
    """Where the weights come from: their own pictures, and the licence that those of the backbone hand on."""
    own, inherited = part.card.get("licence"), (backbone or {}).get("data", {}).get("licence")
    return {"store": str(part.path), "fingerprint": part.fingerprint, "images": len(part),
            "licence": "; ".join(filter(None, (own, inherited and f"the backbone: {inherited}"))) or None}


# ---- training -------------------------------------------------------------------------------------------------------------------


def _fine_tuned(out, before, store, tune, found, *, epochs, seed, device):
    """All layers, from the probe on; kept where fewer held-out pictures are wrong."""
    try:
        nets.row(before["net"])
    except Misused:
        return {"fine_tuned": None, "note": f"the backbone's row {before['net']} is not in the table: only the probe was fitted"}
    batch = any(layer["kind"] == "BatchNorm" for layer in before["row"]["layers"])
    count = found["images"]["train"]
    try:
        line = train(store, out=out / "fine-tuned", recipe="modern", net=before["net"], select=tune, epochs=epochs, seed=seed,
                     resume=True, from_=out, rate=RATES["batch" if batch else "other"], batch_size=_batch(count), averaging=0.9,
                     least_area=0.5, centring=before["centring"], device=device)
    except Diverged:
        return {"fine_tuned": None, "note": "fine-tuning left the numbers: the probe is kept"}
    error, probed = line["best"]["top1_error"], found["probe"]["top1_error"]
    say(f"fine-tuned: {error:.1%} wrong of the held-out pictures, the probe {probed:.1%}")
    if error < probed:
        _take(out, store, before)
    return {"kept": "fine-tuned" if error < probed else "probe", "fine_tuned": _line(line)}


def _from_scratch(out, store, tune, *, net, epochs, seed, device):
    count = len(stores.open_split(store, "train"))
    line = train(store, out=out / "fine-tuned", recipe="modern", net=net, select=tune, epochs=epochs, seed=seed, resume=True,
                 batch_size=_batch(count), device=device)
    _take(out, store)
    return {"kept": "scratch", "scratch": _line(line)}


def _line(line):
    return {"top1_error": line["best"]["top1_error"], "epoch": line["best"]["epoch"], "epochs": line["epoch"],
            "seconds": line["seconds"]}


def _batch(count):
    """At least sixteen updates an epoch, and no batch so small that its statistics mean nothing."""
    return int(2 ** np.clip(np.floor(np.log2(max(count / 16, 1))), 4, 7))


def _take(out, store, backbone=None):
    """The best weights of the training become the run's."""
    net, mean, card = weights.read(out / "fine-tuned")
    card["data"] = _data(stores.open_split(store, "train"), backbone)
    rundir.RunDir(out).save("best", {"weights.safetensors": weights.pack(net, mean, card), "loop.json": b"{}"})


def _compared(previous, model, store):
    """Old against new, picture by picture, on the same held-out pictures."""
    found = evaluate(previous, model, store=store, compare=True)["comparison"]
    replace = found["better"] == str(model)
    return {"previous": {**found, "models": [str(previous), "the new one"], "better": {str(model): "the new one"}.get(
        found["better"], found["better"]), "verdict": found["verdict"].replace(str(model), "the new one")},
        "advice": "replace" if replace else "keep"}
