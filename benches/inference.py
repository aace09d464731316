"""How fast a trained net answers on this machine: our engine beside an ordinary script (eager float32, nn.LocalResponseNorm, the
C library's own malloc), and beside OpenVINO, ONNX Runtime and torch.compile as one would use them by hand on the same net; then
whole processes: `alexnet predict` with nothing kept and with its engine kept, `import alexnet`, `alexnet --help`.

    python -m benches.inference [--rows paper default] [--rounds 7] [--quick]        writes results/inference.json

All variants of a row stand ready at once and take turns, A B C ... A B C ..., each turn repeated for a quarter of a second; medians
of the turns, ratios of the same turn. The ordinary script and torch.compile have processes of their own. int8 here is on ranges
made up for random weights: its speed, nothing about its errors. --quick: the shipped net alone, two turns, nothing written.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from alexnet import cards, engines, nets, processor, rundir
from alexnet.cli import keep_memory
from alexnet.exchange import graph
from alexnet.exchange.backends import UNITS, room
from benches import processes
from benches.record import RESULTS

TURN, PAUSE = 0.25, 0.5  # seconds; in the pause the threads of the one before go to sleep
BATCHES = (64, 1)


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--rows", nargs="+", default=["paper", "default"], help="names of rows; default: the shipped weights")
    words.add_argument("--rounds", type=int, default=7)
    words.add_argument("--processes", type=int, default=5, help="runs of each whole process")
    words.add_argument("--quick", action="store_true")
    words.add_argument("--serve", nargs=3, metavar=("KIND", "ROW", "PRECISION"), help="inside: the other end of a pipe")
    asked = words.parse_args()
    if asked.serve:
        return serve(*asked.serve)
    if asked.quick:
        asked.rows, asked.rounds, asked.processes = ["default"], 2, 2
    keep_memory()
    import torch

    with tempfile.TemporaryDirectory() as folder:
        found = {"command": "python -m benches.inference", "runs": asked.rounds, "turn_seconds": TURN,
                 "processor_flags": sorted(set().union(*UNITS.values()) & processor.flags()),
                 "rows": [row(name, asked, Path(folder)) for name in asked.rows],
                 "processes": cold(asked, Path(folder)), "environment": rundir.environment(torch.device("cpu"))}
    if not asked.quick:
        RESULTS.mkdir(exist_ok=True)
        rundir.replace_file(RESULTS / "inference.json", json.dumps(found, indent=1).encode())
    print(json.dumps(found["processes"], indent=1))


# ---- one network -----------------------------------------------------------------------------------------------------------


def weights_of(name):
    """The shipped weights, or a row with random ones that keep values alive."""
    if name == "default":
        with cards.WeightsFile() as stored:
            tensors = stored.arrays()
            return engines.weights_of(stored.card, tensors.pop("mean"), tensors)
    row, random = nets.row(name), np.random.default_rng(0)
    tensors = {key: random.standard_normal(shape, dtype=np.float32) * np.float32((2 / max(1, np.prod(shape[1:]))) ** 0.5)
               if len(shape) > 1 else np.ones(shape, np.float32) for key, shape in graph.parameters(row).items()}
    return graph.Weights(row, tensors, np.full((3, row.crop, row.crop), 120, np.float32), row.crop * 8 // 7, row.classes)


def ranges_of(weights):
    products = [layer for layer in weights.row.layers if isinstance(layer, graph.PRODUCTS)]
    return {layer.name: (-160.0, 160.0) if getattr(layer, "sees", "") == "picture" else (0.0, 200.0) for layer in products}


def row(name, asked, folder):
    weights = weights_of(name)
    precisions = ["float32"] + ["bfloat16"] * bool(UNITS["bfloat16"] & processor.flags()) + ["int8"]
    variants = [Remote("script", name, "float32"), *(Remote("compile", name, one) for one in precisions if one != "int8")]
    for precision in precisions:
        variants += [Ours(weights, precision), Stock("openvino", weights, precision, folder)]
        variants += [Stock("onnxruntime", weights, precision, folder)] * (precision != "bfloat16")
    lines, random = [], np.random.default_rng(0)
    for batch in BATCHES:
        pictures = random.integers(0, 256, (batch, weights.size, weights.size, 3), dtype=np.uint8)
        first = {}
        for variant in variants:
            first[variant.name] = variant.seconds(pictures)  # also warms it
        taken = {variant.name: [] for variant in variants if first[variant.name] is not None}
        for _ in range(asked.rounds):
            for variant in variants:
                if variant.name in taken:
                    taken[variant.name].append(variant.seconds(pictures))
        lines.append({"batch_size": batch, "variants": [told(v, taken, first) for v in variants], "ratios": ratios(taken)})
        for line in lines[-1]["variants"]:
            took = f"{1e3 * line['median_seconds']:9.2f} ms" if "median_seconds" in line else line["left_out"]
            print(f"{name} batch {batch:2}  {line['name']:24} {took}", flush=True)
        print(json.dumps(lines[-1]["ratios"]), flush=True)
    for variant in variants:
        if isinstance(variant, Remote):
            variant.close()
    return {"row": weights.row.name, "weights": "shipped" if name == "default" else "random; no gate", "batches": lines}


def told(variant, taken, first):
    if variant.name not in taken:
        return {"name": variant.name, "left_out": variant.why}
    each = taken[variant.name]
    return {"name": variant.name, "engine": variant.why, "median_seconds": median(each), "least": min(each), "most": max(each),
            "first_call_seconds": first[variant.name], "seconds_to_build": variant.built}


def ratios(taken):
    """Medians of the ratios of each turn: the ordinary script over ours, and ours over the best that is done by hand."""
    found = {}
    for precision in ("float32", "bfloat16", "int8"):
        if not (ours := taken.get(f"ours {precision}")):
            continue
        for name, each in taken.items():
            if name == "script float32":
                found[f"script over ours {precision}"] = median(a / b for a, b in zip(each, ours))
            elif name.endswith(f" {precision}") and not name.startswith("ours"):
                found[f"ours over {name}"] = median(a / b for a, b in zip(ours, each))
    return found


def repeated(call):
    """Seconds a call, over a turn, after one that does not count."""
    time.sleep(PAUSE)
    call()
    began, calls, took = time.perf_counter(), 0, 0.0
    while took < TURN:
        call()
        calls, took = calls + 1, time.perf_counter() - began
    return took / calls


class Ours:
    """What a command uses: the uint8 pictures go in, probabilities come out."""

    def __init__(self, weights, precision):
        self.name, self.engine, self.built = f"ours {precision}", None, None
        try:
            self.engine = engines.build(weights, precision=precision, ranges=ranges_of(weights) if precision == "int8" else None)
            self.why, self.built = self.engine.name, self.engine.seconds_to_build
        except Exception as error:
            self.why = f"{type(error).__name__}: {error}"

    def seconds(self, pictures):
        return repeated(lambda: self.engine.probabilities(pictures)) if self.engine else None


class Stock:
    """A runtime by hand, with its own settings: ONNX's LRN, centred float pictures in, logits out. int8 as onnxruntime's own
    quantiser makes it."""

    def __init__(self, kind, weights, precision, folder):
        self.name, self.row, began, self.run = f"{kind} {precision}", weights.row, time.perf_counter(), None
        try:
            path = quantised(weights, folder) if precision == "int8" else plain(weights, folder)
            self.run = getattr(self, kind)(path, precision)
            self.why, self.built = "as it comes", time.perf_counter() - began
        except Exception as error:
            self.why = f"{type(error).__name__}: {str(error)[:300]}"

    def openvino(self, path, precision):
        import openvino

        settings = {"INFERENCE_NUM_THREADS": room(None)} if room(None) else {}
        if precision != "int8":
            settings["INFERENCE_PRECISION_HINT"] = "bf16" if precision == "bfloat16" else "f32"
        return openvino.Core().compile_model(str(path), "CPU", settings | {"PERFORMANCE_HINT": "LATENCY"})

    def onnxruntime(self, path, precision):
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = room(None) or 0
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        return lambda batch: session.run(None, {"batch": batch})

    def seconds(self, pictures):
        batch = np.zeros((len(pictures), 3, self.row.crop, self.row.crop), np.float32)
        batch[:] = pictures[:, : self.row.crop, : self.row.crop].transpose(0, 3, 1, 2) - np.float32(120)
        return repeated(lambda: self.run(batch)) if self.run else None


def plain(weights, folder):
    path = folder / f"{weights.row.name}.onnx"
    if not path.exists():
        path.write_bytes(graph.model(weights, bare=True, norm="lrn").SerializeToString())
    return path


def quantised(weights, folder):
    path = folder / f"{weights.row.name}-int8.onnx"
    if not path.exists():
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

        class Reader(CalibrationDataReader):
            def __init__(self, count, shape):
                random = np.random.default_rng(0)
                self.batches = iter([{"batch": random.uniform(-120, 135, shape).astype(np.float32)} for _ in range(count)])

            def get_next(self):
                return next(self.batches, None)

        reader = Reader(4, (1, 3, weights.row.crop, weights.row.crop))
        quantize_static(plain(weights, folder), path, reader, quant_format=QuantFormat.QDQ, per_channel=True)
    return path


# ---- torch, in processes of its own ----------------------------------------------------------------------------------------


class Remote:
    """The ordinary script, or the same net through torch.compile, at the other end of a pipe."""

    def __init__(self, kind, row, precision):
        self.name, self.why, self.built = f"{kind} {precision}", "as it comes", None
        command = [sys.executable, "-m", "benches.inference", "--serve", kind, row, precision]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self, pictures):
        if self.process.poll() is None:
            self.process.stdin.write(f"{len(pictures)}\n")
            self.process.stdin.flush()
            if line := self.process.stdout.readline().strip():
                answer = json.loads(line)
                self.why = answer.get("why", self.why)
                return answer.get("seconds")
        self.why = "its process ended"
        return None

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


def serve(kind, name, precision):
    import torch

    from benches import ordinary

    if kind == "compile":
        keep_memory()
        torch._inductor.config.freezing = True  # before anything is compiled
    if room(None):
        torch.set_num_threads(room(None))
    weights = weights_of(name)
    in_order = {key: weights.tensors[key] for key in graph.parameters(weights.row, weights.classes)}
    net = ordinary.filled(ordinary.net(weights.row, weights.classes, padded=True), in_order).eval()
    if kind == "compile":
        net = net.to(torch.bfloat16 if precision == "bfloat16" else torch.float32, memory_format=torch.channels_last)
        net = torch.compile(net, dynamic=False)
    for line in sys.stdin:
        batch = torch.randn(int(line), 3, weights.row.crop, weights.row.crop) * 60
        if kind == "compile":
            batch = batch.to(torch.bfloat16 if precision == "bfloat16" else torch.float32, memory_format=torch.channels_last)
        try:
            with torch.no_grad():
                print(json.dumps({"seconds": repeated(lambda batch=batch: net(batch))}), flush=True)
        except Exception as error:
            print(json.dumps({"why": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}), flush=True)


# ---- whole processes -------------------------------------------------------------------------------------------------------


def cold(asked, folder):
    """`alexnet predict` and its like, each as a process of its own."""
    models = {"default": "default"} | ({"paper": str(paper_file(folder))} if "paper" in asked.rows else {})
    return processes.table(models, folder, runs=asked.processes)


def paper_file(folder):
    from safetensors.numpy import save_file

    weights = weights_of("paper")
    card = {"format": cards.FORMAT, "net": "paper", "row": weights.row.spec(), "size": weights.size, "crop": weights.row.crop,
            "classes": [[f"c{i:04}", f"class {i}"] for i in range(weights.classes)], "temperature": 1.0, "errors": [], "data": {}}
    save_file({**weights.tensors, "mean": weights.mean}, folder / "paper.safetensors", metadata={"card": json.dumps(card)})
    return folder / "paper.safetensors"


if __name__ == "__main__":
    main()
