"""The loop: a store, a recipe and a folder in; a trained, measured network out. Paper section 5. Read downward: what is
settled before, then the steps of an epoch, the measuring after it, and the checkpoint from which everything goes on.

    alexnet train STORE --recipe modern --out RUN
"""

import json
import math
import signal
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict
from functools import cached_property, partial
from typing import Annotated

import torch
import torch.nn.functional as F

from alexnet import keeping, optim, parallel, recipes, rundir, trials, weights
from alexnet.data import augment, order
from alexnet.device import autocast, compiled, pick, precision, sums
from alexnet.errors import Diverged, Misused
from alexnet.evaluate.passes import Member, measure
from alexnet.evaluate.settling import norms, settle
from alexnet.ledger import Ledger
from alexnet.net import AlexNet
from alexnet.parts import MAY_CHANGE, check, check_resumed, choose_row, dropping, mean_of, parts
from alexnet.progress import Progress, say, seconds
from alexnet.signals import Signals
from alexnet.towers import Towers

LOOK_EVERY = 0.5  # seconds between readings of the loss off the device


def train(
    store: Annotated[str, "a store made by alexnet prepare"],
    *,
    out: Annotated[str, "the run's folder"] = None,
    recipe: Annotated[str, "as_run, paper, dexp, modern (when left out), tiny, or a net of the notebook by its name"] = None,
    net: Annotated[str, "a row of `alexnet nets`; the recipe chooses one that fits when left out"] = None,
    seed: Annotated[int, "initial values, order, crops, dropout: everything that is drawn"] = 0,
    from_: Annotated[str, "begin from this MODEL's weights, layer by layer, where they fit", "MODEL"] = None,
    copy: Annotated[str, "with --from: only these layers or prefixes, like conv,fc6", "LAYERS"] = "",
    resume: Annotated[bool, "go on exactly where the run in --out stopped"] = False,
    select: Annotated[str, "the split that decides plateaus, stopping and `best`"] = "val",
    holdout: Annotated[float, "instead of --select: this share of train, held out by seed"] = 0.0,
    device: Annotated[str, "auto, cpu, cuda, cuda:N, mps"] = "auto",
    workers: Annotated[int, "threads that read ahead"] = 2,
    scheme: Annotated[str, "of several processes: data, columns or 2014 (docs/scale.md)"] = "data",
    find_rate: Annotated[str, "do not train: try rates from far too low to far too high; the plot's PNG or SVG", "FILE"] = None,
    on_epoch=None,
    **changes,
):
    """Fit a network; returns the last epoch's line and why it stopped."""
    began = time.monotonic()
    if not out and not find_rate:
        raise Misused("train wants --out RUN, the folder that the run is kept in.")
    scratch = tempfile.TemporaryDirectory() if find_rate else None
    device = pick(parallel.device_of(device))
    group = parallel.group(device, scheme)
    run = rundir.RunDir(scratch.name if find_rate else out, writes=group.rank == 0)
    if group.rank:
        group.wait()  # the first settles what is trained, and writes it down
    else:
        run.check(resume=resume)
    config = run.read("config.json") if resume or group.rank else None
    if config:
        from_ = from_ and str(weights.find(from_))
        check_resumed(config, run, recipe=recipe, net=net, seed=seed, select=select, holdout=holdout, from_=from_, copy=copy,
                      **changes)
        changed = {key: value for key, value in changes.items() if key in MAY_CHANGE}
        recipe = recipes.from_plain({**config["recipe"], **changed})
        seed, select, holdout, net = config["seed"], config["select"], config["holdout"], config["net"]
    else:
        recipe = recipes.recipe(recipe or "modern", **changes)
    if copy and not from_ and not config:
        raise Misused("--copy says which layers of --from MODEL are taken: name that too.")
    training, chosen = parts(store, select, holdout, seed)
    check(training, chosen, config)
    if not config:
        net = dropping(choose_row(recipe.nets, net, training), recipe.dropout)
        if not recipe.batch_size:
            recipe = trials.fitted_batch(recipe, net, training, device)
        config = {"recipe": asdict(recipe), "net": net, **run.place_of(store), "seed": seed,
                  "select": select, "holdout": holdout, "fingerprint": training.split.fingerprint,
                  "select_fingerprint": chosen.split.fingerprint, "from": from_ and str(weights.find(from_)), "copy": copy,
                  "precision": precision(recipe.precision, device)}
        run.make()
        run.write("config.json", config)
    if group.rank == 0:
        group.wait()
    environment = rundir.environment(device, command=" ".join(sys.argv), data_fingerprint=training.split.fingerprint)
    run.write("environment.json", run.read("environment.json") or environment)
    with Signals() as signals:
        loop = Loop(run, recipe, config, training, chosen, device=device, workers=workers, signals=signals,
                    environment=environment, began=began, group=group)
        if find_rate:
            return trials.find_rate(loop, find_rate)
        line = loop.fit(on_epoch if on_epoch and group.rank == 0 else lambda line: None)
    group.end()
    return line


class Loop:
    def __init__(self, run, recipe, config, training, chosen, *, device, workers, signals, environment, began, group=None):
        self.group = group or parallel.Alone()
        self.run, self.recipe, self.config, self.device, self.signals = run, recipe, config, device, signals
        self.split, self.chosen, self.environment = training.split, chosen, environment
        self.seed, self.precision = config["seed"], config["precision"]
        self.feed, self.chosen_feed = training.feed(device, workers), chosen.share(self.group).feed(device, workers)
        self.net = weights.to_device(AlexNet(config["net"], classes=len(self.split.classes), seed=self.seed), device)
        self.net.join(self.group)
        self.optimiser = optim.optimiser(self.net, recipe, self.group.scheme)
        self.average = optim.Average(self.net) if recipe.averaging else None
        self.settles = bool(recipe.settling and norms(self.net))
        self.apart = bool(self.average or self.settles)  # what is measured and kept is a copy
        self.kept_at = None  # pictures seen by then
        self.mean = mean_of(self.split, self.net.row.crop, recipe.centring).to(device)
        self.format = augment.number_format(self.net.row, device, self.precision)
        self.model = Towers(self.net, self.group) if self.group.scheme != "data" else self.group.wrapped(self.net)
        self.compiled, self.cold = compiled(self.model, recipe.compile, device), True
        self.steps = order.steps(len(self.feed), recipe.batch_size)
        self.plateau = optim.Plateau()
        self.epoch = self.step = self.images = self.since_best = 0
        self.best, self.line, self.finished, self.alarmed, self.learnt = None, {}, None, False, False
        self.totals = torch.zeros(2, dtype=sums(device), device=device)  # this epoch: sum of losses, pictures
        self.bad = torch.full((), -1, device=device)  # the first step whose loss is not finite
        self.ledger = Ledger()
        self.restore()
        self.ledger.add("setup", time.monotonic() - began)

    def fit(self, on_epoch):
        if self.finished:
            say(f"{self.run.path} is finished ({self.finished}); nothing to do.")
        try:
            while not self.finished:
                self.one_epoch()
                line = self.measure()
                better = self.decide(line)
                on_epoch(line)
                self.save(better=better, wait=False)
        finally:
            self.run.settle()
        return {**self.line, "run": str(self.run.path), "stopped": self.finished, "best": self.best}

    # ---- the steps of an epoch ---------------------------------------------------------------------------------------

    def one_epoch(self):
        recipe, self.saved = self.recipe, time.monotonic()
        plan = (self.own(order.batch(len(self.feed), recipe.batch_size, seed=self.seed, epoch=self.epoch, step=step,
                                     reshuffle=recipe.reshuffle)) for step in range(self.step, self.steps))
        done = min(self.step * recipe.batch_size, len(self.feed))
        waited, began, looked = self.feed.waited, time.monotonic(), 0.0
        with Progress(f"epoch {self.epoch + 1}/{recipe.epochs}", len(self.feed), start=done) as bar:
            for pictures, labels in self.feed.batches(plan):
                self.one_step(pictures, labels)
                now = time.monotonic()
                cold = self.cold and self.compiled is not self.model  # torch.compile works in the first step
                self.ledger.add("compile" if cold else "step", now - began - (self.feed.waited - waited))
                self.ledger.add("waiting", self.feed.waited - waited)
                self.cold = False
                if now - looked > LOOK_EVERY or self.step == self.steps:
                    looked = now
                    bar.advance(0, **self.look())
                bar.advance(len(labels) * self.group.count)
                self.stop_or_save()
                waited, began = self.feed.waited, time.monotonic()

    def own(self, places):
        """This process's share of a joined batch."""
        return places[slice(*self.group.rows(len(places)))]

    def one_step(self, pictures, labels):
        """pictures, labels: this process's rows of the joined batch. What chance decides is drawn for all of it."""
        recipe, at = self.recipe, (self.seed, self.epoch, self.step)
        joined = len(labels) if self.group.count == 1 else order.size(len(self.feed), recipe.batch_size, self.step)
        first = self.group.rows(joined)[0]
        now = self.settings(self.step)
        optim.apply(self.optimiser, now)
        crop = augment.side(self.net.row.crop, now.side)
        draws = augment.draw(order.generator(*at, "augment"), count=joined, size=self.split.size, crop=crop, recipe=recipe)
        batch = augment.augment(pictures, draws.rows(first, len(labels)), crop=crop, mean=self.mean, noise=now.noise,
                                colour=self.split.colour, resized=recipe.crop == "resized", dtype=self.format)
        self.net.train()
        self.optimiser.zero_grad(set_to_none=True)
        total, pieces = 0.0, list(augment.pieces(len(labels), recipe.micro_batch))
        for piece in pieces:
            self.net.draw(order.key(*at, "dropout"), first + piece.start)
            with self.group.adding(self.model) if piece is not pieces[-1] else nullcontext():
                with autocast(self.device, self.precision):
                    logits = self.compiled(batch[piece])
                logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
                loss = augment.mixed(partial(F.cross_entropy, logits, label_smoothing=recipe.smoothing, reduction="sum"),
                                     labels[piece], draws.share)
                (loss * (self.group.scale / joined)).backward()
            total += loss.detach()
        if self.group.scheme != "data":
            self.model.reduce()
        self.optimiser.step()
        if self.average:
            self.average.update(self.net, recipe.averaging, self.epoch * self.steps + self.step)
        self.totals += torch.stack([total, torch.full_like(total, len(labels))])
        self.bad = torch.where((self.bad < 0) & ~total.isfinite(), self.step, self.bad)
        self.step += 1
        self.images += joined

    def settings(self, step):
        return optim.settings(self.recipe, self.epoch + step / self.steps, self.plateau.drops)

    def rate(self):
        return self.settings(max(self.step - 1, 0)).rate

    def look(self):
        """Read the loss off the device: for the bar, for the alarm, and to stop at a step that went wrong."""
        if (bad := self.bad.item()) >= 0:
            raise Diverged(f"the loss of epoch {self.epoch + 1}, step {bad + 1} is not a finite number; the last good checkpoint "
                           f"is kept in {self.run.path}: begin again with a smaller --rate (it was {self.rate():g}).")
        total, count = self.totals.tolist()
        loss = total / max(count, 1)
        self.alarm(loss)
        error = {"error": f"{self.line['val_top1_error']:.1%}"} if self.line else {}
        steps = (self.recipe.epochs - self.epoch) * self.steps - self.step  # at this epoch's speed, without the measuring:
        return {"loss": f"{loss:.3f}", **error, "rate": f"{self.rate():.2g}", "waiting": f"{self.ledger.waiting():.0%}",
                "in all": seconds(self.ledger.trained() / max(self.step, 1) * steps)}

    def alarm(self, loss):
        """The oldest complaint about this network: the loss sits at ln(classes) for days and nobody says so."""
        updates, chance = self.epoch * self.steps + self.step, math.log(len(self.split.classes))
        self.learnt = self.learnt or loss < 0.97 * chance
        if self.learnt or self.alarmed or updates < 500 or self.step < min(100, self.steps) or loss < 0.99 * chance:
            return
        self.alarmed = True
        remedy = ("the published initial values can take thousands of updates to leave it: give it more, or take a row with batch "
                  "norm (--recipe modern) or a rate two or three times higher or lower")
        self.run.log("alarm", epoch=self.epoch, step=self.step, loss=loss, chance=chance)
        say(f"after {updates} updates the loss is {loss:.3f}, chance is ln({len(self.split.classes)}) = {chance:.3f}: "
            f"nothing is learnt yet; {remedy}.")

    # ---- after it: measure, decide -----------------------------------------------------------------------------------

    def measured_net(self):
        """The network that is measured and kept: averaged weights and settled statistics, where the recipe has them."""
        if not self.apart:
            return self.net
        if self.images != self.kept_at:
            self.kept_at = self.images
            self.kept.load_state_dict(self.net.state_dict())
            if self.average:
                self.average.copy_to(self.kept)
            if self.settles:
                settle(self.member(self.kept), self.feed, self.recipe.settling)
        return self.kept

    @cached_property
    def kept(self):
        return weights.to_device(AlexNet(self.net.row, classes=self.net.classes, seed=0), self.device)

    def member(self, net):
        return Member(net, self.mean, device=self.device, precision=self.precision)

    def measure(self):
        self.join()
        began, member = time.monotonic(), self.member(self.measured_net())

        def tell(count):
            bar.advance(count)
            if self.group.count == 1:
                self.leave_if_asked(self.signals.caught)

        with Progress("measuring", len(self.chosen_feed)) as bar:
            found = measure([member], self.chosen_feed, tell=tell, gathered=self.group.gathered)
        self.ledger.add("evaluation", time.monotonic() - began)
        self.ledger.reach(found["top1_error"], epoch=self.epoch + 1, images=self.images)
        total, count = (sum(each) / self.group.copies for each in zip(*self.group.gathered(self.totals.tolist())))
        line = {"epoch": self.epoch + 1, "images": int(count), "train_loss": total / max(count, 1), "val_images": found["images"],
                "val_top1_error": found["top1_error"], "val_top5_error": found["top5_error"], "log_loss": found["log_loss"],
                "lr": self.rate(), "images_per_second": count / max(self.ledger.trained(), 1e-9),
                "waiting": self.ledger.waiting(), "seconds": self.ledger.seconds(), "images_seen": self.images,
                "select": self.chosen.name, "ledger": self.ledger.shown(), "reached": dict(self.ledger.reached)}
        return self.group.gathered(line)[0]  # the first's clock is everybody's

    def decide(self, line):
        """Best so far? A drop of the rate? Is it over? Then the epoch is closed. -> whether it was the best"""
        recipe, error, self.line = self.recipe, line["val_top1_error"], line
        better = self.best is None or error < self.best["top1_error"]
        self.since_best = 0 if better else self.since_best + 1
        if better:
            self.best = {"epoch": line["epoch"], "top1_error": error, "top5_error": line["val_top5_error"]}
        ended = line["epoch"] >= recipe.epochs
        if recipe.schedule == "plateau" and self.plateau.see(error, recipe.patience):
            ended = ended or self.plateau.drops > recipe.drops  # it stopped improving at the lowest rate too
        if ended:
            self.finished = f"after {line['epoch']} epochs"
        elif recipe.stop_error and error <= recipe.stop_error:
            self.finished = f"at the error asked for, {recipe.stop_error:g}"
        elif recipe.stop_minutes and line["seconds"] >= recipe.stop_minutes * 60:
            self.finished = f"after the {recipe.stop_minutes:g} minutes asked for"
        elif recipe.stop_patience and self.since_best >= recipe.stop_patience:
            self.finished = f"after {recipe.stop_patience} epochs without a better error"
        self.run.log("epoch", **line)
        self.epoch, self.step = self.epoch + 1, 0
        self.totals.zero_()
        self.ledger.close()
        return better

    # ---- the checkpoint ----------------------------------------------------------------------------------------------

    def save(self, *, better=False, wait=True):
        """One process writes for all, what is asked for in between before anybody goes on, an epoch's end beside the next one."""
        if self.bad.item() >= 0:
            self.look()
        began = time.monotonic()
        self.join()
        if self.run.writes:
            files = keeping.files(self)
            best = {"weights.safetensors": files["weights.safetensors"], "loop.json": json.dumps(self.best).encode()}
            self.run.save_later(({"best": best} if better else {}) | {"last": files})
            if wait:
                self.run.settle()
        self.group.wait()
        self.saved = time.monotonic()
        self.ledger.add("saving", self.saved - began)

    def stop_or_save(self):
        """What one process is asked, or its clock says, all of them do at the same step."""
        if self.group.count > 1 and self.step % parallel.AGREE_EVERY and self.step < self.steps:
            return
        late = self.signals.wanted or time.monotonic() - self.saved > self.recipe.save_minutes * 60
        caught, late = self.group.agreed(self.signals.caught or 0, int(late))
        if late and not caught:
            self.signals.wanted = False
            self.save()
        self.leave_if_asked(caught)

    def join(self):
        """Where each process has stepped its own part of the weights: make them whole."""
        if self.group.scheme != "data":
            self.model.join(keeping.by_weight(self))

    def leave_if_asked(self, caught):
        if caught:
            self.save()
            say(f"stopped and saved; --resume goes on from here: {self.run.path}")
            raise KeyboardInterrupt if caught == signal.SIGINT else SystemExit(143)

    def begin(self):
        """Where nothing was saved yet: initial values, or those of another network. Velocities begin at zero."""
        if not self.config.get("from"):
            return
        only = tuple(filter(None, self.config["copy"].split(",")))
        lines = weights.copy_into(self.net, self.config["from"], classes=self.split.classes, only=only)
        self.average = optim.Average(self.net) if self.average else None
        self.run.log("from", model=self.config["from"], layers=lines)
        for line in lines:
            say(f"{line['layer']:<12}{'copied' if line['copied'] else 'new:'} {line['why']}".rstrip())

    def restore(self):
        files = self.run.load("last")
        if not files:
            self.begin()
            return
        log_size, environment = keeping.put_back(self, files)
        self.run.cut_log(log_size)
        other = rundir.differences(environment, self.environment)
        self.run.log("resumed", epoch=self.epoch, step=self.step, at=rundir.now(), **({"other": other} if other else {}))
        if other:
            say(f"this run was made with {', '.join(other)}: it goes on, but no longer bit for bit as it would have there.")
