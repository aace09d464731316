"""Every row as an ONNX graph gives what net.py gives, under ONNX Runtime and under OpenVINO; int8 rounds what it says it rounds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from alexnet import nets
from alexnet.errors import Refused
from alexnet.exchange import graph
from alexnet.exchange.graph import Weights, model
from alexnet.net import AlexNet
from alexnet.nets import layers
from tests.test_net import VARIED, small

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def trained(row, seed=1, classes=7, temperature=1.0):
    """(net, Weights): weights that keep values alive through all layers, running statistics that are not 0 and 1."""
    net = AlexNet(row, classes=classes, seed=seed).eval()
    random = torch.Generator().manual_seed(seed)
    for name, value in net.state_dict().items():
        if name.endswith(("weight", "running_var")) and value.dim() < 2:
            value.uniform_(0.5, 2, generator=random)
        elif value.is_floating_point():
            inputs = value[0].numel() if name.endswith("weight") else 1
            value.normal_(0, (1.5 / inputs) ** 0.5, generator=random)
    mean = torch.rand(3, row.crop, row.crop, generator=random) * 200
    tensors = {name: value.numpy() for name, value in net.state_dict().items()}
    return net, Weights(row, tensors, mean.numpy(), row.crop + 5, classes, temperature)


def pictures(weights, count=3):
    """The same whichever rows were tried before."""
    return np.random.default_rng(0).integers(0, 256, (count, weights.size, weights.size, 3), dtype=np.uint8)


def centred(weights, given):
    crop, first = weights.row.crop, (weights.size - weights.row.crop) // 2
    cut = given[:, first : first + crop, first : first + crop].transpose(0, 3, 1, 2)
    return np.ascontiguousarray(cut.astype(np.float32) - weights.mean)


def run(made, given, names=None, *, exactly=False):
    """exactly: operation by operation, as the graph has it."""
    settings = onnxruntime.SessionOptions()
    if exactly:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads, settings.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(made.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    return session.run(names, {session.get_inputs()[0].name: given})


@pytest.mark.parametrize("name", [*nets.ROWS, *VARIED])
def test_every_row_is_the_net(name):
    net, weights = trained(small(nets.row(name)), temperature=1.7)
    given = pictures(weights)
    with torch.inference_mode():
        logits = net(torch.from_numpy(centred(weights, given)))
    expected = torch.softmax(logits / 1.7, 1).numpy()
    made = model(weights)
    onnx.checker.check_model(made)
    np.testing.assert_allclose(run(made, given)[0], expected, atol=1e-5)
    bare, scale = model(weights, bare=True), logits.abs().max().item()
    np.testing.assert_allclose(run(bare, centred(weights, given))[0] / scale, logits.numpy() / scale, atol=1e-5)
    openvino = pytest.importorskip("openvino")
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(bare.SerializeToString()), "CPU", settings)
    np.testing.assert_allclose(compiled(centred(weights, given))[0] / scale, logits.numpy() / scale, atol=1e-5)


@pytest.mark.parametrize("name", [*nets.ROWS, *VARIED])
def test_parameters_are_the_modules(name):
    row = small(nets.row(name))
    own = {key: tuple(value.shape) for key, value in AlexNet(row, classes=5, seed=0).state_dict().items()}
    assert graph.parameters(row, 5) == own


def test_what_does_not_fit_the_row_is_refused():
    _, weights = trained(small(nets.row("paper")))
    for change, said in (({"fc7.weight": np.zeros((3, 4), np.float32)}, r"fc7.weight has \[3, 4\]"),
                         ({"conv9.bias": np.zeros(3, np.float32)}, "conv9.bias has .* nothing in the net")):
        with pytest.raises(Refused, match=said):
            model(weights._replace(tensors={**weights.tensors, **change}))


@pytest.mark.parametrize("name", ["paper", "bvlc", "net120", "cifar11_final"])
def test_the_band_is_the_norm_of_onnx(name):
    _, weights = trained(small(nets.row(name)))
    given = pictures(weights)
    np.testing.assert_allclose(run(model(weights), given)[0], run(model(weights, norm="lrn"), given)[0], atol=1e-6)
    assert {"LRN"} == {node.op_type for node in model(weights, norm="lrn").graph.node} & {"LRN"}
    assert "LRN" not in {node.op_type for node in model(weights).graph.node}


def test_watched_is_what_each_product_sees():
    net, weights = trained(small(nets.row("net137")))
    given = pictures(weights)
    names = [layer.name for layer in weights.row.layers if isinstance(layer, graph.PRODUCTS)]
    found = dict(zip(names, run(model(weights, watched=True), given, [graph.sees(name) for name in names])))
    with torch.inference_mode():
        picture = torch.from_numpy(centred(weights, given))
        activations = net.activations(picture)
    expected = {"conv1": picture, "low2": activations["nails"], "conv2": activations["pool1"], "fc6": activations["pool5"],
                "fc7": activations["fc6"]}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value.numpy(), atol=2e-3 * float(value.abs().max()))


def test_weights_that_stand_apart_are_the_same_graph():
    _, weights = trained(small(nets.row("no_crossing")))
    given, apart = pictures(weights), graph.standing_apart(weights)
    whole, cut = model(weights), model(weights, apart=apart)
    assert set(apart) == {"fc6.weight.0", "fc6.weight.1", "fc7.weight.0", "fc7.weight.1", "fc8.weight"}
    assert whole.ByteSize() - cut.ByteSize() > 0.95 * sum(value.nbytes for value in apart.values())
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.add_external_initializers(list(apart), [onnxruntime.OrtValue.ortvalue_from_numpy(one) for one in apart.values()])
    session = onnxruntime.InferenceSession(graph.pointed(cut, apart).SerializeToString(), settings)
    np.testing.assert_array_equal(session.run(None, {"pictures": given})[0], run(whole, given)[0])


def byte(value, least, largest):
    """A range's rounding, by hand."""
    steps, lowest, highest = (255, 0, 255) if least >= 0 else (127, -128, 127)
    scale = np.float32(max(largest, -least) / steps)
    return np.clip(np.rint(value / scale), lowest, highest) * scale


def test_int8_is_the_net_with_rounded_inputs_and_weights():
    row = small(nets.row("as_run"))
    row = replace(row, layers=tuple(layer for layer in row.layers if isinstance(layer, layers.Conv | layers.Pool | layers.Dense)))
    net, weights = trained(row)
    given = torch.from_numpy(centred(weights, pictures(weights)))
    with torch.inference_mode():
        activations = net.activations(given)
    ranges = {"conv1": (-200.0, 255.0), **{name: (0.0, float(activations[below].max()) * 0.9) for name, below in (
        ("conv2", "pool1"), ("conv3", "pool2"), ("conv5", "conv4"), ("fc6", "pool5"), ("fc8", "fc7"))}}
    for name in ranges:
        own = getattr(net, name).weight.data
        scale = own.abs().flatten(1).amax(1).reshape(-1, *[1] * (own.dim() - 1)) / 127
        own.copy_((own / scale).round() * scale)
        getattr(net, name).register_forward_pre_hook(
            lambda module, x, ends=ranges[name]: torch.from_numpy(byte(x[0].numpy(), *ends)).float())
    with torch.inference_mode():  # rounded behind the pools here, before them in the graph
        expected = net(given).numpy()
    made = model(weights, bare=True, ranges=ranges)
    kinds = [node.op_type for node in made.graph.node]
    assert kinds.index("QuantizeLinear", kinds.index("Conv")) < kinds.index("MaxPool")
    found, plain = (run(one, given.numpy(), exactly=True)[0] for one in (made, model(weights, bare=True)))
    scale = np.abs(expected).max()
    assert np.abs(plain - expected).max() > 5e-3 * scale  # rounding is to be seen
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-3)  # a sum that falls on a half may round the other way
