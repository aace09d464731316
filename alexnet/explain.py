"""A run or a weights file, explained: figures as PNG and SVG, and one report.html with everything inside it, which
fetches nothing. Figures 3 and 4 of the paper, the curves, the measured errors beside chance, and the run's facts.

    alexnet explain RUN        writes RUN/report.html and RUN/figures/
"""

import base64
import io
import json
from html import escape
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from PIL import Image

import alexnet
from alexnet import classifier, figures, ledger, nets, rundir, weights
from alexnet.data import order
from alexnet.data import store as stores
from alexnet.errors import Refused
from alexnet.progress import seconds

PICTURES = 8  # of Figure 4
SEED = 2012


class Gallery(NamedTuple):
    """Pictures to draw examples from."""

    split: stores.Split
    places: np.ndarray
    name: str


def explain(
    model: Annotated[str, "a run folder, a weights file, or a name that ships"],
    *,
    store: Annotated[str | None, "the store to draw pictures from (default: the one the run was trained on)"] = None,
    out: Annotated[str | None, "folder for the report (default: the run's own, or NAME-report)"] = None,
    device="auto",
):
    """Write the paper's figures and one self-contained report.html about a run or a weights file."""
    run = Path(model) if Path(model).is_dir() else None
    clf = classifier.load(model, device=device)
    folder = Path(out) if out else run or Path(f"{weights.find(model).stem}-report")
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    lines = rundir.epochs(run) if run else []
    told = _told(run, "config")
    gallery, note = pictures_of(clf, store or told.get("store"), told=told, insist=store is not None)
    examples = drawn(clf, gallery) if gallery else []
    conv1 = first_kernels(clf.net)

    drawings = {}
    if lines:
        drawings["curves"] = figures.curves(lines)
    if conv1 is not None:
        drawings["kernels"] = figures.kernels(conv1, columns=clf.net.row.columns)
    if examples:
        drawings["predictions"] = figures.panels(
            [e["picture"] for e in examples], [e["name"] for e in examples], [e["top"] for e in examples]
        )
    written = [
        str(figures.save(drawing, folder / "figures" / f"{name}.{ending}"))
        for name, drawing in drawings.items()
        for ending in ("png", "svg")
    ]
    measured = measures(clf.card, rundir.read_log(run) if run else [])
    page = [
        _head(clf, run, model),
        _errors(clf, measured),
        _curves(lines),
        _kernels(clf, drawings.get("kernels")),
        _pictures(examples, gallery, note),
        _facts(clf, run, gallery, lines),
    ]
    report = folder / "report.html"
    rundir.replace_file(report, _page(f"AlexNet report: {run or model}", page).encode())
    return {"report": str(report), "figures": written, "note": note}


# ---- what there is to show ------------------------------------------------------------------------------------------


def pictures_of(clf, store, *, told, insist):
    """-> (what to draw from, why there is nothing). A store that was named has to be there and to fit."""
    if not store:
        return None, "No pictures are shown: the weights do not say where their store is; name one with --store."
    try:
        names = stores.splits(store)
        split = stores.open_split(
            store, next((name for name in ("val", "test") if name in names), (names or ["val"])[0])
        )
        weights.same_classes(clf.card, split, "the net")
    except (Refused, OSError) as error:
        if insist:
            raise
        return None, f"No pictures are shown: {str(error).rstrip('.')}."
    if split.name != "train":
        return Gallery(split, np.arange(len(split)), split.name), None
    if told.get("holdout"):
        held = order.holdout(split.labels, told["holdout"], told["seed"])[1]
        return Gallery(split, held, "the part of train that was held out"), None
    return Gallery(split, np.arange(len(split)), "train, which the net was trained on"), None


def drawn(clf, gallery):
    """Eight pictures drawn at random, with their five likeliest classes, from one view."""
    chosen = np.random.default_rng(SEED).choice(gallery.places, min(PICTURES, len(gallery.places)), replace=False)
    squares = gallery.split.pictures(chosen)
    found = []
    for square, place, row in zip(squares, chosen, clf.probabilities(squares)):
        truth = int(gallery.split.labels[place])
        top = [(one.name, one.probability, one.index == truth) for one in clf.rank(row, 5)]
        found.append({"picture": square, "name": clf.classes[truth].name, "top": top})
    return found


def first_kernels(net):
    """The weights that look at the picture itself, (N, 3, h, w)."""
    weight = getattr(getattr(net, net.row.layers[0].name), "weight", None)
    return weight.detach().float().cpu().numpy() if weight is not None and weight.ndim == 4 else None


def measures(card, log):
    """One measurement a number of views, the fewest first: what `evaluate` found last, else what the card says."""
    found = {}
    for one in [*card.get("errors", []), *(event for event in log if event["event"] == "evaluate")]:
        found[one.get("views", 1)] = one
    return [found[views] for views in sorted(found)]


def _told(run, name):
    return (rundir.RunDir(run).read(f"{name}.json") or {}) if run else {}


# ---- the page, section by section -----------------------------------------------------------------------------------


def _head(clf, run, model):
    card, data = clf.card, clf.card.get("data", {})
    recipe = card.get("recipe", {}).get("name")
    images = f" on <strong>{data['images']:,}</strong> pictures" if data.get("images") else ""
    how = f", trained{images} with the recipe <strong>{escape(recipe)}</strong>" if recipe else ""
    path = run.resolve() if run else Path(model)
    title = f"{path.parent.name}/run" if path.name == "run" else path.name
    note = f'<p class="note">{escape(card["note"])}</p>' if card.get("note") else ""
    return (
        f'<header><p class="eyebrow">AlexNet report</p><h1>{escape(title)}</h1>'
        f'<p class="lead">The net <strong>{escape(card["net"])}</strong>, {escape(clf.net.row.title)}{how}, tells '
        f"<strong>{len(clf.classes):,}</strong> classes apart.</p>{note}"
    )


def _errors(clf, measured):
    """Tiles beside chance; ends the header."""
    if not measured:
        return '<p class="note">No error is known: alexnet evaluate measures one.</p></header><main>'
    classes, tiles = len(clf.classes), []
    for key, places in (("top1", 1), ("top5", 5)):
        chance = 1 - min(places, classes) / classes
        tiles += [_tile(one, key, places, chance) for one in measured if one.get(f"{key}_error") is not None]
    first = measured[0]
    split = str(first.get("split", "val"))
    known = "the very pictures it was trained on" if split == "train" else "none of them trained on"
    said = f"Measured on {first['images']:,} pictures of <em>{escape(split)}</em>, {known}."
    if any(one.get("selected_on") or "was chosen" in one.get("note", "") for one in measured):
        said += " They also decided which epoch's weights were kept, so these errors lean a little to the good side."
    return f'<div class="measures">{"".join(tiles)}</div><p class="note">{said}</p></header><main>'


def _tile(one, key, places, chance):
    error, interval = one[f"{key}_error"], one.get(f"{key}_interval")
    views = {1: "one view", 10: "ten views"}.get(one.get("views", 1), f"{one.get('views')} views")
    within = f"95&nbsp;% interval {100 * interval[0]:.1f}–{100 * interval[1]:.1f}" if interval else "&nbsp;"
    return (
        f'<div class="measure"><h3>Top-{places} error, {views}</h3>'
        f'<p class="value">{100 * error:.1f}<small> %</small></p>'
        f'<p class="within">{within}</p><div class="track"><i style="width:{100 * error:.1f}%"></i>'
        f'<b style="left:{100 * chance:.1f}%"></b></div><p class="chance"><b></b>chance {100 * chance:.1f} %</p></div>'
    )


def _curves(lines):
    if not lines:
        return ""
    first, last = lines[0], lines[-1]
    names = (
        "Training and held-out loss over the epochs",
        "Top-1 and top-5 error over the epochs",
        "Learning rate over the epochs",
    )
    drawings = (figures.loss_curve(lines), figures.error_curve(lines), figures.rate_curve(lines))
    drawn = "".join(
        f'<figure role="img" aria-label="{name}">{figures.as_svg(drawing)}</figure>'
        for name, drawing in zip(names, drawings)
    )
    before, after = (f"{100 * line['val_top1_error']:.1f}&nbsp;%" for line in (first, last))
    said = f"{len(lines)} epochs: the top-1 error went from {before} after the first to {after} after the last."
    return _section("Learning curves", said if len(lines) > 1 else "One epoch.", f'<div class="curves">{drawn}</div>')


def _kernels(clf, drawing):
    if drawing is None:
        return ""
    layer, columns = clf.net.row.layers[0], clf.net.row.columns
    apart = " Those of the first column stand above those of the second." if columns == 2 else ""
    said = (
        f"What the net looks for first: the {layer.maps} kernels of {layer.kernel} × {layer.kernel} × 3 weights that "
        f"see the picture itself, all on one scale, as in Figure 3 of the paper.{apart}"
    )
    image = f'<img alt="{layer.maps} kernels of the first layer" src="{_embedded(figures.as_png(drawing), "png")}">'
    return _section("First-layer kernels", said, f'<figure class="kernels">{image}</figure>')


def _pictures(examples, gallery, note):
    if not examples:
        return f'<section><h2>Pictures</h2><p class="note">{escape(note or "")}</p></section>'
    right = sum(e["top"][0][2] for e in examples)
    said = (
        f"{len(examples)} pictures drawn at random from <em>{escape(gallery.name)}</em> under their true names, and "
        f'the net\'s five likeliest classes from one view: <span class="key right"></span> ✓ the true one, '
        f'<span class="key"></span> another. In {right} of {len(examples)} the true class stands first. '
        f"Figure 4 of the paper."
    )
    return _section("What it sees", said, f'<div class="pictures">{"".join(map(_card, examples))}</div>')


def _card(example):
    bars = []
    for name, probability, correct in example["top"]:
        mark, style = ("✓ ", ' class="right"') if correct else ("", "")
        bars.append(
            f'<li{style} style="--share:{100 * probability:.1f}%"><span title="{escape(name)}">{mark}'
            f"{escape(_first(name))}</span><span>{_share(probability)}</span></li>"
        )
    image, name = _picture(example["picture"]), escape(_first(example["name"]))
    return (
        f'<figure class="picture"><img alt="a picture of the class {name}" src="{image}"><figcaption><h3>{name}</h3>'
        f"<ol>{''.join(bars)}</ol></figcaption></figure>"
    )


def _facts(clf, run, gallery, lines):
    card, told, machine = clf.card, _told(run, "config"), _told(run, "environment")
    data, recipe, row = card.get("data", {}), card.get("recipe", {}), clf.net.row
    last = lines[-1] if lines else {}
    size = sum(shape.parameters for shape in nets.shapes(row, len(clf.classes)))
    groups = {
        "Network": {
            "net": f"{row.name}: {row.title}",
            "parameters": f"{size:,}",
            "sees": f"{row.crop} × {row.crop} pixels, cut from {card['size']} × {card['size']}",
            "classes": f"{len(clf.classes):,}",
            "weights of epoch": card.get("epoch"),
            "centred on": {"image": "the mean picture", "colour": "the mean colour"}.get(card.get("centring")),
            "temperature": f"{card.get('temperature', 1.0):g}",
        },
        "Data": {
            "store": data.get("store") or told.get("store"),
            "fingerprint": (data.get("fingerprint") or "")[:16],
            "trained on": _counted(data.get("images")),
            "measured on": _counted(last.get("val_images")),
            "refused": _counted(gallery.split.refused) if gallery else None,
            "licence": data.get("licence"),
            "weights chosen on": last.get("select"),
        },
        "Machine": {
            "device": " ".join(str(machine[k]) for k in ("device", "device_name") if machine.get(k)),
            "cores, threads": f"{machine['cores']}, {machine['threads']}" if machine.get("cores") else None,
            "torch": machine.get("torch"),
            "python": machine.get("python"),
            "system": machine.get("platform"),
            "alexnet": machine.get("alexnet") or alexnet.__version__,
            "commit": machine.get("commit"),
        },
        "Time": {
            "started": machine.get("started"),
            "took": seconds(last["seconds"]) if "seconds" in last else None,
            "epochs": len(lines) or None,
            "pictures a second": f"{np.median([l['images_per_second'] for l in lines]):,.0f}" if lines else None,
            **ledger.told(last),
        },
        "Recipe": {key.replace("_", " "): _shown(value) for key, value in recipe.items()},
    }
    tables = "".join(
        f"<div{' class=wide' if title == 'Recipe' else ''}><h3>{title}</h3><table>{rows}</table></div>"
        for title, facts in groups.items()
        if (rows := "".join(_row(name, value) for name, value in facts.items()))
    )
    command = machine.get("command")
    ran = f"<h3>Command</h3><pre><code>{escape(command)}</code></pre>" if command else ""
    return (
        _section("The facts", "What was run, on what, for how long.", f'<div class="facts">{tables}</div>{ran}')
        + "</main>"
    )


def _section(title, said, content):
    return f"<section><h2>{title}</h2><p>{said}</p>{content}</section>"


def _row(name, value):
    return "" if value in (None, "") else f"<tr><th scope=row>{escape(name)}</th><td>{escape(str(value))}</td></tr>"


def _counted(value):
    return None if value is None else f"{value:,} {'picture' if value == 1 else 'pictures'}"


def _shown(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(one if isinstance(one, str) else json.dumps(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else value


def _share(probability):
    return "&lt; 1 %" if 0 < probability < 0.005 else f"{100 * probability:.0f} %"


def _first(name):
    return name.split(",")[0]


def _picture(square):
    """Small pictures without loss, large ones as JPEG."""
    memory, ending = io.BytesIO(), "png" if square.shape[0] <= 96 else "jpeg"
    Image.fromarray(square).save(memory, ending, **({"quality": 90} if ending == "jpeg" else {"optimize": True}))
    return _embedded(memory.getvalue(), ending)


def _embedded(content, ending):
    return f"data:image/{ending};base64,{base64.b64encode(content).decode()}"


def _page(title, sections):
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    closing = f"<footer>Written by <code>alexnet explain</code> {alexnet.__version__} on {rundir.now()}.</footer>"
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{escape(title)}</title>'
        f"<style>\n{style}</style></head><body>\n" + "\n".join(sections) + f"\n{closing}\n</body></html>\n"
    )
