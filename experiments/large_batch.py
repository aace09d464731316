"""Does a batch of 4,096 train as well as one of 256? The same net, pictures and epochs, a sixteenth of the updates: with the rate
scaled and warmed up, with LARS, and with Muon. Rates are chosen on `tune`, errors are those of `claims`; half a point is asked for.

    python -m experiments.large_batch STORE OUT --scale cpu      # STORE: 40 pixels (gpu: 64), tune, claims; killed, it goes on
"""

from functools import partial

from experiments import alone
from experiments.arms import Arm, Size

PIECE = 512  # pictures that go through the net at once; a piece has statistics of its own, as a device's share has
WHICH = {"name": "large_batch", "facts": {"sentence": "a batch of 4,096 trains as well as one of 256"}, "scales": {
    "toy": Size("toy64", epochs=2, seeds=1, trials=1, more={"clean": 32, "batches": (16, 64)}),
    "cpu": Size("tiny36", epochs=12, seeds=1, trials=1, more={"batches": (256, 4096)}),
    "gpu": Size("small64", epochs=36, seeds=3, trials=3, more={"batches": (256, 4096)}),
}}


def arms(row, small, large):
    net, share = f"{row},norm=batch", large / small
    today = {"recipe": "modern", "micro_batch": PIECE}
    return (Arm(f"{small:,} pictures", net, {**today, "batch_size": small}, rate=0.1),
            Arm(f"{small:,}, Muon", net, {**today, "batch_size": small, "update": "muon"}, rate=0.1),
            Arm(f"{large:,}, the rate as it is", net, {**today, "batch_size": large}, rate=0.1),
            Arm(f"{large:,}, rate scaled by the root", net, {**today, "batch_size": large}, rate=0.1 * share**0.5),
            Arm(f"{large:,}, LARS", net, {**today, "batch_size": large, "update": "lars"}, rate=8.0),
            Arm(f"{large:,}, Muon", net, {**today, "batch_size": large, "update": "muon"}, rate=0.1 * share**0.5))


def run(work):
    control, *others = arms(work.size.row, *work.size.more["batches"])
    work.compare(control, others)


measure = partial(alone.measure, run, **WHICH)

if __name__ == "__main__":
    alone.main(run, about=__doc__, **WHICH)
