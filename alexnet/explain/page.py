"""The frame of a report: one HTML file with everything inside it, which fetches nothing and runs nothing; pictures become data."""

import base64
import io
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import alexnet
from alexnet import rundir

REFRESH = 10  # seconds between two looks at the page of a run that goes on


class Section(NamedTuple):
    title: str
    said: str  # HTML
    content: str  # HTML
    short: str = ""  # its name among the links at the top


def page(title, head, sections, *, refresh=False):
    here = Path(__file__)
    style = "".join(file.read_text(encoding="utf-8") for file in (here.parents[1] / "report.css", here.with_suffix(".css")))
    again = f'<meta http-equiv="refresh" content="{REFRESH}">' if refresh else ""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    links = "".join(f'<a href="#{_anchor(one)}">{escape(one.short or one.title)}</a>' for one in sections)
    body = "\n".join(f'<section id="{_anchor(one)}"><h2>{escape(one.title)}</h2><p>{one.said}</p>{one.content}</section>'
                     for one in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">{again}<title>{escape(title)}</title>'
        f"<style>\n{style}</style></head><body>\n<header>{head}<nav>{links}</nav></header>\n<main>{body}</main>\n"
        f"<footer>Written by <code>alexnet explain</code> {alexnet.__version__} on {rundir.now()}.</footer>\n</body></html>\n"
    )


def _anchor(section):
    return "-".join((section.short or section.title).lower().split())


def tables(groups):
    """{title: {name: value}}; what has no value is left out. The last is wide."""
    last = list(groups)[-1]
    return "".join(
        f"<div{' class=wide' if title == last else ''}><h3>{title}</h3><table>{rows}</table></div>"
        for title, facts in groups.items()
        if (rows := "".join(_row(name, value) for name, value in facts.items()))
    )


def _row(name, value):
    return "" if value in (None, "") else f"<tr><th scope=row>{escape(name)}</th><td>{escape(str(value))}</td></tr>"


def first(name):
    """The first of a class's synonyms."""
    return str(name).split(",")[0].strip()


def percent(share, digits=0):
    return "&lt;&nbsp;1&nbsp;%" if 0 < share < 0.005 and not digits else f"{100 * share:.{digits}f}&nbsp;%"


def counted(value, what="picture"):
    return None if value is None else f"{value:,} {what if value == 1 else what + 's'}"


def image(square, alt, *, most=None, style=""):
    """A uint8 picture, (H, W, 3) or grey (H, W), as an <img>; made smaller where a side is above `most`. Small ones and
    maps without loss, large ones as JPEG."""
    drawn, memory = Image.fromarray(np.ascontiguousarray(square)), io.BytesIO()
    if most and max(drawn.size) > most:
        drawn = drawn.resize([max(1, round(side * most / max(drawn.size))) for side in drawn.size], Image.Resampling.LANCZOS)
    ending = "jpeg" if drawn.mode == "RGB" and max(drawn.size) > 96 else "png"
    drawn.save(memory, ending, **({"quality": 88} if ending == "jpeg" else {"optimize": True}))
    kind = f' class="{style}"' if style else ""
    return f'<img{kind} alt="{escape(alt)}" decoding="async" src="{embedded(memory.getvalue(), ending)}">'


def embedded(content, ending):
    return f"data:image/{ending};base64,{base64.b64encode(content).decode()}"
