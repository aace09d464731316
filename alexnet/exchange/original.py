"""The 2012 program's own checkpoints (cuda-convnet): layers by name, a matrix for each of a layer's inputs, a layer a column. Which
row it is follows from the layers themselves, and which part of a tensor a matrix is from what it is fed by: in net #145 the second
column of fc7 lists its own half first. The mean picture, the colour PCA and the names of classes are in the data's batches.meta.

A convolution's matrix is (maps in x rows x columns, maps out), a dense layer's (units in, units out), kept column by column; biases
of convolutions stand upright, of dense layers lie. Inputs count maps, then rows, then columns, as ours do.
"""

import re
from pathlib import Path

import numpy as np

from alexnet import nets
from alexnet.errors import Refused
from alexnet.exchange import ilsvrc, pickled
from alexnet.exchange.chains import chain, nearest_row, of_row
from alexnet.exchange.found import JUDGED, Found, central, classes, judged, read_classes, whole, widened, widths
from alexnet.exchange.pickled import text
from alexnet.nets.layers import Dense, Local

MEAN = (127.30, 119.72, 104.91)  # of ImageNet's training pictures, from the program's own metadata of 2014
WEIGHTED = {"conv", "local", "fc"}


def read(path, *, meta=None, classes_file=None, net=None):
    """A checkpoint, or the folder that holds them: the newest counts. meta: the data's batches.meta, which may also lie there."""
    file = newest(path)
    layers = named(pickled.load(file), file)
    try:
        row, tensors = fitted(layers, file, net)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise Refused(f"{file} is no whole checkpoint of the 2012 program: {type(error).__name__} {error} where a layer is "
                      "described.") from None
    del layers
    near = Path(f"{file}.batches.meta"), *(folder / "batches.meta" for folder in file.parents[:2])
    meta = meta or next((str(one) for one in near if one.is_file()), None)
    said = read_meta(meta) if meta else {}
    outputs = len(tensors[f"{row.layers[-1].name}.bias"])
    given = read_classes(classes_file) if classes_file else said.get("classes") or classes(None, outputs, file)
    note = f"converted from {file.name}, a checkpoint of the 2012 program"
    if not meta:
        note += ("; without its batches.meta, so ImageNet's mean colour stands in for its mean picture, and the order of its "
                 "classes is taken to be that of sorted ids")
    mean = central(said.get("mean", np.array(MEAN).reshape(3, 1, 1)), row.crop, meta)
    size = said["mean"].shape[1] if "mean" in said else row.crop * 8 // 7
    data = {"source": str(meta or file), **({"colour": said["colour"]} if "colour" in said else {})}
    facts = {"note": note, "data": data, "temperature": 1.0, **judged(said)}
    return whole(Found(row, tensors, mean, size, given, facts), file)


def newest(path):
    """In a folder the checkpoint of the last epoch and batch: 90.1301 stands behind 9.20."""
    path = Path(path)
    if not path.is_dir():
        return path
    files = [one for one in path.iterdir() if one.is_file() and re.fullmatch(r"\d+\.\d+", one.name)]
    if not files:
        raise Refused(f"{path} holds no checkpoint of the 2012 program, which are named EPOCH.BATCH; name the file itself.")
    return max(files, key=lambda one: [int(number) for number in one.name.split(".")])


def named(content, file):
    """name -> the layer's facts, whichever of the forms the program has had: a dictionary, or a list whose inputs are places."""
    state = _get(content, "model_state")
    layers = _get(state, "layers") if state is not None else _get(content, "layers")
    if isinstance(layers, dict):
        layers = list(layers.values())
    if not isinstance(layers, list) or not layers or not all(isinstance(one, dict) for one in layers):
        raise Refused(f"{file} is no checkpoint of the 2012 program: it has no layers under model_state.")
    layers = [{text(key): value for key, value in one.items()} for one in layers]
    names, found = [text(one.get("name")) for one in layers], {}
    for name, one in zip(names, layers):
        inputs = one.get("inputs", [])
        inputs = [inputs] if isinstance(inputs, str | bytes) else inputs
        found[name] = {**one, "inputs": [names[i] if isinstance(i, int) else text(i) for i in inputs],
                       "type": text(one.get("type")), "name": name}
    return found


def _get(content, key):
    return content.get(key.encode(), content.get(key)) if isinstance(content, dict) else None


# ---- from their layers to a row --------------------------------------------------------------------------------------------


def fitted(layers, file, net=None):
    """(row, tensors): groups of layers of one depth are a layer of the row, a member a column."""
    groups, places = grouped(layers, file)
    first = [group[0] for group in groups]
    data = source_of(layers, first[0]["inputs"][0], file)[0]
    crop = round((layers[data]["outputs"] / 3) ** 0.5)
    candidates = [nets.row(net)] if net else list(nets.ROWS.values())
    own, side = chain(layers, groups)
    columns = max(map(len, groups))
    if any(chain(layers, groups, column) != (own, side) for column in range(1, columns)):
        raise Refused(f"{file}: its columns are not alike, which those of every row are.")
    fits = [row for row in candidates if of_row(row) == (own, side) and columns in (row.columns, 1)]
    if not fits:
        raise Refused(f"{file} fits {'the row ' + net if net else 'no row'}: {nearest_row(candidates, own, side)}")
    made = []
    for row in fits:
        tensors = assembled(row, layers, groups, places, file)
        made.append((widened(row, widths(tensors) | local_widths(row, tensors), crop), tensors))
    exact = [pair for pair, row in zip(made, fits) if pair[0] is row]
    return (exact or made)[0]


def local_widths(row, tensors):
    """Kernels of their own at every place: the places stand first there."""
    return {layer.name: tensors[f"{layer.name}.weight"].shape[1] for layer in row.layers if isinstance(layer, Local)}


def source_of(layers, name, file):
    """The names downward from here to the next layer with weights, or to the data, that one first."""
    found, seen = [name], 0
    while layers[found[0]]["type"] not in WEIGHTED | {"data"}:
        inputs = layers[found[0]]["inputs"]
        if len(inputs) != 1 or (seen := seen + 1) > len(layers):
            raise Refused(f"{file}: its layer {found[0]} ({layers[found[0]]['type']}) joins several, which no row has.")
        found.insert(0, inputs[0])
    return found


def grouped(layers, file):
    """Layers with weights in groups of equal depth, a member a column; and name -> (depth, column)."""
    depths = {}

    def depth(name, path=()):
        if name in path or name not in layers:
            raise Refused(f"{file}: its layer {path[-1] if path else name} has inputs that are not there, or itself among them.")
        if name not in depths:
            one = layers[name]
            below = [depth(each, (*path, name)) for each in one["inputs"]] if one["type"] != "data" else []
            depths[name] = max(below, default=0) + (one["type"] in WEIGHTED)
        return depths[name]

    members = [name for name, one in layers.items() if one["type"] in WEIGHTED]
    groups = {}
    for name in sorted(members, key=lambda name: (layers[name].get("gpu") or 0, name)):
        groups.setdefault(depth(name), []).append(layers[name])
    if not groups:
        raise Refused(f"{file} has no layer with weights.")
    ordered = [groups[i] for i in sorted(groups)]
    return ordered, {one["name"]: (i, j) for i, group in enumerate(ordered) for j, one in enumerate(group)}


def assembled(row, layers, groups, places, file):
    """Our tensors, each put together from the matrices of all columns."""
    tensors, sides = {}, {layer.plus for layer in row.layers if getattr(layer, "plus", "")}
    main = [layer for layer in row.layers if type(layer).__name__ in ("Conv", "Local", "Dense") and layer.name not in sides]
    for index, (layer, group) in enumerate(zip(main, groups)):
        parts, side, biases = [], [], []
        for column, one in enumerate(group):
            by_source = {}
            for given, weight in zip(one["inputs"], matrices(one, file)):
                below = source_of(layers, given, file)[0]
                by_source[places.get(below, (-1, 0))] = kernel(layer, one, weight, file)
            if index and (-1, 0) in by_source:  # straight from the picture: the side path
                side.append(by_source.pop((-1, 0)))
            sees = getattr(layer, "sees", "both")
            count = len(groups[index - 1]) if index else 1
            wanted = [(index - 1, column if count > 1 else 0)] if sees == "column" else [(index - 1, j) for j in range(count)]
            if sorted(by_source) != wanted:
                raise Refused(f"{file}: {one['name']} of the file is not fed by what {layer.name} of the row {row.name} sees.")
            parts.append(np.concatenate([by_source[key] for key in wanted], axis=2 if isinstance(layer, Local) else 1))
            biases.append(bias(layer, one, file))
        tensors |= {f"{layer.name}.weight": joined(parts, layer), f"{layer.name}.bias": joined(biases, layer)}
        if side:
            tensors[f"{layer.plus}.weight"] = np.concatenate(side)
    return tensors


def joined(parts, layer):
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1 if isinstance(layer, Local) else 0)


def matrices(one, file):
    given = one["weights"]
    found = [each.array() for each in (given if isinstance(given, list) else [given])]
    if len(found) != len(one["inputs"]):
        raise Refused(f"{file}: {one['name']} has {len(found)} matrices for {len(one['inputs'])} inputs.")
    return found


def kernel(layer, one, weight, file):
    """A matrix as ours: (out, in, k, k), (out, in), or (places, out, in x k x k)."""
    if any(number != 1 for number in _list(one.get("groups", 1))) or any(_list(one.get("randSparse", False))):
        raise Refused(f"{file}: {one['name']} is connected in groups or at random, which no row has.")
    if weight.ndim != 2:
        raise Refused(f"{file}: {one['name']} has a matrix of sizes {list(weight.shape)}; two are accepted.")
    if isinstance(layer, Dense):
        return np.asarray(weight.T, np.float32)
    side, out = layer.kernel, weight.shape[1]
    if isinstance(layer, Local):
        places = len(one["biases"].array().reshape(-1)) // out
        return np.asarray(weight.reshape(places, -1, out).transpose(0, 2, 1), np.float32)
    if len(weight) % side**2:
        raise Refused(f"{file}: {one['name']} has a matrix of {len(weight):,} rows, which is no number of {side} x {side} kernels.")
    return np.asarray(weight.reshape(-1, side, side, out).transpose(3, 0, 1, 2), np.float32)


def bias(layer, one, file):
    value = np.asarray(one["biases"].array(), np.float32)
    out = _list(one.get("filters", one.get("outputs")))[0]
    if isinstance(layer, Local):
        return value.reshape(out, -1).T
    if value.size != out:
        raise Refused(f"{file}: {one['name']} has {value.size:,} biases for {out:,} maps; one a map is accepted.")
    return value.reshape(-1)


def _list(value):
    return value if isinstance(value, list | tuple) else [value]


# ---- batches.meta ----------------------------------------------------------------------------------------------------------


def read_meta(path):
    """{"mean": (3, S, S), "colour": {...}, "classes": [...]} as far as it has them."""
    content, found = pickled.load(path), {}
    if (mean := _get(content, "data_mean")) is not None:
        mean = np.asarray(mean.array(), np.float32).reshape(-1)
        side = round((mean.size / 3) ** 0.5)
        if 3 * side**2 != mean.size:
            raise Refused(f"{path}: its data_mean has {mean.size:,} numbers, which is no picture of three colours.")
        found["mean"] = mean.reshape(3, side, side)
    if pca := _get(content, "color_pca"):
        stdevs, vectors = (np.asarray(one.array(), np.float64) for one in pca)
        found["colour"] = {"stdevs": stdevs.reshape(-1).tolist(), "vectors": vectors.tolist()}
    found |= {key: (_label if key == "resampling" else float)(value) for key in JUDGED if (value := _get(content, key)) is not None}
    if names := _get(content, "label_names"):
        found["classes"] = known([_label(one) for one in names], [_label(one) for one in _get(content, "label_ids") or ()])
    return found


def _label(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def known(names, ids):
    """Classes by the ids given, or by ILSVRC's where every name is one of its words; else by the names themselves."""
    if len(ids) == len(names):
        return list(zip(ids, names))
    by_words = {}
    for id, said in ilsvrc.words().items():
        by_words.setdefault(said, []).append(id)
    if names and all(len(by_words.get(name, ())) >= names.count(name) for name in set(names)):
        return [(by_words[name].pop(0), name.split(",")[0]) for name in names]
    return [(name if names.count(name) == 1 else f"{name} ({i})", name.split(",")[0]) for i, name in enumerate(names)]
