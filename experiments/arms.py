"""The common part of the experiments: an arm is a row of data, trained at several rates of which `tune` chooses one, then from
several seeds, and looked at on `claims`. Runs lie under OUT/runs by what they are, so experiments share them; a finished one is
only read, and one that was cut short goes on exactly where it stopped."""

import hashlib
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alexnet import nets, rundir, weights
from alexnet.data.feed import Feed
from alexnet.data.store import open_split
from alexnet.device import pick
from alexnet.errors import Diverged, Misused, Refused
from alexnet.evaluate.passes import Member, watch
from alexnet.figures import save
from alexnet.progress import Progress, say
from alexnet.train import train
from experiments import paired, subsets

TRIALS = (1.0, 1 / 3, 3.0, 1 / 9, 9.0)  # of an arm's own rate
BEYOND = 2  # steps of the same width that an arm may take where its best rate is an end of these
COMMON = {"recipe": "tiny", "precision": "auto"}  # 2012's rule at 0-255 scale, the rate straight to zero; crops, reflections, noise


class Enough(Exception):
    """A watcher has seen what it wanted: the run is over at this line."""

    def __init__(self, line):
        super().__init__("the question is answered before the run is over")
        self.line = line


class Arm(NamedTuple):
    name: str
    net: object  # a row, or the name of one
    fields: dict = {}  # of the recipe, in the place of the experiment's
    rate: float = 0.01
    longer: float = 1.0  # times the epochs
    choices: tuple = ()  # what is tried on tune, in the place of rates: fields a trial
    start: tuple = ()  # (run a seed to begin from, layers copied)


@dataclass(frozen=True)
class Size:
    """How large an experiment is at one scale."""

    row: str = "tiny64"
    classes: int | None = None  # all when left out
    a_class: int | None = None
    epochs: int = 1
    seeds: int = 1
    trials: int = 1
    batch_size: int = 64
    more: dict = field(default_factory=dict)  # what one claim alone wants to know


class Runs(NamedTuple):
    """An arm's trained nets, a seed each."""

    arm: Arm
    work: object
    fields: dict  # what was chosen
    trials: list
    folders: list
    lines: list
    lost: int  # seeds whose loss left the numbers

    def looked(self, split="claims", views=1):
        """-> (log losses, errors), each (seeds, pictures)"""
        found = [seen(folder, self.work.store, split=split, views=views) for folder in self.folders]
        return np.stack([one["losses"] for one in found]), np.stack([one["errors"] for one in found])

    def said(self, split="claims", views=1):
        """For the result file."""
        losses, errors = self.looked(split, views)
        row = nets.row(self.work.known(self.arm.net))
        shapes = nets.shapes(row, self.work.ways)
        total = {key: sum(getattr(shape, key) for shape in shapes) for key in ("parameters", "multiply_adds")}
        return {"name": self.arm.name, "net": row.name, **total, "fields": self.arm.fields, "chosen": self.fields,
                "trials": self.trials, "diverged": self.lost, "epochs": [line["epoch"] for line in self.lines],
                "images_seen": [line["images_seen"] for line in self.lines], "seconds": [line["seconds"] for line in self.lines],
                "train_loss": [line["train_loss"] for line in self.lines],
                "log_loss": losses.mean(1).tolist(), "top1_error": errors.mean(1).tolist(), "views": views, "split": split}


class Work:
    """One experiment at one scale: its store, its runs, its result file."""

    def __init__(self, stores, out, *, scale, size, result=None, file=None, spent=None, **which):
        self.stores, self.out, self.scale, self.size = stores, Path(out), scale, size
        self.source = Path(subsets.fitting(stores, nets.row(self.known(size.row))))
        self.which, self.file = which, file
        self.result = {} if result is None else result
        self.spent = {} if spent is None else spent  # seconds of every run that took part, trials too

    def at(self, size=None, **which):
        """The same experiment on other pictures, or with other numbers."""
        return Work(self.stores, self.out, scale=self.scale, size=size or self.size, result=self.result,
                    file=self.file, spent=self.spent, **which)

    @cached_property
    def store(self):
        size = self.size
        clean = size.more.get("clean", 2000)
        parts = (self.source.name, nets.row(size.row).crop, size.classes or "all", size.a_class or "all", clean, *self.which)
        return subsets.subset(self.source, self.out / "stores" / "-".join(map(str, parts)), classes=size.classes,
                              a_class=size.a_class, clean=clean, **self.which)

    @cached_property
    def ways(self):
        return len(open_split(self.store, "train").classes)

    def counted(self):
        """Pictures to learn from, a class."""
        return np.bincount(open_split(self.store, "train").labels, minlength=self.ways).tolist()

    def known(self, net):
        """Rows that only experiments have go into the table: a run is told its net by name."""
        net = TOY.get(net, net) if isinstance(net, str) else net
        if isinstance(net, str):
            return net
        if replace(nets.ROWS.setdefault(net.name, net), title=net.title) != net:
            raise Misused(f"two different rows are called {net.name}.")
        return net.name

    # ---- training --------------------------------------------------------------------------------------------------------

    def train(self, arm, *, seed, watcher=None, **fields):
        """-> (the run's folder, its last line); None for the line where the loss left the numbers."""
        net = self.known(arm.net)
        recipe = {**COMMON, "batch_size": self.size.batch_size, "epochs": max(1, round(self.size.epochs * arm.longer)),
                  **arm.fields, **fields}
        start, copy = (arm.start[0][seed], arm.start[1]) if arm.start else (None, "")
        select = recipe.pop("select", "tune")
        facts = [open_split(self.store, "train").fingerprint, {**recipe, "rate": None}, select]
        facts += [start.parent.name, start.name, copy] if start else []
        stem = hashlib.sha256(json.dumps([net, *facts], sort_keys=True, default=list).encode()).hexdigest()[:10]
        run = self.out / "runs" / f"{net.replace(',', '-').replace('=', '-')}-{stem}" / f"{recipe.get('rate', 0):.4g}-seed-{seed}"
        if (run / "diverged").exists():
            return run, None
        if (run / "finished.json").exists():
            line = json.loads((run / "finished.json").read_text())
            self.spent[run] = line["seconds"]
            return run, line
        try:
            line = train(self.store, out=run, net=net, seed=seed, select=select, resume=True, from_=start and last(start),
                         copy=copy, on_epoch=watcher and (lambda line: watcher(run, line)), **recipe)
        except Enough as enough:
            line = enough.line
        except Diverged:
            (run / "diverged").touch()
            return run, None
        rundir.replace_file(run / "finished.json", json.dumps({**line, "run": run.name}).encode())
        self.spent[run] = line["seconds"]
        return run, line

    def choose(self, arm, *, watcher=None):
        """-> (fields with the smallest log loss on tune, what was tried). The first seed decides."""
        def tried(fields):
            line = self.train(arm, seed=0, watcher=watcher, **{"rate": arm.rate, **fields})[1]
            return {**fields, "tune_log_loss": line and line["log_loss"], "tune_top1_error": line and line["val_top1_error"]}

        choices = list(arm.choices or ({"rate": arm.rate * share} for share in TRIALS[: self.size.trials]))
        found = [tried(fields) for fields in choices]
        best = least(found, arm)
        for _ in range(BEYOND if len(choices) > 1 and not arm.choices else 0):
            if not at_an_end(found, choices[best]):
                break
            rates = sorted(one["rate"] for one in choices)
            down = choices[best]["rate"] == rates[0]
            choices.append({"rate": rates[0] ** 2 / rates[1] if down else rates[-1] ** 2 / rates[-2]})
            found.append(tried(choices[-1]))
            best = least(found, arm)
        if at_an_end(found, choices[best]):
            self.say(f"{arm.name}: the best that was tried, {told(choices[best])}, is at an end of what was tried")
        return choices[best], found

    def runs(self, arm, *, seeds=None, watcher=None):
        fields, trials = self.choose(arm, watcher=watcher)
        say(f"{arm.name}: {told(fields)}")
        fields, wanted = {"rate": arm.rate, **fields}, seeds or self.size.seeds
        done = [self.train(arm, seed=seed, watcher=watcher, **fields) for seed in range(wanted)]
        whole = [pair for pair in done if pair[1]]
        return Runs(arm, self, fields, trials, *map(list, zip(*whole)), wanted - len(whole))

    # ---- comparing, and the result file -----------------------------------------------------------------------------------

    def compare(self, control, arms, *, paper=None, split="claims", watcher=None, each=None, views=1):
        """The control first: its own seeds say what can be resolved. Then arm after arm, kept as soon as it is measured.
        paper: arm's name -> the paper's difference in words; each: (runs) -> more facts of an arm. -> Runs by name."""
        done = {control.name: self.runs(control, watcher=watcher)}
        smallest = [paired.beforehand(one) for one in done[control.name].looked(split, views)]
        self.keep(done[control.name], each, split, views)
        if smallest[0] is not None:
            say(f"{control.name}: differences from {smallest[0]:.3f} nats, {100 * smallest[1]:.2f} points on can be resolved")
        for arm in arms:
            done[arm.name] = self.runs(arm, watcher=watcher)
            self.keep(done[arm.name], each, split, views)
            self.row(f"{arm.name}, against {control.name}", done[control.name].looked(split, views),
                     done[arm.name].looked(split, views), paper=(paper or {}).get(arm.name, ""), beforehand=smallest, split=split)
        return done

    def keep(self, runs, each=None, split="claims", views=1):
        self.result.setdefault("arms", []).append({**runs.said(split, views), **(each(runs) if each else {})})
        self.write()

    def row(self, what, control, other, *, paper="", beforehand=(None, None), same_runs=False, split="claims", one="seed"):
        """A line of the table. control, other: (losses, errors) a seed (or whatever `one` calls it) and picture."""
        loss, top1 = (paired.difference(a, b, same_runs=same_runs) for a, b in zip(control, other))
        row = {"what": what, "paper": paper, "unit": "nats a picture", **loss, "beforehand": beforehand[0], "split": split,
               "verdict": paired.verdict(loss, one), "top1_difference": top1["difference"], "top1_interval": top1["interval"],
               "top1_beforehand": beforehand[1], "top1_verdict": paired.verdict(top1, one)}
        self.add(row)
        low, high = loss["interval"]
        say(f"{what}: {loss['difference']:+.3f} nats ({low:+.3f} to {high:+.3f}), {row['verdict']}")

    def add(self, row):
        self.result.setdefault("rows", []).append({"classes": self.ways, "row": self.size.row, **row})
        self.write()

    def say(self, sentence):
        """What stands in the table beside the rows, made from numbers of the result file."""
        self.result.setdefault("said", []).append(sentence)
        say(sentence)
        self.write()

    def figure(self, figure, name=""):
        if self.file:
            save(figure, self.file.with_name(f"{self.file.stem}{name}.svg"))

    def write(self, **facts):
        self.result.update(facts, seconds_of_runs=sum(self.spent.values()))
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            rundir.replace_file(self.file, (json.dumps(plain(self.result), indent=1) + "\n").encode())

    def described(self):
        """The pictures, for the result file."""
        card = open_split(self.source, "train").card
        sizes = {name: len(open_split(self.store, name)) for name in (*subsets.WANTED, subsets.CLEAN)}
        return {"source": card["source"]["name"], "size": card["size"], "classes": self.ways, "pictures": sizes}


def least(found, arm):
    """The place of the smallest log loss."""
    whole = [place for place, one in enumerate(found) if one["tune_log_loss"] is not None]
    if not whole:
        raise Refused(f"arm {arm.name} left the numbers with everything that was tried ({len(found)}): give it smaller rates.")
    return min(whole, key=lambda place: found[place]["tune_log_loss"])


def at_an_end(found, best):
    """Of a ladder, choices of one number: is nothing tried on one side of the best?"""
    if len(found) < 3 or len(best) != 1:
        return False
    (key, value), = best.items()
    return value in (min(one[key] for one in found), max(one[key] for one in found))


def told(fields):
    return ", ".join(f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in fields.items())


def measured(run, stores, out, *, scale, size, file, facts):
    """An experiment from what is there already to its result file. run: (work); facts: of the result, its sentence among them."""
    began = time.monotonic()
    facts = {**facts, "scale": scale, "size": vars(size), "environment": rundir.environment(pick("auto"), command=""),
             "finished": False}
    work = Work(stores, out, scale=scale, size=size, result=facts, file=Path(file))
    work.write(data=work.described())
    run(work)
    work.write(finished=True, seconds_here=round(time.monotonic() - began, 1))
    return work.result


def given(changes):
    """-> (what was named, and how a command line says it)"""
    named = {key: value for key, value in changes.items() if value}
    return named, "".join(f" --{key.replace('_', '-')} {value}" for key, value in named.items())


def plain(value):
    """As JSON has it: what is infinite or no number becomes null."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Size):
        return plain(vars(value))
    return value if isinstance(value, int | str | bool | None) else str(value)


def last(run):
    return Path(run) / "checkpoints" / "last" / "weights.safetensors"


def opened(run, device=None):
    """A run's last net as evaluate wants it."""
    net, mean, _ = weights.read(last(run))
    return Member(net, mean, device=device or pick("auto"))


def seen(run, store, *, split, views=1):
    """What the run's last net makes of each picture, measured once: log losses, and 1 where the first answer is wrong."""
    part = open_split(store, split)
    file = Path(run) / f"{split}-{views}-{part.fingerprint[:8]}.npz"
    if not file.exists():
        member = opened(run)
        with Progress(f"looking at {split}", len(part)) as bar:
            found, = watch([member], Feed(part, device=member.device), [[1.0]], views=views, tell=bar.advance)
        part_file = file.with_suffix(".new.npz")
        np.savez(part_file, losses=found.losses(), errors=1.0 - found.first)
        os.replace(part_file, file)
    with np.load(file) as kept:
        return dict(kept)


def stop_after(minutes):
    """As if a job manager said so: what trains saves and ends."""
    if minutes:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        timer = threading.Timer(minutes * 60, os.kill, (os.getpid(), signal.SIGTERM))
        timer.daemon = True
        timer.start()


def narrow(row, share, name, title):
    """A row with this share of its units, the classes aside; widths stay multiples of 4."""
    layers = {}
    for layer in row.layers:
        for key in ("maps", "units"):
            if getattr(layer, key, 0):
                layers[layer.name] = {key: max(8, 4 * round(getattr(layer, key) * share / 4))}
    return nets.changed(row, name, title, layers=layers)


TOY = {row.name: row for row in (
    narrow(nets.row("tiny64"), 0.25, "toy64", "a quarter of tiny64: for rehearsals"),
    narrow(nets.row("figure1"), 0.25, "toy32", "a quarter of figure1: for rehearsals"),
)}
