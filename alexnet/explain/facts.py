"""The architecture as the paper draws it, and the run's facts: network, data with what was refused, machine, time, recipe."""

import json
from dataclasses import replace
from html import escape

import numpy as np

import alexnet
from alexnet import drawing, figures, ledger, nets
from alexnet.data import store as stores
from alexnet.evaluate import findings
from alexnet.explain.page import Section, counted, tables
from alexnet.nets.drawing import described
from alexnet.progress import seconds


def figure(subject):
    return drawing.networks([described(replace(subject.row, classes=len(subject.clf.classes)))])


def sections(subject, drawings):
    return [_architecture(subject, drawings["architecture"]), _facts(subject)]


def _architecture(subject, drawing):
    row = subject.row
    two = " Two columns see the same picture and exchange what they found at a few places only." if row.columns == 2 else ""
    said = f"{escape(row.name)}: {escape(row.title)}.{two} In the manner of Figure 2 of the paper."
    drawn = f'<figure class="architecture" role="img" aria-label="the layers">{figures.as_svg(drawing)}</figure>'
    return Section("Architecture", said, drawn)


def _facts(subject):
    command, refused = subject.environment.get("command"), _refused(subject)
    ran = f"<h3>Command</h3><pre><code>{escape(command)}</code></pre>" if command else ""
    facts = {"Network": _network(subject), "Data": _data(subject), "Machine": _machine(subject.environment),
             "Time": _time(subject), "Recipe": {key.replace("_", " "): _shown(value)
                                                for key, value in subject.card.get("recipe", {}).items()}}
    return Section("The facts", "What was run, on what, for how long.", f'<div class="facts">{tables(facts)}</div>{refused}{ran}',
                   "Facts")


def _network(subject):
    card, row, classes = subject.card, subject.row, len(subject.clf.classes)
    return {
        "net": f"{row.name}: {row.title}",
        "parameters": f"{sum(shape.parameters for shape in nets.shapes(row, classes)):,}",
        "sees": f"{row.crop} × {row.crop} pixels, cut from {card['size']} × {card['size']}",
        "classes": f"{classes:,}",
        "weights of epoch": card.get("epoch"),
        "centred on": {"image": "the mean picture", "colour": "the mean colour"}.get(card.get("centring")),
        "temperature": f"{card.get('temperature', 1.0):g}",
    }


def _data(subject):
    data, last = subject.card.get("data", {}), subject.lines[-1] if subject.lines else {}
    refused, left_out = ({split.name: getattr(split, what) for split in _splits(subject)} for what in ("refused", "left_out"))
    return {
        "store": data.get("store") or subject.config.get("store"),
        "fingerprint": (data.get("fingerprint") or "")[:16],
        "trained on": counted(data.get("images")),
        "measured on": counted(last.get("val_images")),
        "refused": ", ".join(f"{count:,} of {name}" for name, count in refused.items()) if refused else None,
        "left out, like train's": ", ".join(f"{count:,} of {name}" for name, count in left_out.items() if count),
        "pictures shown from": subject.gallery.split.path if subject.gallery else None,
        "licence": data.get("licence"),
        "weights chosen on": last.get("select"),
    }


def _splits(subject):
    """Those that the report stands on."""
    if not subject.gallery:
        return []
    store, shown = subject.gallery.split.store, subject.gallery.split.name
    return [stores.open_split(store, name) for name in dict.fromkeys(("train", shown)) if name in stores.splits(store)]


def _refused(subject):
    """The first refused pictures of each split, with the reason."""
    lines = [f"<li><code>{escape(one['path'])}</code>, of {escape(split.name)}: {escape(one['reason'])}</li>"
             for split in _splits(subject) for one in findings.refused(split)]
    return f'<h3>Refused pictures</h3><ul class="refused">{"".join(lines)}</ul>' if lines else ""


def _machine(told):
    return {
        "device": " ".join(str(told[key]) for key in ("device", "device_name") if told.get(key)),
        "cores, threads": f"{told['cores']}, {told['threads']}" if told.get("cores") else None,
        "torch": told.get("torch"),
        "python": told.get("python"),
        "system": told.get("platform"),
        "alexnet": told.get("alexnet") or alexnet.__version__,
        "commit": told.get("commit"),
    }


def _time(subject):
    lines, last = subject.lines, subject.lines[-1] if subject.lines else {}
    return {
        "started": subject.environment.get("started"),
        "took": seconds(last["seconds"]) if "seconds" in last else None,
        "epochs": len(lines) or None,
        "pictures a second": f"{np.median([line['images_per_second'] for line in lines]):,.0f}" if lines else None,
        **ledger.told(last),
    }


def _shown(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(one if isinstance(one, str) else json.dumps(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else value


FIGURES = {"architecture": figure}
