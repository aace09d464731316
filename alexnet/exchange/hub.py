"""A Hugging Face folder: weights, config.json in timm's schema, a card for readers. A net in torchvision's layout goes out under
its names, so that others can load it; any other row as our own weights file, which says everything in its header. Folders of
either kind, and timm-like ones with torchvision's names, come in."""

import json
from pathlib import Path

import numpy as np

from alexnet import nets
from alexnet.errors import Refused
from alexnet.exchange import torchvision
from alexnet.exchange.found import beside as said_beside
from alexnet.exchange.found import judged, layout, of_card, whole
from alexnet.printing import percent
from alexnet.rundir import replace_file

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
FILES = ("config.json", *WEIGHTS, "model.safetensors.json", "model.safetensors.mean.npy", "README.md")


def read(folder, *, classes_file=None, read_own=None):
    """read_own: what reads a weights file of ours, as (card, arrays) or None."""
    folder = Path(folder)
    config = read_config(folder)
    file = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        raise Refused(f"{folder} has no {' or '.join(WEIGHTS)} in it; a folder of one of these and a config.json is accepted.")
    if read_own and file.suffix == ".safetensors" and (own := read_own(file)):
        return whole(of_card(*own), file)
    said = said_beside(file)
    facts = {**config, **(config.get("pretrained_cfg") or {})}
    mean, std = three(facts.get("mean"), torchvision.MEAN, folder, "mean"), three(facts.get("std"), torchvision.STD, folder, "std")
    found = torchvision.of_arrays(torchvision.arrays(file), folder, classes_file=classes_file, mean=mean, std=std, said=said)
    if said:
        return found
    named, crop = config.get("label_names"), found.row.crop
    if named and not classes_file:
        words = config.get("label_descriptions") or {}
        if len(named) != len(found.classes):
            raise Refused(f"{folder}/config.json has {len(named):,} label_names for {len(found.classes):,} outputs.")
        found = found._replace(classes=[(str(id), str(words.get(id, id)).split(",")[0]) for id in named])
    share = facts.get("crop_pct") or 0.875
    note = f"converted from {folder.name}, in timm's schema"
    return whole(found._replace(size=max(crop, round(crop / share)), facts={**found.facts, "note": note}), folder)


def read_config(folder):
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("it is no object")
        return config
    except OSError:
        raise Refused(f"{folder} has no config.json; a folder with one and {' or '.join(WEIGHTS)} is accepted.") from None
    except ValueError as error:
        raise Refused(f"{folder}/config.json cannot be read ({error}); take another copy of it.") from None


def three(value, default, folder, key):
    if value is None:
        return default
    if not isinstance(value, list | tuple) or len(value) != 3 or not all(isinstance(one, int | float) for one in value):
        raise Refused(f"{folder}/config.json: {key} is {value!r}; three numbers are accepted.")
    return tuple(map(float, value))


def write(found, folder, *, content):
    """content: our own weights file, for rows that have no other name."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shared = layout(found.row) == layout(nets.row(torchvision.ROW))
    file, files = folder / "model.safetensors", []
    if shared:
        files += torchvision.write(found, file)
    else:
        replace_file(file, content)
        files.append(str(file))
    config = json.dumps(config_of(found, shared), indent=1, ensure_ascii=False)
    for name, text in (("config.json", config), ("README.md", card(found, shared))):
        replace_file(folder / name, text.encode())
        files.append(str(folder / name))
    return files


def config_of(found, shared):
    """timm's schema; what it has no word for stands under `alexnet`."""
    row, first, last = found.row, found.row.layers[0].name, found.row.layers[-1].name
    normal, names = torchvision.normalize(found), torchvision.NAMES if shared else {}
    return {
        "architecture": "alexnet", "num_classes": len(found.classes),
        "num_features": nets.shapes(row, len(found.classes))[-2].output[0],
        "pretrained_cfg": {
            "tag": "alexnet", "custom_load": False, "input_size": [3, row.crop, row.crop], "fixed_input_size": True,
            "interpolation": "bilinear", "crop_pct": row.crop / found.size, "crop_mode": "center", **normal,
            "num_classes": len(found.classes), "first_conv": names.get(first, first), "classifier": names.get(last, last)},
        "label_names": [id for id, _ in found.classes], "label_descriptions": dict(found.classes),
        "alexnet": {"row": row.spec(), "size": found.size, "temperature": 1.0, **judged(found.facts)}}


def card(found, shared):
    """README.md: what a reader of the hub wants to know, and nothing that was not measured."""
    facts, row = found.facts, found.row
    errors = [f"| {one.get('split', '')} | {one.get('views', 1)} | {percent(one['top1_error'])} | {percent(one['top5_error'])} |"
              for one in facts.get("errors") or () if one.get("top1_error") is not None]
    data = facts.get("data") or {}
    licence = data.get("licence")
    parameters = sum(int(np.size(value)) for value in found.tensors.values())
    head = ["---", "library_name: alexnet", "tags:", "- image-classification", "- alexnet"]
    head += ["license: other", f"license_name: {json.dumps(str(licence))}"] if licence else []
    lines = [*head, "---", "", f"# {row.name}: {row.title}", "", f"{parameters:,} parameters, {len(found.classes):,} classes, "
             f"pictures of {row.crop} x {row.crop} cut from the middle of {found.size} x {found.size}.", "",
             "```python", "import alexnet", "", 'alexnet.load("hf:OWNER/REPO")("cat.jpg")', "```", ""]
    if shared:
        lines += ["The weights have the names of torchvision's `alexnet`; `mean` and `std` are in config.json.", ""]
    if errors:
        lines += ["| split | views | top-1 error | top-5 error |", "|---|---|---|---|", *errors, ""]
    lines += [f"Data: {data.get('source', 'not recorded')}. Licence of the data: {licence or 'not recorded'}.", ""]
    return "\n".join(lines + ([f"Note: {str(facts['note']).rstrip('.')}.", ""] if facts.get("note") else []))


def upload(folder, name):
    """The folder to hf:OWNER/REPO; -> where it is."""
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise Refused("uploading wants huggingface_hub, which is not installed: pip install 'alexnet[hub]'.") from None
    name = name.removeprefix("hf:")
    try:
        api = HfApi()
        api.create_repo(name, exist_ok=True)
        return str(api.upload_folder(repo_id=name, folder_path=str(folder), commit_message="weights of alexnet"))
    except Exception as error:  # the library's own, httpx's, the system's
        raise Refused(f"{folder} is written, but it could not be put at {name} ({' '.join(str(error).split())[:200]}): look at the "
                      "network and at your login (hf auth login), and try again.") from None
