"""`alexnet export MODEL OUT --to onnx,openvino,torchvision,hub`: a trained net for other programs. With a store each export is
measured there, by the program it is for where that is here, else read back, beside the net itself."""

import os
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np

from alexnet import cards
from alexnet.errors import Misused, Refused, nearest
from alexnet.exchange import caffe, hub, original_out, to_onnx, torchvision
from alexnet.exchange.found import of_card
from alexnet.progress import Progress

FILES = {"onnx": "model.onnx", "openvino": "model.xml", "torchvision": "alexnet.pth", "hub": "hub", "caffe": "alexnet.caffemodel",
         "original": "1.1"}  # what each is called in a folder
ENDINGS = {"onnx": (".onnx",), "openvino": (".xml",), "torchvision": (".pth", ".pt", ".bin", ".safetensors"),
           "caffe": (".caffemodel",)}
GRAPHS = ("onnx", "openvino")
BATCH = 64


def export(
    model: Annotated[str, "a run folder, a weights file or a name that ships"],
    out: Annotated[str, "the file, or a folder for several"],
    *,
    to: Annotated[str, "onnx, openvino, torchvision, hub, caffe, original; several with commas", "FORMATS"] = "onnx",
    tensor: Annotated[bool, "of onnx and openvino the bare net: centred pictures in, logits out"] = False,
    store: Annotated[str | None, "measure each export on this store, beside the net itself", "STORE"] = None,
    split: Annotated[str, "the split of the store"] = "val",
    upload: Annotated[str | None, "put the hub folder at this name of the Hugging Face hub", "OWNER/REPO"] = None,
):
    """By default one ONNX graph that takes a raw picture, uint8 (H, W, 3), RGB, upright, of any size, and gives probabilities."""
    forms = [one.strip() for one in str(to).split(",") if one.strip()]
    check(forms, tensor=tensor, upload=upload)
    with cards.WeightsFile(model) as stored:
        content, found = stored.path.read_bytes() if "hub" in forms else b"", of_card(stored.card, stored.arrays())
    made = []
    for form, place in zip(forms, places(forms, out)):
        files = written(found, form, place, content=content, tensor=tensor)
        made.append({"format": form, "file": str(place if form != "openvino" else files[0]), "files": files,
                     "bytes": sum(os.path.getsize(file) for file in files), "net": found.row.name, "classes": len(found.classes),
                     **({"tensor": tensor} if form in GRAPHS else {})})
    if store:
        for one in made:
            one["scored"] = scored(model, found, one, store, split, tensor=tensor)
    if upload:
        one = next(one for one in made if one["format"] == "hub")
        one["uploaded"] = hub.upload(one["file"], upload)
    return made


def check(forms, *, tensor, upload):
    for form in forms:
        if form not in FILES:
            raise Misused(f"--to is {form!r}: {nearest(form, FILES)}")
    if not forms or len(set(forms)) < len(forms):
        raise Misused(f"--to wants one format or several with commas, each once: {', '.join(FILES)}.")
    if tensor and not set(forms) & set(GRAPHS):
        raise Misused(f"--tensor is for {' and '.join(GRAPHS)}, which are graphs; --to is {','.join(forms)}.")
    if upload and "hub" not in forms:
        raise Misused("--upload puts a hub folder on the Hugging Face hub: add hub to --to.")


def places(forms, out):
    """OUT itself for one format when it is called like one, or for a hub folder; else a name in the folder OUT for each."""
    out = Path(out)
    if file := next((parent for parent in out.parents if parent.is_file()), None):
        raise Refused(f"{out} cannot be made: {file} is a file and no folder.")
    if len(forms) == 1 and (forms[0] == "hub" or out.suffix.lower() in ENDINGS.get(forms[0], ()) or
                            (forms[0] == "original" and not out.is_dir())):
        if out.parent != Path(""):
            out.parent.mkdir(parents=True, exist_ok=True)
        return [out]
    if out.is_file() or (len(forms) == 1 and out.suffix and not out.is_dir()):
        wanted = f"a file called {' or '.join(ENDINGS.get(forms[0], ()))}, or " if len(forms) == 1 else ""
        raise Misused(f"{out} cannot hold {', '.join(forms)}: name {wanted}a folder.")
    out.mkdir(parents=True, exist_ok=True)
    return [out / FILES[form] for form in forms]


def written(found, form, place, *, content, tensor):
    if form == "hub":
        return hub.write(found, place, content=content)
    if form in GRAPHS:
        return {"onnx": to_onnx.write, "openvino": to_onnx.write_openvino}[form](found, place, tensor=tensor)
    return {"torchvision": torchvision, "caffe": caffe, "original": original_out}[form].write(found, place)


# ---- measured --------------------------------------------------------------------------------------------------------------


def scored(model, found, made, store, split, *, tensor):
    """Errors of the export and of the net itself, picture by picture on the same squares, and how far their answers are apart."""
    import torch

    from alexnet import weights
    from alexnet.data.store import open_split
    from alexnet.evaluate.passes import Member, credit

    part, (net, mean, card) = open_split(store, split), weights.read(model)
    cards.same_classes(card, part, model)
    own = Member.of(net, mean, card, device=torch.device("cpu"))
    other, rights, apart = answering(found, made, tensor=tensor), np.zeros((2, 2)), 0.0
    with Progress(f"measuring {made['format']}", len(part)) as bar:
        for first in range(0, len(part), BATCH):
            chosen = np.arange(first, min(first + BATCH, len(part)))
            squares, labels = part.pictures(chosen), torch.from_numpy(part.labels[chosen])[:, None]
            both = own.probabilities(torch.from_numpy(squares), 1), torch.from_numpy(np.ascontiguousarray(other(squares)))
            for row, answers in zip(rights, both):
                right = answers.gather(1, labels)
                row += [float(credit(answers, right, places).sum()) for places in (1, min(5, answers.shape[1]))]
            apart = max(apart, float((both[0] - both[1]).abs().max()))
            bar.advance(len(chosen))
    own_errors, errors = 1 - rights / max(len(part), 1)
    return {"images": len(part), "split": split, "by": by(made["format"]), "top1_error": errors[0], "top5_error": errors[1],
            "own_top1_error": own_errors[0], "own_top5_error": own_errors[1], "top1_difference": errors[0] - own_errors[0],
            "top5_difference": errors[1] - own_errors[1], "largest_difference": apart}


def by(form):
    return {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}.get(form, "read back by convert")


def answering(found, made, *, tensor):
    """f(uint8 (B, size, size, 3)) -> probabilities (B, classes) of what was written."""
    if made["format"] not in GRAPHS:
        return read_back(made["file"])
    run = to_onnx.runner(made["file"])
    if not tensor:
        return lambda squares: np.concatenate([run(square) for square in squares])
    crop, first, temperature = found.row.crop, (found.size - found.row.crop) // 2, found.facts.get("temperature", 1.0)

    def bare(squares):
        cut = squares[:, first : first + crop, first : first + crop].transpose(0, 3, 1, 2).astype(np.float32) - found.mean
        logits = run(np.ascontiguousarray(cut)) / temperature
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)

    return bare


def read_back(file):
    """The export through convert, as the net that it becomes."""
    import torch

    from alexnet import weights
    from alexnet.convert import convert
    from alexnet.evaluate.passes import Member

    with tempfile.TemporaryDirectory() as folder:
        again = os.path.join(folder, "again.safetensors")
        try:
            convert(file, again)
        except Refused as refusal:
            raise Refused(f"what was written does not come back whole, so it is not to be trusted: {refusal}") from None
        net, mean, card = weights.read(again)
    member = Member.of(net, mean, card, device=torch.device("cpu"))
    return lambda squares: member.probabilities(torch.from_numpy(squares), 1).numpy()
