"""What is odd about a split: classes that are empty, lopsided or grey, pictures of strange sides; and, with a model, the labels
that it disbelieves."""

import functools

import numpy as np

from alexnet.errors import Misused
from alexnet.progress import Progress

BATCH = 256
TINY, LONG = 32, 3.0  # odd: a shorter side below so many pixels, a longer side so many times the shorter
GREY = 0.3  # a class is odd whose share of grey pictures is so far above that of its split
FEW = 5  # pictures from which on a share says something
NAMED = 10  # of classes or pictures in the answer
LISTED = 60  # pictures under a label that the model disbelieves


def counted(part):
    classes, count = part.classes, len(part.names)
    counts = np.bincount(part.labels, minlength=len(classes))
    some = np.flatnonzero(counts)
    grey = np.abs(part.signatures["colour"].astype(int)).reshape(count, -1).max(1, initial=0) <= 1
    share = float(grey.mean()) if count else 0.0
    by_class = np.bincount(part.labels, weights=grey, minlength=len(classes)) / np.maximum(counts, 1)
    odd = np.flatnonzero((by_class > share + GREY) & (counts >= FEW))
    odd = odd[np.argsort(-by_class[odd], kind="stable")].tolist()
    named = functools.partial(_class, classes, counts)
    found = {"images": count, "refused": len(part.refused), "refused_first": part.refused[:NAMED],
             "left_out": len(part.left_out), "left_out_first": part.left_out[:NAMED],
             "empty_classes": [classes[label].id for label in np.flatnonzero(counts == 0)],
             "smallest": named(some[counts[some].argmin()]) if count else None,
             "largest": named(some[counts[some].argmax()]) if count else None,
             "ratio": float(counts.max() / counts[some].min()) if count else None, "grey": share,
             "grey_classes": [{**named(label), "grey": float(by_class[label])} for label in odd[:NAMED]]}
    if part.sides is not None and count:
        shorter, longer = part.sides.min(1), part.sides.max(1)
        tiny, long = np.flatnonzero(shorter < TINY), np.flatnonzero(longer >= LONG * shorter)
        found["sides"] = {"shorter_median": float(np.median(shorter)), "shortest": int(shorter.min()), "longest": int(longer.max()),
                          "tiny": len(tiny), "long": len(long), "tiny_first": [part.names[i] for i in tiny[:NAMED]],
                          "long_first": [part.names[i] for i in long[:NAMED]]}
    return found


def _class(classes, counts, label):
    return {"id": classes[label].id, "name": classes[label].name, "images": int(counts[label])}


def loaded(model, parts, device):
    from alexnet import classifier

    clf = classifier.load(model, device=device)
    ids, others = [one.id for one in clf.classes], [one.id for one in parts[0].classes]
    if ids != others:
        raise Misused(f"{model} tells {len(ids)} classes apart and {parts[0].path} has {len(others)}, not the same ones: "
                      "name a model that was trained on these classes.")
    return clf


def disbelieved(clf, part):
    """Pictures of which the net likes another class best, the surest first."""
    likeliest, how_sure = np.empty(len(part.names), np.int64), np.empty(len(part.names))
    with Progress(f"asking the net about {part.name}", len(part.names)) as bar:
        for first in range(0, len(part.names), BATCH):
            places = range(first, min(first + BATCH, len(part.names)))
            rows = clf.probabilities(np.stack([part.square(place, clf.card["size"]) for place in places]))
            likeliest[first : first + len(rows)], how_sure[first : first + len(rows)] = rows.argmax(1), rows.max(1)
            bar.advance(len(rows))
    wrong = np.flatnonzero(likeliest != part.labels)
    wrong = wrong[np.argsort(-how_sure[wrong], kind="stable")]
    listed = [{"index": int(i), "name": part.names[i], "label": part.classes[part.labels[i]].id,
               "likeliest": part.classes[likeliest[i]].id, "probability": float(how_sure[i])} for i in wrong[:LISTED]]
    trained = part.name == "train" if not part.fingerprint else part.fingerprint == clf.card.get("data", {}).get("fingerprint")
    return {"pictures": len(wrong), "share": len(wrong) / max(len(part.names), 1), "held_out": not trained, "listed": listed}
