"""Before a run: which rates a network learns at (a range test, plotted), and how many pictures a step the memory holds."""

import json
import math
import os
from dataclasses import replace
from itertools import chain, count
from pathlib import Path

import torch

from alexnet import predictions, recipes
from alexnet.data import order
from alexnet.errors import Refused
from alexnet.net import AlexNet
from alexnet.progress import Progress, say
from alexnet.weights import to_device

STEPS, DECADES = 160, 5.0  # of a range test: from a thousandth of the recipe's rate to a hundred times it
LARGEST_BATCH = 1024  # 2012 found 128 x 8 bad, 256 with twice the rate as good as 128
SMALLEST_EPOCH = 16  # steps: fewer make an epoch too coarse to measure


def find_rate(loop, picture):
    """Raise the rate geometrically, a step each, until the loss runs away; the rate where it fell fastest is proposed."""
    predictions.check(picture, option="--find-rate", endings=(".png", ".svg"))
    recipe, chance = loop.recipe, math.log(len(loop.split.classes))
    rates, losses, smooth, before = [], [], None, 0.0
    plan = (order.batch(len(loop.feed), recipe.batch_size, seed=loop.seed, epoch=epoch, step=step, reshuffle=True)
            for epoch, step in chain.from_iterable(((e, s) for s in range(loop.steps)) for e in count()))
    with Progress("trying rates", STEPS) as bar:
        for trial, (pictures, labels) in zip(range(STEPS), loop.feed.batches(plan)):
            share = 10 ** (DECADES * trial / (STEPS - 1) - DECADES + 2)
            loop.recipe = replace(recipe, rate=recipe.rate * share, bias_rate=recipe.bias_rate * share, schedule="constant",
                                  phases=())
            loop.one_step(pictures, labels)
            total = loop.totals[0].item()
            loss, before = (total - before) / len(labels), total
            if not math.isfinite(loss) or (smooth and smooth > 1.5 * max(chance, losses[0])):
                break
            smooth = loss if smooth is None else 0.9 * smooth + 0.1 * loss
            rates.append(recipe.rate * share)
            losses.append(smooth)
            bar.advance(1, loss=f"{smooth:.3f}", rate=f"{rates[-1]:.2g}")
            if loop.signals.caught:
                raise KeyboardInterrupt
    loop.recipe = recipe
    if not rates:
        raise Refused(f"the loss is not a finite number even at a rate of {recipe.rate / 1000:.2g}: begin with a smaller --rate.")
    proposed, lowest = steepest(rates, losses)
    from alexnet import figures  # matplotlib is slow to come, and training does without

    figures.save(figures.rate_range(rates, losses, proposed=proposed, chance=chance), picture)
    found = {"net": loop.net.row.name, "batch_size": recipe.batch_size, "proposed_rate": proposed, "lowest_loss_rate": lowest,
             "recipe_rate": recipe.rate, "rates": rates, "losses": losses}
    Path(picture).with_suffix(".json").write_text(json.dumps(found))
    return {**found, "figure": str(picture)}


def steepest(rates, losses, reach=8):
    """(rate at the steepest fall of the loss over the logarithm of the rate, rate of the lowest loss)."""
    lowest = losses.index(min(losses))
    falls = [losses[min(i + reach, len(losses) - 1)] - losses[max(i - reach, 0)] for i in range(lowest + 1)]
    return rates[falls.index(min(falls))], rates[lowest]


def fitted_batch(recipe, net, training, device):
    """The recipe with the largest power of two that fits the memory, and rates scaled with it; phases keep their ratios."""
    own = recipes.recipe(recipe.name).batch_size  # what its rates were made for
    network = to_device(AlexNet(net, classes=len(training.split.classes), seed=0), device)
    weights, a_picture = footprint(network, device)
    room = 0.7 * free_memory(device) - 5 * weights  # gradients, velocities, averaged weights, a checkpoint's copy
    pictures = len(training.split) if training.positions is None else len(training.positions)
    fits = min(room / (2 * a_picture), LARGEST_BATCH, max(pictures / SMALLEST_EPOCH, 1))  # twice: what the backward pass adds
    size = 2 ** int(math.log2(max(fits, 1)))
    scale = size / own
    say(f"{size} pictures a step: {a_picture / 1e6:.1f} MB a picture for the gradient, {max(room, 0) / 1e9:.1f} GB to be had; "
        f"rates are {scale:g} times those of {own}.")
    phases = tuple(replace(p, rate=p.rate and p.rate * scale, bias_rate=p.bias_rate and p.bias_rate * scale,
                           layers=tuple((layer, rate and rate * scale) for layer, rate in p.layers)) for p in recipe.phases)
    return replace(recipe, batch_size=size, rate=recipe.rate * scale, bias_rate=recipe.bias_rate * scale, phases=phases)


def footprint(net, device):
    """Bytes of the weights, and bytes a picture that a forward pass keeps for the gradient."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in net.parameters()}
    batch = torch.zeros(2, 3, net.row.crop, net.row.crop, device=device).contiguous(memory_format=torch.channels_last)
    net.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(batch)
    return sum(weights.values()), sum(size for place, size in kept.items() if place not in weights) / 2


def free_memory(device):
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
