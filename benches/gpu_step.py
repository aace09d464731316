"""The training step of `paper` and `as_run` on a graphics card, in bfloat16: what an ordinary script reaches, what torch.compile
makes of it, and ours; then every convolution and its gradients beside the product rate.

    python -m benches.gpu_step OUT_FOLDER [--rows paper as_run] [--batches 1024 512 256 2048] [--minutes 7.5] [--rehearse]

A form is timed over 20 steps by the device's events (forward, loss, backward, update; the batch is there, `from bytes` augments
it). Shares are of the bfloat16 product rate of 8192 cubed measured in the same call. Writes OUT_FOLDER/gpu_step.json after every
part; called again it goes on. Compiling takes most of the time: forms come in order of worth, batches as named.
"""

import argparse
from functools import partial
from math import prod

import torch
import torch.nn as nn
import torch.nn.functional as F

from alexnet import nets, ops, optim, recipes, weights
from alexnet.device import autocast
from alexnet.net import AlexNet
from benches import gpu_forms, gpu_job, ordinary


def main():
    words = gpu_job.words(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    words.add_argument("--rows", nargs="+", default=["paper", "as_run"])
    words.add_argument("--batches", nargs="+", type=int, default=[1024, 512, 256, 2048])
    asked = words.parse_args()
    if asked.rehearse:
        asked.rows, asked.batches = ["small64"], [4]
    job = gpu_job.Job("gpu_step", asked)
    job.part("products", job.products)
    for number, batch in enumerate(asked.batches):
        for name in asked.rows:
            for form, build in FORMS.items():
                if form.startswith("torchvision") and name != asked.rows[0]:
                    continue
                job.part(f"{name}, {batch}, {form}", partial(measured, job, name, batch, build), seconds=25 if "compiled" in form
                         else 8, needs_cuda="graph" in form or "bytes" in form)
        if number == 0:
            convolutions(job, 4 if asked.rehearse else 512)
    job.part("ratios", partial(ratios, job, asked), seconds=0)


# ---- one form --------------------------------------------------------------------------------------------------------------


def training_flop(row):
    """Of one picture: forward, and both gradients but for the first layer's input."""
    found = [shape for shape in nets.shapes(row) if shape.multiply_adds]
    return sum(2 * shape.multiply_adds * (2 if getattr(shape.layer, "sees", "") == "picture" else 3) for shape in found)


def measured(job, name, batch, build):
    row = nets.row(name)
    step = build(job, row, batch)
    found = job.timed(step, warm=4)
    rate = batch / found["ms"] * 1e3
    peak = torch.cuda.max_memory_allocated(job.device) // 2**20 if job.cuda else None
    return {**found, "pictures_per_second": round(rate), "share_of_product": job.share(training_flop(row) * batch, found["ms"]),
            "peak_memory_mb": peak}


def stepper(job, net, rule, batch_of, labels):
    def step():
        with autocast(job.device, "bfloat16"):
            logits = net(batch_of())
        rule.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), labels).backward()
        rule.step()

    return step


def compiled(job, net):
    return torch.compile(net, backend="eager" if job.rehearse else "inductor", dynamic=False)


def ready(job, row, batch, side, channels=3):
    x = (torch.randn(batch, channels, side, side, device=job.device) * 60).bfloat16()
    return x.contiguous(memory_format=torch.channels_last), torch.randint(0, row.classes, (batch,), device=job.device)


def script(job, row, batch, *, compile):
    net = ordinary.net(row).to(job.device, memory_format=torch.channels_last).train()
    x, labels = ready(job, row, batch, ordinary.input_side(row))
    rule = torch.optim.SGD(net.parameters(), lr=1e-5, momentum=0.9, weight_decay=5e-4)
    return stepper(job, compiled(job, net) if compile else net, rule, lambda: x, labels)


def torchvisions(job, row, batch):
    from torchvision.models import alexnet as library  # where it is installed: it has no norm, and other widths

    net = library(num_classes=row.classes).to(job.device, memory_format=torch.channels_last).train()
    x, labels = ready(job, row, batch, 224)
    rule = torch.optim.SGD(net.parameters(), lr=1e-5, momentum=0.9, weight_decay=5e-4, fused=job.cuda)
    return stepper(job, compiled(job, net), rule, lambda: x, labels)


class ByDepth(nn.Module):
    """The first convolution on pictures that come with depth for space."""

    def __init__(self, conv):
        super().__init__()
        self.weight, self.bias, self.stride = conv.weight, conv.bias, conv.stride[0]

    def forward(self, x):
        return F.conv2d(x, gpu_forms.deep(self.weight, self.stride), self.bias)


def ours(job, row, batch, *, compile=False, graph=False, depth=False, stored=False):
    net = weights.to_device(AlexNet(row, seed=0), job.device).train()
    net.draw(0)
    rule = optim.optimiser(net, recipes.recipe("paper", rate=1e-5))
    first = nets.shapes(row)[0]
    stride = first.layer.stride
    side = first.output[1] - 1 + -(-first.layer.kernel // stride) if depth else row.crop
    x, labels = ready(job, row, batch, side, 3 * stride**2 if depth else 3)
    if depth:
        net.conv1 = ByDepth(net.conv1)
    batch_of = augmented(job, row, batch, stride if depth else 1, side) if stored else lambda: x
    step = stepper(job, compiled(job, net) if compile else net, rule, batch_of, labels)
    return captured(step) if graph else step


def augmented(job, row, batch, depth, side):
    """From bytes on the device, by the one kernel; what chance decides lies in the same memory each step, for the graph."""
    size = row.crop * 8 // 7
    pictures = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, device=job.device)
    corners = torch.randint(0, size - row.crop + 1, (batch, 2), device=job.device)
    mirrored = torch.rand(batch, device=job.device) < 0.5
    shifts, mean = torch.randn(batch, 3, device=job.device), torch.full((3, row.crop, row.crop), 120.0, device=job.device)
    own = ops.kernels(pictures)
    return lambda: own.cut(pictures, corners, mirrored, shifts, mean, row.crop, 1.1, torch.bfloat16, depth, side)


def captured(step):
    """The whole step as one CUDA graph; the rate is the one it was captured with."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


FORMS = {
    "ordinary": partial(script, compile=False),
    "ours": ours,
    "torchvision, compiled": torchvisions,
    "ours, compiled": partial(ours, compile=True),
    "ours, compiled, graph": partial(ours, compile=True, graph=True),
    "ordinary, compiled": partial(script, compile=True),
    "ours, compiled, graph, by depth": partial(ours, compile=True, graph=True, depth=True),
    "ours, compiled, graph, by depth, from bytes": partial(ours, compile=True, graph=True, depth=True, stored=True),
    "ours, compiled, graph, from bytes": partial(ours, compile=True, graph=True, stored=True),
}


def ratios(job, asked):
    found = {}
    for name in asked.rows:
        for batch in asked.batches:
            times = {form: job.found["parts"].get(f"{name}, {batch}, {form}", {}).get("ms") for form in FORMS}
            library = "torchvision, compiled"
            times[library] = job.found["parts"].get(f"{asked.rows[0]}, {batch}, {library}", {}).get("ms")
            best = min((ms for form, ms in times.items() if ms and form.startswith("ours")), default=None)
            if best:
                found[f"{name}, {batch}"] = {f"{form} / ours at best": round(ms / best, 3) for form, ms in times.items() if ms}
    return found


# ---- every convolution -----------------------------------------------------------------------------------------------------


def convolutions(job, batch):
    shapes = [shape for shape in nets.shapes(nets.row("small64" if job.rehearse else "paper"))
              if isinstance(shape.layer, nets.layers.Conv)]
    for shape in shapes:
        layer, (C, H, W) = shape.layer, shape.input
        first = layer.sees == "picture"
        if first:
            H = W = (shape.output[1] - 1) * layer.stride + layer.kernel
        x = torch.randn(batch, C, H, W, device=job.device).bfloat16().contiguous(memory_format=torch.channels_last)
        w = torch.randn(layer.maps, C // shape.groups, layer.kernel, layer.kernel, device=job.device).bfloat16()
        w = w.contiguous(memory_format=torch.channels_last)
        flop = 2 * shape.multiply_adds * batch
        job.part(f"{layer.name}, a product of its size", partial(plain, job, shape, batch, flop), seconds=5)
        for form, run in forms_of(shape, x, w, first).items():
            job.part(f"{layer.name}, {form}", partial(three, job, run, x, w, flop, first), seconds=10)
        job.part(f"{layer.name}, our product", partial(products, job, shape, x, w, flop), seconds=30, needs_cuda=True)
        job.part(f"{layer.name}, the kernel to read", partial(read, job, shape, x, w, flop), seconds=20, needs_cuda=True)


def plain(job, shape, batch, flop):
    rows, inner = batch * prod(shape.output[1:]), shape.multiply_adds // prod(shape.output)
    a = torch.randn(shape.groups, rows, inner, device=job.device).bfloat16()
    b = torch.randn(shape.groups, inner, shape.output[0] // shape.groups, device=job.device).bfloat16()
    found = job.timed(lambda: torch.bmm(a, b))
    return {**found, "share_of_product": job.share(flop, found["ms"])}


def forms_of(shape, x, w, first):
    """Name -> (a function of input and weights, the input it wants)."""
    layer = shape.layer
    found = {"as it is": (lambda x, w: F.conv2d(x, w, None, layer.stride, layer.pad, 1, shape.groups), x)}
    if first and layer.stride > 1 and not layer.pad:
        deep = gpu_forms.deep(x, layer.stride).contiguous(memory_format=torch.channels_last)
        found["by depth, given deep"] = (lambda x, w: F.conv2d(x, gpu_forms.deep(w, layer.stride)), deep)
        found["by depth, made deep"] = (lambda x, w: gpu_forms.by_depth(x, w, None, layer.stride), x)
        for channels in (4, 8):
            found[f"with {channels} channels"] = (lambda x, w, channels=channels: gpu_forms.with_more_channels(
                x, w, channels, None, layer.stride), x)
    elif shape.groups == 2:
        found = {form: (lambda x, w, run=run: run(x, w, layer.pad), x) for form, run in gpu_forms.GROUPED.items()}
    return found


def three(job, run, x, w, flop, first):
    run, x = run
    x, w = x.detach().requires_grad_(not first), w.detach().requires_grad_()
    out = run(x, w)
    sent = torch.randn_like(out)
    forms = {"forward": lambda: run(x.detach(), w.detach()),
             "of weights": lambda: torch.autograd.grad(out, w, sent, retain_graph=True)}
    if not first:
        forms["of input"] = lambda: torch.autograd.grad(out, x, sent, retain_graph=True)
    found = {}
    for name, form in forms.items():
        times = job.timed(form)
        found[name] = {**times, "share_of_product": job.share(flop, times["ms"])}
    return found


def products(job, shape, x, w, flop):
    """Our implicit product with bias and ReLU, each of its tiles, the first layer given deep; the input's gradient by the best."""
    own, layer, found = ops.kernels(x), shape.layer, {}
    how = dict(stride=layer.stride, pad=layer.pad, groups=shape.groups)
    first = layer.sees == "picture"
    if first and layer.stride > 1 and not layer.pad:
        x, w = (gpu_forms.deep(one, layer.stride).contiguous(memory_format=torch.channels_last) for one in (x, w))
        how["stride"] = 1
    for tile in own.implicit.TILES:
        found[str(tile)] = tried(job, partial(own.multiplied, tile=tile), x, w, flop, **how)
    best = min(own.implicit.TILES, key=lambda tile: found[str(tile)]["ms"])
    if not first and layer.stride == 1:
        sent = torch.randn(len(x), len(w), *shape.output[1:], device=x.device, dtype=x.dtype)
        back = gpu_forms.turned(w, shape.groups)
        found["of input"] = tried(job, partial(own.multiplied, tile=best), sent.contiguous(memory_format=torch.channels_last),
                                  back, flop, relu=False, pad=layer.kernel - 1 - layer.pad, groups=shape.groups)
    return found


def read(job, shape, x, w, flop):
    own, layer, found = ops.kernels(x), shape.layer, {}
    for places, outputs, inputs in ((128, 128, 32), (128, 64, 32), (64, 64, 64)):
        sides = dict(places=places, outputs=outputs, inputs=16 if x.shape[1] == 3 else inputs)
        found[f"{places} x {outputs}, {sides['inputs']} at a time"] = tried(
            job, partial(own.convolved, **sides), x, w, flop, stride=layer.stride, pad=layer.pad, groups=shape.groups)
    return found


def tried(job, run, x, w, flop, *, stride=1, pad=0, groups=1, relu=True):
    """A convolution of our own beside the library's in float32."""
    bias, how = torch.zeros(len(w), device=x.device, dtype=x.dtype), dict(stride=stride, pad=pad, groups=groups, relu=relu)
    expected = F.conv2d(x.float(), w.float(), None, stride, pad, 1, groups)
    expected = F.relu(expected) if relu else expected
    error = float((run(x, w, bias, **how).float() - expected).norm() / expected.norm())
    times = job.timed(lambda: run(x, w, bias, **how))
    return {**times, "share_of_product": job.share(flop, times["ms"]), "relative_error": error}


if __name__ == "__main__":
    main()
