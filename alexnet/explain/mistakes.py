"""Which classes are hard, which are taken for which, and whether the net's confidence can be believed."""

from html import escape

import numpy as np

from alexnet import figures
from alexnet.evaluate import scores
from alexnet.explain.page import Section, embedded, first, image, percent

WORST, BEST, PAIRS = 10, 5, 8
FEW = 15  # classes up to which all are listed
SIDE = 96


def _names(subject):
    return [first(one.name) for one in subject.clf.classes]


def counts(seen, classes):
    """(true, answered)"""
    return np.bincount(seen.labels * classes + seen.top[:, 0], minlength=classes**2).reshape(classes, classes)


def confusion_figure(subject):
    if not subject.gallery:
        return None
    names = _names(subject)
    return figures.confusion(counts(subject.seen, len(names)), names)


def calibration_figure(subject):
    if not subject.gallery:
        return None
    found = _bins(subject.seen)
    return figures.reliability([("", found, [scores.wilson(*pair) for pair in zip(found.right, found.pictures)], found.error())])


def _bins(seen):
    return scores.bins(seen.likely[:, 0], seen.right)


def sections(subject, drawings):
    if not subject.gallery:
        return []
    return [_classes(subject), _confused(subject, drawings["confusion"]), _calibrated(subject, drawings["calibration"])]


def _on(subject):
    """The pictures that these sections speak of."""
    looked, there = len(subject.seen.places), len(subject.gallery.places)
    part = "" if looked == there else f", drawn at random from its {there:,}"
    return f"{looked:,} pictures of <em>{escape(subject.gallery.name)}</em>{part}"


def _classes(subject):
    seen, names = subject.seen, _names(subject)
    table = [one for one in scores.by_class(seen.labels, seen.right, seen.among, len(names)) if one["images"]]
    groups = [(f"The {WORST} worst", table[:WORST]), (f"The {BEST} best", table[: -BEST - 1 : -1])]
    groups = [("", table)] if len(table) <= FEW else groups
    drawn = "".join(f"<div>{f'<h3>{title}</h3>' if title else ''}<ol>{''.join(_bar(one, names) for one in part)}</ol></div>"
                    for title, part in groups)
    said = f"The top-1 error class by class, one view of {_on(subject)}. The thin line is its 95&nbsp;% interval."
    return Section("Hard classes and easy ones", said, f'<div class="classes">{drawn}</div>', "Classes")


def _bar(one, names):
    low, high = (100 * end for end in one["top1_interval"])
    error = 100 * one["top1_error"]
    return (f'<li><span>{escape(names[one["index"]])}</span>'
            f'<i style="--share:{error:.1f}%;--low:{low:.1f}%;--high:{high:.1f}%"></i>'
            f"<b>{error:.0f}&nbsp;%</b><small>of&nbsp;{one['images']:,}</small></li>")


def _confused(subject, matrix):
    seen, names = subject.seen, _names(subject)
    each = np.bincount(seen.labels, minlength=len(names))
    rows = []
    for true, other, count in scores.confused(seen.labels, seen.top[:, 0], len(names), PAIRS):
        wrong = np.flatnonzero((seen.labels == true) & (seen.top[:, 0] == other))
        surest = seen.places[wrong[np.argmax(seen.likely[wrong, 0])]]
        picture = image(subject.gallery.split.pictures([surest])[0], f"a picture of {names[true]}", most=SIDE)
        rows.append(f"<li>{picture}<p><b>{escape(names[true])}</b> answered <b>{escape(names[other])}</b><br>"
                    f"<small>{count:,} of {each[true]:,} pictures</small></p></li>")
    drawn = f'<img alt="confusion matrix" src="{embedded(figures.as_png(matrix), "png")}">'
    said = (
        "A row a true class, a column an answer, darker for more; what is right stands on the diagonal. Counted on "
        f"{_on(subject)}. Beside it the pairs most often taken for each other, with the picture on which the net was surest of the "
        "wrong answer."
    )
    pairs = f'<ul class="pairs">{"".join(rows)}</ul>' if rows else ""
    return Section("What it takes for what", said, f'<div class="confused"><figure>{drawn}</figure>{pairs}</div>', "Confusions")


def _calibrated(subject, drawing):
    seen = subject.seen
    found, sure = _bins(seen), float(seen.likely[:, 0].mean())
    error, chance = found.error(), scores.chance_error(seen.likely[:, 0])
    lean = "more sure than it should be" if sure > seen.right.mean() else "less sure than it could be"
    said = (
        f"Of the answers given with 80 % confidence, 80 % should be right. On {_on(subject)} the net is {percent(sure, 1)} sure on "
        f"average and right in {percent(float(seen.right.mean()), 1)}: it is {lean}. The calibration error is {percent(error, 1)}; "
        f"chance alone gives about {percent(chance, 1)}. "
        + ("A temperature is fitted already." if subject.card.get("temperature", 1.0) != 1.0 else
           "No temperature is fitted: alexnet evaluate --fit-temperature SPLIT fits one.")
    )
    drawn = f'<figure class="calibration" role="img" aria-label="reliability diagram">{figures.as_svg(drawing)}</figure>'
    return Section("Can its confidence be believed?", said, drawn, "Calibration")


FIGURES = {"confusion": confusion_figure, "calibration": calibration_figure}
