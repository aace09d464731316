"""What the systems before 2012 saw of a picture: many small parts, each a vector. Dense SIFT (OpenCV) and local colour on one grid,
or plain patches of pixels. All give (N, places, units), and where each place lies in the picture, 0 to 1, for spatial pyramids."""

import functools

import numpy as np

from alexnet.errors import Refused

CELLS, ANGLES = 4, 8  # of SIFT: 4 x 4 cells, 8 directions
TIMES = 6  # OpenCV's descriptor covers so many of a keypoint's `size`: cells of 1.5 sizes


def opencv():
    try:
        import cv2
    except ImportError:
        raise Refused("dense SIFT wants OpenCV, which is not installed: pip install 'alexnet[experiments]'.") from None
    return cv2


def grid(side, *, stride, patch):
    """(places, 2): x, y of the middles of patches that lie inside the picture, evenly around its middle."""
    steps = (side - patch) // stride
    line = (side - steps * stride) / 2 + stride * np.arange(steps + 1)
    return np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)


def laid(side, *, zoom, stride, sizes):
    """The places of all patch sizes in the enlarged picture, and each one's size."""
    parts = [(grid(side * zoom, stride=stride, patch=patch), patch) for patch in sizes]
    return np.concatenate([places for places, _ in parts]), np.concatenate([np.full(len(places), size) for places, size in parts])


def where(side, kind, **settings):
    """(places, 2) in 0 to 1."""
    if kind == "patches":
        return grid(side, stride=settings["stride"], patch=settings["patch"]) / side
    return laid(side, **settings)[0] / (side * settings["zoom"])


def described(pictures, kind, **settings):
    """uint8 (N, side, side, 3) -> float32 (N, places, units)"""
    return KINDS[kind](pictures, **settings)


def patches(pictures, *, patch, stride):
    """Squares of pixels, each without its own mean and at its own contrast; 10 grey levels squared keep flat ones flat."""
    side = pictures.shape[1]
    line = np.round(np.unique(grid(side, stride=stride, patch=patch)) - patch / 2).astype(int)
    view = np.lib.stride_tricks.sliding_window_view(pictures, (patch, patch), axis=(1, 2))[:, line][:, :, line]
    found = view.reshape(len(pictures), len(line) ** 2, -1).astype(np.float32)
    found -= found.mean(-1, keepdims=True)
    return found / np.sqrt(found.var(-1, keepdims=True) + 10)


def sift(pictures, *, zoom, stride, sizes):
    """Upright SIFT of the brightness at every place, of the enlarged picture. OpenCV blurs by 1.6 pixels first."""
    cv2 = opencv()
    (places, patch), machine = laid(pictures.shape[1], zoom=zoom, stride=stride, sizes=sizes), cv2.SIFT_create()
    points = [cv2.KeyPoint(float(x) - 0.5, float(y) - 0.5, float(size) / TIMES, 0.0) for (x, y), size in zip(places, patch)]
    found = np.empty((len(pictures), len(points), CELLS * CELLS * ANGLES), np.float32)
    for row, one in zip(found, pictures):
        kept, values = machine.compute(enlarged(cv2, cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), zoom), points)
        if len(kept) != len(points):
            raise Refused(f"OpenCV kept {len(kept)} of {len(points)} places: larger sizes or another stride.")
        row[:] = values
    return found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1)


def colours(pictures, *, zoom, stride, sizes):
    """Local colour statistics: mean and deviation of red, green and blue in each of 4 x 4 cells."""
    cv2, side = opencv(), pictures.shape[1]
    found = []
    for patch in sizes:
        places, cell = grid(side * zoom, stride=stride, patch=patch), max(1, patch // CELLS)
        away = (np.arange(CELLS) - (CELLS - 1) / 2) * patch / CELLS
        x, y = ((places[:, i, None] + away).round().astype(int).clip(0, side * zoom - 1) for i in (0, 1))  # (places, 4)
        rows = np.empty((len(pictures), len(places), CELLS, CELLS, 6), np.float32)
        for row, one in zip(rows, pictures):
            large = enlarged(cv2, one, zoom).astype(np.float32)
            mean = cv2.blur(large, (cell, cell))
            spread = np.sqrt(np.maximum(cv2.blur(large**2, (cell, cell)) - mean**2, 0))
            row[..., :3], row[..., 3:] = mean[y[:, :, None], x[:, None, :]], spread[y[:, :, None], x[:, None, :]]
        found.append(rows.reshape(len(pictures), len(places), -1))
    return np.concatenate(found, 1) / 128


def enlarged(cv2, one, zoom):
    return one if zoom == 1 else cv2.resize(one, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)


def sampled(pictures, kind, *, count, random, **settings):
    """(count, units): as many places of each picture as make about so many, drawn."""
    each, found = max(1, -(-count // len(pictures))), []
    for first in range(0, len(pictures), 64):
        table = described(pictures[first : first + 64], kind, **settings)
        chosen = random.integers(table.shape[1], size=(len(table), each))
        found.append(np.take_along_axis(table, chosen[..., None], 1).reshape(-1, table.shape[-1]))
    return np.concatenate(found)[:count]


KINDS = {"patches": patches, "sift": sift, "colours": colours}


# ---- the parts of the picture that are told apart -------------------------------------------------------------------------------


@functools.lru_cache
def cells(*levels):
    """(regions, 4): left, top, right, bottom; a level is (columns, rows)."""
    return np.array([(x / across, y / down, (x + 1) / across, (y + 1) / down)
                     for across, down in levels for y in range(down) for x in range(across)])


def masks(places, regions):
    """bool (regions, places)"""
    x, y = places[:, 0], places[:, 1]
    return np.stack([(x >= left) & (x < right) & (y >= top) & (y < bottom) for left, top, right, bottom in regions])
