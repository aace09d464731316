"""Does a batch of 4,096 train as well as one of 256? The same net, pictures and epochs, a sixteenth of the updates: with the rate
scaled and warmed up, and with LARS. Rates are chosen on `tune`, errors are those of `claims`; half a point is asked for.

    python -m experiments.large_batch STORE OUT --scale cpu      # STORE: 40 pixels (gpu: 64), tune, claims; killed, it goes on
"""

import argparse
from dataclasses import replace
from pathlib import Path

from alexnet.cli import keep_memory
from experiments import paired, subsets
from experiments.arms import Arm, Size, given, measured, stop_after

QUESTION = "a batch of 4,096 trains as well as one of 256"
SCALES = {  # batch sizes of the control and of the others: in size.more
    "toy": Size("toy64", epochs=2, seeds=1, trials=1, more={"clean": 32, "batches": (16, 64)}),
    "cpu": Size("tiny36", epochs=12, seeds=1, trials=1, more={"batches": (256, 4096)}),
    "gpu": Size("small64", epochs=36, seeds=3, trials=3, more={"batches": (256, 4096)}),
}
PIECE = 512  # pictures that go through the net at once; a piece has statistics of its own, as a device's share has


def arms(row, small, large):
    net, share = f"{row},norm=batch", large / small
    today = {"recipe": "modern", "micro_batch": PIECE}
    return (Arm(f"{small:,} pictures", net, {**today, "batch_size": small}, rate=0.1),
            Arm(f"{large:,}, the rate as it is", net, {**today, "batch_size": large}, rate=0.1),
            Arm(f"{large:,}, rate scaled by the root", net, {**today, "batch_size": large}, rate=0.1 * share**0.5),
            Arm(f"{large:,}, LARS", net, {**today, "batch_size": large, "update": "lars"}, rate=8.0))


def measure(store, out, *, scale="cpu", minutes=None, **changes):
    changes, words = given(changes)
    stop_after(minutes)
    return measured(run, [store] if store else [subsets.toy(Path(out) / "pictures", size=64)], out, scale=scale,
                    size=replace(SCALES[scale], **changes), file=Path(out) / f"large-batch-{scale}.json",
                    facts={"sentence": QUESTION, "command": f"python -m experiments.large_batch STORE OUT --scale {scale}{words}"})


def run(work):
    control, *others = arms(work.size.row, *work.size.more["batches"])
    work.compare(control, others)


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", nargs="?", help="left out with --scale toy")
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale", default="cpu", choices=list(SCALES))
    parser.add_argument("--minutes", type=float, help="stop and save after so many")
    for option in ("row", "epochs", "seeds", "trials"):
        parser.add_argument(f"--{option}", type=str if option == "row" else int)
    asked = vars(parser.parse_args(words))
    keep_memory()
    found = measure(asked.pop("store"), asked.pop("out"), **asked)
    for row in found["rows"]:
        points = 100 * row["top1_difference"]
        print(f"{row['what']:<56}{points:+.2f} points, {paired.signed(row['difference'])} nats, {row['verdict']}")


if __name__ == "__main__":
    main()
