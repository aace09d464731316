"""Eight pictures under their true names with the net's five likeliest classes: Figure 4 of the paper, left."""

from html import escape

from alexnet import figures
from alexnet.explain.page import Section, first, image, percent

SIDE = 256  # pixels of a picture on the page, at most


def figure(subject):
    found = subject.examples
    if not found:
        return None
    tops = [[(one.name, one.probability, one.index == example.truth) for one in example.top] for example in found]
    return figures.panels([example.square for example in found], [example.name for example in found], tops)


def sections(subject, drawings):
    found, wrong = subject.examples, subject.errors
    if not found:
        note = subject.note or f"The net is right on all of the {len(subject.seen.places):,} pictures."
        return [Section("What it sees", escape(note), "")]
    right = sum(example.top[0].index == example.truth for example in found)
    kind = "those it gets wrong in" if wrong else "drawn at random from"
    outcome = "" if wrong else f" In {right} of {len(found)} the true class stands first."
    said = (
        f"{len(found)} pictures, {kind} <em>{escape(subject.gallery.name)}</em>, under their true names, and the net's "
        'five likeliest classes from one view: <span class="key right"></span> ✓ the true one, <span class="key"></span> another.'
        f"{outcome} Figure 4 of the paper, left."
    )
    return [Section("What it sees", said, f'<div class="pictures">{"".join(map(card, found))}</div>')]


def card(example):
    bars = []
    for name, _, index, probability in example.top:
        mark, style = ("✓ ", ' class="right"') if index == example.truth else ("", "")
        bars.append(
            f'<li{style} style="--share:{100 * probability:.1f}%"><span title="{escape(name)}">{mark}'
            f"{escape(first(name))}</span><span>{percent(probability)}</span></li>"
        )
    name = first(example.name)
    return (
        f'<figure class="picture">{image(example.square, f"a picture of the class {name}", most=SIDE)}<figcaption>'
        f"<h3>{escape(name)}</h3><ol>{''.join(bars)}</ol></figcaption></figure>"
    )


FIGURES = {"predictions": figure}
