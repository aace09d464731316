"""Many small squares as one: the kernels of the first layer, which are Figure 3 of the paper, with how much of each is colour; and
the maps that a layer makes of a picture."""

import numpy as np

from alexnet.figures.canvas import INK, MUTED, new

KERNELS_A_ROW, MAPS_A_ROW = 16, 8
BELOW = 0.36  # of a kernel's height: the strip its number stands in


def shades(weights):
    """(N, 3, h, w) -> uint8 (N, h, w, 3): one range for all kernels, as in the source."""
    weights = np.asarray(weights, dtype=np.float32)
    if weights.shape[1] == 1:
        weights = weights.repeat(3, axis=1)
    low, high = weights.min(), weights.max()
    return np.round((weights - low) / max(high - low, 1e-12) * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def colour_selectivity(weights):
    """(N, 3, h, w) -> (N,) in 0 to 1: the share of a kernel's energy that sees differences between the colours. 0: it sees
    brightness alone, the three colours alike; 1: it sees nothing in a grey picture."""
    weights = np.asarray(weights, np.float64)
    grey = weights.mean(axis=1, keepdims=True)
    energy = (weights**2).sum(axis=(1, 2, 3))
    return ((weights - grey) ** 2).sum(axis=(1, 2, 3)) / np.maximum(energy, 1e-30)


def kernel_sheet(weights, *, columns=2, below=0, above=0):
    """(N, 3, h, w) -> uint8 (H, W, 3): 16 kernels a row, gaps of one black pixel and `below` more under each row, a column of the
    net after the other, each beginning its own row, with `above` more over it."""
    kernels, places, (high, wide) = shades(weights), *_laid(weights, columns, below, above)
    height, width = kernels.shape[1:3]
    sheet = np.zeros((high, wide, 3), np.uint8)
    for kernel, (top, left) in zip(kernels, places):
        sheet[top : top + height, left : left + width] = kernel
    return sheet


def _laid(weights, columns, below, above):
    """-> (top, left) of each kernel, and the size of the sheet."""
    count, _, height, width = np.shape(weights)
    group = count // columns if count % columns == 0 else count  # kernels of a column
    across = min(KERNELS_A_ROW, group)
    rows = -(-group // across)
    step, whole = height + 1 + below, rows * (height + 1 + below) + above  # of a row, of a column
    places = [(number // group * whole + above + number % group // across * step + 1, number % group % across * (width + 1) + 1)
              for number in range(count)]
    return places, (count // group * whole + 1, across * (width + 1) + 1)


def kernels(weights, *, columns=2, numbers=False):
    """Figure 3 of the paper: the kernels of the first column of the net above those of the second; with numbers, the colour
    selectivity of each below it, in hundredths."""
    height, width = np.shape(weights)[2:]
    below = max(1, round(BELOW * height)) if numbers else 0
    above = 1 + below if numbers and len(weights) % columns == 0 and columns > 1 else 0
    sheet = kernel_sheet(weights, columns=columns, below=below, above=above)
    high, wide = sheet.shape[:2]
    scale = max(1, round(1200 / wide))  # whole pixels, so that every weight is a clean square
    figure = new(wide * scale / 150, high * scale / 150)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    if numbers:
        size = 0.62 * below * scale / 150 * 72
        places = _laid(weights, columns, below, above)[0]
        for column in range(columns if above else 0):
            top = places[column * len(weights) // columns][0]
            axes.text(0.5, top - above / 2 - 0.5, f"column {column + 1}", color="#b9c2cc", fontsize=size, va="center_baseline")
        for (top, left), value in zip(places, colour_selectivity(weights)):
            axes.text(left + (width - 1) / 2, top + height + below / 2 - 0.5, f"{100 * value:.0f}", color="white", fontsize=size,
                      ha="center", va="center_baseline")
    return figure


def map_sheet(maps, *, columns=1, most=16):
    """(N, h, w) -> uint8 (H, W): the `most` strongest maps of each column of the net, the strongest first, 8 a row on one scale;
    dark for much, by the square root where nothing is below zero, which shows weak maps too."""
    maps = np.asarray(maps, np.float32)
    groups = np.split(maps, columns if len(maps) % columns == 0 else 1)
    chosen = [group[np.argsort(-np.abs(group).mean(axis=(1, 2)), kind="stable")[:most]] for group in groups]
    low, high = min(float(one.min()) for one in chosen), max(float(np.quantile(one, 0.998)) for one in chosen)
    _, height, width = maps.shape
    gap = max(1, height // 14)
    rows = [-(-len(one) // MAPS_A_ROW) for one in chosen]
    across = min(MAPS_A_ROW, max(map(len, chosen)))
    sheet = np.full((sum(rows) * (height + gap) + gap * len(rows), across * (width + gap) + gap), 196, np.uint8)
    top = gap
    for group in chosen:
        for number, one in enumerate(group):
            y, x = top + number // MAPS_A_ROW * (height + gap), gap + number % MAPS_A_ROW * (width + gap)
            level = np.clip((one - low) / max(high - low, 1e-12), 0, 1)
            sheet[y : y + height, x : x + width] = np.round(255 * (1 - (level if low < 0 else np.sqrt(level))))
        top += -(-len(group) // MAPS_A_ROW) * (height + gap) + gap  # the columns of the net stand apart
    return sheet


def feature_maps(picture, sheets):
    """A picture beside what each layer makes of it. sheets: (name, note, uint8 (H, W)) a layer, of map_sheet."""
    across = min(3, len(sheets) + 1)
    down = -(-(len(sheets) + 1) // across)
    figure = new(4.2 * across, 2.7 * down, layout="constrained")
    every = figure.subplots(down, across, squeeze=False).reshape(-1)
    for axes in every:
        axes.set_axis_off()
    every[0].imshow(picture, interpolation="lanczos")
    every[0].set_title("the picture", loc="left", fontsize=10, color=INK, fontweight="bold")
    for axes, (name, note, sheet) in zip(every[1:], sheets):
        axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(name, loc="left", fontsize=10, color=INK, fontweight="bold")
        axes.set_title(note, loc="right", fontsize=8.5, color=MUTED)
    return figure
