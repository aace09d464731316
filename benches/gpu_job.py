"""What the jobs for a graphics card share: results written after every part, so that a kill keeps them and a second call goes on; a
clock; timing by the device's own events; and the first question of each job, whether our kernels compile there and are right.
"""

import gc
import json
import os
import time
import traceback
from functools import partial
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

from alexnet import ops, rundir
from alexnet.device import pick
from alexnet.ops import reference

NORM = dict(size=5, alpha=1e-4, beta=0.75, k=2.0, columns=2)
POOL = dict(kernel_size=3, stride=2, ceil_mode=False)
ORDERS = {"paper": dict(relu_before=True, relu_after=False), "as_run": dict(relu_before=False, relu_after=True)}


def words(parser):
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=7.5, help="no part begins that would not end by then")
    parser.add_argument("--rehearse", action="store_true", help="toy sizes, on whatever is here; what needs CUDA is left out")
    return parser


class Job:
    def __init__(self, name, asked, *, thorough=False):
        self.device, self.rehearse, self.began = pick(), asked.rehearse, time.monotonic()
        self.end = self.began + asked.minutes * 60
        asked.out.mkdir(parents=True, exist_ok=True)
        self.file = asked.out / f"{name}.json"
        self.found = {"command": f"python -m benches.{name} OUT" + " --rehearse" * asked.rehearse, "runs": 1, "parts": {}}
        if self.file.exists():
            self.found["parts"] = {key: part for key, part in json.loads(self.file.read_text())["parts"].items()
                                   if not {"error", "left_out"} & set(part)}
        self.found["environment"] = rundir.environment(self.device)
        self.found["kernels"] = kernels_checked(self.device, thorough)
        self.write()
        print(json.dumps(self.found["kernels"]), flush=True)

    @property
    def cuda(self):
        return self.device.type == "cuda"

    def part(self, name, function, *, seconds=20, needs_cuda=False):
        """What function() answers, a dict; or why it has no answer. seconds: about how long it takes."""
        if name in self.found["parts"]:
            return self.found["parts"][name]
        began = time.monotonic()
        if needs_cuda and not self.cuda:
            one = {"left_out": "it needs CUDA"}
        elif began + seconds > self.end:
            one = {"left_out": "the time was spent: call again, what is done is kept"}
        else:
            try:
                one = {**function(), "took_seconds": round(time.monotonic() - began, 1)}
            except Exception as error:  # one form that fails must not take the others with it
                one = {"error": f"{type(error).__name__}: {str(error)[-1500:]}", "where": traceback.format_exc().splitlines()[-8:]}
        self.found["parts"][name] = one
        self.write()
        print(f"{name}: {json.dumps({key: value for key, value in one.items() if key != 'where'})[:600]}", flush=True)
        gc.collect()
        torch._dynamo.reset()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        return one

    def write(self):
        rundir.replace_file(self.file, json.dumps(self.found, indent=1).encode())

    def timed(self, function, *, warm=3, times=20):
        """Milliseconds of a call: median, least, most."""
        warm, times = (1, 2) if self.rehearse else (warm, times)
        for _ in range(warm):
            function()
        if not self.cuda:
            taken = []
            for _ in range(times):
                began = time.perf_counter()
                function()
                taken.append((time.perf_counter() - began) * 1e3)
        else:
            marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(times)]
            torch.cuda.synchronize()
            for first, last in marks:
                first.record()
                function()
                last.record()
            torch.cuda.synchronize()
            taken = [first.elapsed_time(last) for first, last in marks]
        return {"ms": round(median(taken), 4), "least": round(min(taken), 4), "most": round(max(taken), 4)}

    def products(self, side=8192):
        """The bfloat16 product rate of this card on random data, and its copy bandwidth: what shares are shares of."""
        side = 256 if self.rehearse else side
        a, b = (torch.randn(side, side, device=self.device).bfloat16() for _ in range(2))
        product = self.timed(lambda: torch.mm(a, b))
        one = torch.randn((2**16 if self.rehearse else 2**30), device=self.device)
        other = torch.empty_like(one)
        copy = self.timed(lambda: other.copy_(one))
        return {"product": product, "tflops": 2 * side**3 / product["ms"] / 1e9,
                "copy": copy, "copy_gb_per_second": 2 * one.numel() * 4 / copy["ms"] / 1e6}

    def share(self, flop, ms):
        """Of the product rate measured in this run."""
        rate = self.found["parts"].get("products", {}).get("tflops")
        return round(flop / ms / 1e9 / rate, 4) if rate else None


def composed(x, *, relu_before, relu_after, norm=NORM, kernel_size=3, stride=2, ceil_mode=False):
    x = F.relu(x) if relu_before else x
    x = reference.response_norm(x, **norm) if norm else x
    x = F.max_pool2d(x, kernel_size, stride, ceil_mode=ceil_mode)
    return F.relu(x) if relu_after else x


def checks(thorough):
    """(name, number format, shape, our operation, the definition): what the nets use, so that nothing is compiled for the check
    alone; thorough: more."""
    short, shape = torch.bfloat16, (96, 55, 55)
    joints = [(order, NORM, False, short) for order in ORDERS]
    if thorough:
        joints += [("paper", NORM, True, short), ("as_run", {}, True, short), ("paper", NORM, False, torch.float32),
                   ("as_run", NORM, False, torch.float16)]
    for order, norm, cut, dtype in joints:
        how = dict(ORDERS[order], norm=norm, **dict(POOL, ceil_mode=cut))
        name = f"{order}{', no norm' * (not norm)}{', cut windows' * cut}, {dtype}"
        yield name, dtype, (96, 54, 54) if cut else shape, partial(ops.norm_pool, **how), partial(composed, **how)
    for name, own, definition, how in (("norm alone", ops.response_norm, reference.response_norm, NORM), (
            "norm within a map", ops.within_map_norm, reference.within_map_norm, dict(size=5, alpha=1e-3, beta=0.75))):
        yield name, short, (256, 27, 27), partial(own, **how), partial(definition, **how)


def kernels_checked(device, thorough, tolerance=3e-2):
    """Every kernel against the definition in float64, forward and backward, on this device. Where one fails they are left out
    of the rest of this process, and the job goes on without them."""
    x = torch.zeros(1, 8, 2, 2, device=device).contiguous(memory_format=torch.channels_last)
    found = {"backend": ops.backend(x)[0], "why": ops.backend(x)[1], "errors": {}}
    try:
        for name, dtype, shape, own, definition in checks(thorough):
            x = (torch.randn(2, *shape, device=device) * 20).to(dtype).contiguous(memory_format=torch.channels_last)
            exact, fast = x.double().requires_grad_(), x.clone().requires_grad_()
            expected, out = definition(exact), own(fast)
            sent = torch.randn_like(out)
            expected.backward(sent.double())
            out.backward(sent)
            errors = [float((a.double() - b).norm() / b.norm()) for a, b in ((out, expected), (fast.grad, exact.grad))]
            found["errors"][name] = errors
            if not max(errors) < (1e-5 if dtype == torch.float32 else tolerance):  # a NaN is no less than anything
                raise ArithmeticError(f"{name}: relative errors {errors}")
    except Exception as error:
        found["failed"] = f"{type(error).__name__}: {str(error)[-1500:]}"
        os.environ["ALEXNET_TRITON"] = "off"
        ops.card.cache_clear()
    return found
