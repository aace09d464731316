"""Pictures for who has none at hand: a few photographs that come inside scikit-image and scikit-learn, made small for the page."""

import importlib.util
import io
from functools import cache
from pathlib import Path

from PIL import Image

from alexnet.data import picture, sample

CHOSEN = ("cat", "pagoda", "flower", "rocket", "coffee", "astronaut", "motorcycle", "galaxies", "coins", "retina")
SIDE = 480


@cache
def files():
    """name -> the photograph's file, of those that are there."""
    found = {}
    for one in sample.PHOTOGRAPHS:
        package = importlib.util.find_spec(one.package)
        path = Path(package.origin).parent / one.file if package and package.origin else None
        if one.name in CHOSEN and path and path.is_file():
            found[one.name] = path
    return {name: found[name] for name in CHOSEN if name in found}


def names():
    return list(files())


@cache
def jpeg(name):
    """Its longer side at most SIDE pixels."""
    whole = picture.upright(files()[name])
    whole.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    whole.save(file, "JPEG", quality=88)
    return file.getvalue()


def png(square):
    file = io.BytesIO()
    Image.fromarray(square).save(file, "PNG", compress_level=1)
    return file.getvalue()
