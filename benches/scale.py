"""What several processes cost: bytes that each scheme hands on, counted and computed; the rate of two processes beside one on the
same two cores, with the share of time spent in exchange; and what the count predicts for more devices than are here.

    python -m benches.scale [--rounds 3] [--quick]     # measures, and writes results/scale.json
    python -m benches.scale --predict                  # only the arithmetic: docs/scale.md has its table

Every form is processes of its own, started by torchrun where there are two; forms take turns. A step is a synthetic batch forward,
backward, exchanged and applied. The time in exchange is that inside the collective calls, waiting for the other included; where
gradients travel beside the backward pass (`data`), it is what a step takes longer than one that only adds gradients up.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from math import prod
from statistics import median

import torch
import torch.nn.functional as F

from alexnet import nets, optim, parallel, recipes, rundir
from alexnet.net import AlexNet
from alexnet.nets.layers import Dense
from alexnet.towers import Towers
from benches.record import RESULTS

FORMS = {  # name -> (processes, threads each, scheme)
    "one process, one thread": (1, 1, "data"),
    "one process, two threads": (1, 2, "data"),
    "two processes, data": (2, 1, "data"),
    "two processes, columns": (2, 1, "columns"),
    "two processes, 2014": (2, 1, "2014"),
}
NETS = {"paper": 32, "small64": 128}  # row: batch of all processes together
DEVICES = (1, 2, 8, 64, 1024)


# ---- the arithmetic ---------------------------------------------------------------------------------------------------


def exchanged(row, scheme, processes, batch, *, width=4):
    """Bytes that one process hands to others in a step of `batch` pictures: what Towers counts, and a ring for gradients."""
    shapes = nets.shapes(nets.row(row))
    weights = sum(shape.parameters for shape in shapes)
    first = next(at for at, shape in enumerate(shapes) if isinstance(shape.layer, Dense))
    ring = 2 * (processes - 1) / processes
    if processes == 1:
        return 0
    if scheme == "data":
        return ring * weights * width
    if scheme == "columns":
        met = [at for at, shape in enumerate(shapes) if isinstance(shape.layer, Dense) or (at and getattr(
            shape.layer, "sees", "") == "both")]
        whole = sum(prod(shapes[at].input) for at in met) + prod(shapes[-1].output)  # of a picture, both columns'
        pairs = processes // 2
        return (1.5 * whole * batch / pairs + 2 * (pairs - 1) / pairs * weights / 2) * width
    dense = shapes[first:]
    pictures = prod(dense[0].input) * (batch / processes * (processes - 1) + ring * batch)  # pool5, and its gradient
    units = sum(prod(shape.output) for shape in dense) * batch * (1 / processes * (processes - 1) + ring)
    return (pictures + units + ring * sum(shape.parameters for shape in shapes[:first])) * width


@dataclass(frozen=True)
class Machine:
    """What a prediction assumes."""

    flops: float  # a device's, in training this net
    near: float  # bytes a second between the devices of one box, each way
    far: float  # between boxes, a device's share
    box: int  # devices in one
    latency: float  # of one message, seconds
    width: int  # bytes a number


HOPPER = Machine(flops=0.35 * 800e12, near=300e9, far=40e9, box=8, latency=10e-6, width=2)
MESSAGES = {"data": 4, "columns": 10, "2014": 9}  # of a step; a ring of N hands each on N - 1 times, twice


def predicted(row, scheme, processes, batch, machine):
    """Seconds of a step: computing, then exchange; for `data` what does not fit beside the backward pass."""
    work = 6 * sum(shape.multiply_adds for shape in nets.shapes(nets.row(row))) * batch / processes / machine.flops
    speed = machine.near if processes <= machine.box else machine.far
    hops = min(processes - 1, 2 * max(processes.bit_length() - 1, 1))  # trees beyond a few devices
    exchange = exchanged(row, scheme, processes, batch, width=machine.width) / speed + (
        MESSAGES[scheme] * hops * machine.latency if processes > 1 else 0)
    return work, max(exchange - 2 / 3 * work, 0) if scheme == "data" else exchange


def predictions(row="paper", machine=HOPPER):
    found = []
    for name, batch_of in (("128 pictures a device", lambda n: 128 * n), ("4,096 pictures in all", lambda n: 4096)):
        for processes in DEVICES:
            for scheme in parallel.SCHEMES if processes > 1 else ("data",):
                batch = batch_of(processes)
                work, exchange = predicted(row, scheme, processes, batch, machine)
                found.append({"batch": name, "devices": processes, "scheme": scheme, "pictures_a_second": batch / (work + exchange),
                              "in_exchange": exchange / (work + exchange),
                              "bytes_a_picture": exchanged(row, scheme, processes, batch, width=machine.width) * processes / batch})
    return found


# ---- the measurement ---------------------------------------------------------------------------------------------------


class Watched:
    """torch.distributed, its collectives timed."""

    def __init__(self, dist):
        self.dist, self.seconds = dist, 0.0

    def __getattr__(self, name):
        call = getattr(self.dist, name)
        if name not in ("all_gather", "all_reduce"):
            return call

        def timed(*given, **named):
            began = time.perf_counter()
            answer = call(*given, **named)
            self.seconds += time.perf_counter() - began
            return answer

        return timed


def child(row, scheme, batch, steps):
    """One process: prints its seconds a step, those in exchange, and the bytes it handed on."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    group = parallel.group(torch.device("cpu"), scheme)
    watched = group.dist = Watched(getattr(group, "dist", None))
    net = AlexNet(row, seed=0).to(memory_format=torch.channels_last).train()
    net.join(group)
    optimiser = optim.optimiser(net, recipes.recipe("as_run"))
    model = Towers(net, group) if scheme != "data" else group.wrapped(net)
    first, end = group.rows(batch)
    random = torch.Generator().manual_seed(0)
    pictures = torch.randn(batch, 3, net.row.crop, net.row.crop, generator=random)[first:end] * 50
    pictures, labels = pictures.contiguous(memory_format=torch.channels_last), torch.arange(first, end) % net.classes

    def step(number, apart=False):
        began = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        net.draw(number, first)
        with group.adding(model) if apart else parallel.Alone().adding(None):
            (F.cross_entropy(model(pictures), labels, reduction="sum") * (group.scale / batch)).backward()
        if scheme != "data":
            model.reduce()
        optimiser.step()
        return time.perf_counter() - began

    step(0)
    watched.seconds, apart, together = 0.0, [], []
    sent = model.sent if scheme != "data" else 0
    for number in range(1, steps + 1):
        together.append(step(number))
        if scheme == "data" and group.count > 1:
            apart.append(step(number, apart=True))
    seconds = median(together)
    exchange = max(seconds - median(apart), 0) if apart else watched.seconds / steps
    found = {"seconds": seconds, "exchange": exchange, "sent": (model.sent - sent) / steps if scheme != "data" else None}
    if group.rank == 0:
        print(json.dumps(found), flush=True)
    group.end()


def run(form, row, batch, steps):
    processes, threads, scheme = FORMS[form]
    start = [] if processes == 1 else ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--rdzv-backend", "c10d",
                                      "--rdzv-endpoint", "localhost:0"]
    command = [sys.executable, *start, "-m", "benches.scale", "--child", row, scheme, str(batch), str(steps)]
    env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{form} of {row} failed, and nothing is recorded: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measured(sizes, rounds, steps):
    found = []
    for row, batch in sizes.items():
        taken = {form: [] for form in FORMS}
        for _ in range(rounds):
            for form in FORMS:
                taken[form].append(run(form, row, batch, steps))
        alone = [one["seconds"] for one in taken["one process, two threads"]]
        for form, (processes, threads, scheme) in FORMS.items():
            seconds = [one["seconds"] for one in taken[form]]
            line = {"net": row, "batch": batch, "form": form, "pictures_a_second": batch / median(seconds),
                    "of_one_process": median(a / b for a, b in zip(alone, seconds)), "runs": rounds, "steps": steps}
            if processes > 1:
                line |= {"in_exchange": median(one["exchange"] / one["seconds"] for one in taken[form]),
                         "bytes_a_picture": exchanged(row, scheme, processes, batch) * processes / batch}
                if sent := taken[form][0]["sent"]:
                    line["bytes_a_picture_counted"] = sent * processes / batch
            found.append(line)
            print(f"{row:<10}{form:<26}{line['pictures_a_second']:>8.1f}/s  {line['of_one_process']:.2f} of one process  "
                  + (f"{line['in_exchange']:.0%} in exchange  {line['bytes_a_picture'] / 1e3:,.0f} kB a picture"
                     if processes > 1 else ""), flush=True)
    return found


def show(lines):
    for line in lines:
        print(f"{line['batch']:<24}{line['devices']:>6,} {line['scheme']:<9}{line['pictures_a_second']:>14,.0f}/s"
              f"{line['in_exchange']:>6.0%} in exchange{line['bytes_a_picture'] / 1e3:>10,.0f} kB a picture")


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--steps", type=int, default=5)
    words.add_argument("--quick", action="store_true", help="a rehearsal: small nets, nothing written")
    words.add_argument("--predict", action="store_true", help="only the arithmetic")
    words.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.child:
        row, scheme, *sizes = asked.child
        return child(row, scheme, *map(int, sizes))
    if not asked.predict:
        sizes = {"tiny64": 16} if asked.quick else NETS
        found = {"command": f"python -m benches.scale --rounds {asked.rounds} --steps {asked.steps}",
                 "measured": measured(sizes, 1 if asked.quick else asked.rounds, 2 if asked.quick else asked.steps),
                 "predicted": {"assumed": HOPPER.__dict__, "lines": predictions()},
                 "environment": rundir.environment(torch.device("cpu"))}
        if not asked.quick:
            rundir.replace_file(RESULTS / "scale.json", json.dumps(found, indent=1).encode())
    show(predictions())


if __name__ == "__main__":
    main()
