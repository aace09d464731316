"""The ONNX Model Zoo's bvlcalexnet (and caffenet): Caffe's weights in an ONNX graph, convolutions and dense layers in order. The
zoo's graph takes 224 pixels, which leaves its first layer 54 places; the weights were trained at 227, and the row has that."""

import numpy as np

from alexnet import nets
from alexnet.errors import Refused
from alexnet.exchange import caffe
from alexnet.exchange.found import Found, central, classes, whole, widened, widths


def read(path, *, classes_file=None, mean=None, net=None):
    model = opened(path)
    kernels = {one.name: one for one in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    kinds = "".join(node.op_type[0] for node in products)
    if kinds != "CCCCCGGG":
        raise Refused(f"{path} has {kinds.count('C')} convolutions and {kinds.count('G')} dense layers (Gemm); convert takes the "
                      "Model Zoo's bvlcalexnet and caffenet, which have five and three.")
    check(model, products, path)
    tensors = {}
    for name, node in zip(caffe.NAMES, products):
        if len(node.input) < 3 or any(one not in kernels for one in node.input[1:3]):
            raise Refused(f"{path}: {node.op_type} {node.name or node.output[0]} does not keep its kernel and bias as constants.")
        weight, bias = (array(kernels[one], path) for one in node.input[1:3])
        said = attributes(node)
        weight = weight if node.op_type == "Conv" or said.get("transB", 0) else weight.T
        tensors |= {f"{name}.weight": weight, f"{name}.bias": bias.reshape(-1)}
    tensors["conv1.weight"] = tensors["conv1.weight"][:, ::-1]
    row = widened(nets.row(net or which(model)), widths(tensors))
    middle = caffe.read_mean(mean) if mean else np.array(caffe.MEAN).reshape(3, 1, 1)
    note = f"converted from {path}, of the ONNX Model Zoo"
    note += "" if mean else "; centred on the mean colour that Caffe's examples use"
    named = classes(classes_file, len(tensors["fc8.bias"]), path)
    return whole(Found(row, tensors, central(middle, row.crop, mean or path), 256, named, {"note": note}), path)


def opened(path):
    import onnx

    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's own
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise Refused(f"{path} cannot be read as an ONNX model ({reason}); take another copy of it.") from None


def check(model, products, path):
    """What the graph computes is what the row computes, as far as its constants say."""
    for node, (groups, stride, pad) in zip(products, ((1, 4, 0), (2, 1, 2), (1, 1, 1), (2, 1, 1), (2, 1, 1))):
        said = attributes(node)
        found = said.get("group", 1), list(said.get("strides", [1, 1])), list(said.get("pads", [0] * 4))
        if found != (groups, [stride] * 2, [pad] * 4):
            raise Refused(f"{path}: a convolution of its has groups, strides and pads {found}; bvlc_alexnet has "
                          f"{(groups, [stride] * 2, [pad] * 4)}.")
    norms = [attributes(node) for node in model.graph.node if node.op_type == "LRN"]
    right = [said for said in norms if said.get("size") == 5 and np.allclose(
        [said.get("alpha", 1e-4), said.get("beta", 0.75), said.get("bias", 1.0)], [1e-4, 0.75, 1.0])]
    if len(norms) != 2 or len(right) != 2:
        raise Refused(f"{path} has {len(norms)} response norms (LRN), {len(right)} of them with Caffe's constants; bvlc_alexnet "
                      "has two.")


def which(model):
    kinds = [node.op_type for node in model.graph.node]
    return "caffenet" if "LRN" in kinds and kinds.index("LRN") > kinds.index("MaxPool") else "bvlc"


def attributes(node):
    from onnx import helper

    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def array(constant, path):
    from onnx import numpy_helper

    try:
        return np.asarray(numpy_helper.to_array(constant), np.float32)
    except Exception as error:
        raise Refused(f"{path}: its constant {constant.name} cannot be read ({' '.join(str(error).split())[:120]}).") from None
