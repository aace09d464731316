"""The paper that figures are drawn on: sizes, colours, and a figure as a file or as part of a page, the same bytes each time."""

import io
import re
import textwrap
import zlib

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, MUTED = "#1c2733", "#6b7785"
BLUE, ORANGE, GREEN = "#2378b8", "#d4620a", "#2a8c6a"
RIGHT, WRONG = "#f5aca6", "#b5d2ec"  # light red and light blue, as in Figure 4


def new(width, height, **settings):
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white", **settings)
    FigureCanvasAgg(figure)
    return figure


def settled(figure):
    """The layout is worked out once: it would move a little with every drawing."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def short(name, width, lines=2):
    """The first synonym, in at most so many lines."""
    first = str(name).split(",")[0].strip()
    wrapped = textwrap.wrap(first, width) or [""]
    return "\n".join(wrapped[:lines]) + ("…" if len(wrapped) > lines else "")


def save(figure, path):
    """Writes what the ending of the path says: .png or .svg, on white, the same bytes for the same figure."""
    if str(path).endswith(".svg"):
        with open(path, "w", encoding="utf-8") as file:
            file.write(_svg(figure, transparent=False))
    else:
        figure.savefig(path, metadata={"Software": None})
    return path


def as_png(figure):
    memory = io.BytesIO()
    figure.savefig(memory, format="png", metadata={"Software": None})
    return memory.getvalue()


def as_svg(figure):
    """An <svg> element to stand inside a page: no ground of its own, and the page's text colour for its ink."""
    text = _svg(figure, transparent=True)
    text = text[text.index("<svg") :].replace(INK, "currentColor").replace(MUTED, f"var(--soft, {MUTED})")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # ids must be the page's only ones
    return re.sub(r'( id="|href="#)(?=[A-Z])', rf"\1f{zlib.crc32(text.encode()):08x}-", text)  # those of glyphs


def _svg(figure, *, transparent):
    memory = io.StringIO()
    figure.savefig(memory, format="svg", transparent=transparent, metadata={"Date": None, "Creator": None})
    # ids of clips and markers are drawn at random: numbered in order instead, behind a stem that depends on the drawing
    parts = re.split(r"\b([pm][0-9a-f]{10})\b", memory.getvalue())
    stem = f"f{zlib.crc32(''.join(parts[::2]).encode()):08x}"
    numbers = {}
    parts[1::2] = [f"{stem}-{numbers.setdefault(name, len(numbers))}" for name in parts[1::2]]
    return "".join(parts)
