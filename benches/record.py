"""Run an alexnet command and keep what it answered, where and how long it took: one JSON a result, for the tables.

    python -m benches.record NAME [--runs 3] -- evaluate RUN STORE --views 10
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from alexnet import device, rundir

RESULTS = Path(__file__).parents[1] / "results"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="results/NAME.json")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--remove", type=Path, help="what the command makes: removed before each run")
    parser.add_argument("words", nargs="+", help="-- and the words behind `alexnet`")
    given = parser.parse_args()
    runs = []
    for _ in range(given.runs):
        if given.remove:
            shutil.rmtree(given.remove, ignore_errors=True)
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-m", "alexnet", *given.words, "--json"], stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"alexnet {' '.join(given.words)} ended with {done.returncode}; nothing is recorded.")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        runs.append({"seconds": round(time.monotonic() - began, 2), "answer": lines[-1] if len(lines) == 1 else lines})
    result = {"command": "alexnet " + " ".join(given.words), "runs": len(runs), "environment": rundir.environment(device.pick()),
              "peak_memory_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, "each": runs}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=1).replace(sys.prefix, "VENV").replace(str(Path.cwd()), ".")  # not where it stood
    rundir.replace_file(RESULTS / f"{given.name}.json", text.encode())
    print(RESULTS / f"{given.name}.json")


if __name__ == "__main__":
    main()
