"""Is memory flat over an hour? The resident memory of a process that predicts, round after round, or of one that trains, sampled
regularly: the median of the first quarter (after a tenth to warm up) beside that of the last.

    python -m benches.flat inference PHOTOGRAPHS --minutes 60 [--pause 2]     predicts all of them, again and again
    python -m benches.flat training PID --minutes 60                          watches a training that runs
"""

import argparse
import json
import os
import time
from pathlib import Path
from statistics import median

from benches.record import RESULTS

EVERY = 5.0  # seconds between samples


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("what", choices=("inference", "training"))
    words.add_argument("of", help="a folder of photographs, or the training's process")
    words.add_argument("--minutes", type=float, default=60)
    words.add_argument("--pause", type=float, default=0.0, help="seconds between rounds of inference, to leave the cores to others")
    asked = words.parse_args()
    began = time.monotonic()
    rounds = predicting(asked.of, asked.pause) if asked.what == "inference" else watching(int(asked.of))
    samples, done = [], 0
    for done, resident in rounds:
        if not samples or time.monotonic() - began - samples[-1][0] >= EVERY:
            samples.append((round(time.monotonic() - began, 1), resident))
        if time.monotonic() - began > asked.minutes * 60:
            break
    record(asked, samples, done)


def predicting(folder, pause):
    """(pictures answered so far, resident MB) after each round."""
    from alexnet import classifier
    from alexnet.memory import keep_memory

    keep_memory()
    clf, done = classifier.load(), 0
    while True:
        done += sum("top" in one for one in classifier.answers(clf, classifier.paths([folder])))
        yield done, resident(os.getpid())
        time.sleep(pause)


def watching(process):
    while (megabytes := resident(process)) is not None:
        yield 0, megabytes
        time.sleep(EVERY)


def resident(process):
    """MB, or None when it has ended."""
    try:
        with open(f"/proc/{process}/status") as lines:
            return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
    except (OSError, StopIteration):
        return None


def record(asked, samples, pictures):
    from alexnet import device, rundir

    warm = samples[len(samples) // 10 :]
    quarter = max(len(warm) // 4, 1)
    first, last = (median(mb for _, mb in some) for some in (warm[:quarter], warm[-quarter:]))
    of, pause = {"inference": "PHOTOGRAPHS"}.get(asked.what, "PID"), f" --pause {asked.pause:g}" if asked.pause else ""
    found = {"command": f"python -m benches.flat {asked.what} {of} --minutes {asked.minutes:g}{pause}", "runs": 1,
             "minutes": round(samples[-1][0] / 60, 1), "pictures": pictures, "samples": len(samples),
             "first_quarter_mb": round(first, 1), "last_quarter_mb": round(last, 1), "growth": round(last / first - 1, 4),
             "least_mb": round(min(mb for _, mb in warm), 1), "most_mb": round(max(mb for _, mb in warm), 1),
             "environment": rundir.environment(device.pick(), command="")}
    rundir.replace_file(Path(RESULTS) / f"flat-{asked.what}.json", json.dumps(found, indent=1).encode())
    print(json.dumps({key: found[key] for key in ("minutes", "pictures", "first_quarter_mb", "last_quarter_mb", "growth")}))


if __name__ == "__main__":
    main()
