"""`alexnet convert FILE OUT`: another program's weights become a weights file of ours, whole or not at all. A format is a file of
exchange/; here the format is told from the file, and what an outside runtime here makes of the same file is compared."""

import os
import time
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from alexnet import cards
from alexnet.errors import Misused, Refused
from alexnet.exchange import caffe, fetch, hub, original, torchvision, zoo

FORMATS = Literal["torchvision", "caffe", "onnx", "hub", "original"]
ENDINGS = {".caffemodel": "caffe", ".onnx": "onnx", ".pth": "torchvision", ".pt": "torchvision", ".bin": "torchvision",
           ".safetensors": "torchvision"}
TAKES = {"torchvision": ("classes",), "caffe": ("classes", "mean", "net"), "onnx": ("classes", "mean", "net"), "hub": ("classes",),
         "original": ("classes", "meta", "net")}


def convert(
    file: Annotated[str, "a foreign weights file, a folder of one, torchvision, or hf:OWNER/REPO"],
    out: Annotated[str, "the weights file to write"],
    *,
    from_: Annotated[FORMATS | None, "the format, where the file does not tell"] = None,
    classes: Annotated[str | None, "a line a class in the order of the outputs: id, name (of 1,000: ILSVRC's)", "FILE"] = None,
    mean: Annotated[str | None, "of Caffe's files: the mean picture, .binaryproto or .npy", "FILE"] = None,
    meta: Annotated[str | None, "of the 2012 program: its data's batches.meta (mean picture, colours, names)", "FILE"] = None,
    net: Annotated[str | None, "the row of the table that it is (default: told from the file)", "ROW"] = None,
):
    """Torchvision's alexnet, Caffe's bvlc_alexnet and CaffeNet, the ONNX Model Zoo's bvlcalexnet, folders of the Hugging Face hub,
    and checkpoints of the 2012 program, as a weights file that every verb takes. Nothing in a file is executed."""
    began = time.perf_counter()
    if fetch.foreign(file) and not os.path.exists(file):
        form, found = "hub" if file.startswith("hf:") else "torchvision", fetch.source(file)[1](cards.own)
    else:
        form = from_ or told(file)
        found = read(form, file, {"classes": classes, "mean": mean, "meta": meta, "net": net})
    if Path(out).is_dir():
        raise Misused(f"{out} is a folder; name the weights file to write, such as {Path(out) / 'weights.safetensors'}.")
    card = cards.write_found(out, found)
    return {
        "file": str(file), "format": form, "out": str(out), "net": card["net"], "classes": len(card["classes"]),
        "size": card["size"], "crop": card["crop"], "bytes": os.path.getsize(out), "note": card["note"],
        "parameters": sum(int(value.size) for name, value in found.tensors.items() if name.endswith(("weight", "bias"))),
        "parity": parity(form, file, out), "seconds": time.perf_counter() - began}


def told(file):
    """The format of a file or folder, by what it is called and how it begins."""
    path = Path(file)
    if path.is_dir():
        return "hub" if (path / "config.json").is_file() else "original"
    if not path.is_file():
        raise Misused(f"there is no file {str(file)!r}; convert takes a .pth, .safetensors, .caffemodel or .onnx, a hub folder, a "
                      "checkpoint of the 2012 program, torchvision, or hf:OWNER/REPO.")
    if path.suffix.lower() in ENDINGS:
        return ENDINGS[path.suffix.lower()]
    with open(path, "rb") as opened:
        start = opened.read(4)
    if start[:1] in (b"\x80", b"(", b"}") or start == b"PK\3\4":
        return "original"
    raise Refused(f"{file} is of no format that convert knows by its ending or beginning; say which with --from: torchvision, "
                  "caffe, onnx, hub or original.")


def read(form, file, options):
    """exchange's Found; an option that the format has no use for is refused."""
    for name, value in options.items():
        if value is not None and name not in TAKES[form]:
            forms = " and ".join(one for one, names in TAKES.items() if name in names)
            raise Misused(f"--{name} is for {forms}; {file} is of format {form}.")
    given = {name: options[name] for name in TAKES[form] if name != "classes"}
    try:
        if form == "hub":
            return hub.read(file, classes_file=options["classes"], read_own=cards.own)
        if form == "torchvision" and str(file).endswith(".safetensors") and cards.own(file):
            raise Refused(f"{file} is a weights file of ours already: use it as it is.")
        module = {"torchvision": torchvision, "caffe": caffe, "onnx": zoo, "original": original}[form]
        return module.read(file, classes_file=options["classes"], **given)
    except OSError as error:
        raise Refused(f"{file} cannot be read ({error.strerror or error}).") from None


# ---- against the runtime that the file is for ------------------------------------------------------------------------------


def parity(form, file, out):
    """What the file's own runtime answers against what our net does, where such a runtime is here; else why not."""
    if form != "onnx":
        runtime = {"torchvision": "torchvision", "caffe": "Caffe", "hub": "timm", "original": "the 2012 program"}[form]
        return {"compared": False, "why": f"{runtime} is not used here"}
    from alexnet.exchange.backends import OnnxRuntime

    if missing := OnnxRuntime.missing():
        return {"compared": False, "why": missing}
    import torch

    from alexnet import weights
    from alexnet.exchange import to_onnx

    net = weights.read(out)[0]
    model = zoo.opened(file)
    kernels = {one.name for one in model.graph.initializer}
    given = next(one for one in model.graph.input if one.name not in kernels)
    sides = [one.dim_value for one in given.type.tensor_type.shape.dim[2:]]
    if sides != [net.row.crop] * 2:
        return {"compared": False, "why": f"its graph takes {sides[0]} pixels and the row {net.row.crop}, as was trained"}
    batch = np.random.default_rng(0).normal(0, 60, (1, 3, *sides)).astype(np.float32)
    theirs = to_onnx.runner(file)(np.ascontiguousarray(batch[:, ::-1])).reshape(-1)
    with torch.inference_mode():
        logits = net(torch.from_numpy(batch))[0]
    ours = (torch.softmax(logits, 0) if abs(theirs.sum() - 1) < 1e-3 and theirs.min() >= 0 else logits).numpy()
    return {"compared": True, "runtime": "ONNX Runtime", "largest_difference": float(np.abs(ours - theirs).max()),
            "largest_value": float(np.abs(theirs).max())}
