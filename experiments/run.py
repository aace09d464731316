"""The paper's claims, measured again: one command for any of them (claims.py) at any scale.

    alexnet prepare tiny-imagenet-200 TINY --size 40 --holdout tune=0.05,claims=0.1    # --scale gpu: --size 64
    alexnet prepare cifar CIFAR --size 32 --holdout tune=0.05,claims=0.1
    python -m experiments.run norms pools --scale cpu TINY CIFAR OUT       # claims by name or number; all when left out
    python -m experiments.run --scale gpu TINY CIFAR OUT --minutes 8       # stops and saves; the same words go on
    python -m experiments.run --scale toy OUT                              # a rehearsal on pictures that it draws itself
    python -m experiments.run norms --scale gpu --row as_run IMAGENET OUT  # at full size, on a store of 256 pixels

Results are OUT/claim-NN-NAME-SCALE.json, kept after every arm; --results results puts them where the tables are made from.
"""

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from alexnet.cli import keep_memory
from alexnet.errors import Misused, Refused
from alexnet.progress import say
from experiments import subsets, table
from experiments.arms import measured, stop_after
from experiments.claims import CLAIMS, SCALES


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="+", metavar="CLAIM... STORE... OUT")
    parser.add_argument("--scale", choices=SCALES, required=True)
    parser.add_argument("--row", help="the net that arms are made from, instead of the scale's")
    parser.add_argument("--minutes", type=float, help="stop and save after so many")
    parser.add_argument("--results", type=Path, help="folder of the result files, instead of OUT")
    asked = parser.parse_intermixed_args(words)
    keep_memory()
    stop_after(asked.minutes)
    known = {claim.name: claim for claim in CLAIMS} | {str(claim.number): claim for claim in CLAIMS}
    chosen = [known[word] for word in asked.words if word in known] or CLAIMS
    *stores, out = [word for word in asked.words if word not in known] or [None]
    try:
        if out is None:
            raise Misused("name the folder OUT too, in which runs are kept: python -m experiments.run CLAIM --scale toy OUT.")
        out = Path(out)
        if not stores and asked.scale == "toy":
            stores = [subsets.toy(out / "pictures", size=size) for size in (64, 32)]
        if not stores:
            raise Misused("name the store of 40 pixels (of 64 for --scale gpu) or CIFAR-10's or both, and then the folder OUT.")
        for claim in chosen:
            one(claim, stores, out, scale=asked.scale, results=asked.results or out, row=asked.row)
    except Refused as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, Misused) else 1)


def one(claim, stores, out, *, scale, results, row=None):
    """A claim at a scale, from what is there already to its result file."""
    size = replace(claim.sizes[scale], row=row) if row else claim.sizes[scale]
    which = f"{scale} --row {row}" if row else scale
    file = results / f"claim-{claim.number:02d}-{claim.name}-{which.replace(' --row ', '-')}.json"
    facts = {"claim": claim.number, "name": claim.name, "sentence": claim.sentence, "paper": claim.paper,
             "command": f"python -m experiments.run {claim.name} --scale {which} STORE... OUT"}
    say(f"claim {claim.number}, {claim.name}, at {scale} scale")
    found = measured(partial(drawn, claim), stores, out, scale=scale, size=size, file=file, facts=facts)
    print(table.of_one(found), flush=True)


def drawn(claim, work):
    claim.run(work)
    rows = [row for row in work.result.get("rows", ()) if row["unit"].startswith("nats")]
    if rows:
        from experiments import drawing

        work.figure(drawing.differences(rows, title=claim.sentence))


if __name__ == "__main__":
    main()
