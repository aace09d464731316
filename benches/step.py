"""The training step on this CPU: ours beside an ordinary script and beside torch.compile.

    python -m benches.step [--batch 128] [--rounds 3] [--quick]

Each form is a child process of its own, because the allocator's settings belong to a process; the parent has them make a step in
turn, A B C ... A B C ..., one at a time. Ours is train.Loop.one_step as it stands: augmentation from stored bytes, dropout, loss
and update included. The ordinary script is what one writes first: nn.Conv2d, nn.LocalResponseNorm, nn.MaxPool2d and nn.Linear in
float32, NCHW, torch.optim.SGD, the default allocator; its batch is given, nothing is read or augmented. `compiled` is the same net
under torch.compile, channels last, in bfloat16 where there are units for it, with our allocator settings. Medians in seconds,
ratios of each round's own; the first step is counted from the start of the process. Writes results/step.json.
Under 4 minutes at full size on two cores.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F

from alexnet import nets, ops, recipes, rundir
from alexnet.cli import keep_memory
from alexnet.device import autocast, pick, precision
from alexnet.parts import Part
from alexnet.stages import still_loop
from benches import ordinary
from benches.norms import ratio
from benches.record import RESULTS

FORMS = {  # name -> (kind, row, recipe)
    "paper, ours": ("ours", "paper", "paper"),
    "paper, ordinary": ("ordinary", "paper", ""),
    "paper, compiled": ("compiled", "paper", ""),
    "single_tower, ours": ("ours", "single_tower", "paper"),
    "single_tower, ordinary": ("ordinary", "single_tower", ""),
    "batchnorm, ours": ("ours", "batchnorm", "modern"),  # what `train` takes for a store of this size when nothing is named
}
QUICK = {"paper": "small64", "single_tower": "small64,norm=none", "batchnorm": "small64_batchnorm"}
RATIOS = (("paper, ordinary", "paper, ours"), ("paper, compiled", "paper, ours"),
          ("single_tower, ordinary", "single_tower, ours"), ("single_tower, ordinary", "paper, ours"))


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--batch", type=int, default=128)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    words.add_argument("--quick", action="store_true", help="a rehearsal: small nets, batch 8, nothing written")
    words.add_argument("--child", help=argparse.SUPPRESS)
    asked = words.parse_args()
    asked.batch = 8 if asked.quick else asked.batch
    if asked.child:
        child(asked)
        return
    children = {name: Child(name, asked) for name in asked.forms}
    for _ in range(asked.rounds):  # each has made its first step already
        for one in children.values():
            one.step()
    found = {"command": f"python -m benches.step --batch {asked.batch} --rounds {asked.rounds}", "runs": asked.rounds,
             "batch": asked.batch, "threads": torch.get_num_threads(),
             "backend": ops.backend(torch.zeros(1, 8, 3, 3).contiguous(memory_format=torch.channels_last))[0],
             "forms": {name: one.end() for name, one in children.items()},
             "ratios": {f"{a} / {b}": ratio(children[a].times, children[b].times) for a, b in RATIOS
                        if a in children and b in children},
             "environment": rundir.environment(pick("cpu"))}
    show(found)
    if not asked.quick:
        rundir.replace_file(RESULTS / "step.json", json.dumps(found, indent=1).encode())


class Child:
    """One form in a process of its own, which waits for a line and answers with the seconds of a step."""

    def __init__(self, name, asked):
        began = time.perf_counter()
        command = [sys.executable, "-W", "ignore", "-m", "benches.step", "--child", name, "--batch", str(asked.batch)]
        command += ["--quick"] if asked.quick else []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.times, self.batch = [], asked.batch
        self.settled = self.answer()
        self.first = time.perf_counter() - began  # one step has been made

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("a child ended without an answer; nothing is recorded.")
        return json.loads(line)

    def step(self):
        print("step", file=self.process.stdin, flush=True)
        self.times.append(self.answer()["seconds"])

    def end(self):
        self.process.stdin.close()
        peak, times = self.answer()["peak_memory_mb"], self.times
        self.process.wait()
        return {**self.settled, "median_seconds": round(median(times), 4), "least": round(min(times), 4),
                "most": round(max(times), 4), "pictures_per_second": round(self.batch / median(times), 1),
                "seconds_to_first_step": round(self.first, 2), "peak_memory_mb": peak}


def child(asked):
    kind, row, recipe = FORMS[asked.child]
    if kind != "ordinary":
        keep_memory()
    row, device = nets.row(QUICK[row] if asked.quick else row), pick("cpu")
    number = "float32" if kind == "ordinary" else precision("auto", device)
    step = our_step(row, recipe, asked.batch, number) if recipe else script(row, asked.batch, number, compiled=kind == "compiled")
    step()
    print(json.dumps({"net": row.name, "precision": number}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        step()
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
    print(json.dumps({"peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}), flush=True)


def our_step(row, recipe, batch, number):
    """The loop's own step on a batch of noise."""
    split, recipe = Noise(row, batch), recipes.recipe(recipe, batch_size=batch)
    loop = still_loop(Part(split), row.name, recipe, device=pick("cpu"), precision=number, workers=1)
    pictures, labels = torch.from_numpy(split.pixels), torch.from_numpy(split.labels)
    return lambda: loop.one_step(pictures, labels)


class Noise:
    """A split of one batch, as far as a step needs one."""

    name, colour = "noise", argparse.Namespace(mean=np.full(3, 120.0), stdevs=np.array([120.0, 37.0, 20.0]), vectors=np.eye(3))

    def __init__(self, row, count):
        chance, self.size = np.random.default_rng(0), row.crop * 8 // 7
        self.classes, self.labels = range(row.classes), chance.integers(0, row.classes, count)
        self.pixels = chance.integers(0, 256, (count, self.size, self.size, 3), dtype=np.uint8)
        self.mean = np.full((self.size, self.size, 3), 120.0, np.float32)

    def __len__(self):
        return len(self.labels)


def script(row, batch, number, *, compiled):
    net = ordinary.net(row).train()
    rule = torch.optim.SGD(net.parameters(), lr=1e-5, momentum=0.9, weight_decay=5e-4)
    side = ordinary.input_side(row)
    x, labels = torch.randn(batch, 3, side, side) * 60, torch.randint(0, row.classes, (batch,))
    if compiled:
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    run = torch.compile(net) if compiled else net

    def step():
        with autocast(torch.device("cpu"), number):
            logits = run(x)
        rule.zero_grad()
        F.cross_entropy(logits.float(), labels).backward()
        rule.step()

    return step


def show(found):
    for name, one in found["forms"].items():
        print(f"{name} ({one['precision']}): {one['median_seconds']:.3f} s [{one['least']:.3f}..{one['most']:.3f}], "
              f"{one['pictures_per_second']} pictures/s, first step after {one['seconds_to_first_step']:.1f} s, "
              f"{one['peak_memory_mb']} MB")
    for what, value in found["ratios"].items():
        print(f"{what}: {value['median']:.2f} [{value['least']:.2f}..{value['most']:.2f}]")


if __name__ == "__main__":
    main()
