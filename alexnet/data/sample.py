"""The embedded data set: sixteen photographs that ship inside scikit-image and scikit-learn, a class a photograph, no
download.

Each photograph is cut in two by a straight line. Training crops are squares of one part, validation crops squares of
the other, and a part is cut out before it is resampled: no pixel of one reaches the other, not even through the filter.
What is learnt is to recognise a photograph by pieces that were never shown, which an AlexNet can do in a minute, and
which says nothing about ImageNet.
"""

import importlib.util
import math
import os
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from PIL import Image

from alexnet.data import picture
from alexnet.errors import Misused, Refused

LICENCE = "crops of photographs that ship with scikit-image and scikit-learn; see the licences in those packages"
LARGEST = 3  # times the size: larger squares would show too much of a part at once


class Photograph(NamedTuple):
    name: str  # the class
    package: str
    file: str  # inside the package
    cut: str  # "x": a vertical line; "y": a horizontal one
    at: float  # where the line runs, as a share of the side
    training: str = "first"  # the part training gets; the first is left of the line, or above it
    window: tuple = (0, 0, 1, 1)  # the share of the photograph that is used: left, top, right, bottom


# each cut was chosen by eye so that both parts show the thing
PHOTOGRAPHS = (
    Photograph("astronaut", "skimage", "data/astronaut.png", "x", 0.38, "second"),
    Photograph("brick", "skimage", "data/brick.png", "x", 0.65),
    Photograph("cameraman", "skimage", "data/camera.png", "y", 0.62, "first", (0, 0, 0.75, 1)),
    Photograph("cat", "skimage", "data/chelsea.png", "x", 0.52, "first", (0, 0, 0.85, 1)),
    Photograph("coffee", "skimage", "data/coffee.png", "x", 0.55, "first", (0.1, 0, 0.9, 1)),
    Photograph("coins", "skimage", "data/coins.png", "x", 0.6),
    Photograph("flower", "sklearn", "datasets/images/flower.jpg", "x", 0.48, "first", (0.15, 0, 0.8, 1)),
    Photograph("galaxies", "skimage", "data/hubble_deep_field.jpg", "x", 0.65),
    Photograph("grass", "skimage", "data/grass.png", "x", 0.65),
    Photograph("gravel", "skimage", "data/gravel.png", "x", 0.65),
    Photograph("moon", "skimage", "data/moon.png", "y", 0.55),
    Photograph("motorcycle", "skimage", "data/motorcycle_left.png", "x", 0.55, "first", (0.05, 0.1, 0.95, 1)),
    Photograph("pagoda", "sklearn", "datasets/images/china.jpg", "x", 0.35, "first", (0, 0, 0.6, 1)),
    Photograph("retina", "skimage", "data/retina.jpg", "y", 0.6),
    Photograph("rocket", "skimage", "data/rocket.jpg", "x", 0.5),
    Photograph("tissue", "skimage", "data/ihc.png", "x", 0.6),
)


def parts(photograph, width, height):
    """-> {"train": box, "val": box}: (left, top, right, bottom) in pixels, and no pixel is in both."""
    left, top, right, bottom = (round(share * side) for share, side in zip(photograph.window, (width, height) * 2))
    if photograph.cut == "x":
        line = round(width * photograph.at)
        first, second = (left, top, line, bottom), (line, top, right, bottom)
    else:
        line = round(height * photograph.at)
        first, second = (left, top, right, line), (left, line, right, bottom)
    return {"train": first, "val": second} if photograph.training == "first" else {"train": second, "val": first}


def write(folder, *, size=64, train=256, val=64, seed=0):
    """Writes folder/train/CLASS/0001.png, ... and folder/val/...: so many pictures a class, the same ones for a
    seed."""
    if min(size, train, val) < 1:
        raise Misused(f"size {size}, train {train} and val {val} must each be 1 or more.")
    folder = os.path.abspath(os.fspath(folder))
    if os.path.isdir(folder) and os.listdir(folder):
        raise Refused(f"{folder} is not empty: name a new folder for the sample pictures.")
    half = f"{folder}.{os.getpid()}.half"  # the folder appears when it is complete
    jobs = [(photograph, half, size, {"train": train, "val": val}, seed) for photograph in PHOTOGRAPHS]
    try:
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # Pillow works outside the interpreter's lock
            list(threads.map(lambda job: _crops(*job), jobs))
        with open(os.path.join(half, "LICENSE.txt"), "w") as file:
            file.write(LICENCE + "\n")
        if os.path.isdir(folder):
            os.rmdir(folder)
        os.rename(half, folder)
    except OSError as error:
        raise Refused(
            f"{folder} cannot be written ({error.strerror or error}): choose another folder or make room."
        ) from None
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return {
        "folder": folder,
        "classes": [photograph.name for photograph in PHOTOGRAPHS],
        "train": train * len(PHOTOGRAPHS),
        "val": val * len(PHOTOGRAPHS),
        "size": size,
    }


def _crops(photograph, folder, size, counts, seed):
    whole = picture.upright(_file(photograph))
    for split, box in parts(photograph, *whole.size).items():
        inside = os.path.join(folder, split, photograph.name)
        os.makedirs(inside)
        part = whole.crop(box)
        # of random.Random only random() is promised to stay the same from one Python to the next
        draw = random.Random(f"{seed} {photograph.name} {split}").random
        for number in range(1, counts[split] + 1):
            left, top, side = crop_box(draw, *part.size, size)
            crop = part.crop((left, top, left + side, top + side))
            crop = crop.resize((size, size), Image.Resampling.BILINEAR)
            crop.save(os.path.join(inside, f"{number:04d}.png"), compress_level=1)


def crop_box(draw, width, height, size):
    """-> left, top, side of a square inside the part: sides from `size` up, each octave as likely as another."""
    most = min(width, height, LARGEST * size) if min(width, height) > size else min(width, height)
    least = min(size, most)
    side = round(math.exp(math.log(least) + draw() * math.log(most / least)))
    return int(draw() * (width - side + 1)), int(draw() * (height - side + 1)), side


def _file(photograph):
    package = importlib.util.find_spec(photograph.package)
    path = package and os.path.join(os.path.dirname(package.origin), photograph.file)
    if not path or not os.path.isfile(path):
        wheel = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[photograph.package]
        raise Refused(
            f"the photograph {photograph.name} is not there: it comes inside {wheel}, so `pip install {wheel}`."
        )
    return path
