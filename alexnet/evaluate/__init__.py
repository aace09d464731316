"""Errors of one network or several on a split, every number with its interval: one view or many, ensembles by averaged
probabilities, ties credited as in the source, every picture counted once. Paper 4.1 (ten views), sections 5 and 6 (top-1, top-5,
ensembles). Everything is read off one pass (passes.py); the measures are in scores.py and comparison.py."""

import time
from typing import Annotated

from alexnet import predictions, weights
from alexnet.data import augment
from alexnet.data.feed import Feed
from alexnet.data.store import open_split
from alexnet.device import pick
from alexnet.errors import Misused
from alexnet.evaluate import findings, temperature
from alexnet.evaluate.passes import Member, equal, errors, measured, summary
from alexnet.evaluate.weighing import few, fitted
from alexnet.progress import Progress

BUDGET = (1, 2, 5, 10)  # views of --budget


def evaluate(
    *models: Annotated[str, "run folders, weights files or names that ship (several: an ensemble); then a store", "MODEL... STORE"],
    store: Annotated[str, "the store, where it does not stand last"] = None,
    split: Annotated[str, "split to measure on"] = "val",
    views: Annotated[int, "1, 2, 5, 9 or 10 crops and reflections a picture"] = 1,
    per_class: Annotated[bool, "each class's error, the worst first, and the pairs most often confused"] = False,
    compare: Annotated[bool, "of two models: which one wins, picture by picture, and is it chance"] = False,
    budget: Annotated[bool, "errors and speed with 1, 2, 5 and 10 views"] = False,
    fit_weights: Annotated[str, "weigh the models of an ensemble, by the error on this other split", "SPLIT"] = None,
    fit_temperature: Annotated[str, "fit each model's temperature on this split, for so many views, and keep it", "SPLIT"] = None,
    reliability: Annotated[str, "draw how far confidence can be believed into this .png or .svg", "FILE"] = None,
    save_predictions: Annotated[str, "a row a picture into this .parquet, .csv or .jsonl", "FILE"] = None,
    device: Annotated[str, "auto, cpu, cuda, cuda:N, mps"] = "auto",
    workers: Annotated[int, "threads that read ahead"] = 2,
):
    """Top-1 and top-5 error in float32, log loss and calibration error. With fit_weights they are those of the weighted ensemble,
    beside the plain average; with fit_temperature those after it, beside those before."""
    models, store = (models, store) if store else (models[:-1], models[-1] if models else None)
    check(models, views, compare=compare, fit_weights=fit_weights, fit_temperature=fit_temperature, files={
        "--reliability": (reliability, (".png", ".svg")), "--save-predictions": (save_predictions, predictions.ENDINGS)})
    part, device = open_split(store, split), pick(device)
    other = split_to_fit(store, fit_weights, part) if fit_weights else None
    fitting = open_split(store, fit_temperature) if fit_temperature else None
    members, notes = opened(models, part, other or fitting, device)
    feed, shares, fits = Feed(part, device=device, workers=workers), [equal(members)], None
    if other:
        shares.insert(0, fitted(members, Feed(other, device=device, workers=workers), views=views))
        notes += [f"the weights are those of top-1 error: with {len(part.classes)} classes top-5 error is constant"] * few(part)
    if fitting:
        crossed = fitting.fingerprint == part.fingerprint
        fits, said = temperature.of_members(members, Feed(fitting, device=device, workers=workers), crossed=crossed, views=views)
        notes += said
    alone = [[float(one is member) for one in members] for member in members] if len(members) > 1 else []
    with Progress("evaluating", len(part)) as bar:
        before, now = measured(members, feed, shares + alone, fits=fits, views=views, tell=bar.advance)
    each = now[len(shares):]
    answer = {**summary(now[0]), "refused": part.refused, "left_out": part.left_out, "views": views,
              "models": [str(model) for model in models], "split": split, "precision": "float32",
              "refused_pictures": findings.refused(part),
              "temperatures": [fit.all for fit in fits or ()] or [member.temperature(views) for member in members],
              **findings.several(models, [summary(seen) for seen in each])}
    if other:
        plain = summary(now[1])
        answer |= {"weights": shares[0], "fitted_on": fit_weights,
                   "plain": {key: plain[key] for key in ("top1_error", "top5_error", "log_loss", "top1_interval")}}
    if fits:
        answer |= kept(models, members, fits, fit_temperature, views, summary(before[0]))
    if per_class:
        answer |= findings.classes(part, now[0])
    if compare:
        answer |= findings.compared(part, models, each)
    if reliability:
        findings.draw(reliability, before[0], now[0])
    if save_predictions:
        findings.save(save_predictions, part, models, each if compare else now[:1])
    if budget:
        answer |= spent(members, feed, shares[0])
    return {**answer, **({"note": "; ".join(notes)} if notes else {})}


# ---- what is asked ---------------------------------------------------------------------------------------------------------


def check(models, views, *, compare, fit_weights, fit_temperature, files):
    if not models:
        raise Misused("evaluate wants at least one MODEL and then a STORE: alexnet evaluate RUN STORE.")
    augment.check_views(views)
    if compare and len(models) != 2:
        raise Misused(f"--compare wants two models before the store, {len(models)} given: alexnet evaluate --compare A B STORE.")
    if fit_weights and len(models) < 2:
        raise Misused("--fit-weights weighs the models of an ensemble, and there is one: name two models or more before the store.")
    if fit_weights and fit_temperature:
        raise Misused("--fit-weights and --fit-temperature are two steps: fit the temperatures, which are kept, then the weights.")
    for option, (path, endings) in files.items():
        if path:
            predictions.check(path, option=option, endings=endings)
    for model in models if fit_temperature else ():
        temperature.may_keep(model)


def split_to_fit(store, name, part):
    """The split on which weights are searched: never the one that is reported."""
    if name == part.name:
        raise Misused(f"--fit-weights {name} is the split that is reported, and weights fitted on it would flatter: take another.")
    other = open_split(store, name)
    if other.fingerprint == part.fingerprint:
        raise Misused(f"--fit-weights {name} holds the same pictures as {part.name}, which is reported: take another split.")
    return other


def opened(models, part, other, device):
    """(members, what has to be said of how well they know the pictures). other: a split on which something is fitted."""
    members, chosen, known, taught, elsewhere = [], [], [], [], []
    for model in models:
        net, mean, card = weights.read(model)
        weights.same_classes(card, part, model)
        chosen += [str(model)] * chosen_on(card, part)
        known += [str(model)] * (card["data"].get("fingerprint") == part.fingerprint)
        taught += [str(model)] * bool(other and card["data"].get("fingerprint") == other.fingerprint)
        elsewhere += findings.elsewhere(model, card)
        members.append(Member.of(net, mean, card, device=device))
    notes = [f"the epoch of {', '.join(chosen)} was chosen on this split, so the error is a little flattered"] if chosen else []
    notes += [f"{', '.join(known)} was trained on the pictures of this split: this is no error on new pictures"] if known else []
    if taught:
        notes += [f"{', '.join(taught)} learnt from the pictures of {other.name}: what is fitted there favours what it knows"]
    return members, notes + elsewhere


def chosen_on(card, part):
    """Whether these pictures decided which epoch was kept: by their fingerprint where the card has it, else by the split's name."""
    decided = [one for one in card["errors"] if one.get("selected_on")]
    return any(one["fingerprint"] == part.fingerprint if one.get("fingerprint") else one["split"] == part.name for one in decided)


def kept(models, members, fits, split, views, before):
    """The temperatures go into the weights files, and from here on into the members."""
    for model, member, fit in zip(models, members, fits):
        temperature.keep(model, fit.all, views=views)
        member.temperatures[views] = fit.all
    return {"temperature_fitted_on": split, "cross_fitted": bool(fits[0].crossed),
            "before": {"temperatures": [fit.before for fit in fits], **{key: before[key] for key in ("log_loss", "ece")}}}


def spent(members, feed, shares):
    """What more views cost and bring, each number of views once through the split. The pass before has warmed the machine."""
    found = []
    with Progress("views", len(feed) * len(BUDGET)) as bar:
        for views in BUDGET:
            began = time.perf_counter()
            line = errors(members, feed, [shares], views=views, tell=bar.advance)[0]
            took = time.perf_counter() - began
            found.append({"views": views, **{f"{key}_{what}": line[f"{key}_{what}"] for key in ("top1", "top5")
                                             for what in ("error", "interval")},
                          "forward_passes": views * len(members), "images_per_second": len(feed) / took})
    return {"budget": found, "budget_runs": 1}
