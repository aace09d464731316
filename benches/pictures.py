"""Pictures in, measured against Pillow and against the parts alone: decoding and resampling, `prepare`, how near the short
cuts stay to the definition, reading a store back, augmentation, and `predict` beside its decoding and its net. What is compared
is taken in turns; results/pictures.json has it.

    python -m benches.pictures FOLDER_OF_PHOTOGRAPHS [--quick]
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image, ImageOps

ROOT = Path(__file__).parents[1]
BATCH = 128
SIZES = (256, 64)
# Read by every Python of the Pillow pipeline at its start, workers too: the same prepare, with pictures by Pillow alone.
STAND_IN = """import sys
sys.modules["simplejpeg"] = sys.modules["cykooz_resizer"] = None
from alexnet.data import picture
from benches.pictures import with_pillow
picture.square = with_pillow
"""


def with_pillow(data, size):
    """What a plain script does: decode, turn, convert, one antialiased bilinear step from the central square."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.array(picture.resize((size, size), Image.Resampling.BILINEAR, box=box))


def in_turns(runs, clock=time.perf_counter, **things):
    """{name: [seconds, ...]}: each thing once, then each again; the first round warms up and is not counted."""
    taken = {name: [] for name in things}
    for _ in range(runs + 1):
        for name, thing in things.items():
            began = clock()
            thing()
            taken[name].append(clock() - began)
    return {name: all_[1:] for name, all_ in taken.items()}


def ratio(slow, quick):
    return round(median(a / b for a, b in zip(slow, quick)), 3)


def each_of(function, things, *more):
    """One after the other; nothing is kept."""
    deque((function(thing, *more) for thing in things), maxlen=0)


def decoding(photographs, size, runs):
    """One core: a list of files in memory to squares."""
    from alexnet.data import picture

    taken = in_turns(runs, ours=lambda: each_of(picture.square, photographs, size),
                     pillow=lambda: each_of(with_pillow, photographs, size))
    return {f"{name}_ms_a_picture": round(median(all_) / len(photographs) * 1e3, 3) for name, all_ in taken.items()} | {
        "times_pillow": ratio(taken["pillow"], taken["ours"]), "runs": runs}


def nearness(photographs):
    """Decibels to the definition, all of the file and then Pillow's step: the share from 40 dB on, the least, and in tenths."""
    from alexnet.data import picture

    found = {}
    for size in (256, 224, 128, 64, 56, 32):
        decibels = sorted(psnr(picture.square(one, size), with_pillow(one, size)) for one in photographs)
        found[size] = {"from_40": float(np.mean(np.array(decibels) >= 40)), "least": round(decibels[0], 1),
                       "tenths": np.percentile(decibels, range(10, 100, 10)).round(1).tolist()}
    return found


def psnr(a, b):
    return 10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-6))


class Preparing:
    """Whole commands, with the processes that `prepare` takes by itself; the stores that both leave have the same files."""

    def __init__(self, source, scratch, pictures):
        (scratch / "stand-in").mkdir()
        (scratch / "stand-in" / "sitecustomize.py").write_text(STAND_IN)
        self.pillow = {**os.environ, "PYTHONPATH": os.pathsep.join([str(scratch / "stand-in"), str(ROOT)])}
        self.source, self.scratch, self.pictures, self.count = source, scratch, pictures, 0

    def once(self, size, encoding="raw", environment=None):
        """-> (store, seconds, seconds of all cores)"""
        self.count += 1
        store = self.scratch / str(self.count)
        command = [sys.executable, "-m", "alexnet", "prepare", str(self.source), str(store), "--json"]
        before, began = os.times(), time.perf_counter()
        subprocess.run([*command, "--size", str(size), "--encoding", encoding], env=environment, check=True, cwd=ROOT,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after, ended = os.times(), time.perf_counter()
        return store, ended - began, after.children_user + after.children_system - before.children_user - before.children_system

    def compared(self, size, runs):
        """-> (what is recorded, the last store)"""
        both = [(self.once(size), self.once(size, environment=self.pillow)) for _ in range(runs)]
        (ours, *_), (theirs, *_) = both[-1]
        assert sorted(os.listdir(ours / "train")) == sorted(os.listdir(theirs / "train"))
        seconds, cpu = ([[run[at] for run in one] for one in zip(*both)] for at in (1, 2))
        return {"ours_pictures_a_second": round(self.pictures / median(seconds[0]), 1),
                "pillow_pictures_a_second": round(self.pictures / median(seconds[1]), 1),
                "times_pillow": ratio(*seconds[::-1]), "times_pillow_in_seconds_of_all_cores": ratio(*cpu[::-1]),
                "runs": runs, "pictures": self.pictures, "shards": -(-self.pictures // 1024)}, ours


def reading(path, runs):
    """Pictures a second a core: batches of pictures at random places, and the feed with a thread that reads ahead, by the seconds
    that the processor worked; beside it a plain copy of as many bytes in random order."""
    from alexnet.data.feed import Feed
    from alexnet.data.store import open_split

    split, random = open_split(path), np.random.default_rng(0)
    feed, batches = Feed(split), 16 if split.encoding == "raw" else 4
    plan = [random.permutation(len(split))[:BATCH] for _ in range(batches)]
    plain = split.pictures(np.arange(len(split)))
    taken = in_turns(runs, time.process_time, store=lambda: each_of(split.pictures, plan),
                     feed=lambda: each_of(len, feed.batches(iter(plan))), plain_copy=lambda: each_of(lambda at: plain[at], plan))
    return {name: round(sum(map(len, plan)) / median(all_)) for name, all_ in taken.items()} | {
        f"{name}_of_plain_copy": ratio(taken["plain_copy"], taken[name]) for name in ("store", "feed")}


def augmenting(recipe, size, crop, runs):
    """Milliseconds a batch, on the threads that torch takes by itself."""
    import torch

    from alexnet.data import augment
    from alexnet.data.store import Colour

    random = np.random.default_rng(0)
    pictures = torch.from_numpy(random.integers(0, 256, (BATCH, size, size, 3), np.uint8))
    settings = {"crop": crop, "mean": torch.rand(3, crop, crop) * 255, "noise": recipe.noise, "resized": recipe.crop == "resized",
                "colour": Colour(np.zeros(3), np.array([50.0, 20.0, 5.0]), np.eye(3))}
    draws = augment.draw(random, count=BATCH, size=size, crop=crop, recipe=recipe)
    taken = in_turns(runs, one=lambda: augment.augment(pictures, draws, **settings))
    return round(median(taken["one"]) * 1e3, 2)


def predicting(source, pictures, runs):
    """All threads there are: the pictures read alone, their squares through the net alone, and both as `predict` does them."""
    from alexnet import classifier
    from alexnet.data import picture

    began = time.perf_counter()
    clf, paths = classifier.load(), [(str(path), None) for path in sorted(source.rglob("*.JPEG"))[:pictures]]
    loaded = time.perf_counter() - began

    def decode():
        with ThreadPoolExecutor(picture.decoders()) as pool:
            return list(pool.map(lambda one: classifier._read(clf, *one), paths))

    squares = np.stack(decode())

    def net():
        for first in range(0, len(squares), classifier.BATCH):
            clf.probabilities(squares[first : first + classifier.BATCH])

    answered = []
    taken = in_turns(runs, decoding=decode, net=net, predict=lambda: answered.append(list(classifier.answers(clf, paths))))
    assert all("top" in one for one in answered[-1]) and len(answered[-1]) == len(paths)
    alone = [(a + b) / both for a, b, both in zip(taken["decoding"], taken["net"], taken["predict"])]
    return {f"{name}_pictures_a_second": round(len(paths) / median(all_), 1) for name, all_ in taken.items()} | {
        "of_both_alone": round(median(alone), 3), "each": [round(one, 3) for one in alone], "pictures": len(paths), "runs": runs,
        "engine": getattr(clf.engine, "name", "torch"), "decoders": picture.decoders(), "seconds_to_load": round(loaded, 2)}


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("photographs", type=Path, help="a folder of JPEG files")
    words.add_argument("--quick", action="store_true", help="a rehearsal: fewer pictures and runs, and nothing is recorded")
    asked = words.parse_args()
    from alexnet import device, recipes, rundir
    from alexnet.cli import keep_memory
    from alexnet.data import picture
    from benches.record import RESULTS

    keep_memory()
    runs, pictures = (1, 200) if asked.quick else (5, 8192)  # eight shards: starting two processes is little of the work
    files = sorted(path for path in asked.photographs.rglob("*") if path.suffix.lower() in (".jpeg", ".jpg"))
    photographs = [path.read_bytes() for path in files]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        source = scratch / "source"
        for at in range(pictures):  # under other names, in eight classes
            path = source / f"class{at % 8}" / f"{at:05d}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photographs[at % len(photographs)])
        found = {"command": "python -m benches.pictures PHOTOGRAPHS" + " --quick" * asked.quick, "photographs": len(files),
                 "resampling": picture.RESAMPLING,
                 "decoding_and_resampling_one_core": {size: decoding(photographs, size, runs) for size in SIZES},
                 "decibels_to_the_definition": nearness(photographs), "prepare": {}, "reading_a_second_a_core": {}}
        preparing = Preparing(source, scratch, pictures)
        for size in SIZES:
            found["prepare"][size], raw = preparing.compared(size, min(runs, 3))
            for encoding, store in (("raw", raw), ("jpeg", preparing.once(size, "jpeg")[0])):
                found["reading_a_second_a_core"][f"{encoding} {size}"] = reading(store, runs)
        found["augmenting_ms_a_batch_of_128"] = {
            f"{recipe.crop} {size} to {crop}": augmenting(recipe, size, crop, runs)
            for recipe in (recipes.recipe("paper"), recipes.recipe("modern")) for size, crop in ((64, 56), (256, 224))}
        found["predict"] = predicting(source, min(pictures, 1000), runs)
    found["environment"] = rundir.environment(device.pick(), command="")
    text = json.dumps(found, indent=1).replace(sys.prefix, "VENV").replace(str(Path.cwd()), ".")
    if asked.quick:
        print(text)
    else:
        rundir.replace_file(RESULTS / "pictures.json", text.encode())
        print(RESULTS / "pictures.json")


if __name__ == "__main__":
    main()
