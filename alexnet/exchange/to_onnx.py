"""ONNX out: one graph from a raw picture to probabilities, or the bare net; the card goes along as metadata. OpenVINO's IR is the
same graph in that library's own files. The two can be run here, so that an export can be measured."""

import json
from pathlib import Path

import numpy as np

from alexnet.data.picture import POINTS
from alexnet.errors import Refused
from alexnet.exchange import graph
from alexnet.exchange.backends import OnnxRuntime, OpenVino
from alexnet.rundir import replace_file


def weights_of(found):
    return graph.Weights(found.row, found.tensors, np.asarray(found.mean, np.float32), found.size, len(found.classes),
                         found.facts.get("temperature", 1.0), found.facts.get("resampling") == POINTS)


def model(found, *, tensor=False):
    """The onnx.ModelProto. tensor: centred float32 (B, 3, crop, crop) "batch" to "logits", norms as ONNX's own LRN."""
    from onnx import helper

    made = graph.model(weights_of(found), bare=tensor, raw=not tensor, norm="lrn" if tensor else "band")
    temperature = found.facts.get("temperature", 1.0)
    facts = {"card": found.facts, "classes": found.classes, "input": "centred on the mean of the card" if tensor else
             "uint8 (H, W, 3), RGB, upright", "temperature": temperature}
    helper.set_model_props(made, {key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                                  for key, value in facts.items()})
    return made


def write(found, path, *, tensor=False):
    replace_file(Path(path), model(found, tensor=tensor).SerializeToString())
    return [str(path)]


def write_openvino(found, path, *, tensor=False):
    """NAME.xml and NAME.bin, in float32."""
    if missing := OpenVino.missing():
        raise Refused(f"OpenVINO's files want the library, and {missing}: pip install 'alexnet[exchange]', or export to onnx.")
    import openvino

    path = Path(path).with_suffix(".xml")
    read = openvino.Core().read_model(model(found, tensor=tensor).SerializeToString())
    openvino.save_model(read, str(path), compress_to_fp16=False)
    return [str(path), str(path.with_suffix(".bin"))]


# ---- run ------------------------------------------------------------------------------------------------------------------


def runner(path):
    """f(one input) -> the first output, by the runtime that the file is for."""
    if str(path).endswith(".xml"):
        import openvino

        core = openvino.Core()
        compiled = core.compile_model(core.read_model(str(path)), "CPU", OpenVino.settings("float32", None))
        return lambda given: compiled([given])[0]
    if missing := OnnxRuntime.missing():
        raise Refused(f"{path} cannot be run, as {missing}: pip install 'alexnet[exchange]'.")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), OnnxRuntime.settings(None), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda given: session.run(None, {name: given})[0]
