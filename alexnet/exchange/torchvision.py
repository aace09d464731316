"""torchvision's alexnet: a state dict whose layers are numbered, of the one-column net of 2014. In and out; its pictures are
divided by 255 and by a deviation a colour, ours by one number, so kernels of the first layer are scaled on their way in and never
on the way out: what the exported file wants is said beside it."""

import io

import numpy as np

from alexnet import nets
from alexnet.errors import Refused
from alexnet.exchange.found import Found, beside, classes, judged, layout, whole, widened, widths, write_beside
from alexnet.rundir import replace_file

NAMES = {"conv1": "features.0", "conv2": "features.3", "conv3": "features.6", "conv4": "features.8", "conv5": "features.10",
         "fc6": "classifier.1", "fc7": "classifier.4", "fc8": "classifier.6"}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of all that torchvision ships
ROW = "single_tower"


def read(path, *, classes_file=None, mean=None):
    """A state dict as .pth, .pt, .bin or .safetensors."""
    said = beside(path)
    return of_arrays(arrays(path), path, classes_file=classes_file, mean=mean, said=said)


def of_arrays(given, source, *, classes_file=None, mean=None, said=None, std=None):
    """said: what stands beside a file that we wrote. mean, std: of pictures from 0 to 1, three numbers each."""
    said, given = said or {}, {name.removeprefix("module."): value for name, value in given.items()}
    tensors = {f"{own}.{part}": given.get(f"{theirs}.{part}") for own, theirs in NAMES.items() for part in ("weight", "bias")}
    if absent := [name for name, value in tensors.items() if value is None]:
        layer, _, part = absent[0].partition(".")
        raise Refused(f"{source} is not laid out as torchvision's alexnet: it has no {NAMES[layer]}.{part}; convert takes that "
                      "net's state dict (features.0.weight to classifier.6.bias).")
    if odd := sorted(given.keys() - {f"{theirs}.{part}" for theirs in NAMES.values() for part in ("weight", "bias")}):
        raise Refused(f"{source} has more than torchvision's alexnet: {odd[0]}{' and others' if odd[1:] else ''}.")
    row = said.get("row") or widened(nets.row(ROW), widths(tensors))
    if said:
        middle = said["mean"]
    else:
        middle = 255 * np.array(mean or MEAN, np.float64).reshape(3, 1, 1)
        weight = tensors["conv1.weight"]
        if weight.ndim == 4 and weight.shape[1] == 3:
            scale = 1 / (255 * np.array(std or STD, np.float64) * row.input_scale)
            tensors["conv1.weight"] = (weight * scale.reshape(1, 3, 1, 1)).astype(np.float32)
    outputs = len(tensors["fc8.bias"])
    named = said.get("classes") if said and not classes_file else classes(classes_file, outputs, source)
    found = Found(row, tensors, middle.astype(np.float32), said.get("size", 256), named,
                  {**judged(said), "note": f"converted from {source}, in torchvision's layout"})
    return whole(found, source)


def arrays(path):
    """Name -> float32 array of a PyTorch or safetensors file. Nothing is executed: tensors and plain containers only."""
    import torch

    try:
        if str(path).endswith(".safetensors"):
            from safetensors.torch import load_file

            given = load_file(path)
        else:
            given = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and safetensors each have their own
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise Refused(f"{path} cannot be read as tensors alone, and nothing in it was executed ({reason}); convert takes a state "
                      "dict, as torch.save(net.state_dict(), FILE) writes it.") from None
    given = given.get("state_dict", given) if isinstance(given, dict) else None
    if not isinstance(given, dict) or not all(isinstance(one, torch.Tensor) for one in given.values()):
        raise Refused(f"{path} holds no state dict: names with a tensor each are accepted.")
    return {str(name): value.float().numpy() for name, value in given.items()}


def names(found, to="torchvision"):
    """Our tensors under their names; refused for other layouts."""
    if layout(found.row) != layout(nets.row(ROW)):
        raise Refused(f"{to} has the layout of {ROW} only, and this net is a {found.row.name}: export it to onnx, or to hub, which "
                      "keeps any row.")
    return {f"{NAMES[name.partition('.')[0]]}.{name.partition('.')[2]}": value for name, value in found.tensors.items()}


def write(found, path):
    """.safetensors, or else what torch.save writes; beside it what torchvision's file does not say."""
    import torch

    renamed = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in names(found).items()}
    if str(path).endswith(".safetensors"):
        from safetensors.torch import save

        content = save(renamed, metadata={"format": "pt"})
    else:
        file = io.BytesIO()
        torch.save(renamed, file)
        content = file.getbuffer()
    replace_file(path, content)
    return [str(path), *write_beside(path, found, normalize=normalize(found))]


def normalize(found):
    """What transforms.Normalize wants, behind ToTensor: mean and std of pictures from 0 to 1."""
    colour = found.mean.reshape(3, -1).mean(1, dtype=np.float64) / 255
    return {"mean": colour.tolist(), "std": [1 / (255 * found.row.input_scale)] * 3}
