"""A trained network as one file: safetensors whose header carries the card, everything that use needs to know (row, classes,
preprocessing, recipe, data, measured errors). Nothing is unpickled."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from alexnet import nets
from alexnet.data.picture import RESAMPLING
from alexnet.errors import Misused, Refused, nearest
from alexnet.net import AlexNet
from alexnet.rundir import replace_file

FORMAT = 1
SHIPPED = Path(__file__).parent / "shipped"


def card(net, *, classes, size, centring, **facts):
    """What every weights file says of itself; facts: recipe, data, errors, epoch, note, temperature."""
    known = {"recipe": {}, "data": {}, "errors": [], "epoch": 0, "note": "", "temperature": 1.0}
    return {"format": FORMAT, "net": net.row.name, "row": net.row.spec(), "classes": [list(c) for c in classes], "size": size,
            "crop": net.row.crop, "resampling": RESAMPLING, "centring": centring, **known, **facts}


def pack(net, mean, card, *, dtype=None):
    """The bytes of a weights file. dtype: what floating-point tensors are stored in (they are read back as float32)."""
    tensors = {**net.state_dict(), "mean": mean}
    tensors = {name: value.detach().to("cpu", dtype if dtype and value.is_floating_point() else value.dtype).contiguous()
               for name, value in tensors.items()}
    return save(tensors, metadata={"card": json.dumps(card, ensure_ascii=False)})


def write(path, net, mean, card, *, dtype=None):
    replace_file(Path(path), pack(net, mean, card, dtype=dtype))


def read_card(model=None):
    """The card alone, without reading the tensors."""
    path = find(model)
    with open(path, "rb") as file:
        header = file.read(int.from_bytes(file.read(8), "little"))
    return _card(json.loads(header).get("__metadata__", {}), path)


def read(model=None):
    """(net in eval mode, mean, card). model: a run folder, a weights file, the name of one that ships."""
    path = find(model)
    content = path.read_bytes()
    try:
        tensors = load(content)
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise Refused(f"{path} is not a whole safetensors file ({error}); train or convert it again.") from error
    found = _card(metadata, path)
    mean = tensors.pop("mean").float()
    net = AlexNet(nets.from_spec(found["row"]), classes=len(found["classes"]), seed=0)
    own = net.state_dict()
    for name in own.keys() | tensors.keys():
        here, there = (list(d[name].shape) if name in d else "nothing" for d in (own, tensors))
        if here != there:
            raise Refused(f"{path} does not fit its row {found['net']}: {name} has {there} in the file and {here} in the net.")
    net.load_state_dict({name: value.to(own[name].dtype) for name, value in tensors.items()})
    return net.eval(), mean, found


def copy_into(net, model, *, classes, only=()):
    """Layer by layer, what fits from another network's weights; the rest keeps its initial values. The last layer is copied
    only between the same classes. only: layers or prefixes that may be copied; all when empty.
    Returns a line a layer: {"layer", "copied", "why"}."""
    source, _, card = read(model)
    there, last = source.state_dict(), net.row.layers[-1].name
    same = [c[0] for c in card["classes"]] == [c[0] for c in classes]
    lines = []
    for layer, module in net.named_children():
        own = module.state_dict()
        if not own:
            continue
        given = {name: there[f"{layer}.{name}"] for name in own if f"{layer}.{name}" in there}
        why = ""
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
        lines.append({"layer": layer, "copied": not why, "why": why})
    if not any(line["copied"] for line in lines):
        raise Refused(f"nothing of {model} ({card['net']}) fits {net.row.name}; of {lines[0]['layer']}: "
                      f"{lines[0]['why']}.")
    return lines


def _card(metadata, path):
    if "card" not in metadata:
        raise Refused(f"{path} carries no card: it was not written by alexnet; convert it first.")
    found = json.loads(metadata["card"])
    if found["format"] != FORMAT:
        raise Refused(f"{path} has format {found['format']}, this version reads {FORMAT}.")
    return found


def find(model=None):
    """The weights file that a MODEL means: a name that ships, a run folder (its best, else its last), or a file."""
    path = Path(model or "default")
    ships = {file.stem: file for file in sorted(SHIPPED.glob("*.safetensors"))}
    if str(path) in ships and not path.exists():
        return ships[str(path)]
    if path.is_dir():
        for name in ("best", "last"):
            if (path / "checkpoints" / name / "weights.safetensors").exists():
                return path / "checkpoints" / name / "weights.safetensors"
        raise Refused(f"{path} has no checkpoint in it; it is not a run folder, or nothing was saved yet.")
    if not path.is_file():
        raise Misused(f"there is no model {str(path)!r}: name a run folder, a weights file, or one that ships; "
                      f"{nearest(path, ships)}")
    return path


def same_classes(card, split, what):
    """Refuse a pairing of weights and store that speak of different classes."""
    ids, others = [c[0] for c in card["classes"]], [c[0] for c in split.classes]
    if ids != others:
        odd = next((f"{a} against {b}" for a, b in zip(ids, others) if a != b), f"{len(ids)} against {len(others)} classes")
        raise Refused(f"{what} was trained on other classes than {split.path} holds ({odd}); name a store of the same classes.")
    if card["size"] != split.size:
        raise Refused(f"{what} takes pictures of {card['size']} pixels, {split.path} holds {split.size}: "
                      f"prepare the source again with --size {card['size']}.")


def to_device(net, device):
    return net.to(device, memory_format=torch.channels_last)
