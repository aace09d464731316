"""A trained network as one file: safetensors whose header carries the card, everything that use needs to know (row, classes,
preprocessing, recipe, data, measured errors). Nothing is unpickled. What needs no torch of it is in cards.py."""

import json
from pathlib import Path

import torch
from safetensors.torch import save

from alexnet import cards, nets
from alexnet.cards import FORMAT, SCALE, SHIPPED, WeightsFile, find, read_card, same_classes
from alexnet.errors import Refused
from alexnet.net import AlexNet, Dense, for_maps
from alexnet.nets.layers import PARTS
from alexnet.rundir import replace_file

__all__ = ["FORMAT", "SHIPPED", "card", "copy_into", "find", "pack", "read", "read_card", "same_classes", "to_device", "write"]


def card(net, *, classes, size, centring, **facts):
    """What every weights file says of itself; facts: recipe, data, errors, epoch, note, temperature."""
    return cards.card(net.row, classes=classes, size=size, centring=centring, **facts)


def pack(net, mean, card, *, dtype=None):
    """The bytes of a weights file. dtype: what floating-point tensors are stored in (they are read back as float32); torch.int8
    is for kernels and matrices, a scale for each of their outputs."""
    tensors = {}
    of_parts = {PARTS + name: value for name, value in net.of_parts.items()}
    for name, value in {**net.state_dict(), **of_parts, "mean": mean}.items():
        value = value.detach().cpu()
        if dtype == torch.int8 and name.endswith("weight") and value.dim() > 1:
            scale = value.flatten(1).abs().amax(1).clamp(min=1e-30) / 127
            tensors[name + SCALE] = scale
            value = (value / scale.reshape(-1, *[1] * (value.dim() - 1))).round().to(torch.int8)
        elif dtype and dtype != torch.int8 and value.is_floating_point():
            value = value.to(dtype)
        tensors[name] = value.contiguous()
    return save(tensors, metadata={"card": json.dumps(card)})


def write(path, net, mean, card, *, dtype=None):
    replace_file(Path(path), pack(net, mean, card, dtype=dtype))


def read(model=None):
    """(net in eval mode, mean, card). model: a run folder, a weights file, the name of one that ships."""
    with WeightsFile(model) as stored:
        return of(stored)


def of(stored):
    """The same of an opened WeightsFile."""
    path, found = stored.path, stored.card
    tensors = {name: torch.from_numpy(value) for name, value in stored.everything().items()}
    mean = tensors.pop("mean").clone()
    net = AlexNet(nets.from_spec(found["row"]), classes=len(found["classes"]), seed=0)
    own = net.state_dict()
    net.of_parts = {name.removeprefix(PARTS): tensors.pop(name) for name in list(tensors) if name.startswith(PARTS)}
    for given in (tensors, {**own, **net.of_parts}):
        for name in own.keys() | given.keys():
            here, there = (list(d[name].shape) if name in d else "nothing" for d in (own, given))
            if here != there:
                raise Refused(f"{path} does not fit its row {found['net']}: {name} has {there} in the file and {here} in the net.")
    net.load_state_dict({name: value.to(own[name].dtype) for name, value in tensors.items()})
    return net.eval(), mean, found


def copy_into(net, model, *, classes, only=()):
    """Layer by layer, what fits from another network's weights; the rest keeps its initial values. The last layer is copied
    only between the same classes; a dense layer that sees maps of another size is stretched. only: layers or prefixes that may be
    copied; all when empty. Returns a line a layer: {"layer", "copied", "why"}."""
    source, _, card = read(model)
    there, last = source.state_dict(), net.row.layers[-1].name
    same = [c[0] for c in card["classes"]] == [c[0] for c in classes]
    lines = []
    for layer, module in net.named_children():
        own = module.state_dict()
        if not own:
            continue
        given = {name: there[f"{layer}.{name}"] for name in own if f"{layer}.{name}" in there}
        said, why = stretched(given, module, source._modules.get(layer)), ""
        if only and not layer.startswith(tuple(only)):
            why = "not asked for"
        elif len(given) < len(own):
            why = f"{card['net']} has no such layer"
        elif odd := next((name for name in own if own[name].shape != given[name].shape), None):
            why = f"{tuple(given[odd].shape)} there, {tuple(own[odd].shape)} here"
        elif layer == last and not same:
            why = "other classes"
        else:
            module.load_state_dict(given)
        lines.append({"layer": layer, "copied": not why, "why": why or said})
    if not any(line["copied"] for line in lines):
        raise Refused(f"nothing of {model} ({card['net']}) fits {net.row.name}; of {lines[0]['layer']}: "
                      f"{lines[0]['why']}.")
    return lines


def stretched(given, module, other):
    """Nets for pictures of other sizes differ in their first dense layer alone, by the maps that it sees: its weights follow."""
    both = isinstance(module, Dense) and isinstance(other, Dense) and len(module.maps) == len(other.maps) == 2
    if not both or module.maps == other.maps:
        return ""
    given["weight"] = for_maps(given["weight"], module.maps, other.maps)
    return "from maps of {} x {} to {} x {}".format(*other.maps, *module.maps)


def to_device(net, device):
    return net.to(device, memory_format=torch.channels_last)
