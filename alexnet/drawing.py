"""Draws networks in the manner of the paper's Figure 2: boxes in perspective for maps, bars for units, columns above each other,
each kernel at its place in what it reads. It knows no nets, it gets stages: plain numbers and words (nets/drawing.py).

Everything is laid out in inches from the sizes of boxes and of texts, so that nothing overlaps and all nets share one scale.
"""

from math import atan2, cbrt, sqrt
from typing import NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyArrowPatch, Polygon
from matplotlib.textpath import text_to_path

INK, MUTED, ACCENT = "#1c2733", "#5d6976", "#b8480a"
PICTURE = ("#8a6d1f", "#fbf2d8", "#fdf8ea", "#f3e3b3")  # edge, front, top, right side
COLUMNS = (("#1f6aa5", "#e3eef8", "#f2f8fd", "#c6dcef"), ("#1f7d5f", "#e0f2ea", "#f1faf6", "#bfe2d3"))
CLASSES = ("#4a5562", "#e6e9ed", "#f4f5f7", "#cdd3da")
SIDE, MAPS, UNITS = 0.135, 0.062, 0.125  # inches for one: sides and maps by their square root, units by their cube root
AWAY = (0.42, 0.30)  # how far to the right and up an inch of depth goes
BAR = 0.13  # a bar's width
LINE, SMALL, NAMES = 0.145, 8.0, 9.5  # inches from line to line; points
MARGIN, GAP = 0.3, 0.56
BEFORE = 0.27  # room for the first height, left of the picture
NOTE = ("Edges of boxes are on a square-root scale, bars on a cube-root scale. A kernel has its share of the sides that it reads, "
        "behind the pool if there is one; the smallest are drawn larger.")


class Box(NamedTuple):
    """Its front's lower left corner, its width (maps), its height, and where its far side lies from its front."""

    x: float
    y: float
    w: float
    h: float
    dx: float
    dy: float

    def right(self, u, v):
        """A point of the right side: u from front to back, v from bottom to top."""
        return self.x + self.w + u * self.dx, self.y + v * self.h + u * self.dy

    @property
    def faces(self):
        x, y, w, h, dx, dy = self
        front = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
        top = [(x, y + h), (x + w, y + h), (x + w + dx, y + h + dy), (x + dx, y + h + dy)]
        return front, top, [self.right(0, 0), self.right(1, 0), self.right(1, 1), self.right(0, 1)]


def networks(nets):
    """nets: dicts of name, title, about, columns and stages, drawn from top to bottom. -> Figure"""
    laid = [_laid(net["stages"]) for net in nets]
    width = max([one["width"] for one in laid] + [6.0]) + 2 * MARGIN
    titles = [_wrapped(net["title"], NAMES + 1, width - 2 * MARGIN) for net in nets]
    notes = _wrapped(NOTE, 7, width - 2 * MARGIN)
    heads = [0.55 + 0.2 * len(title) for title in titles]
    tall = [head + one["top"] - one["bottom"] for one, head in zip(laid, heads)]
    height = 2 * MARGIN + sum(tall) + 0.3 * len(nets) + 0.14 * len(notes)
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    y = height - MARGIN
    for net, one, title, head, needs in zip(nets, laid, titles, heads, tall):
        _head(axes, net, title, (width, y))
        _net(axes, net, _moved(one, MARGIN, y - head - one["top"]))
        y -= needs + 0.3
    for number, line in enumerate(reversed(notes)):
        _text(axes, MARGIN, MARGIN + 0.14 * number, line, size=7, color=MUTED, ha="left")
    return figure


def _head(axes, net, title, corner):
    width, y = corner
    _text(axes, MARGIN, y - 0.1, net["name"], size=15, weight="bold", ha="left")
    for number, line in enumerate([*title, net["about"]]):
        size, color = (NAMES + 1, INK) if number < len(title) else (SMALL, MUTED)
        _text(axes, MARGIN, y - 0.38 - 0.2 * number, line, size=size, color=color, ha="left")
    for number in range(net["columns"] if net["columns"] > 1 else 0):
        x = width - MARGIN - 0.85 * (net["columns"] - 1 - number)
        _text(axes, x, y - 0.1, f"column {number + 1}", size=NAMES, color=_paint(number)[0], weight="bold", ha="right")


# ---- where things stand -----------------------------------------------------------------------------------------------


def _box(stage):
    maps, height, width = stage["size"]
    if stage["kind"] == "dense":
        return Box(0, 0, BAR, UNITS * cbrt(maps), BAR * AWAY[0], BAR * AWAY[1])
    deep = SIDE * sqrt(width)
    return Box(0, 0, MAPS * sqrt(maps), SIDE * sqrt(height), deep * AWAY[0], deep * AWAY[1])


def _caption(stage):
    """What stands under a stage: its name, then its kernel; the last word where it sees both columns."""
    kernel, stride = stage["kernel"], stage["stride"]
    lines = [f"{kernel} × {kernel}"] if kernel else []
    lines += {"local": ["unshared"], "dense": ["dense"]}.get(stage["kind"], [])
    if stride > 1:
        lines.append(f"stride {stride}" if kernel else f"pixels {stride} apart")
    return [stage["name"], *lines, *(["both columns"] if stage["both"] else [])]


def _laid(stages):
    """Boxes around the picture's middle, from x = 0: {boxes: a list a stage, ways: middles of the gaps before, line: where the
    captions begin, top, bottom, width}."""
    shapes = [_box(stage) for stage in stages]
    lanes, ends, boxes, ways = _lanes(stages, shapes), [], [], []
    for number, (stage, shape) in enumerate(zip(stages, shapes)):
        caption = _caption(stage)
        words = max([_width(line, SMALL) for line in stage["path"]], default=0.0)
        before = ends[stage["source"]] if number else BEFORE
        begins = before + max(GAP, words + 0.36) if number else BEFORE
        if stage["added"] is not None:
            begins = max(begins, ends[stage["added"]] + GAP + 0.15)
        slot = max(shape.w + shape.dx, _width(caption[0], NAMES, "bold"), *(_width(line, SMALL, "bold") for line in caption[1:]))
        x = begins + (slot - shape.w - shape.dx) / 2
        ends.append(begins + slot)
        ways.append((before + begins) / 2)
        boxes.append([shape._replace(x=x, y=middle - (shape.h + shape.dy) / 2) for middle in lanes[number]])
    everything = [box for row in boxes for box in row]
    line = min(box.y for box in everything) - 0.42
    deepest = max(max(len(_caption(stage)), len(stage["path"])) for stage in stages if not stage["side"])
    return {"boxes": boxes, "ways": ways, "line": line, "top": max(box.y + box.h + box.dy for box in everything) + 0.3,
            "bottom": line - LINE * (deepest - 1) - 0.1, "width": max(ends)}


def _lanes(stages, shapes):
    """The middles of a stage's boxes, top column first. A side path runs between two columns, or above the only one."""
    many = max(stage["parts"] for stage in stages)
    reach = max(s.h + s.dy for s, stage in zip(shapes, stages) if stage["parts"] == many and not stage["side"])
    sides = [(s.h + s.dy, 0.3 + LINE * len(_caption(stage))) for s, stage in zip(shapes, stages) if stage["side"]]
    tall = max((high + text for high, text in sides), default=0.0)
    apart = reach + 0.35 + (tall if many > 1 else 0.0)
    found = []
    for stage in stages:
        if stage["side"]:
            middle = max(text for _, text in sides) / 2 + (0.0 if many > 1 else (reach + tall) / 2 + 0.3)
            found.append([middle])
        else:
            found.append([apart * ((stage["parts"] - 1) / 2 - part) for part in range(stage["parts"])])
    return found


def _moved(laid, x, y):
    boxes = [[box._replace(x=box.x + x, y=box.y + y) for box in row] for row in laid["boxes"]]
    return {"boxes": boxes, "ways": [way + x for way in laid["ways"]], "line": laid["line"] + y}


# ---- what is drawn ----------------------------------------------------------------------------------------------------


def _net(axes, net, laid):
    stages, boxes = net["stages"], laid["boxes"]
    for number, stage in enumerate(stages):
        for part, box in enumerate(boxes[number]):
            paint = _paint(part, stage)
            for face, fill in zip(box.faces, paint[1:]):
                _polygon(axes, face, fill=fill, edge=paint[0], width=0.9, z=2)
            _sizes(axes, stage, box, part)
        _captions(axes, stage, boxes[number][0], laid["ways"][number], laid["line"])
    for number, stage in enumerate(stages):
        for one, other in stage["links"]:
            before, name = stages[stage["source"]], f"{net['name']}/{stage['name']}/{one + 1}-{other + 1}"
            source, target, paint = boxes[stage["source"]][one], boxes[number][other], _paint(one, before)
            if stage["kind"] == "dense":
                _fan(axes, source, target, paint, name)
            elif stage["kernel"]:
                shared = stage["both"] or before["parts"] == 1
                _kernel(axes, stage, source, target, part=other, paint=paint, shared=shared, name=name)
            else:  # on a level
                level = target.y + target.h / 2
                start = source.right(0.5, (level - source.y - source.dy / 2) / source.h)
                _arrow(axes, start, (target.x, level), paint[0], name)
        if stage["added"] is not None:
            for part, box in enumerate(boxes[number]):
                addend = boxes[stage["added"]][min(part, len(boxes[stage["added"]]) - 1)]
                _added(axes, addend, box, f"{net['name']}/{stage['name']}/plus-{part + 1}")


def _paint(part, stage=None):
    if stage and (stage["kind"] == "picture" or stage["side"]):
        return PICTURE
    if stage and stage["kind"] == "dense" and stage["parts"] == 1 and stage["both"]:
        return CLASSES
    return COLUMNS[part % len(COLUMNS)]


def _sizes(axes, stage, box, part):
    """The numbers stand on the outer edges of the columns: crossing lines run between them."""
    x, y, w, h, dx, dy = box
    maps, height, width = stage["size"]
    above = stage["parts"] > 1 and part == 0
    if stage["kind"] == "dense":
        _text(axes, x + (w + dx) / 2, y + h + dy + 0.11 if above else y - 0.12, f"{maps:,}" if maps > 9999 else f"{maps}",
              size=SMALL, weight="bold")
        return
    if above:
        _text(axes, x + dx + w / 2, y + h + dy + 0.11, f"{maps}", size=SMALL, weight="bold")
    else:
        _text(axes, x + w / 2, y - 0.12, f"{maps}", size=SMALL, weight="bold")
    if above or stage["side"]:
        _text(axes, x + dx / 2 - 0.03, y + h + dy / 2 + 0.07, f"{width}", size=SMALL, ha="right")
    else:
        _text(axes, x + w + dx / 2 + 0.04, y + dy / 2 - 0.09, f"{width}", size=SMALL, ha="left")
    _text(axes, x - 0.05, y + h * (0.75 if above else 0.25), f"{height}", size=SMALL, ha="right")


def _captions(axes, stage, box, way, line):
    """The stage's name and kernel under it, the way to it under its arrow; beside the main path close by, else on one line."""
    middle = box.x + (box.w + box.dx) / 2
    if stage["side"]:
        line = box.y - 0.36
    for number, text in enumerate(_caption(stage)):
        bold = "bold" if number == 0 or text == "both columns" else "normal"
        color = ACCENT if text == "both columns" else INK
        _text(axes, middle, line - LINE * number, text, size=SMALL if number else NAMES, weight=bold, color=color)
    first = box.y + box.h / 2 - 0.15 if stage["side"] else line
    for number, text in enumerate(stage["path"]):
        _text(axes, way, first - LINE * number, text, size=SMALL, color=MUTED)


def _kernel(axes, stage, source, target, *, part, paint, shared, name):
    """A small box through all maps that it reads, and what it makes of them: one value."""
    seen = made = 0.5
    if shared and stage["parts"] > 1:  # each column's kernel has its own place in what both see
        seen = (part + 0.7) / (stage["parts"] + 0.4)
        seen, made = (seen, seen) if stage["both"] else (1 - seen, 0.5)
    share = min(1.0, max(stage["kernel"] / stage["over"], 0.05 / source.h))
    u, v = (max(0.0, min(1 - share, middle - share / 2)) for middle in (0.5, seen))
    x, y = source.right(u, v)
    kernel = Box(x - source.w, y, source.w, source.h * share, source.dx * share, source.dy * share)
    for face in kernel.faces:
        _polygon(axes, face, fill=paint[0], edge=paint[0], width=0.6, z=3, alpha=0.28)
    tip = target.x + min(0.12, 0.35 * target.w), target.y + made * target.h
    corners = sorted(kernel.faces[2], key=lambda corner: atan2(corner[1] - tip[1], tip[0] - corner[0]))
    _polygon(axes, [corners[0], tip, corners[-1]], fill=paint[0], edge="none", width=0, z=4, alpha=0.13, name=name)
    for corner in kernel.faces[2]:
        axes.plot(*zip(corner, tip), color=paint[0], linewidth=0.7, alpha=0.85, zorder=4)
    axes.add_patch(Circle(tip, 0.026, facecolor="white", edgecolor=INK, linewidth=0.8, zorder=5))


def _fan(axes, source, target, paint, name):
    """Every unit of the target sees all of the source."""
    (x, low), (_, high) = source.right(1, 0), source.right(1, 1)
    base, tip = (target.x, target.y), (target.x, target.y + target.h)
    _polygon(axes, [(x, low), (x, high), tip, base], fill=paint[0], edge="none", width=0, z=1, alpha=0.14, name=name)
    for a, b, strong in (((x, high), tip, 1), ((x, low), base, 1), ((x, high), base, 0), ((x, low), tip, 0)):
        axes.plot(*zip(a, b), color=paint[0], linewidth=0.8 if strong else 0.5, alpha=0.8 if strong else 0.5, zorder=1)


def _added(axes, source, target, name):
    """The arrow of a sum, with its sign on it."""
    start, rising = source.right(0.5, 0.5), target.y > source.y
    end = (target.x + target.w * 0.3, target.y if rising else target.y + target.h + target.dy * 0.3)
    _arrow(axes, start, end, PICTURE[0], name)
    middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    axes.add_patch(Circle(middle, 0.1, facecolor="white", edgecolor=PICTURE[0], linewidth=1.1, zorder=6))
    axes.text(*middle, "+", fontsize=11, color=PICTURE[0], fontweight="bold", ha="center", va="center_baseline", zorder=7)


def _arrow(axes, start, end, color, name):
    arrow = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=color, linewidth=1.1, zorder=5,
                            shrinkA=0, shrinkB=0)
    arrow.set_gid(name)
    axes.add_patch(arrow)


def _polygon(axes, corners, *, fill, edge, width, z, alpha=None, name=None):
    shape = Polygon(corners, closed=True, facecolor=fill, edgecolor=edge, linewidth=width, alpha=alpha, zorder=z, joinstyle="round")
    shape.set_gid(name)
    axes.add_patch(shape)


def _text(axes, x, y, text, *, size, color=INK, weight="normal", ha="center"):
    axes.text(x, y, text, fontsize=size, color=color, fontweight=weight, ha=ha, va="center", zorder=8, parse_math=False)


def _width(text, size, weight="normal"):
    """Inches."""
    return text_to_path.get_text_width_height_descent(text, FontProperties(size=size, weight=weight), ismath=False)[0] / 72


def _wrapped(text, size, width):
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if _width(longer, size) <= width else [*lines, word]
    return lines
