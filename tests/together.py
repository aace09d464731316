"""Not a test: what each process of test_parallel.py runs. Trains in float64, so that only rounding tells one process from several.

    torchrun --nproc-per-node 2 tests/together.py STORE OUT '{"recipe": "tiny", ...}'
"""

import json
import sys

import torch

import alexnet
from alexnet.data import augment


def widened(function):
    """Pictures are made as ever, and then made double."""
    def made(*words, **more):
        torch.set_default_dtype(torch.float32)
        found = function(*words, **more)
        torch.set_default_dtype(torch.float64)
        return [one.double() for one in found] if isinstance(found, list) else found.double()

    return made


def main(store, out, settings):
    augment.augment, augment.views = widened(augment.augment), widened(augment.views)
    torch.set_default_dtype(torch.float64)
    line = alexnet.train(store, out=out, resume=True, precision="float32", **json.loads(settings))
    answer = {key: line[key] for key in ("train_loss", "val_top1_error", "log_loss", "images", "val_images")}
    sys.stdout.write(json.dumps(answer) + "\n")  # at once: several write into one pipe


if __name__ == "__main__":
    main(*sys.argv[1:])
