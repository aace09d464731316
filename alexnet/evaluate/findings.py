"""What one pass over a split tells beside the errors: classes and confusions, two networks picture by picture, how several scatter,
the reliability plot, a row a picture in a file, the refused pictures by name. evaluate.py hands in what it saw."""

import numpy as np
import torch

from alexnet import predictions
from alexnet.evaluate import comparison, scores

NAMED = 5  # refused pictures
LISTED = 300  # pictures on which two networks differ
OF_EACH = ("top1_error", "top5_error", "log_loss", "top1_interval", "top5_interval", "ece")


def refused(split):
    """The first few, with the reason."""
    return [{"path": predictions.as_text(one["path"]), "reason": one["reason"]} for one in split.refusals[0][:NAMED]]


def elsewhere(model, card):
    """A word where the torch that trained the net is another than the one that measures it: the last bits may differ."""
    trained = card.get("environment", {}).get("torch", "")
    there, here = (".".join(version.split("+")[0].split(".")[:2]) for version in (trained, torch.__version__))
    return [f"{model} was trained with torch {there} and is measured with {here}"] if there and there != here else []


def several(models, each):
    """Every model's own errors, their mean and how far they scatter: of nets that differ in the seed, what the seed is worth."""
    if not each:
        return {}
    found = {"each": [{"model": str(model), **{key: one[key] for key in OF_EACH}} for model, one in zip(models, each)]}
    for key in ("top1_error", "top5_error"):
        values = [one[key] for one in each]
        found |= {f"mean_{key}": float(np.mean(values)), f"spread_{key}": scores.spread(values)}
    return found


def classes(split, seen):
    ids = split.classes
    table = scores.by_class(seen.labels, seen.first, seen.five, len(ids))
    pairs = scores.confused(seen.labels, seen.top[:, 0], len(ids))
    images = {one["index"]: one["images"] for one in table}
    return {"classes": [{"id": ids[one["index"]].id, "name": ids[one["index"]].name, **one} for one in table],
            "confused": [{"true": ids[true].id, "true_name": ids[true].name, "answered": ids[other].id,
                          "answered_name": ids[other].name, "count": count, "images": images[true]}
                         for true, other, count in pairs]}


def compared(split, models, each):
    """Right is who has the right class alone in the first place; a tie is not."""
    right = [seen.first == 1 for seen in each]
    found = comparison.compare(right, [seen.losses() for seen in each], names=[str(model) for model in models])
    differ = np.flatnonzero(right[0] != right[1])
    listed = [{"name": predictions.as_text(split.names[i]), "id": split.classes[each[0].labels[i]].id,
               "right": ("first", "second")[int(right[1][i])], "answers": [split.classes[seen.top[i, 0]].id for seen in each]}
              for i in differ[:LISTED].tolist()]
    return {"comparison": found, "differ": listed, "differ_count": len(differ)}


def draw(path, before, now):
    """One curve, or two where a temperature came between."""
    from alexnet import figures

    series = [("", now)] if before is now else [("before", before), ("after the temperature", now)]
    drawn = [(name, scores.bins(seen.likely[:, 0], seen.first)) for name, seen in series]
    curves = [(name, found, [scores.wilson(*pair) for pair in zip(found.right, found.pictures)], found.error())
              for name, found in drawn]
    figures.save(figures.reliability(curves), path)


def save(path, split, models, each):
    """A row a picture and model; what is no comparison is one model, or the ensemble under all its names."""
    names = list(map(str, models)) if len(each) > 1 else [" + ".join(map(str, models))]
    pictures = [predictions.as_text(name) for name in split.names]
    ids = [one.id for one in split.classes]
    columns = {"name": pictures * len(each), "model": [name for name in names for _ in pictures]}
    for name, values in (("label", [seen.labels for seen in each]), ("id", [np.array(ids, object)[seen.labels] for seen in each]),
                         ("top", [seen.top for seen in each]), ("probability", [seen.likely for seen in each]),
                         ("rank", [seen.rank for seen in each]), ("true_probability", [seen.own for seen in each]),
                         ("log_loss", [seen.losses() for seen in each])):
        columns[name] = np.concatenate(values)
    predictions.write(path, columns)
