"""ILSVRC-2012 in small, from tars to a store: 1,000 classes, 45,000 pictures in a tar of tars, 5,000 numbered ones with a devkit
whose ids are shuffled; every picture is painted in the colour of its class, and each label in the store is held against it.

    python -m benches.tars FOLDER        writes results/prepare-tars.json; FOLDER is new, and may be deleted afterwards
"""

import argparse
import io
import json
import random
import resource
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from alexnet import device, rundir
from alexnet.data.store import open_split
from benches.record import RESULTS

CLASSES, TRAIN, VAL, SIZE = 1000, 45, 5, 16  # pictures a class
LEVELS = np.arange(10) * 25 + 12  # of each colour; a JPEG of one colour is off by three at most


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty: name a new folder.")
    expected = build(folder / "source")
    words = ["prepare", str(folder / "source"), str(folder / "store"), "--size", str(SIZE), "--json"]
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "alexnet", *words], stdout=subprocess.PIPE, text=True)
    seconds = time.monotonic() - began
    if done.returncode:
        sys.exit(f"alexnet {' '.join(words)} ended with {done.returncode}; nothing is recorded.")
    wrong = {split: mistakes(folder / "store", split, names) for split, names in expected.items()}
    pictures = sum(map(len, expected.values()))
    result = {"command": "python -m benches.tars FOLDER", "runs": 1,
              "prepare": f"alexnet prepare FOLDER/source FOLDER/store --size {SIZE}", "classes": CLASSES, "pictures": pictures,
              "wrong_labels": wrong, "seconds": round(seconds, 2), "pictures_per_second": round(pictures / seconds, 1),
              "peak_memory_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
              "peak_memory_is": "the largest resident size of any one process of the prepare, its workers included; not their sum",
              "source_mb": sum(file.stat().st_size for file in (folder / "source").iterdir()) // 2**20,
              "splits": json.loads(done.stdout)["splits"], "environment": rundir.environment(device.pick())}
    rundir.replace_file(RESULTS / "prepare-tars.json", json.dumps(result, indent=1).encode())
    print(json.dumps(result, indent=1))
    sys.exit(1 if any(wrong.values()) else 0)


def build(source):
    """-> {split: {name of a picture in the store: its class}}"""
    source.mkdir(parents=True)
    chance = random.Random(0)
    wnids = sorted(f"n{number:08d}" for number in chance.sample(range(10**7), CLASSES))
    ids = chance.sample(range(1, CLASSES + 1), CLASSES)  # of the classes in the order of their wnids
    files = [painted(label) for label in range(CLASSES)]
    names = {split: {} for split in ("train", "val")}
    with tarfile.open(source / "ILSVRC2012_img_train.tar", "w") as outer:
        for label in chance.sample(range(CLASSES), CLASSES):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as tar:
                for number in chance.sample(range(100_000), TRAIN):
                    add(tar, f"{wnids[label]}_{number}.JPEG", files[label])
                    names["train"][f"train/{wnids[label]}/{wnids[label]}_{number}.JPEG"] = label
            add(outer, f"{wnids[label]}.tar", inner.getvalue())
    truth = chance.sample([label for label in range(CLASSES) for _ in range(VAL)], CLASSES * VAL)
    with tarfile.open(source / "ILSVRC2012_img_val.tar", "w") as tar:
        for number in chance.sample(range(1, len(truth) + 1), len(truth)):
            label, name = truth[number - 1], f"ILSVRC2012_val_{number:08d}.JPEG"
            add(tar, name, files[label])
            names["val"][f"val/{wnids[label]}/{name}"] = label
    devkit(source / "ILSVRC2012_devkit_t12.tar.gz", sorted(zip(ids, wnids)), [ids[label] for label in truth])
    return names


def painted(label):
    stream = io.BytesIO()
    colour = tuple(int(LEVELS[label // step % 10]) for step in (100, 10, 1))
    Image.new("RGB", (24, 18), colour).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def devkit(path, classes, truth):
    rows = [(number, wnid, f"thing {wnid}, other word", 0) for number, wnid in classes]
    rows += [(number, f"n9{number:07d}", "ancestor", 2) for number in range(CLASSES + 1, CLASSES + 861)]  # as many as there are
    fields = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "num_children")]
    meta = io.BytesIO()
    savemat(meta, {"synsets": np.array(rows, fields).reshape(-1, 1)})
    with tarfile.open(path, "w:gz") as tar:
        add(tar, "ILSVRC2012_devkit_t12/data/meta.mat", meta.getvalue())
        lines = "".join(f"{number}\n" for number in truth).encode()
        add(tar, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", lines)


def add(tar, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def mistakes(store, split, expected):
    """Pictures whose label is not that of their colour or of their name, and names that are missing or too many."""
    held = open_split(store, split)
    wrong = len(expected.keys() ^ set(held.names))
    for first in range(0, len(held), 1000):
        rows = np.arange(first, min(first + 1000, len(held)))
        colours = held.pictures(rows).mean((1, 2))  # (B, 3)
        seen = np.abs(colours[..., None] - LEVELS).argmin(-1) @ [100, 10, 1]
        named = [expected.get(held.names[row]) for row in rows]
        wrong += int(((held.labels[rows] != seen) | (held.labels[rows] != named)).sum())
    return wrong


if __name__ == "__main__":
    main()
