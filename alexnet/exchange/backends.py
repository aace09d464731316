"""The programs that run a graph on a CPU, each behind the same few names: what it needs, what it can, how an engine is made, kept
and opened again. engines.py chooses among them; the rest of the house knows none of them. Nothing is imported before it is used,
and no setting reaches beyond the engine's own threads."""

import importlib
import importlib.util
import os
import threading

import numpy as np

from alexnet import processor
from alexnet.exchange import graph

PRECISIONS = ("float32", "bfloat16", "int8")
UNITS = {"bfloat16": {"amx_bf16", "avx512_bf16"},  # flags of the processor
         "int8": {"amx_int8", "avx512_vnni", "avx_vnni", "avx2"}}  # avx2's sums may run over: its gate is its own


def room(threads):
    """How many threads: those asked for, OMP_NUM_THREADS, the cores that this process may use; None: the library's own choice."""
    if threads or os.environ.get("OMP_NUM_THREADS", "").isdigit():
        return threads or max(1, int(os.environ["OMP_NUM_THREADS"]))
    allowed = processor.cores()
    return allowed if allowed < os.cpu_count() else None


class Backend:
    """What a backend has to tell of itself before anything is imported."""

    keeps = True

    @classmethod
    def missing(cls):
        """Why it cannot be used, or None."""
        gone = [name for name in cls.needs if not importlib.util.find_spec(name)]
        return f"{' and '.join(gone)} {'is' if len(gone) == 1 else 'are'} not installed" if gone else None

    @classmethod
    def imported(cls):
        return importlib.import_module(cls.needs[0])


class OpenVino(Backend):
    name, needs, precisions, auto = "openvino", ("openvino", "onnx"), PRECISIONS, PRECISIONS

    def __init__(self, model, content=None):
        self.model, self.content = model, content  # content: what the model may still point into
        self.request, self.lock = model.create_infer_request(), threading.Lock()
        hint = model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.precision = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}.get(hint, hint)

    @staticmethod
    def strength():
        slower = "OpenVINO runs here too, in float32 a little slower than ONNX Runtime"
        return "OpenVINO is the fastest with AVX-512" if "avx512f" in processor.flags() else slower

    @staticmethod
    def settings(precision, threads):
        half = precision == "bfloat16" or precision == "int8" and UNITS["bfloat16"] & processor.flags()  # the rest of an int8 net
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
                    "ENABLE_CPU_PINNING": False}  # one stream on all threads; the caller's threads are not tied to cores
        return settings | ({"INFERENCE_NUM_THREADS": room(threads)} if room(threads) else {})

    @classmethod
    def made(cls, weights, precision, threads, *, ranges=None, watched=False, keep=None):
        import openvino

        apart = graph.standing_apart(weights, ranges)
        content = graph.model(weights, ranges=ranges, watched=watched, apart=apart).SerializeToString()
        model = openvino.Core().read_model(content)
        for given in model.get_parameters():
            if given.get_friendly_name() in apart:
                value = openvino.op.Constant(apart[given.get_friendly_name()], shared_memory=True)
                given.output(0).replace(value.output(0))
                model.remove_parameter(given)
        running = openvino.Core().compile_model(model, "CPU", cls.settings(precision, threads))
        if keep:
            keep(lambda path: path.write_bytes(running.export_model().getbuffer()))
        return cls(running, apart)._as(precision)

    @classmethod
    def opened(cls, path, precision, threads, *, ranges=None, weights=None):
        import openvino

        content = openvino.Tensor(np.memmap(path, np.uint8, "r"))
        return cls(openvino.Core().import_model(content, "CPU", cls.settings(precision, threads)), content)._as(precision)

    def _as(self, precision):
        """int8 is float32 where the graph does not say bytes."""
        self.precision = "int8" if precision == "int8" else self.precision
        return self

    def run(self, squares):
        with self.lock:
            return [value.copy() for value in self.request.infer([squares], share_inputs=True, share_outputs=True).values()]


class OnnxRuntime(Backend):
    name, needs, precisions, auto = "onnxruntime", ("onnxruntime", "onnx"), ("float32", "int8"), ("float32",)

    def __init__(self, content, precision, threads, apart):
        import onnxruntime

        settings, self.precision = self.settings(threads), precision
        self.apart = [onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value)) for value in apart.values()]
        settings.add_external_initializers(list(apart), self.apart)
        self.session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
        self.given = self.session.get_inputs()[0].name

    @staticmethod
    def strength():
        return "ONNX Runtime is the fall-back" if "avx512f" in processor.flags() else "ONNX Runtime is the fastest without AVX-512"

    @staticmethod
    def settings(threads):
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3  # errors only
        settings.inter_op_num_threads, settings.intra_op_num_threads = 1, room(threads) or 0
        settings.add_session_config_entry("session.force_spinning_stop", "1")  # decoders and other programs want the cores too
        return settings

    @classmethod
    def made(cls, weights, precision, threads, *, ranges=None, watched=False, keep=None):
        apart = graph.standing_apart(weights, ranges)
        made = graph.model(weights, ranges=ranges, watched=watched, apart=apart)
        content = graph.pointed(made, apart).SerializeToString()
        if keep:  # the graph without what stands apart: a whole one takes longer to read than it takes to make
            keep(lambda path: path.write_bytes(content))
        return cls(content, precision, threads, apart)

    @classmethod
    def opened(cls, path, precision, threads, *, ranges=None, weights=None):
        return cls(path.read_bytes(), precision, threads, graph.standing_apart(weights(), ranges))

    def run(self, squares):
        return self.session.run(None, {self.given: squares})
