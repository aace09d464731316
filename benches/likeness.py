"""How many changed copies alexnet.data.likeness finds, and how many strangers it takes for copies, on a store's real pictures.

    python -m benches.likeness STORE [--split train] [--pictures 10000] [--copies 500]        writes results/likeness.json

Copies of each change are planted among pictures of the store. The first half, a set of its own, says between which thresholds
likeness.NEAR has to lie; what is reported comes from the second. Pairs of pictures that nobody planted are false alarms at
most: a store may hold copies of its own. Minutes on two cores.
"""

import argparse
import io
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image

from alexnet import device, rundir
from alexnet.data import likeness
from alexnet.data import store as stores

RESULTS = Path(__file__).parents[1] / "results"
THRESHOLDS = [round(0.4 + 0.05 * step, 2) for step in range(11)]
LOST = 0.03  # of the copies of any change, at most


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--split", default="train")
    parser.add_argument("--pictures", type=int, default=10000)
    parser.add_argument("--copies", type=int, default=500)
    given = parser.parse_args()
    split = stores.open_split(given.store, given.split)
    places = np.random.default_rng(0).permutation(len(split))[: 2 * given.pictures]
    halves = [measured(split, half, given.copies, seed) for seed, half in enumerate(np.array_split(places, 2))]
    fit = [t for t in THRESHOLDS if min(recall(halves[0], t).values()) >= 1 - LOST]
    clean = [t for t in THRESHOLDS if not strangers(halves[0], t)]
    command = f"python -m benches.likeness STORE --split {given.split} --pictures {given.pictures} --copies {given.copies}"
    result = {"command": command, "runs": 1, "environment": rundir.environment(device.pick()), "store": split.fingerprint,
              "pictures": given.pictures, "copies_of_each_change": given.copies, "near": likeness.NEAR,
              "first_half": {"smallest_threshold_without_a_pair_not_planted": min(clean, default=None),
                             "largest_threshold_that_finds_97_percent_of_every_change": max(fit, default=None)},
              "second_half": {"recall": recall(halves[1], likeness.NEAR), "close_enough_to_compare": halves[1]["close"],
                              "exact_pairs": halves[1]["exact"], "pairs_not_planted": strangers(halves[1], likeness.NEAR),
                              "seconds": halves[1]["seconds"]},
              "each_half_by_threshold": [[{"threshold": t, "recall": recall(half, t), "pairs_not_planted": strangers(half, t)}
                                          for t in THRESHOLDS] for half in halves]}
    rundir.replace_file(RESULTS / "likeness.json", json.dumps(result, indent=1).encode())
    print(json.dumps(result["second_half"], indent=1))


def measured(split, places, copies, seed):
    """-> for each change the likeness found of each copy (0: none), and that of the pairs that nobody planted."""
    rng = np.random.default_rng(seed)
    squares = split.pictures(places)
    signed = signatures(squares)
    began = time.monotonic()
    own = likeness.pairs(signed, near=THRESHOLDS[0])
    seconds = round(time.monotonic() - began, 1)
    found, close = {}, {}
    for name, change in CHANGES.items():
        chosen = rng.choice(len(squares), copies, replace=False)
        planted = signatures(np.stack([np.asarray(change(Image.fromarray(squares[place]), rng)) for place in chosen]))
        values = {one: 0.0 for one in range(copies)}
        for i, j, kind in likeness.pairs(np.concatenate([signed, planted]), near=THRESHOLDS[0]):
            if j >= len(squares) and i == chosen[j - len(squares)]:
                one = j - len(squares)
                values[one] = 1.0 if kind == "exact" else float(likeness.compare(signed[[i]], planted[[one]])[0][0])
        found[name] = list(values.values())
        even, odd = likeness._all_vectors(np.concatenate([signed[chosen], planted]))
        cosines = (even[:copies] * even[copies:]).sum(1) + np.abs((odd[:copies] * odd[copies:]).sum(1))
        close[name] = float((cosines > likeness.CLOSE).mean())
        print(name, f"{np.mean([v > likeness.NEAR for v in found[name]]):.3f} found, {close[name]:.3f} compared", flush=True)
    near = [(i, j) for i, j, kind in own if kind == "near"]
    values = [likeness.compare(signed[[i]], signed[[j]])[0][0] for i, j in near]
    return {"found": found, "close": close, "own": values, "exact": len(own) - len(near), "seconds": seconds}


def signatures(squares):
    return np.concatenate([likeness.signatures(squares[first : first + 256]) for first in range(0, len(squares), 256)])


def recall(half, threshold):
    return {name: float(np.mean([value > threshold for value in values])) for name, values in half["found"].items()}


def strangers(half, threshold):
    return int(sum(value > threshold for value in half["own"]))


# ---- what may happen to a picture ------------------------------------------------------------------------------------------


def recompressed(picture, rng):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=50)
    return Image.open(stream).convert("RGB")


def rescaled(picture, rng):
    return picture.resize((int(0.6 * picture.width),) * 2, Image.Resampling.BICUBIC).resize(picture.size, Image.Resampling.BILINEAR)


def mirrored(picture, rng):
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def brighter(picture, rng):
    return picture.point([min(int(1.15 * value + 8), 255) for value in range(256)] * 3)


def cropped(picture, rng, most=0.05):
    """Each side by its own share, up to 5 %."""
    left, top, right, bottom = rng.uniform(0, most, 4) * picture.width
    box = (left, top, picture.width - right, picture.height - bottom)
    return picture.resize(picture.size, Image.Resampling.BILINEAR, box=box)


def cropped_fully(picture, rng):
    edge = 0.05 * picture.width
    box = (edge, edge, picture.width - edge, picture.height - edge)
    return picture.resize(picture.size, Image.Resampling.BILINEAR, box=box)


def everything(picture, rng):
    return recompressed(brighter(mirrored(cropped(picture, rng), rng), rng), rng)


CHANGES = {"JPEG of quality 50": recompressed, "rescaled to 60 % and back": rescaled, "mirrored": mirrored,
           "brighter by 15 % and 8 levels": brighter, "cropped by 0 to 5 % a side": cropped,
           "cropped by 5 % on every side": cropped_fully, "cropped, mirrored, brighter and JPEG": everything}


if __name__ == "__main__":
    main()
