"""What a transferred model gets before it is handed over: a temperature and a threshold below which it answers `unknown`, both from
pictures held out for choices; its errors on pictures that decided nothing; a sheet of the labels that look wrong."""

import json
import tempfile
from pathlib import Path

import numpy as np

from alexnet import cards, classifier
from alexnet.data import sample
from alexnet.data import store as stores
from alexnet.evaluate import evaluate, temperature
from alexnet.search import sheet

ACCEPTED = 0.95  # of the held-out pictures that are answered rightly
FOREIGN = 16  # crops of each embedded photograph, as pictures of no class
SHOWN = 24
KEPT = ("images", "views", "top1_error", "top5_error", "log_loss", "top1_interval", "top5_interval", "split", "precision", "ece")


def calibrated(model, store, split):
    """The temperature and the threshold go into the card. Where every held-out picture is answered rightly the fit runs to its end,
    and the temperature stays 1."""
    evaluate(model, store=store, split=split, fit_temperature=split)
    if temperature.at_the_end(cards.read_card(model)["temperature"]):
        temperature.keep(model, 1.0)
    clf, part = classifier.load(model), stores.open_split(store, split)
    sure, right = confidence(clf, part.pictures(np.arange(len(part))), part.labels)
    threshold = float(np.quantile(sure[right], 1 - ACCEPTED, method="lower")) if right.any() else 1.0
    temperature.keep(model, unknown_below=threshold)
    with tempfile.TemporaryDirectory() as folder:
        sample.write(Path(folder) / "foreign", size=clf.card["size"], train=1, val=FOREIGN)
        files = sorted((Path(folder) / "foreign" / "val").rglob("*.png"))
        foreign, _ = confidence(clf, np.stack([clf.square(file) for file in files]))
    return {"temperature": clf.card["temperature"], "unknown_below": threshold,
            "accepted": {"right": float((sure[right] >= threshold).mean()) if right.any() else None,
                         "wrong": float((sure[~right] >= threshold).mean()) if (~right).any() else None,
                         "foreign": float((foreign >= threshold).mean()), "foreign_pictures": len(foreign)}}


def confidence(clf, squares, labels=None):
    """(N,) the likeliest class's probability; whether it is the right one."""
    rows = np.concatenate([clf.probabilities(squares[first : first + classifier.BATCH])
                           for first in range(0, len(squares), classifier.BATCH)])
    return rows.max(1), None if labels is None else rows.argmax(1) == labels


def reported(model, store):
    """Errors on val, one view and ten, on the answer and on the card."""
    found = [evaluate(model, store=store, views=views, per_class=views == 1) for views in (1, 10)]
    fingerprint = stores.open_split(store, "val").fingerprint
    errors = [{**{key: one[key] for key in KEPT}, "fingerprint": fingerprint,
               "selected_on": "was chosen on this split" in one.get("note", "")} for one in found]
    before = [one for one in cards.read_card(model)["errors"] if one["split"] != "val"]
    temperature.keep(model, errors=[*errors, *before])
    return {"errors": errors, "worst": found[0]["classes"][:5], "confused": found[0]["confused"][:5]}


def doubts(out, part, found):
    """[{"path", "label", "answer", "probability", "label_probability"}, ...] and their pictures as a sheet."""
    lines = [{"path": part.names[at], "label": part.classes[part.labels[at]].name, "answer": part.classes[answer].name,
              "probability": best, "label_probability": own} for at, answer, best, own in found]
    if lines:
        shown = [(part.pictures([at])[0], f"{line['label']} → {line['answer']}") for (at, *_), line in zip(found[:SHOWN], lines)]
        sheet.write(out / "doubted.png", [(row[0], row[1:]) for row in (shown[i : i + 6] for i in range(0, len(shown), 6))])
    (out / "doubted.json").write_text(json.dumps(lines, indent=1))
    return lines
