"""The update rule of 2012, the rates over time, and averaged weights. Paper section 5:

    v <- 0.9 v - 0.0005 rate w - rate dL/dw        w <- w + v

The rate stands inside the velocity: an old velocity keeps the size that the old rate gave it. A rate of zero freezes."""

from dataclasses import asdict, dataclass
from math import ceil, cos, floor, pi

import torch

from alexnet import ops
from alexnet.errors import Misused
from alexnet.recipes import own_rates


class Momentum(torch.optim.Optimizer):
    def __init__(self, groups, lr=0.01, momentum=0.9, weight_decay=0.0):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            if group["lr"] == 0 or not weights:
                continue
            for w in weights:
                if "velocity" not in self.state[w]:
                    self.state[w]["velocity"] = torch.zeros_like(w)
            rule = {"momentum": group["momentum"], "decay": group["lr"] * group["weight_decay"], "rate": group["lr"]}
            ops.momentum(weights, [w.grad for w in weights], [self.state[w]["velocity"] for w in weights], **rule)


class Nesterov(torch.optim.Optimizer):
    """v <- 0.9 v + g, w <- w - rate (g + 0.9 v), g with its decay: torch.optim.SGD's to the last bit, all weights at once."""

    def __init__(self, groups, lr=0.01, momentum=0.9):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure=None):
        alike = {}
        for group in self.param_groups:
            alike.setdefault((group["lr"], group["momentum"], group["weight_decay"]), []).extend(
                w for w in group["params"] if w.grad is not None)
        for (rate, momentum, decay), weights in alike.items():
            if not weights:
                continue
            for w in weights:
                if "velocity" not in self.state[w]:
                    self.state[w]["velocity"] = torch.zeros_like(w)
            velocities = [self.state[w]["velocity"] for w in weights]
            slopes = [w.grad for w in weights]
            slopes = torch._foreach_add(slopes, weights, alpha=decay) if decay else slopes
            torch._foreach_mul_(velocities, momentum)
            torch._foreach_add_(velocities, slopes)
            torch._foreach_add_(weights, torch._foreach_add(slopes, velocities, alpha=momentum), alpha=-rate)


class Lars(torch.optim.Optimizer):
    """Layer-wise adaptive rates (You, Gitman, Ginsburg, 2017), for batches of thousands: a layer's step is a share of its weights'
    own length. Biases, scales and offsets, which do not decay, step as ever."""

    TRUST = 0.001  # that share, times the rate

    def __init__(self, groups, lr=0.01, momentum=0.9):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for w in group["params"] if group["lr"] else ():
                if w.grad is None:
                    continue
                step, decay = w.grad, group["weight_decay"]
                if decay:
                    own, slope = w.norm(), w.grad.norm()
                    step = w.grad + decay * w
                    ratio = self.TRUST * own / (slope + decay * own)
                    step = step * torch.where((own > 0) & (slope > 0), ratio, 1.0)
                velocity = self.state[w].setdefault("velocity", torch.zeros_like(w))
                velocity.mul_(group["momentum"]).add_(step, alpha=-group["lr"])
                w.add_(velocity)


class Muon(torch.optim.Optimizer):
    """Orthogonal steps (Jordan, 2024): what momentum asks of a hidden layer's weights becomes the nearest matrix without a favoured
    direction, each column's half of the units a matrix of its own. Weights keep their first length, as behind a norm only their
    direction counts, and a step is a share of it. Everything else steps by Nesterov's rule, the last layer too."""

    SHARE = 0.2  # of the length, times the rate

    def __init__(self, groups, lr=0.01, momentum=0.9):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})
        self.others = Nesterov([group for group in self.param_groups if not group["hidden"]], lr, momentum)
        self.others.state = self.state

    @torch.no_grad()
    def step(self, closure=None):
        self.others.step()
        for group in self.param_groups:
            for w in group["params"] if group["hidden"] and group["lr"] else ():
                if w.grad is None:
                    continue
                momentum, length = group["momentum"], w.norm()
                velocity = self.state[w].setdefault("velocity", torch.zeros_like(w)).mul_(momentum).add_(w.grad)
                halves = w.grad.add(velocity, alpha=momentum).reshape(group["columns"], len(w) // group["columns"], -1)
                step = orthogonal(halves).reshape(w.shape)
                w.sub_(step * (group["lr"] * self.SHARE * length / step.norm().clamp_min(1e-12)))
                w.mul_(length / w.norm().clamp_min(1e-12))


def orthogonal(tables, times=5):
    """Nearly: rounds of Newton and Schulz with Jordan's coefficients, all of them on the products of the shorter side."""
    if tables.shape[-2] > tables.shape[-1]:
        return orthogonal(tables.mT, times).mT
    tables = tables / (tables.norm(dim=(-2, -1), keepdim=True) + 1e-12)
    products = tables @ tables.mT
    turn = whole = turned(products)
    for _ in range(times - 1):
        products = turn @ (turn @ products)
        turn = turned(products)
        whole = turn @ whole
    return whole @ tables


def turned(products):
    """3.4445 - 4.775 p + 2.0315 p^2: a round makes small lengths 3.4 times as long, those near 1 stay between 0.7 and 1.2."""
    found = torch.baddbmm(products, products, products, beta=-4.7750, alpha=2.0315)
    found.diagonal(dim1=-2, dim2=-1).add_(3.4445)
    return found


def optimiser(net, recipe, scheme="data"):
    """One group a layer's weights and one its biases, so that each can have its own rate."""
    if scheme != "data" and recipe.update in ("lars", "muon"):
        raise Misused(f"--update {recipe.update} steps by whole layers, which the scheme {scheme} divides: take the scheme data.")
    groups, last = [], net.row.layers[-1].name
    for name, parameter in net.named_parameters():
        layer, kind = name.rsplit(".", 1)
        weighs = kind == "weight" and parameter.dim() > 1  # scales and offsets of batch norm do not decay
        groups.append({"params": [parameter], "layer": layer, "bias": kind == "bias",
                       "hidden": weighs and layer != last and parameter.dim() != 3,  # local layers: a matrix a place
                       "columns": 1 if len(parameter) % net.row.columns else net.row.columns,
                       "weight_decay": own(dict(recipe.decays), layer, recipe.decay) if weighs else 0.0})
    rules = {"2012": Momentum, "nesterov": Nesterov, "lars": Lars, "muon": Muon}
    return rules[recipe.update](groups, lr=recipe.rate, momentum=recipe.momentum)


def own(table, layer, otherwise):
    """What a table of layers and prefixes holds for this layer: the longest entry that its name begins with."""
    fits = [prefix for prefix in table if layer.startswith(prefix)]
    return table[max(fits, key=len)] if fits else otherwise


@dataclass
class Plateau:
    """Paper section 5: divide by ten when the error stops improving. Part of the loop's state, as plain numbers."""

    best: float = float("inf")
    since: int = 0  # epochs without a better one
    drops: int = 0

    def see(self, error, patience):
        """True when the rate was just dropped."""
        self.since = 0 if error < self.best else self.since + 1
        self.best = min(error, self.best)
        if self.since < patience:
            return False
        self.since, self.drops = 0, self.drops + 1
        return True

    state = asdict


@dataclass(frozen=True)
class Settings:
    """What holds at one moment of training."""

    rate: float
    bias_rate: float  # 0: that of the layer's weights
    noise: float
    layers: dict  # layer or prefix -> its own rate
    side: float  # of the crop, as a share of the net's


def settings(recipe, epoch, drops=0):
    """At `epoch`, a number that grows by 1 / steps each step; `drops` are those of the plateau so far."""
    progress = min(epoch / recipe.epochs, 1.0)
    rate, bias_rate, noise, layers = scheduled(recipe, progress, drops), recipe.bias_rate, recipe.noise, {}
    for phase in recipe.phases:
        if progress * recipe.planned_epochs >= phase.epoch - 1e-9:
            rate = rate if phase.rate is None else phase.rate
            bias_rate = bias_rate if phase.bias_rate is None else phase.bias_rate
            noise = noise if phase.noise is None else phase.noise
            layers.update(phase.layers)
    layers = {layer: own_rate for layer, own_rate in layers.items() if own_rate is not None}
    grown = min(progress / recipe.full_side, 1)
    grown = floor(grown * recipe.sides + 1e-9) / recipe.sides if recipe.sides else grown
    side = recipe.least_side + (1 - recipe.least_side) * grown
    return Settings(rate, bias_rate, noise, layers | own_rates(recipe.rates), side)


def scheduled(recipe, progress, drops):
    """The rate that the schedule alone gives."""
    rate = recipe.rate
    if recipe.schedule == "plateau":
        return rate / 10**drops
    if recipe.schedule == "dexp":  # a staircase from rate to rate / factor; a level's end still belongs to it, as in the source
        level = min(max(ceil(progress * recipe.levels - 1e-9) - 1, 0), recipe.levels - 1)
        return rate * recipe.factor ** -(level / max(recipe.levels - 1, 1))
    if progress < recipe.warmup:
        return rate * progress / recipe.warmup
    left = 1 - (progress - recipe.warmup) / (1 - recipe.warmup)
    return {"one_cycle": rate * left, "cosine": rate * (1 - cos(pi * left)) / 2}.get(recipe.schedule, rate)


def apply(optimiser, now):
    """Put the settings of the moment into the optimiser's groups."""
    for group in optimiser.param_groups:
        rate = own(now.layers, group["layer"], now.rate)
        group["lr"] = now.bias_rate if group["bias"] and now.bias_rate and rate else rate


class Average:
    """An exponential average of the weights, with a shorter memory in the first steps; batch norm's statistics too."""

    def __init__(self, net):
        self.values = [value.detach().clone() for value in tracked(net)]

    @torch.no_grad()
    def update(self, net, decay, step):
        torch._foreach_lerp_(self.values, list(tracked(net)), 1 - min(decay, (1 + step) / (10 + step)))

    @torch.no_grad()
    def copy_to(self, net):
        torch._foreach_copy_(list(tracked(net)), self.values)


def tracked(net):
    return [value for value in net.state_dict(keep_vars=True).values() if value.is_floating_point()]


def tracked_names(net):
    return [name for name, value in net.state_dict().items() if value.is_floating_point()]
