"""The kernels of the first layer, Figure 3 of the paper, and how much of each is colour."""

import numpy as np

from alexnet import figures
from alexnet.explain.page import Section, image
from alexnet.nets.layers import Conv


def first_layer(row):
    """The convolution that looks at the picture itself, or None: a row may begin with a side path that has none."""
    return next((layer for place, layer in enumerate(row.layers)
                 if isinstance(layer, Conv) and (place == 0 or layer.sees == "picture")), None)


def weights(subject):
    """(N, 3, h, w), or None where no convolution looks at the picture."""
    layer = first_layer(subject.row)
    return getattr(subject.clf.net, layer.name).weight.detach().float().cpu().numpy() if layer else None


def figure(subject):
    found = weights(subject)
    return None if found is None else figures.kernels(found, columns=subject.row.columns, numbers=True)


def sections(subject, drawings):
    found = weights(subject)
    return [] if found is None else [section(found, subject.row)]


def section(found, row):
    layer, columns = first_layer(row), row.columns if len(found) % row.columns == 0 else 1
    selective = np.split(figures.colour_selectivity(found), columns)
    shaded = np.split(figures.shades(found), columns)
    groups = "".join(
        f"<div class=\"column\"><h3>{f'Column {number + 1}: ' * (columns > 1)}colour selectivity {np.median(values):.2f} "
        f"in the middle, {values.min():.2f} to {values.max():.2f}</h3><ol>{_cells(pictures, values)}</ol></div>"
        for number, (pictures, values) in enumerate(zip(shaded, selective))
    )
    apart = "; those of the two columns, which see the same picture, stand apart" if columns == 2 else ""
    said = (
        f"What the net looks for first: the {layer.maps} kernels of {layer.kernel} × {layer.kernel} × {found.shape[1]} weights "
        f"that see the picture itself, all on one scale, as in Figure 3 of the paper{apart}. The number is a kernel's colour "
        "selectivity: the share of its energy that sees differences between colours, from 0 for brightness alone to 1 for "
        "a kernel that is blind in a grey picture. After training at full size one column of the paper's net had become nearly "
        "blind to colour, and the other looked for it."
    )
    return Section("First-layer kernels", said, f'<div class="kernels">{groups}</div>', "Kernels")


def _cells(pictures, values):
    return "".join(f"<li>{image(one, '')}<span>{value:.2f}</span></li>" for one, value in zip(pictures, values))


FIGURES = {"kernels": figure}
