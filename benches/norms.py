"""Norm and pool beside the convolution before them, and each convolution beside the product rate, on this CPU.

    python -m benches.norms [--batch 64] [--rounds 7] [--precision float32 bfloat16] [--quick]

All forms run in turn in one process, A B C ... A B C ...; cells are medians in milliseconds, ratios are medians of the rounds' own
ratios [least..most]. Norm + pool is what stands between two convolutions of `paper`: ReLU, response norm in each column, 3 / 2 max
pool, forward and backward. Four forms: `ours` as the net runs it, `plain` without our compiled kernel (as before), `ordinary`
with nn.LocalResponseNorm's function in NCHW, and `copy`, one copy of the convolution's output. Writes results/norms.json.
About a minute on two cores in float32; bfloat16 only where the processor has units for it.
"""

import argparse
import json
import time
from statistics import median

import torch
import torch.nn.functional as F

from alexnet import nets, ops, rundir
from alexnet.cli import keep_memory
from alexnet.device import pick, precision
from alexnet.ops import cpu, native
from benches.record import RESULTS

NORM = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0}
POOL = {"kernel_size": 3, "stride": 2, "ceil_mode": False}
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--batch", type=int, default=64)
    words.add_argument("--rounds", type=int, default=7)
    words.add_argument("--precision", nargs="+", choices=TYPES, help="when left out: float32, and bfloat16 where it has units")
    words.add_argument("--quick", action="store_true", help="a rehearsal: batch 4, 2 rounds, nothing written")
    asked = words.parse_args()
    batch, rounds = (4, 2) if asked.quick else (asked.batch, asked.rounds)
    keep_memory()
    device = pick("cpu")
    found = {"command": f"python -m benches.norms --batch {batch} --rounds {rounds}", "runs": rounds, "batch": batch,
             "threads": torch.get_num_threads(), "kernel": native.library()[0] is not None,
             "backend": ops.backend(channels_last(torch.zeros(1, 8, 3, 3)))[1].split(",")[0], "precisions": {}}
    for name in asked.precision or dict.fromkeys(("float32", precision("auto", device))):
        found["precisions"][name] = one = {"norm_and_pool": norms(batch, rounds, TYPES[name]),
                                           "convolutions": convolutions(batch, rounds, TYPES[name])}
        show(name, one)
    found["environment"] = rundir.environment(device)
    if not asked.quick:
        rundir.replace_file(RESULTS / "norms.json", json.dumps(found, indent=1).encode())


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


def in_turn(forms, rounds):
    """Name -> milliseconds of each round, after one that does not count."""
    taken = {name: [] for name in forms}
    for _ in range(rounds + 1):
        for name, form in forms.items():
            began = time.perf_counter()
            form()
            taken[name].append((time.perf_counter() - began) * 1e3)
    return {name: times[1:] for name, times in taken.items()}


def summary(times):
    return {"median_ms": round(median(times), 3), "least_ms": round(min(times), 3), "most_ms": round(max(times), 3)}


def ratio(times, others):
    """Of each round's own, median with least and most."""
    each = [one / other for one, other in zip(times, others)]
    return {"median": round(median(each), 3), "least": round(min(each), 3), "most": round(max(each), 3)}


def paper_convolutions():
    return [shape for shape in nets.shapes(nets.row("paper")) if isinstance(shape.layer, nets.layers.Conv)]


def drawn(shape, batch, dtype):
    """(input, weights, stride, padding, groups) of one convolution of `paper`; conv1's windows fit its input here."""
    layer, (C, H, W) = shape.layer, shape.input
    if layer.sees == "picture":
        H = W = (shape.output[1] - 1) * layer.stride + layer.kernel
    x = channels_last(torch.randn(batch, C, H, W).to(dtype))
    w = channels_last(torch.randn(layer.maps, C // shape.groups, layer.kernel, layer.kernel).to(dtype) * 0.05)
    return x, w, layer.stride, layer.pad, shape.groups


def norms(batch, rounds, dtype):
    return {f"conv{number}, norm{number}, pool{number}": stage(*drawn(shape, batch, dtype), rounds)
            for number, shape in enumerate(paper_convolutions()[:2], 1)}


def ours(z):
    return ops.norm_pool(z, relu_before=True, norm=dict(NORM, columns=2), **POOL, relu_after=False)


def plain(z):
    return F.max_pool2d(cpu.ResponseNorm.apply(F.relu(z), *NORM.values(), 2), **POOL)


def ordinary(z):
    whole = F.local_response_norm(F.relu(z).float(), 5, 5e-4, 0.75, 2.0)  # which has no bfloat16 on a CPU
    return F.max_pool2d(whole.to(z.dtype), **POOL)


def stage(x, w, stride, pad, groups, rounds):
    def conv():
        return F.conv2d(x, w, None, stride, pad, 1, groups)

    x.requires_grad_(x.shape[1] > 3)  # nobody asks for the gradient of the pictures
    w.requires_grad_()
    y, sent = channels_last(conv().detach()).requires_grad_(), torch.randn_like(conv())
    apart, copied, back = y.detach().contiguous().requires_grad_(), torch.empty_like(y), torch.randn_like(ours(y))

    def convolution():
        x.grad = w.grad = None
        conv().backward(sent)

    def both(form, z):
        z.grad = None
        form(z).backward(back.contiguous() if z is apart else back)

    def forward(form, *given):
        with torch.no_grad():
            form(*given)

    times = in_turn({
        "convolution": convolution, "ours": lambda: both(ours, y), "plain": lambda: both(plain, y),
        "ordinary": lambda: both(ordinary, apart), "copy": lambda: forward(copied.copy_, y),
        "convolution forward": lambda: forward(conv), "ours forward": lambda: forward(ours, y),
        "plain forward": lambda: forward(plain, y)}, rounds)
    ratios = {f"{a} / {b}": ratio(times[a], times[b]) for a, b in (
        ("ours", "convolution"), ("plain", "convolution"), ("ordinary", "convolution"), ("ours", "copy"), ("plain", "ours"),
        ("ordinary", "ours"), ("ours forward", "convolution forward"), ("ours forward", "copy"))}
    return {**{name: summary(t) for name, t in times.items()}, "ratios": ratios}


def convolutions(batch, rounds, dtype):
    """Each one's forward pass and both gradients as a share of the product rate of the same rounds."""
    side = 1024 if batch < 16 else 3072
    a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
    forms, work = {"product": lambda: a @ b}, {"product": 2 * side**3}
    for shape in paper_convolutions():
        x, w, stride, pad, groups = drawn(shape, batch, dtype)
        sent = torch.randn_like(F.conv2d(x, w, None, stride, pad, 1, groups))

        def forward(x=x, w=w, stride=stride, pad=pad, groups=groups):
            F.conv2d(x, w, None, stride, pad, 1, groups)

        def gradient(asked, x=x, w=w, stride=stride, pad=pad, groups=groups, sent=sent):
            torch.ops.aten.convolution_backward(sent, x, w, [0], [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], groups, asked)

        name = shape.layer.name
        forms |= {f"{name} forward": forward, f"{name} of weights": lambda gradient=gradient: gradient([False, True, False])}
        if shape.layer.sees != "picture":
            forms[f"{name} of input"] = lambda gradient=gradient: gradient([True, False, False])
        work |= {form: 2 * shape.multiply_adds * batch for form in forms if form.startswith(name)}
    times = in_turn(forms, rounds)
    rates = {name: [work[name] / t / 1e6 for t in times[name]] for name in forms}  # GFLOP/s
    return {name: {"gflops": round(median(rates[name]), 1), **summary(times[name]),
                   "share_of_product": ratio(rates[name], rates["product"])} for name in forms}


def show(precision, found):
    print(precision)
    for name, one in found["norm_and_pool"].items():
        print(f"  {name}: " + ", ".join(f"{form} {one[form]['median_ms']:.1f} ms" for form in one if form != "ratios"))
        print("    " + ", ".join(f"{what} {value['median']:.2f} [{value['least']:.2f}..{value['most']:.2f}]"
                                 for what, value in one["ratios"].items()))
    print("  share of the product rate: " + ", ".join(
        f"{name} {one['share_of_product']['median']:.2f}" for name, one in found["convolutions"].items()))


if __name__ == "__main__":
    main()
