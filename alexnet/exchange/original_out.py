"""A row of ours as a checkpoint of the 2012 program, with that program's names: conv1a and conv1b, fc2048a, hs1a, a matrix for each
input. What only training there needs (the increments of its momentum) is left out. The data's metadata stand beside it."""

import io
from pathlib import Path

import numpy as np

from alexnet import nets
from alexnet.errors import Refused
from alexnet.exchange import ilsvrc, pickled
from alexnet.exchange.chains import MAPS
from alexnet.exchange.found import enlarged, judged
from alexnet.nets.layers import BatchNorm, Blur, ContrastNorm, Conv, Dense, Local, Nails, Pool, ResponseNorm, WithinMapNorm
from alexnet.rundir import replace_file

NEURONS = ("linear", "relu")


def write(found, path):
    check(found.row)
    files = {path: {"model_state": {"layers": layers(found), "epoch": 1, "batchnum": 1, "train_outputs": [], "test_outputs": []}},
             f"{path}.batches.meta": meta(found)}
    for file, content in files.items():
        stream = io.BytesIO()
        pickled.dump(content, stream)
        replace_file(Path(file), stream.getbuffer())
    return [str(file) for file in files]


def check(row):
    """Refused where that program has no word for what the row does."""
    odd = [layer.name for layer in row.layers
           if isinstance(layer, BatchNorm) or layer.then not in NEURONS or getattr(layer, "by", "") == "convolution"
           or (isinstance(layer, ResponseNorm) and layer.sees == "both" and row.columns > 1)]
    odd += [layer.name for layer in row.layers if layer.dropout and row.dropout_scales != "test"]
    odd += ["the scale of its pictures"] * (row.input_scale != 1) + ["its one colour"] * (row.channels != 3)
    odd += ["the rounding of its sizes"] * (row.rounding != "ceil")
    if odd:
        raise Refused(f"the 2012 program has no word for {odd[0]} of {row.name}; as_run and its controls go there, others to onnx.")


def layers(found):
    """name -> the facts of a layer, in the order of the program's files."""
    row, letters = found.row, "ab"[: found.row.columns] if found.row.columns > 1 else ("",)
    made = {"data": {"type": "data", "dataIdx": 0, "outputs": 3 * row.crop**2},
            "labels": {"type": "data", "dataIdx": 1, "outputs": 1}}
    current, aside, pools, hidden = ["data"], ["data"], 0, 0
    sides, shapes = {}, nets.shapes(row, len(found.classes))
    plus = {getattr(layer, "plus", "") for layer in row.layers}
    for shape in shapes:
        layer, last = shape.layer, shape is shapes[-1]
        if isinstance(layer, Blur | Nails):
            name = f"{'blur' if isinstance(layer, Blur) else 'nails'}0"
            made[name] = {"inputs": aside, **facts(layer, shape, 1)}
            aside = [name]
            continue
        if layer.name in plus:
            sides[layer.name] = (shape, aside)
            continue
        pools += isinstance(layer, Pool)
        hidden += isinstance(layer, Dense)
        word = called(layer, pools, hidden, shape, letters)
        names = [word] if last else [f"{word}{letter}" for letter in letters]
        for column, name in enumerate(names):
            one = {"gpu": column, **facts(layer, shape, len(names))}
            one["inputs"] = [current[min(column, len(current) - 1)]]
            if isinstance(layer, Conv | Local | Dense):
                weighed(one, found, shape, column, len(names), current, sides)
            made[name] = one
        current = names
        for kind, wanted, more in (("neuron", layer.then != "linear", {"neuron": {"type": layer.then, "params": {}}}),
                                   ("hs", layer.dropout, {"keep": 1 - layer.dropout, "enable": True})):
            if wanted:
                names = [f"hs{hidden}{letter}" if kind == "hs" else f"{name}_neuron" for name, letter in zip(current, letters)]
                made |= {name: {"type": kind, "inputs": [below], **{key: made[below][key] for key in ("gpu", "outputs")}, **more}
                         for name, below in zip(names, current)}
                current = names
    made["probs"] = {"type": "softmax", "inputs": current, "gpu": 0, "outputs": len(found.classes)}
    made["logprob"] = {"type": "cost.logreg", "inputs": ["labels", "probs"], "gpu": 0, "outputs": 0, "coeff": 1.0, "topk": 1}
    return {name: {"name": name, **one} for name, one in made.items()}


def called(layer, pools, hidden, shape, letters):
    """rnorm1, cnorm2, pool3, fc2048 and then fc2048b, as in the program's files."""
    if isinstance(layer, Pool):
        return f"pool{pools}"
    if isinstance(layer, Dense):
        return f"fc{shape.output[0] // (1 if not layer.units else len(letters))}{'b' * (hidden - 1) if layer.units else ''}"
    number = layer.name.lstrip("abcdefghijklmnopqrstuvwxyz")
    if isinstance(layer, ResponseNorm):
        return f"rnorm{number}"
    return f"cnorm{number}" if isinstance(layer, WithinMapNorm | ContrastNorm) else layer.name


def facts(layer, shape, columns):
    channels, side, _ = shape.input
    outputs = int(np.prod(shape.output)) // columns
    if isinstance(layer, Pool):
        return {"type": "pool", "pool": {"average": "avg"}.get(layer.by, layer.by), "sizeX": layer.kernel, "stride": layer.stride,
                "start": 0, "channels": channels // columns, "imgSize": side, "outputsX": shape.output[1], "outputs": outputs}
    if isinstance(layer, ResponseNorm):
        return {"type": "cmrnorm", "size": layer.size, "scale": layer.alpha, "pow": layer.beta, "minDiv": layer.k,
                "channels": channels // columns, "outputs": outputs}
    if type(layer) in MAPS:
        return {"type": MAPS[type(layer)], "size": layer.size, "scale": layer.alpha, "pow": layer.beta,
                "channels": channels // columns, "outputs": outputs}
    if isinstance(layer, Blur):
        return {"type": "blur", "filterSize": layer.taps, "stdev": layer.std, "channels": channels, "outputs": outputs, "gpu": 0}
    if isinstance(layer, Nails):
        return {"type": "nailbed", "stride": layer.stride, "channels": channels, "outputs": outputs, "gpu": 0}
    if isinstance(layer, Dense):
        return {"type": "fc", "outputs": outputs}
    kind = "conv" if isinstance(layer, Conv) else "local"
    return {"type": kind, "filters": shape.output[0] // columns, "outputs": outputs, "modulesX": shape.output[1],
            "sharedBiases": True}


def weighed(one, found, shape, column, columns, current, sides):
    """A matrix for each input of this column, and its biases."""
    layer = shape.layer
    weight, bias = (found.tensors[f"{layer.name}.{part}"] for part in ("weight", "bias"))
    sees = getattr(layer, "sees", "both")
    one["inputs"] = {"picture": ["data"], "column": [current[min(column, len(current) - 1)]], "both": list(current)}[sees]
    if isinstance(layer, Local):
        one["weights"], one["biases"] = [flat(weight, layer)], np.ascontiguousarray(bias.T).reshape(-1, 1)
    else:
        own = np.split(weight, columns)[column]
        one["weights"] = [flat(part, layer) for part in np.split(own, len(one["inputs"]), axis=1)]
        one["biases"] = np.split(bias, columns)[column].reshape((1, -1) if isinstance(layer, Dense) else (-1, 1))
    shapes, stride = [shape], getattr(layer, "stride", 1)
    if plus := getattr(layer, "plus", ""):
        low, below = sides[plus]
        part = np.split(found.tensors[f"{plus}.weight"], columns)[column]
        one["inputs"], one["weights"] = below + one["inputs"], [flat(part, low.layer)] + one["weights"]
        shapes.insert(0, low)
    if not isinstance(layer, Dense):
        each = [shapes[0]] * (len(shapes) - 1) + [shape] * (len(one["inputs"]) - len(shapes) + 1)
        one |= {"filterSize": [each_.layer.kernel for each_ in each], "padding": [-each_.layer.pad for each_ in each],
                "stride": [getattr(each_.layer, "stride", stride) for each_ in each], "groups": [1] * len(each),
                "randSparse": [False] * len(each), "channels": [one_.shape[0] // each_.layer.kernel**2 for one_, each_ in
                                                                zip(one["weights"], each)]}


def flat(weight, layer):
    """(out, in, k, k) to (in x k x k, out); (out, in) to (in, out), column by column; local kernels place by place."""
    if isinstance(layer, Dense):
        return np.asfortranarray(weight.T)
    if isinstance(layer, Local):
        places, maps, inputs = weight.shape
        return np.ascontiguousarray(weight.transpose(0, 2, 1)).reshape(places * inputs, maps)
    return np.ascontiguousarray(weight.transpose(1, 2, 3, 0)).reshape(-1, len(weight))


def meta(found):
    mean, words = np.ascontiguousarray(enlarged(found), np.float32), ilsvrc.words()
    said = {"batch_size": 1024, "num_vis": mean.size, "data_mean": mean.reshape(-1, 1),
            "label_ids": [id for id, _ in found.classes], "label_names": [words.get(id, name) for id, name in found.classes],
            **{"temperature": 1.0, **judged(found.facts)}}
    if colour := found.facts.get("data", {}).get("colour"):
        said["color_pca"] = tuple(np.array(colour[key], np.float64) for key in ("stdevs", "vectors"))
    return said
