"""What comes in from another program, before it is a weights file of ours: the row, its tensors, mean, classes, and how files of
foreign formats are fitted to rows. What such a file cannot say of itself stands beside it, in NAME.json and NAME.mean.npy, when we
wrote it."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alexnet.errors import Refused
from alexnet.exchange import graph, ilsvrc
from alexnet.nets import from_spec
from alexnet.nets.layers import PARTS, Conv, Dense, Local, Row
from alexnet.rundir import replace_file

WEIGHTED = (Conv, Local, Dense)
FREE = {"std", "bias", "maps", "units", "dropout", "name"}  # fields that do not change what is computed, or that widen() settles
JUDGED = ("temperature", "unknown_below", "resampling")


class Found(NamedTuple):
    """A foreign network in our terms."""

    row: Row
    tensors: dict  # our names -> float32 arrays
    mean: np.ndarray  # (3, crop, crop) or (3, 1, 1), on the 0-255 scale, RGB
    size: int  # side of the square that pictures are made to
    classes: list  # of (id, name), in the order of the outputs
    facts: dict  # of the card: temperature, note, data, ...


def of_card(card, tensors):
    """A weights file of ours, to be written elsewhere."""
    tensors = dict(tensors)
    mean = tensors.pop("mean")
    return Found(from_spec(card["row"]), tensors, mean, card["size"], [tuple(one) for one in card["classes"]], card)


def whole(found, source):
    """The same with classes in sorted order of id, as all of ours are; refused where a tensor is missing or of another shape."""
    count = len(found.classes)
    own = graph.parameters(found.row, count)
    own |= {PARTS + name: shape for name, shape in own.items() if PARTS + name in found.tensors}
    for name in [*own, *found.tensors]:
        here = list(own[name]) if name in own else "nothing"
        there = list(np.shape(found.tensors[name])) if name in found.tensors else "nothing"
        if here != there:
            raise Refused(f"{source} does not fit the row {found.row.name} with {count:,} classes: {name} is {there} there, {here} "
                          "in the row; name the row with --net, or the classes with --classes.")
    if odd := next((name for name, value in found.tensors.items() if not np.isfinite(value).all()), None):
        raise Refused(f"{source}: {odd} holds values that are no numbers; take another copy of the file.")
    if found.mean.shape not in ((3, 1, 1), (3, found.row.crop, found.row.crop)):
        raise Refused(f"{source}: its mean is {list(found.mean.shape)}; one colour, or a picture of {found.row.crop} pixels, fits.")
    last = found.row.layers[-1].name
    order = sorted(range(count), key=lambda i: found.classes[i][0])
    if len({id for id, _ in found.classes}) < count:
        raise Refused(f"{source}: its classes have ids twice; give each an id of its own with --classes FILE.")
    tensors = {name: np.asarray(value, np.int64 if name.endswith("num_batches_tracked") else np.float32, order="C")
               for name, value in found.tensors.items()}
    if order != list(range(count)):
        tensors |= {name: value[order] for name, value in tensors.items() if name.startswith(f"{last}.")}
    return found._replace(tensors=tensors, classes=[tuple(found.classes[i]) for i in order])


# ---- rows ------------------------------------------------------------------------------------------------------------------


def layout(row):
    """What a row computes, apart from its widths: two rows that are equal here differ in size and initial values only."""
    kept = [{"kind": type(layer).__name__, "biased": getattr(layer, "bias", 0.0) is not None,
             **{key: value for key, value in asdict(layer).items() if key not in FREE},
             "dropout": layer.dropout if row.dropout_scales == "test" else 0.0} for layer in row.layers]
    return kept, row.columns, row.rounding, row.channels


def widened(row, outputs, crop=None):
    """The row with the widths of a file: layer -> maps or units. As it is where they are the row's own."""
    kept = []
    for layer in row.layers:
        field = "units" if isinstance(layer, Dense) else "maps"
        if layer.name in outputs and layer is not row.layers[-1] and getattr(layer, field) != outputs[layer.name]:
            layer = replace(layer, **{field: outputs[layer.name]})
        kept.append(layer)
    made = replace(row, layers=tuple(kept), crop=crop or row.crop)
    return row if made == row else replace(made, name=f"{row.name}~", title=f"{row.title}, with the widths of a file")


def widths(tensors):
    """Layer -> maps or units, from the shapes of the kernels."""
    return {name.removesuffix(".weight"): len(value) for name, value in tensors.items() if name.endswith(".weight")}


# ---- what a format cannot say ----------------------------------------------------------------------------------------------


def write_beside(path, found, **more):
    """NAME.json, and NAME.mean.npy where the mean is a picture; -> the files."""
    path = Path(path)
    files, said = [path.with_name(path.name + ".json")], {
        "classes": found.classes, "size": found.size, "crop": found.row.crop, "input_scale": found.row.input_scale,
        "temperature": 1.0, **judged(found.facts), "mean": found.mean.reshape(3, -1).mean(1, dtype=np.float64).tolist(),
        "row": found.row.spec(), **more}
    if found.mean.shape[1:] != (1, 1):
        files.append(path.with_name(path.name + ".mean.npy"))
        np.save(files[1], found.mean)
        said["mean_file"] = files[1].name
    replace_file(files[0], json.dumps(said, indent=1, ensure_ascii=False).encode())
    return [str(file) for file in files]


def beside(path):
    """What write_beside left, or {}; the mean as an array."""
    file = Path(path).with_name(Path(path).name + ".json")
    if not file.is_file():
        return {}
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        if "mean_file" in said:
            said["mean"] = np.load(file.with_name(Path(said["mean_file"]).name), allow_pickle=False)
        else:
            said["mean"] = np.array(said["mean"], np.float32).reshape(3, 1, 1)
        said["classes"] = [tuple(one) for one in said["classes"]]
        said["row"] = from_spec(said["row"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{file}, which stands beside {path}, cannot be read ({' '.join(str(error).split())}): write it again, or "
                      "move it away.") from None
    return said


def judged(facts):
    """What of a card, or of what stands beside a file, an answer depends on besides the weights."""
    return {key: facts[key] for key in JUDGED if key in facts}


def classes(given, count, source):
    """[(id, name), ...]: those of a words file, else ILSVRC's where there are 1,000, else numbers."""
    if given:
        found = read_classes(given)
        if len(found) != count:
            raise Refused(f"{given} names {len(found):,} classes, {source} has {count:,} outputs: name each, in their order.")
        return found
    if count == 1000:
        return ilsvrc.classes()
    return [(f"{i:0{len(str(count - 1))}}", f"class {i}") for i in range(count)]


def read_classes(path):
    """A line a class in the order of the outputs: the id, then (behind a tab or a space) its words."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"the classes in {path} cannot be read ({error}); a line a class is accepted: id, tab, name.") from None
    pairs = [line.split("\t" if "\t" in line else None, 1) for line in lines if line.strip()]
    return [(pair[0].strip(), (pair[1] if len(pair) > 1 else pair[0]).split(",")[0].strip()) for pair in pairs]


def central(mean, crop, source):
    """A mean picture (3, S, S) to its central crop, as the net sees pictures; one colour stays one."""
    if (mean == mean[:, :1, :1]).all():
        return np.ascontiguousarray(mean[:, :1, :1], np.float32)
    far = [side - crop for side in mean.shape[1:]]
    if mean.shape[0] != 3 or min(far) < 0:
        raise Refused(f"the mean picture of {source} is {list(mean.shape)}; it wants three maps of {crop} pixels or more, RGB.")
    top, left = (one // 2 for one in far)
    return np.ascontiguousarray(mean[:, top : top + crop, left : left + crop], np.float32)


def enlarged(found):
    """The mean as a picture (3, size, size), as other programs keep it before they cut; beyond our crop the edge goes on."""
    far = found.size - found.mean.shape[1]
    return np.pad(found.mean, [(0, 0), *[(far // 2, far - far // 2)] * 2], mode="edge")
