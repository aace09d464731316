"""Whole processes from nothing to their end: wall seconds and peak memory. Used by benches/inference.py."""

import json
import os
import subprocess
import sys
from statistics import median

# a process begins with the peak of the one that starts it: a small one comes between
BETWEEN = """import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
print(json.dumps([time.perf_counter() - began, used.ru_maxrss // 1024, status]))"""


def table(models, folder, *, runs):
    """Of `alexnet predict` with each model, nothing kept and its engine kept; of importing and asking for help."""
    from PIL import Image
    from skimage import data

    cat = folder / "cat.jpg"
    Image.fromarray(data.chelsea()).save(cat, quality=95)
    lines, alexnet = [], [sys.executable, "-m", "alexnet"]
    for name, model in models.items():
        home = folder / f"home-{name}"
        words = [*alexnet, "predict", str(cat), "--model", model, "--device", "cpu"]
        for kept in (False, True):
            before = (lambda home=home: remove(home)) if not kept else None
            lines.append({"what": f"alexnet predict cat.jpg --model {name}, " + ("its engine kept" if kept else "nothing kept"),
                          **timed(words, runs, home, before)})
    lines.append({"what": "import alexnet", **timed([sys.executable, "-c", "import alexnet"], runs, folder)})
    lines.append({"what": "alexnet --help", **timed([*alexnet, "--help"], runs, folder)})
    lines.append({"what": "import torch, for comparison", **timed([sys.executable, "-c", "import torch"], runs, folder)})
    return lines


def remove(home):
    for file in (home / "engines").glob("*"):
        file.unlink()


def timed(words, runs, home, before=None):
    each = []
    for _ in range(runs):
        if before:
            before()
        told = subprocess.run([sys.executable, "-c", BETWEEN, *words], capture_output=True, text=True, check=True,
                              env={**os.environ, "ALEXNET_HOME": str(home)})
        *one, status = json.loads(told.stdout)
        if status:
            raise SystemExit(f"{' '.join(words)} failed, and nothing is recorded: {told.stderr}")
        each.append(one)
    seconds, memory = zip(*each)
    return {"runs": runs, "median_seconds": median(seconds), "least": min(seconds), "most": max(seconds),
            "peak_memory_mb": median(memory)}
