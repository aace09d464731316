"""Response norm, pool and their kin on a graphics card: each kernel right first, then its share of the copy bandwidth on the bytes
that it must move, over several tiles; beside it torch.compile's form of the definition and PyTorch's own layers.

    python -m benches.gpu_norms OUT_FOLDER [--batch 512] [--minutes 7.5] [--rehearse]

Bytes: forward the input and the output, and one byte a maximum where a gradient is asked for; backward the input, the sent
gradient, those bytes, and the answer. Writes OUT_FOLDER/gpu_norms.json after every part; called again it goes on.
"""

import argparse
from functools import partial

import torch
import torch.nn.functional as F

from alexnet import ops
from benches import gpu_job
from benches.gpu_job import NORM, ORDERS, POOL, composed

STAGES = {  # name -> (maps, side, how it is asked)
    **{f"conv{number}, {order}": ((maps, side), dict(relus, norm=NORM, **POOL)) for order, relus in ORDERS.items()
       for number, maps, side in ((1, 96, 55), (2, 256, 27))},
    "conv5, as_run, no norm": ((256, 13), dict(ORDERS["as_run"], norm={}, **POOL)),
}
TILES = ((64, 2), (32, 1), (256, 8), (256, 4), (128, 2))


def main():
    words = gpu_job.words(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    words.add_argument("--batch", type=int, default=512)
    asked = words.parse_args()
    job, batch = gpu_job.Job("gpu_norms", asked, thorough=True), 2 if asked.rehearse else asked.batch
    job.part("products", job.products)
    job.part("traced", traced, seconds=10)
    for name, ((maps, side), how) in STAGES.items():
        x, sent = batch_and_gradient(job, batch, maps, side, how)
        work = moved(x, sent)
        job.part(f"{name}, ours", partial(both, job, partial(ops.norm_pool, **how), x, sent, work), seconds=10)
        own_layers = partial(ordinary, **how) if how["norm"] else partial(composed, **how)
        job.part(f"{name}, PyTorch's layers", partial(both, job, own_layers, x, sent, work), seconds=10)
        job.part(f"{name}, compiled", partial(both, job, torch.compile(
            partial(composed, **how), backend="eager" if job.rehearse else "inductor", dynamic=False), x, sent, work), seconds=40)
    x, sent = batch_and_gradient(job, batch, 256, 27, None)
    within = dict(size=5, alpha=0.001 / 25, beta=0.75)
    for name, form in (("norm alone", partial(ops.response_norm, **NORM)),
                       ("norm within a map", partial(ops.within_map_norm, **within))):
        job.part(f"conv2, {name}, ours", partial(both, job, form, x, sent, moved(x, sent)), seconds=15)
    job.part("update, 61 million weights", partial(update, job), seconds=10)
    job.part("augmentation", partial(augmentation, job, batch), seconds=10, needs_cuda=True)
    for name in ("conv1, paper", "conv2, paper"):
        (maps, side), how = STAGES[name]
        job.part(f"{name}, tiles", partial(tiles, job, how, batch, maps, side), seconds=60, needs_cuda=True)


def batch_and_gradient(job, batch, maps, side, how):
    side = 9 if job.rehearse else side
    x = (torch.randn(batch, maps, side, side, device=job.device) * 20).bfloat16().contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        out = ops.norm_pool(x[:1], **how) if how else x[:1]
    sent = torch.randn(batch, *out.shape[1:], device=job.device).bfloat16().contiguous(memory_format=torch.channels_last)
    return x.requires_grad_(), sent


def moved(x, sent):
    """Bytes of use, of keeping the places too, and of the gradient."""
    places = sent.numel() if sent.numel() < x.numel() else 0
    use = 2 * (x.numel() + sent.numel())
    return {"use": use, "forward": use + places, "backward": 2 * (2 * x.numel() + sent.numel()) + places}


def ordinary(x, *, relu_before, relu_after, norm, kernel_size, stride, ceil_mode):
    """nn.LocalResponseNorm's function, which knows no columns."""
    x = F.relu(x) if relu_before else x
    x = F.local_response_norm(x.float(), norm["size"], norm["alpha"] * norm["size"], norm["beta"], norm["k"]).to(x.dtype)
    x = F.max_pool2d(x, kernel_size, stride, ceil_mode=ceil_mode)
    return F.relu(x) if relu_after else x


def both(job, form, x, sent, work, kinds=("use", "forward", "backward")):
    copy = job.found["parts"].get("products", {}).get("copy_gb_per_second")

    def use():
        with torch.no_grad():
            form(x)

    out = form(x)
    forms = {"use": use, "forward": lambda: form(x), "backward": lambda: torch.autograd.grad(out, x, sent, retain_graph=True)}
    times = {kind: job.timed(forms[kind]) for kind in kinds}
    return {name: {**one, "share_of_copy": copy and round(work[name] / one["ms"] / 1e6 / copy, 3)} for name, one in times.items()}


def tiles(job, how, batch, maps, side):
    """Rows of a tile and warps, and how far a program goes down: what the kernels would gain from others than theirs."""
    x, sent = batch_and_gradient(job, batch, maps, side, how)
    own, found, form = ops.kernels(x), {}, partial(ops.norm_pool, **how)
    if own is None:
        return {"left_out": "the kernels are not in use"}
    before, strip = dict(own.TILE), own.STRIP
    try:
        for (rows, warps), down in (*((tile, strip) for tile in TILES), (before["pool"], 4), (before["pool"], 27)):
            own.TILE, own.STRIP = {"pool": (rows, warps), "unpool": (rows, warps)}, down
            one = both(job, form, x, sent, moved(x, sent), kinds=("forward", "backward"))
            found[f"{rows} rows, {warps} warps, strips of {down}"] = one
    finally:
        own.TILE, own.STRIP = before, strip
    return found


def traced():
    """PyTorch's own examination of the operations, on the device."""
    x = torch.randn(1, 8, 3, 3, device="cuda" if torch.cuda.is_available() else "cpu").contiguous(memory_format=torch.channels_last)
    own = ops.kernels(x)
    if own is None:
        return {"left_out": "the kernels are not in use"}
    x = x.requires_grad_()
    return {"joint": torch.library.opcheck(own.pooled, (x, [1, 1, 5, 3, 2, 1, 1, 0], [1e-4, 0.75, 2.0], True)),
            "within": torch.library.opcheck(own.within_map, (x, 3, 1e-2, 0.75))}


def update(job):
    count = 2**12 if job.rehearse else 61_000_000
    three = [torch.randn(count, device=job.device) for _ in range(3)]
    rule, copy = dict(momentum=0.9, decay=1e-6, rate=1e-6), job.found["parts"].get("products", {}).get("copy_gb_per_second")
    found = {"ours": job.timed(lambda: ops.momentum([three[0]], [three[1]], [three[2]], **rule))}
    weight = torch.nn.Parameter(three[0])
    weight.grad = three[1]
    fused = torch.optim.SGD([weight], lr=1e-6, momentum=0.9, weight_decay=1e-6, fused=job.cuda)
    found["PyTorch's SGD, fused where CUDA is"] = job.timed(fused.step)
    return {name: {**one, "share_of_copy": copy and round(20 * count / one["ms"] / 1e6 / copy, 3)} for name, one in found.items()}


def augmentation(job, batch):
    """Ours, flat and with depth, beside the same in PyTorch's operations; pictures a second."""
    from alexnet.data import augment

    device = job.device
    pictures = torch.randint(0, 256, (batch, 256, 256, 3), dtype=torch.uint8, device=device)
    corners, mirrored = torch.randint(0, 33, (batch, 2), device=device), torch.rand(batch, device=device) < 0.5
    shifts, mean = torch.randn(batch, 3, device=device), torch.randn(3, 224, 224, device=device) + 120
    own = ops.kernels(pictures)

    def composed_of_torch():
        cut = augment.reflected(augment.windows(pictures, corners[:, 0], corners[:, 1], 224), mirrored)
        whole = augment.centred(cut, mean)
        augment.rows(whole).add_(shifts.repeat(1, 224)[:, None])
        return whole.div_(1.1)

    def ours(depth, side):
        return own.cut(pictures, corners, mirrored, shifts, mean, 224, 1.1, torch.bfloat16, depth, side)

    found = {"PyTorch's operations": job.timed(composed_of_torch)}
    if own:
        error = (ours(1, 224).float() - composed_of_torch()).abs().max().item()
        found |= {"ours": {**job.timed(lambda: ours(1, 224)), "largest_difference": error},
                  "ours, with depth": job.timed(lambda: ours(4, 57))}
    return {name: {**one, "pictures_per_second": round(batch / one["ms"] * 1e3)} for name, one in found.items()}


if __name__ == "__main__":
    main()
