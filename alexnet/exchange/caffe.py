"""Caffe's .caffemodel, for its two copies of the 2012 network: bvlc_alexnet and CaffeNet, told apart by where the norm stands. Read
and written without Caffe (wire.py). Colours there are blue, green, red: the first kernels are turned round, to the bit."""

import mmap
from pathlib import Path

import numpy as np

from alexnet import nets
from alexnet.errors import Refused
from alexnet.exchange import wire
from alexnet.exchange.found import Found, beside, central, classes, enlarged, judged, layout, whole, widened, widths, write_beside
from alexnet.nets import shapes
from alexnet.nets.layers import Conv, Dense
from alexnet.rundir import replace_file

MEAN = (122.67891434, 116.66876762, 104.00698793)  # RGB: the mean of imagenet_mean.binaryproto, which Caffe's examples use
NAMES = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
KINDS = {4: "Convolution", 14: "InnerProduct", 15: "LRN", 17: "Pooling", 18: "ReLU", 6: "Dropout", 20: "Softmax", 5: "Data"}


def read(path, *, classes_file=None, mean=None, net=None):
    """mean: a .binaryproto or .npy; without one what stands beside the file, else the mean colour."""
    said, given, order = beside(path), {}, []
    with open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if Path(path).stat().st_size else b""
    for name, kind, blobs in layers(content, path):
        order.append((name, kind))
        if blobs:
            given[name] = blobs
    if absent := [name for name in NAMES if len(given.get(name, ())) != 2]:
        raise Refused(f"{path} is no bvlc_alexnet or CaffeNet: its layer {absent[0]} has {len(given.get(absent[0], ()))} arrays "
                      f"where a kernel and a bias belong; with arrays it has {', '.join(given) or 'no layer at all'}.")
    if odd := sorted(given.keys() - set(NAMES)):
        raise Refused(f"{path} has layers with arrays that bvlc_alexnet and CaffeNet do not have: {', '.join(odd)}.")
    tensors = {}
    for name in NAMES:
        kernel, bias = (squeezed(blob, 4 if name.startswith("conv") else 2 - place)
                        for place, blob in enumerate(given[name]))
        tensors |= {f"{name}.weight": kernel, f"{name}.bias": bias.reshape(-1)}
    if tensors["conv1.weight"].ndim == 4:
        tensors["conv1.weight"] = tensors["conv1.weight"][:, ::-1]  # BGR to RGB
    row = said.get("row") or widened(nets.row(net or which(order)), widths(tensors))
    named = said.get("classes") if said and not classes_file else classes(classes_file, len(tensors["fc8.bias"]), path)
    middle = read_mean(mean) if mean else said.get("mean", np.array(MEAN).reshape(3, 1, 1))
    note = f"converted from {Path(path).name} of Caffe"
    if not mean and not said:
        note += "; its mean picture was not given, so its mean colour stands in (--mean imagenet_mean.binaryproto)"
    found = Found(row, tensors, central(middle, row.crop, mean or path), said.get("size", 256), named,
                  {**judged(said), "note": note})
    return whole(found, path)


def layers(content, source):
    """(name, kind, [arrays]) of each layer, whichever of the three forms that Caffe's files have had."""
    for field, kind, value in wire.fields(content, source):
        if kind == wire.LENGTH and field in (2, 100):
            names, blobs_in, where = (({1: "name", 2: "kind"}, 7, value) if field == 100 else ({4: "name", 5: "kind"}, 6, value))
            if field == 2 and (inner := next((v for f, k, v in wire.fields(value, source) if f == 1 and k == wire.LENGTH), None)):
                names, blobs_in, where = {1: "name", 2: "kind"}, 50, inner  # the form of 2013: a layer within a layer
            said, blobs = {"name": "", "kind": ""}, []
            for number, form, part in wire.fields(where, source):
                if number in names:
                    said[names[number]] = str(part, "utf-8", "replace") if form == wire.LENGTH else KINDS.get(part, str(part))
                elif number == blobs_in and form == wire.LENGTH:
                    blobs.append(blob(part, source))
            yield said["name"], said["kind"], blobs


def blob(message, source):
    """A BlobProto: sizes as four numbers or as a shape, values as float32 or float64, packed or one by one."""
    legacy, dims, parts = {}, None, []
    for number, form, value in wire.fields(message, source):
        if number in (1, 2, 3, 4) and form == wire.VARINT:
            legacy[number] = value
        elif number == 7 and form == wire.LENGTH:
            dims = list(_dims(value, source))
        elif number in (5, 8) and form in (wire.LENGTH, wire.FIXED32, wire.FIXED64):
            kind = np.dtype("<f4" if number == 5 else "<f8")
            if len(value) % kind.itemsize:
                raise wire.damaged(source, len(value))
            parts.append(np.frombuffer(value, kind))
    values = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.zeros(0, np.float32)
    dims = dims if dims is not None else [legacy.get(i, 0) for i in (1, 2, 3, 4)]
    if int(np.prod(dims, dtype=object)) != values.size:
        raise Refused(f"{source} is damaged: an array of sizes {dims} holds {values.size:,} values.")
    return values.reshape(dims)


def _dims(message, source):
    for number, form, value in wire.fields(message, source):
        if number == 1 and form == wire.VARINT:
            yield value
        elif number == 1:
            at = 0
            while at < len(value):
                one, at = wire.varint(value, at, source)
                yield one


def squeezed(array, dims):
    """Without the leading ones that old files fill up to four sizes with."""
    while array.ndim > dims and array.shape[0] == 1:
        array = array[0]
    return array


def which(order):
    """CaffeNet has each norm behind its pool."""
    place = {name: i for i, (name, _) in enumerate(order)}
    return "caffenet" if place.get("norm1", 0) > place.get("pool1", 1) else "bvlc"


def read_mean(path):
    """RGB (3, H, W) from a .binaryproto, or from a .npy; both are blue, green, red in the file."""
    try:
        given = np.load(path, allow_pickle=False) if str(path).endswith(".npy") else blob(Path(path).read_bytes(), path)
    except (OSError, ValueError) as error:
        raise Refused(f"the mean {path} cannot be read ({error}); a .binaryproto or a .npy of (3, H, W) is accepted.") from None
    given = squeezed(np.asarray(given), 3)
    if given.size == 3:
        given = given.reshape(3, 1, 1)
    if given.ndim != 3 or len(given) != 3:
        raise Refused(f"the mean {path} is {list(given.shape)}; three maps, blue, green and red, are accepted.")
    return given[::-1]


# ---- out -------------------------------------------------------------------------------------------------------------------


def write(found, path):
    """The layers with arrays and those that tell the two nets apart, in today's form; beside it the mean as Caffe keeps it."""
    name = next((one for one in ("bvlc", "caffenet") if layout(found.row) == layout(nets.row(one))), None)
    if name is None:
        raise Refused(f"Caffe's format here is for bvlc and caffenet, and this net is a {found.row.name}: export it to onnx.")
    content = [wire.chunk(1, "AlexNet" if name == "bvlc" else "CaffeNet")]
    for shape in shapes(found.row, len(found.classes)):
        layer = shape.layer
        kind = {Conv: "Convolution", Dense: "InnerProduct"}.get(type(layer)) or ("LRN" if "norm" in layer.name else "Pooling")
        message = wire.chunk(1, layer.name) + wire.chunk(2, kind)
        for part in ("weight", "bias"):
            if (value := found.tensors.get(f"{layer.name}.{part}")) is not None:
                value = value[:, ::-1] if layer.name == "conv1" and part == "weight" else value
                message += wire.chunk(7, message_of(value))
        content.append(wire.chunk(100, message))
    replace_file(Path(path), b"".join(content))
    mean = Path(path).with_name(Path(path).name + ".mean.binaryproto")
    replace_file(mean, mean_proto(found))
    return [str(path), str(mean), *write_beside(path, found)]


def message_of(value):
    value = np.ascontiguousarray(value, "<f4")
    return wire.chunk(7, wire.chunk(1, wire.packed(value.shape))) + wire.chunk(5, value.tobytes())


def mean_proto(found):
    """(1, 3, size, size), blue first, as Caffe subtracts it before it cuts."""
    wide = enlarged(found)[::-1].astype("<f4")
    legacy = b"".join(wire.number(i, side) for i, side in enumerate((1, *wide.shape), 1))
    return legacy + wire.chunk(5, wide.tobytes())
