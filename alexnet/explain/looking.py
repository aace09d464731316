"""One picture through the layers, and where in a picture the answer lies: feature maps, occlusion, gradient."""

from html import escape

import numpy as np

from alexnet import figures, maps
from alexnet.explain.page import Section, first, image, percent
from alexnet.nets.layers import BatchNorm, Conv, Local
from alexnet.progress import Progress

LOOKED = 4  # pictures
MAPS = 16  # a layer and column
SIDE = 256  # pixels of a picture on the page, at most


def shown(subject):
    """The pictures: one's own alone, else four of the eight, the right and the wrong."""
    if subject.own:
        return [subject.own]
    wrong = [one for one in subject.examples if one.top[0].index != one.truth]
    right = [one for one in subject.examples if one.top[0].index == one.truth]
    count = max(LOOKED - len(wrong), LOOKED // 2)
    return [*right[:count], *wrong][:LOOKED]


def sheets(subject):
    """(layer, note, uint8 sheet) of each convolution; the first picture."""
    found, layers = maps.layers(subject.clf, shown(subject)[0].square), subject.row.layers
    names = [behind.name if isinstance(behind, BatchNorm) else layer.name
             for layer, behind in zip(layers, layers[1:]) if isinstance(layer, Conv | Local)]
    return [_sheet(subject.row, name, found[name]) for name in names if name in found]


def _sheet(row, name, found):
    count, height, width = found.shape
    columns = row.columns if count % row.columns == 0 else 1
    chosen = columns * min(MAPS, count // columns)
    note = f"{f'{chosen} of ' * (chosen < count)}{count} maps, {height} × {width}"
    return name, note, figures.map_sheet(found, columns=columns, most=MAPS)


def looks(subject):
    """Of each picture: (Example, occlusion, gradient), both for the class that is answered."""
    found = []
    with Progress("hiding patches", len(shown(subject))) as bar:
        for one in shown(subject):
            best = one.top[0].index
            slope = maps.smooth(maps.gradient(subject.clf, one.square, best))
            found.append((one, maps.occlusion(subject.clf, one.square, index=best), slope))
            bar.advance()
    return found


def feature_figure(subject):
    if not shown(subject) or not subject.once(sheets):
        return None
    return figures.feature_maps(shown(subject)[0].square, subject.once(sheets))


def looked_figure(subject):
    if not shown(subject):
        return None
    return figures.looked([
        (one.square, first(one.name), [(f"by hiding: {first(one.top[0].name)}", maps.overlay(one.square, fall)),
                                       ("by gradient", maps.overlay(one.square, slope))])
        for one, fall, slope in subject.once(looks)])


def sections(subject, drawings):
    return [*_looked(subject), *_maps(subject)] if shown(subject) else []


def _looked(subject):
    said = (
        "In the middle what is left of the picture where a patch that hides it makes the answer less likely; the rest has faded "
        "(occlusion). On the right what is left where small changes of the pixels move the answer most (gradient). A net that is "
        "right for a wrong reason shows itself here: it looks at the background."
    )
    cards = "".join(map(_card, subject.once(looks)))
    return [Section("Where it looks", said, f'<div class="looked">{cards}</div>')]


def _card(look):
    example, fall, slope = look
    best, right = example.top[0], example.top[0].index == example.truth
    name = first(best.name)
    images = "".join((image(example.square, f"a picture of {first(example.name)}", most=SIDE),
                      image(maps.overlay(example.square, fall), f"where hiding lowers {name}", most=SIDE),
                      image(maps.overlay(example.square, slope), f"pixels that move {name}", most=SIDE)))
    verdict = "" if example.truth is None else " ✓" if right else ", which is wrong"
    odds = best.probability / max(1 - best.probability, 1e-7) * np.exp(-max(float(fall.max()), 0))
    least = odds / (1 + odds)
    left = "no patch that hides it shakes that" if least > 0.99 else f"about {percent(least)} where hiding costs most"
    return (
        f'<figure><div>{images}</div><figcaption><h3>{escape(first(example.name))}</h3>It says <strong>{escape(name)}</strong>'
        f"{verdict}, {percent(best.probability)} sure; {left}."
        "</figcaption></figure>"
    )


def _maps(subject):
    if not subject.once(sheets):
        return []
    example = shown(subject)[0]
    columns = " Those of the first column stand above those of the second." if subject.row.columns == 2 else ""
    said = (
        "The same picture as each layer hands it on: its strongest maps, the strongest first, on one scale a layer, dark for "
        f"much. Early maps are edges and colours at their places; late ones are few, coarse, and about things.{columns}"
    )
    figure = f'<figure>{image(example.square, "the picture", most=SIDE)}<figcaption><b>the picture</b></figcaption></figure>'
    drawn = "".join(f'<figure>{image(sheet, f"maps of {name}", style="pixels")}<figcaption><b>{escape(name)}</b> {note}'
                    "</figcaption></figure>" for name, note, sheet in subject.once(sheets))
    return [Section("Layer by layer", said, f'<div class="maps">{figure}{drawn}</div>', "Feature maps")]


FIGURES = {"looked": looked_figure, "feature-maps": feature_figure}
