"""What goes to stdout: a line, a table, a list of facts, numbers as people read them. Colours on a terminal only."""

import os
import sys


class ReaderLeft(Exception):
    """Whoever read our stdout has closed it: nothing more is wanted."""


def write(text=""):
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise ReaderLeft from None


def painted(text, code):
    lively = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return f"\033[{code}m{text}\033[0m" if lively else text


def strong(text):
    return painted(text, 1)


def faint(text):
    return painted(text, 2)


def table(heads, rows, *, texts=(0,)):
    """Columns as wide as they need; those in `texts` begin at the left, the numbers end at the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(heads), *cells]) for i in range(len(heads))]

    def laid(row):
        return "  ".join(
            f"{cell:{'<' if i in texts else '>'}{w}}" for i, (cell, w) in enumerate(zip(row, widths))
        ).rstrip()

    write(faint(laid(heads)))
    for row in cells:
        write(laid(row))


def facts(pairs):
    """A short list of names and values."""
    pairs = [(name, value) for name, value in pairs if value not in (None, "")]
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        write(f"{faint(f'{name:<{width}}')}  {value}")


def percent(share, digits=1):
    return "–" if share is None or share != share else f"{share:.{digits}%}".replace("%", " %")


def number(value, digits=3):
    return "–" if value is None or value != value else f"{value:,}" if isinstance(value, int) else f"{value:.{digits}f}"


def count(value, one, many=None):
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def large(value):
    """61.0 M rather than 60,965,224, where a table compares sizes."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.{1 if value < 100 * size else 0}f} {unit}"
    return str(value)
