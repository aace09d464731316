"""What goes on inside a trained net on a few pictures: how many maps never fire, how sparse the activations are, how far a response
norm's denominators leave their constant, and dropout as the average of many masked nets."""

from math import sqrt

import torch

from alexnet.data import augment
from alexnet.data.feed import Feed, in_turn
from alexnet.data.store import open_split
from alexnet.net import NONLINEAR
from alexnet.nets.layers import ResponseNorm
from alexnet.ops import dropout_mask
from alexnet.progress import Progress


def batches(member, store, *, split, most=None, size=256):
    """The centre view of a split's pictures: (net's input, labels)."""
    part = open_split(store, split)
    feed = Feed(part, device=member.device)
    member.net.eval()
    for pictures, labels in feed.batches(in_turn(min(most or len(feed), len(feed)), size)):
        view, = augment.views(pictures, mean=member.mean, crop=member.net.row.crop)
        yield view, labels


@torch.inference_mode()
def silent(member, store, *, split="clean", most=2000):
    """Layer -> the share of its maps that are above zero at no place of no picture. Of rectified layers; at tanh, of maps whose
    output is one number everywhere."""
    peaks, lows = {}, {}
    layers = {layer.name: layer.then for layer in member.net.row.layers}
    for view, _ in batches(member, store, split=split, most=most):
        for name, value in member.net.activations(view).items():
            if layers.get(name, "linear") == "linear":
                continue
            flat = value.flatten(2).transpose(0, 1).flatten(1) if value.dim() > 2 else value.T  # (maps, places)
            most_here, least_here = flat.amax(1), flat.amin(1)
            peaks[name] = torch.maximum(peaks.get(name, most_here), most_here)
            lows[name] = torch.minimum(lows.get(name, least_here), least_here)
    quiet = {"relu": lambda name: peaks[name] <= 0, "leaky": lambda name: peaks[name] <= 0,
             "tanh": lambda name: peaks[name] - lows[name] < 1e-3}
    return {name: float(quiet[layers[name]](name).float().mean()) for name in peaks}


@torch.inference_mode()
def sparseness(member, store, *, split="clean", most=512):
    """Layer -> the share of zeros, and Hoyer's measure over the maps at a place (0: all alike, 1: one alone)."""
    found = {}
    named = [layer.name for layer in member.net.row.layers if layer.then == "relu"]
    for view, _ in batches(member, store, split=split, most=most):
        activations = member.net.activations(view)
        for name in named:
            value = activations[name].flatten(2) if activations[name].dim() > 2 else activations[name][..., None]
            maps, (one, two) = value.shape[1], (value.abs().sum(1), value.square().sum(1).sqrt())  # (B, places)
            hoyer = ((sqrt(maps) - one / two) / (sqrt(maps) - 1))[two > 0]
            kept = found.setdefault(name, [0.0, 0.0, 0, 0])
            for place, add in enumerate(((value == 0).float().sum().item(), hoyer.sum().item(), value.numel(), hoyer.numel())):
                kept[place] += add
    return {name: {"zeros": zeros / max(count, 1), "hoyer": hoyer / max(places, 1)}
            for name, (zeros, hoyer, count, places) in found.items()}


@torch.inference_mode()
def denominators(net, view):
    """Norm -> how its sums k + alpha * sum of squares lie beside k: the share within 5 % of k, and quantiles of sum / k."""
    net.eval()
    found, before = {}, view
    activations = net.activations(view)
    for shape_layer in net.row.layers:
        if isinstance(shape_layer, ResponseNorm):
            found[shape_layer.name] = spread(before, shape_layer, net.row.columns)
        before = activations[shape_layer.name]
    return found


def spread(x, norm, columns):
    groups = columns if norm.sees == "column" else 1
    squares = x.float().square().reshape(len(x) * groups, 1, -1, *x.shape[2:])  # (B * columns, 1, maps, rows, columns)
    padded = torch.nn.functional.pad(squares, (0, 0, 0, 0, norm.size // 2, (norm.size - 1) // 2))
    sums = torch.nn.functional.avg_pool3d(padded, (norm.size, 1, 1), 1) * norm.size
    beside = (1 + norm.alpha / norm.k * sums).flatten()
    some = beside[:: max(1, len(beside) // 1_000_000)].cpu()
    quantiles = torch.quantile(some, torch.tensor([0.01, 0.5, 0.99])).tolist()
    return {"within_5_percent": float((beside <= 1.05).float().mean()), "quantiles": quantiles}


@torch.inference_mode()
def masked(member, store, *, masks, split="claims", most=None):
    """The halved net against the average of `masks` masked ones: (log losses, errors) of each, a picture. The averages are of
    probabilities, and of their logs made to sum to one."""
    ways, kept = {"halved": [], "mean of probabilities": [], "mean of logs": []}, []
    net, count = member.net, min(most or 10**9, len(open_split(store, split)))
    first = next(place for place, layer in enumerate(net.row.layers) if layer.dropout)
    with Progress(f"averaging {masks} masked nets", count) as bar:
        for view, labels in batches(member, store, split=split, most=count):
            found = net.activations(view)
            x = found[net.row.layers[first - 1].name]
            logs, total = 0.0, 0.0
            for number in range(masks):
                one = torch.log_softmax(one_mask(net, x, first, number).float(), 1)
                logs, total = logs + one, total + one.exp()
            ways["halved"].append(found["prob"].log())
            ways["mean of probabilities"].append((total / masks).log())
            ways["mean of logs"].append(torch.log_softmax(logs / masks, 1))
            kept.append(labels)
            bar.advance(len(labels))
    labels = torch.cat(kept)
    return {name: looked(torch.cat(rows), labels) for name, rows in ways.items()}


def one_mask(net, x, first, number):
    """From the first layer with dropout on, every one of them masked as in training."""
    for place, layer in enumerate(net.row.layers[first:], first):
        x = NONLINEAR[layer.then](net._modules[layer.name](x))
        if layer.dropout:
            keep = 1 - layer.dropout
            mask = dropout_mask(x.shape, keep, torch.tensor(number, device=x.device), layer=place,
                                first=torch.tensor(0, device=x.device), device=x.device)
            x = x * mask / (1 if net.row.dropout_scales == "test" else keep)
    return x


def looked(logs, labels):
    losses = -logs.gather(1, labels[:, None])[:, 0]
    return losses.cpu().double().numpy(), (logs.argmax(1) != labels).cpu().double().numpy()
