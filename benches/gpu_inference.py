"""Answers of `paper` on a graphics card, from one picture to 4,096 at once: eager float32, eager bfloat16, compiled bfloat16,
and that as a CUDA graph.

    python -m benches.gpu_inference OUT_FOLDER [--row paper] [--batches 256 1 4096 8 64 1024] [--minutes 7.5] [--rehearse]

The batch is there; 20 calls by the device's events. Writes OUT_FOLDER/gpu_inference.json after every part; called again it goes on.
"""

import argparse
from functools import partial

import torch

from alexnet import nets, weights
from alexnet.net import AlexNet
from benches import gpu_job
from benches.gpu_step import captured, compiled, ready


def main():
    words = gpu_job.words(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    words.add_argument("--row", default="paper")
    words.add_argument("--batches", nargs="+", type=int, default=[256, 1, 4096, 8, 64, 1024])
    asked = words.parse_args()
    if asked.rehearse:
        asked.row, asked.batches = "small64", [1, 2]
    job = gpu_job.Job("gpu_inference", asked)
    job.part("products", job.products)
    for batch in asked.batches:
        for name, how in FORMS.items():
            job.part(f"{batch}, {name}", partial(measured, job, nets.row(asked.row), batch, **how),
                     seconds=30 if how.get("compile") else 10, needs_cuda=how.get("graph", False))


FORMS = {
    "compiled bfloat16, graph": dict(dtype=torch.bfloat16, compile=True, graph=True),
    "compiled bfloat16": dict(dtype=torch.bfloat16, compile=True),
    "eager bfloat16": dict(dtype=torch.bfloat16),
    "eager float32": dict(dtype=torch.float32),
}


@torch.inference_mode()
def measured(job, row, batch, *, dtype, compile=False, graph=False):
    net = weights.to_device(AlexNet(row, seed=0), job.device).to(dtype).eval()
    x = ready(job, row, batch, row.crop)[0].to(dtype)
    run = compiled(job, net) if compile else net
    call = partial(run, x)
    if graph:
        call = captured(call)
    found = job.timed(call, warm=5, times=50 if batch < 512 else 20)
    flop = 2 * sum(shape.multiply_adds for shape in nets.shapes(row)) * batch
    return {**found, "pictures_per_second": round(batch / found["ms"] * 1e3), "share_of_product": job.share(flop, found["ms"])}


if __name__ == "__main__":
    main()
