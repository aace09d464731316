"""The page of an inspection: findings, counts, and pairs side by side under their names and classes. One file with everything
inside it; it fetches nothing and runs nothing, and can be read on a phone."""

import base64
import io
from html import escape
from pathlib import Path

from PIL import Image

import alexnet
from alexnet import rundir
from alexnet.data import likeness
from alexnet.errors import Refused

SIDE = 96  # pixels of a picture on the page, at most
REFUSED = 200  # named on the page

KINDS = {  # of pairs: title, and what they are
    "leaks": ("On both sides of a split", "A picture that is trained on and measured on flatters the error."),
    "across": ("Under two labels", "The same picture with two labels: one is wrong, or the classes overlap."),
    "exact": ("Twice, exactly", "Equal, within a class of a split."),
    "near": ("Twice, nearly", "Changed copies within a class of a split; some may be two pictures of one scene."),
}


def written(answer, parts, pairs, suspects, *, most):
    sections = [_head(answer), _findings(answer["findings"]), _counts(answer)]
    for kind, (title, said) in KINDS.items():
        if pairs[kind]:
            shown = "".join(_pair(pair, parts) for pair in pairs[kind][:most])
            said = f"{said} {_capped(len(pairs[kind]), most, 'pairs')}"
            sections.append(_section(title, said, f'<div class="pairs">{shown}</div>'))
    for part in parts:
        if part.name in suspects and suspects[part.name]["listed"]:
            sections.append(_disbelieved(part, suspects[part.name]))
    for part in parts:
        sections += [_lines(*one, escape(part.name)) for one in (
            ("Refused in", "Not read, and why.", part.refused),
            ("Left out of", "Held out and not in the store: errors would flatter.", part.left_out)) if one[-1]]
    return _page(f"Inspection of {Path(answer['path']).name}", sections)


def _head(answer):
    splits = ", ".join(f"<strong>{one['images']:,}</strong> in {escape(name)}" for name, one in answer["splits"].items())
    notes = "".join(f'<p class="note">{escape(note)}.</p>' for note in answer["notes"])
    return (f'<header><p class="eyebrow">AlexNet inspection</p><h1>{escape(_plain(Path(answer["path"]).name))}</h1><p class="lead">'
            f"{escape(answer['kind'][:1].upper() + answer['kind'][1:])}: <strong>{answer['classes']:,}</strong> classes; "
            f"pictures: {splits}.</p>{notes}</header><main>")


def _findings(findings):
    if not findings:
        return _section("Findings", "Nothing odd was found.", "")
    lines = "".join(f'<li{" class=serious" if one["serious"] else ""}><strong>{escape(_plain(one["said"]))}.</strong> '
                    f"<span>{escape(one['do'][:1].upper() + one['do'][1:])}.</span></li>" for one in findings)
    return _section("Findings", "The serious ones stand first.", f'<ul class="findings">{lines}</ul>')


def _counts(answer):
    heads = ("split", "pictures", "refused", "empty classes", "smallest class", "largest class", "grey")
    rows = [_row_of_heads(heads)]
    for name, one in answer["splits"].items():
        ends = [f"{end['name']} ({end['images']:,})" if end else "" for end in (one["smallest"], one["largest"])]
        counts = (f"{value:,}" for value in (one["images"], one["refused"], len(one["empty_classes"])))
        cells = (name, *counts, *ends, f"{100 * one['grey']:.1f} %")
        rows.append("<tr>" + "".join(f"<td>{escape(_plain(cell))}</td>" for cell in cells) + "</tr>")
    table = f'<div class="scroll"><table class="counts">{"".join(rows)}</table></div>'
    if answer["pairs"]:
        rows = [_row_of_heads(("copies in", "exact, one label", "exact, two labels", "near, one label", "near, two labels"))]
        for where, kinds in answer["pairs"].items():
            cells = [where, *(f"{kinds[kind][which]:,}" for kind in ("exact", "near") for which in ("same_class", "other_class"))]
            rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
        table += f'<div class="scroll"><table class="counts">{"".join(rows)}</table></div>'
    return _section("Counts", "Pairs of copies: of several equal pictures, each with the first of them.", table)


def _row_of_heads(heads):
    return "<tr>" + "".join(f"<th scope=col>{head}</th>" for head in heads) + "</tr>"


def _pair(pair, parts):
    how = "equal" if pair["kind"] == "exact" else f"likeness {pair['likeness']:.2f}" + (", mirrored" if pair["mirrored"] else "")
    ends = "".join(_end(parts[p], index) for p, index in pair["ends"])
    return f'<article class="pair{" across" if pair["across"] else ""}"><p>{how}</p><div>{ends}</div></article>'


def _end(part, index, more=""):
    label = escape(_first(part.classes[part.labels[index]].name))
    return (f'<figure>{_image(part, index, label)}<figcaption><b>{label}</b>{more}<span>{escape(part.name)}</span>'
            f"<small>{escape(_plain(part.names[index]))}</small></figcaption></figure>")


def _disbelieved(part, told):
    cards, names = [], {one.id: one.name for one in part.classes}
    for one in told["listed"]:
        sure = f"<i>{escape(_first(names[one['likeliest']]))} {100 * one['probability']:.0f} %</i>"
        cards.append(f'<article class="pair"><div>{_end(part, one["index"], sure)}</div></article>')
    trained = "" if told["held_out"] else " The net was trained on these pictures, and may have learnt their wrong labels by heart."
    said = "Under each the class that the net likes better, in italics. "
    said += _capped(told["pictures"], len(cards), "pictures") + trained
    return _section(f"Disbelieved labels of {escape(part.name)}", said, f'<div class="pairs single">{"".join(cards)}</div>')


def _lines(title, said, lines, split):
    named = ((escape(_plain(one["path"])), escape(_plain(one["reason"]))) for one in lines[:REFUSED])
    rows = "".join(f"<tr><td>{path}</td><td>{reason}</td></tr>" for path, reason in named)
    said = f"{said} {_capped(len(lines), REFUSED, 'pictures')}"
    return _section(f"{title} {split}", said, f'<div class="scroll"><table>{rows}</table></div>')


def _capped(count, most, what):
    if count <= most:
        return f"{count:,} {what if count != 1 else what[:-1]}."
    return f"{most:,} of {count:,} {what}" + ("; pairs.csv has all." if what == "pairs" else ".")


def _image(part, index, label):
    try:
        square = part.square(index, None)
    except (Refused, OSError):  # gone since it was looked at
        return '<p class="note">gone</p>'
    image, memory = Image.fromarray(square), io.BytesIO()
    image.thumbnail((SIDE, SIDE))
    image.save(memory, "JPEG", quality=88)
    return f'<img alt="{label}" src="data:image/jpeg;base64,{base64.b64encode(memory.getvalue()).decode()}">'


def _section(title, said, content):
    return f"<section><h2>{title}</h2><p>{said}</p>{content}</section>"


def _first(name):
    return _plain(name.split(",")[0])


def _plain(text):
    """Names that are not UTF-8 can be shown too."""
    return str(text).encode("utf-8", "backslashreplace").decode()


def _page(title, sections):
    here = Path(__file__)
    style = "".join(file.read_text(encoding="utf-8") for file in (here.parents[1] / "report.css", here.with_suffix(".css")))
    closing = (f"<footer>Written by <code>alexnet inspect</code> {alexnet.__version__} on {rundir.now()}. Near: the edges of one "
               f"picture explain more than {100 * likeness.NEAR:.0f} % of the other's.</footer>")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{escape(_plain(title))}</title>'
        f"<style>\n{style}</style></head><body>\n" + "\n".join(sections) + f"\n</main>{closing}\n</body></html>\n"
    )
