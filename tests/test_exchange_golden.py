"""Golden pictures: the store that training reads, evaluate, predict, the service and the raw-picture graph under ONNX Runtime alone
(which gets decoded pixels, upright RGB, and does the rest by itself) see the same in each. The tolerance of each is in its row."""

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import alexnet
from alexnet import weights
from alexnet.data import picture
from alexnet.data.store import open_split
from alexnet.errors import Refused
from alexnet.evaluate.passes import Member
from tests.foreign import made

RANDOM = np.random.default_rng(11)
SIZE = 64


def scene(width, height):
    """Smooth colours with edges in them, as photographs have."""
    across, down = np.meshgrid(np.linspace(0, 7, width), np.linspace(0, 5, height))
    levels = [np.sin(across * 1.3 + i) * np.cos(down + i) + (np.sin(across * down / 3) > 0.6) for i in range(3)]
    return Image.fromarray((np.stack(levels, 2) * 50 + 110).clip(0, 255).astype(np.uint8))


def encoded(image, form="PNG", **settings):
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(scene(90, 140), "JPEG", quality=92, exif=exif)


def transparent():
    image = scene(120, 100).convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 120).astype(np.uint8), (100, 1))))
    return image


GOLDEN = {  # name -> (bytes, how far a probability of the graph may be from predict's)
    "grey": (lambda: encoded(scene(130, 97).convert("L")), 2e-3),
    "cmyk": (lambda: encoded(scene(130, 97).convert("CMYK"), "JPEG", quality=92), 2e-3),
    "alpha": (lambda: encoded(transparent()), 2e-3),
    "palette": (lambda: encoded(scene(130, 97).quantize(40)), 2e-3),
    "16 bit": (lambda: encoded(Image.fromarray((np.asarray(scene(130, 97).convert("L")).astype(np.uint16) << 8) + 77)), 2e-3),
    "turned": (turned, 2e-3),
    "tiny": (lambda: encoded(scene(5, 3)), 2e-3),
    "one pixel": (lambda: encoded(scene(1, 1)), 2e-3),
    "its own size": (lambda: encoded(scene(SIZE, SIZE)), 1e-5),
    "huge": (lambda: encoded(scene(2400, 1900), compress_level=1), 2e-3),
    "huge jpeg": (lambda: encoded(scene(2400, 1900), "JPEG", quality=90), 5e-3),  # decoded at a quarter, in the store as in use
    "panorama": (lambda: encoded(scene(3000, 80), compress_level=1), 2e-3),
    "tower": (lambda: encoded(scene(70, 1500), compress_level=1), 2e-3),
}


@pytest.fixture(scope="module", params=["antialiased", "points"])
def golden(request, tmp_path_factory):
    """(folder of pictures, store of them, model, its raw-picture graph), for both ways to the square."""
    folder = tmp_path_factory.mktemp("golden")
    (folder / "pictures" / "val" / "n0000").mkdir(parents=True)
    for name, (make, _) in GOLDEN.items():
        (folder / "pictures" / "val" / "n0000" / f"{name}.png").write_bytes(make())
    alexnet.prepare(str(folder / "pictures"), str(folder / "store"), size=SIZE, workers=1, resampling=request.param)
    resampling = open_split(folder / "store", "val").resampling
    assert (resampling == picture.POINTS) == (request.param == "points")
    model = made(folder / "model.safetensors", "small64", classes=7, size=SIZE, resampling=resampling)
    graph = alexnet.export(str(model), str(folder / "model.onnx"))[0]["file"]
    return folder, open_split(folder / "store", "val"), model, graph


@pytest.fixture(scope="module")
def client(golden):
    """The service with the same model, on a socket."""
    pytest.importorskip("uvicorn")
    serving = pytest.importorskip("tests.serving")
    with serving.running(serving.settings(golden[2])) as (client, _):
        yield client


def session(graph):
    """ONNX Runtime and nothing of ours."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", GOLDEN)
def test_a_picture_is_the_same_everywhere(name, golden, client):
    folder, split, model, graph = golden
    path, classifier = folder / "pictures" / "val" / "n0000" / f"{name}.png", alexnet.load(model, precision="float32")
    position = next(i for i, one in enumerate(split.names) if one.endswith(f"{name}.png"))
    square = split.pictures([position])
    np.testing.assert_array_equal(square[0], classifier.square(path))  # what training saw is what use sees
    net, mean, card = weights.read(model)
    member = Member(net, mean, card["temperature"], device=torch.device("cpu"))
    evaluated = member.probabilities(torch.from_numpy(square), 1)[0].numpy()
    answer = alexnet.predict(str(path), model=str(model), top=7)[0]["top"]
    served = client.post("/v1/predict?top=7", content=path.read_bytes()).json()["predictions"][0]["top"]
    float32 = classifier.probabilities(square)[0]
    np.testing.assert_allclose(float32, evaluated, atol=1e-5)
    for one in (answer, served):  # in bfloat16 where the processor has it
        np.testing.assert_allclose(in_order(one), evaluated, atol=0.01)
    np.testing.assert_allclose(in_order(served), in_order(answer), atol=1e-5)
    given = np.array(picture.upright(path.read_bytes()))
    raw = session(graph).run(None, {"picture": given})[0]
    assert raw.shape == (1, 7) and raw.dtype == np.float32 and abs(raw.sum() - 1) < 1e-5
    apart = np.abs(raw[0] - evaluated).max()
    print(f"{name}: the graph is {apart:.1e} apart")
    assert apart <= GOLDEN[name][1]
    sure = evaluated[np.argsort(-evaluated)]
    if sure[0] - sure[1] > 2 * GOLDEN[name][1]:
        assert raw[0].argmax() == evaluated.argmax() == answer[0]["index"] == served[0]["index"]


def in_order(ranked):
    return np.array([one["probability"] for one in sorted(ranked, key=lambda one: one["index"])])


@pytest.mark.parametrize("resampling", [None, picture.POINTS])
def test_the_square_of_the_graph_is_ours_to_a_level(resampling):
    """The resizing alone, pixel by pixel: Pillow's step, rounded where it rounds; points alone to the bit."""
    from onnx import TensorProto, helper

    from alexnet.exchange import raw
    from alexnet.exchange.graph import IR, OPSET, _Graph

    made_here = _Graph.__new__(_Graph)
    made_here.nodes, made_here.constants = [], []
    out = raw.square(made_here, "picture", SIZE, points=resampling is not None)
    whole = helper.make_graph(
        made_here.nodes,
        "square",
        [helper.make_tensor_value_info("picture", TensorProto.UINT8, ["H", "W", 3])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        made_here.constants,
    )
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    running = session(model.SerializeToString())
    for width, height in (
        (64, 64),
        (63, 64),
        (130, 97),
        (5, 3),
        (1, 1),
        (1, 9),
        (900, 64),
        (65, 700),
        (257, 256),
        (512, 512),
        (128, 999),
        (384, 400),
        (385, 385),
        (96, 64),
        (64, 40),
    ):
        given = RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = left, top, left + side, top + side
        pillow = np.asarray(
            Image.fromarray(given).resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
        )  # columns first, mostly
        found = running.run(None, {"picture": given})[0][0].transpose(1, 2, 0)
        if resampling:
            far = np.abs(found - picture.square(given, SIZE, resampling).astype(np.float32))
            assert far.max() <= (side > 6 * SIZE) and (far > 0).mean() < 0.03, (width, height, far.max(), (far > 0).mean())
            continue
        for name, square, share in (("Pillow", pillow, 0.4), ("ours", picture.square(given, SIZE), 0.03)):
            far = np.abs(found - square.astype(np.float32))
            if name == "Pillow" or picture.RESAMPLER != "Pillow":
                assert far.max() <= 2 and (far > 0).mean() < share, (name, width, height, far.max(), (far > 0).mean())


@pytest.mark.parametrize("row", ["as_run", "single_tower", "bvlc"])
def test_the_bare_net_has_onnx_s_own_norm(row, tmp_path):
    model = made(tmp_path / "model.safetensors", row, size=240)
    made_here = alexnet.export(str(model), str(tmp_path), to="onnx,openvino", tensor=True)
    net, mean, card = weights.read(model)
    batch = torch.from_numpy(RANDOM.normal(0, 60, (3, 3, card["crop"], card["crop"])).astype(np.float32))
    with torch.inference_mode():
        expected = net(batch).numpy()
    running = session(made_here[0]["file"])
    np.testing.assert_allclose(running.run(None, {"batch": batch.numpy()})[0], expected, atol=1e-5 * max(1, np.abs(expected).max()))
    import onnx

    kinds = [node.op_type for node in onnx.load(made_here[0]["file"]).graph.node]
    assert kinds.count("LRN") == {"as_run": 4, "single_tower": 0, "bvlc": 2}[row]
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(
        made_here[1]["file"], "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    )
    np.testing.assert_allclose(compiled([batch.numpy()])[0], expected, atol=1e-5 * max(1, np.abs(expected).max()))


def test_each_export_is_measured_beside_the_net(run, store, tmp_path, capsys):
    from alexnet.cli import main

    code = main(["export", str(run), str(tmp_path / "one.onnx"), "--store", str(store)])
    said, errors = capsys.readouterr()
    assert code == 0 and said.count("+0.00 points") == 2, said + errors
    evaluated = alexnet.evaluate(str(run), str(store))
    for one in alexnet.export(str(run), str(tmp_path / "out"), to="openvino,hub", store=str(store)):
        found = one["scored"]
        assert found["images"] == 48 and found["top1_difference"] == found["top5_difference"] == 0
        assert found["top1_error"] == evaluated["top1_error"] and found["top5_error"] == evaluated["top5_error"]
        assert found["largest_difference"] < (2e-5 if one["format"] == "openvino" else 1e-12), one
    bare = alexnet.export(str(run), str(tmp_path / "bare.onnx"), tensor=True, store=str(store))[0]
    assert bare["scored"]["largest_difference"] < 2e-5
    with pytest.raises(Refused, match="no word for"):
        alexnet.export(str(made(tmp_path / "bn.safetensors", "small64_batchnorm")), str(tmp_path / "1.1"), to="original")


def test_a_graph_carries_its_card(golden):
    import json

    import onnx

    facts = {one.key: one.value for one in onnx.load(golden[3]).metadata_props}
    assert json.loads(facts["classes"])[1] == ["n0001", "thing 1"] and json.loads(facts["card"])["net"] == "small64~"
    assert facts["input"] == "uint8 (H, W, 3), RGB, upright" and float(facts["temperature"]) == 1.3


def test_no_runtime_is_one_sentence(golden, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr("alexnet.exchange.backends.OpenVino.missing", classmethod(lambda cls: "openvino is not installed"))
    with pytest.raises(Refused, match=r"openvino is not installed: pip install 'alexnet\[exchange\]'"):
        alexnet.export(str(golden[2]), str(tmp_path / "m.xml"), to="openvino")
