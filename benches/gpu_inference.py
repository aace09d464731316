"""Answers of `paper` on a graphics card, from one picture to 4,096 at once: eager float32, eager bfloat16, compiled bfloat16,
that as a CUDA graph, and graphs whose dense layers have eight bits (gpu_dense.py): weights alone, or both, as int8 or float8.

    python -m benches.gpu_inference OUT_FOLDER [--row paper] [--batches 1 256 4096 8 64 1024] [--minutes 7.5] [--rehearse]

The batch is there; 20 calls by the device's events. How far each form's answers are from float32's is a part of its own: of initial
weights on smooth random pictures, so it tells of the arithmetic alone. Writes OUT_FOLDER/gpu_inference.json after every part;
called again it goes on.
"""

import argparse
from functools import partial

import torch
import torch.nn.functional as F

from alexnet import nets, ops, weights
from alexnet.net import AlexNet
from benches import gpu_dense, gpu_job
from benches.gpu_step import captured, compiled, ready


def main():
    words = gpu_job.words(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    words.add_argument("--row", default="paper")
    words.add_argument("--batches", nargs="+", type=int, default=[1, 256, 4096, 8, 64, 1024])
    asked = words.parse_args()
    if asked.rehearse:
        asked.row, asked.batches = "small64", [1, 2]
    job, row = gpu_job.Job("gpu_inference", asked), nets.row(asked.row)
    job.part("products", job.products)
    for name, how in FORMS.items():
        if not how.get("compile") or "dense" in how:
            job.part(f"distance from float32, {name}", partial(distant, job, row, how), seconds=10, needs_cuda=wants_card(job, how))
    for batch in asked.batches:
        for name, how in FORMS.items():
            if batch <= how.get("most", batch):
                job.part(f"{batch}, {name}", partial(measured, job, row, batch, **how), seconds=30 if how.get("compile") else 10,
                         needs_cuda=wants_card(job, how))


GRAPH = dict(dtype=torch.bfloat16, compile=True, graph=True)
FORMS = {
    "compiled bfloat16, graph": GRAPH,
    "int8 weights, our kernel, graph": dict(GRAPH, dense=gpu_dense.Words, most=8),
    "int8 weights, graph": dict(GRAPH, dense=gpu_dense.Bytes, most=64),
    "float8, graph": dict(GRAPH, dense=gpu_dense.Floats),
    "float8, one scale, graph": dict(GRAPH, dense=partial(gpu_dense.Floats, whole=True)),
    "int8, graph": dict(GRAPH, dense=gpu_dense.Integers),
    "compiled bfloat16": dict(dtype=torch.bfloat16, compile=True),
    "eager bfloat16": dict(dtype=torch.bfloat16),
    "eager float32": dict(dtype=torch.float32),
}


def wants_card(job, how):
    """Rehearsed without graphs; our kernel by Triton's interpreter, where it is asked for."""
    if how.get("dense") is gpu_dense.Words:
        return not ops.kernels(torch.zeros(1, device=job.device))
    return how.get("graph", False) and "dense" not in how


def built(job, row, dtype, dense=None):
    exact = weights.to_device(AlexNet(row, seed=0), job.device).eval()
    net = weights.to_device(AlexNet(row, seed=0), job.device).to(dtype).eval()
    return exact, gpu_dense.at_lower_precision(net, exact, dense) if dense else net


def distant(job, row, how):
    exact, net = built(job, row, how["dtype"], how.get("dense"))
    small = torch.randn(8 if job.rehearse else 64, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 60
    pictures = F.interpolate(small, (row.crop, row.crop), mode="bicubic").to(job.device)
    return gpu_dense.distance(net, exact, pictures.contiguous(memory_format=torch.channels_last), pieces=how.get("most", 64))


@torch.inference_mode()
def measured(job, row, batch, *, dtype, compile=False, graph=False, dense=None, most=None):
    net = built(job, row, dtype, dense)[1]
    x = ready(job, row, batch, row.crop)[0].to(dtype)
    run = compiled(job, net) if compile else net
    call = partial(run, x)
    if graph and job.cuda:
        call = captured(call)
    found = job.timed(call, warm=5, times=50 if batch < 512 else 20)
    flop = 2 * sum(shape.multiply_adds for shape in nets.shapes(row)) * batch
    return {**found, "pictures_per_second": round(batch / found["ms"] * 1e3), "share_of_product": job.share(flop, found["ms"])}


if __name__ == "__main__":
    main()
