"""Pictures with what a net says of them: bars (Figure 4 left of the paper), neighbours (right), maps, and where it looked."""

from matplotlib.patches import Rectangle

from alexnet.figures.canvas import INK, MUTED, RIGHT, WRONG, new, short


def panels(pictures, names, tops):
    """Figure 4, left: pictures (uint8 H, W, 3) under their true names, below each its ranked (label, probability,
    correct): a bar each, the most probable on top, light red and ticked where it is the true class."""
    across, down = min(4, max(len(pictures), 1)), max(1, -(-len(pictures) // 4))
    figure, axes = _sheet(2.75 * across, 4.0 * down)
    for number, (picture, name, top) in enumerate(zip(pictures, names, tops)):
        left, base = number % across * 2.75, (down - 1 - number // across) * 4.0
        _place(axes, picture, left + 0.225, base + 1.32, 2.3)
        axes.text(left + 1.375, base + 3.68, short(name, 26), fontsize=10, color=INK, fontweight="bold", ha="center",
                  parse_math=False)
        _bars(axes, top, left=left + 0.1, base=base + 0.25, wide=2.55)
    return figure


def _bars(axes, top, *, left, base, wide, step=0.2):
    high = step * max(len(top), 5)
    for place, (label, probability, correct) in enumerate(top):
        y = base + high - (place + 1) * step
        axes.add_patch(Rectangle((left, y), wide * probability, 0.82 * step, facecolor=RIGHT if correct else WRONG))
        text = ("✓ " if correct else "") + short(label, 27, lines=1)
        axes.text(left + 0.06, y + 0.4 * step, text, va="center_baseline", fontsize=9, color=INK, parse_math=False,
                  fontweight="bold" if correct else "normal")
    axes.plot((left, left), (base - 0.02, base + high), color=MUTED, linewidth=0.8)
    for share, said in ((0, "0"), (0.5, "½"), (1, "1")):
        axes.text(left + share * wide, base - 0.05, said, fontsize=8, color=MUTED, ha="center", va="top")


def neighbours(rows):
    """Figure 4, right: a row a query: [(picture, label, agrees), ...], the query first (agrees None), then its nearest pictures;
    those of its class are ticked and framed."""
    side, under, gap = 1.15, 0.34, 0.3  # inches; the gap stands behind the queries
    wide, high = side * max(map(len, rows)) + gap + 0.2, (side + under) * len(rows) + 0.15
    figure, axes = _sheet(wide, high)
    for number, row in enumerate(rows):
        base = high - (number + 1) * (side + under) + under
        for place, (picture, label, agrees) in enumerate(row):
            left, far = 0.16 + place * side + (gap if place else 0), side - 0.12
            _place(axes, picture, left, base, far)
            if agrees:
                axes.add_patch(Rectangle((left, base), far, far, fill=False, edgecolor=INK, linewidth=2.5))
            said, strong = ("✓ " if agrees else "") + short(label, 18, lines=1), agrees is not False
            axes.text(left, base - 0.07, said, fontsize=7.5, color=INK if strong else MUTED, va="top", parse_math=False,
                      fontweight="bold" if strong else "normal")
    return figure


def looked(rows):
    """A row a picture: (picture, title, [(what, image), ...]): the picture, then images made of it."""
    side, over = 1.9, 0.34
    wide, high = side * (1 + max(len(images) for _, _, images in rows)) + 0.2, (side + over) * len(rows) + 0.1
    figure, axes = _sheet(wide, high)
    for number, (picture, title, images) in enumerate(rows):
        base = high - (number + 1) * (side + over)
        for place, (said, image) in enumerate([(title, picture), *images]):
            left, far = 0.15 + place * side, side - 0.1
            _place(axes, image, left, base, far)
            axes.text(left, base + far + 0.06, short(said, 27, lines=1), fontsize=8.5, color=MUTED if place else INK,
                      fontweight="normal" if place else "bold", parse_math=False)
    return figure


def _sheet(wide, high):
    """A figure that is measured in inches throughout: one pair of axes costs less than one a picture."""
    figure = new(wide, high)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, wide), ylim=(0, high), autoscale_on=False)
    axes.set_axis_off()
    return figure, axes


def _place(axes, picture, left, base, side):
    axes.imshow(picture, extent=(left, left + side, base, base + side), interpolation="lanczos", aspect="auto")
