"""Run a trained net fast on a CPU, and without torch: OpenVINO or ONNX Runtime, on the graph of exchange/graph.py; else torch.

    made = engine(model)                             the weights that a MODEL means; compiled engines are kept on disk (compiled.py)
    made = build(graph.Weights(row, tensors, mean, size, classes))       any arrays (random ones too): no gate, nothing kept
    made.probabilities(squares)                      uint8 (B, size, size, 3) -> float32 (B, classes)
    made.name, made.why, made.seconds_to_build       "openvino bfloat16", a sentence, a number

Which is fastest was measured (docs/performance.md): OpenVINO where there is AVX-512, for its bfloat16 and int8; ONNX Runtime
where there is none. One model with a batch of any size serves all: a model compiled for 1 or 64 alone was no faster here.
`auto` takes int8 only for weights that passed their gate (gate.py), bfloat16 only where the processor has units for it.
"""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

from alexnet import cards, compiled, nets, processor
from alexnet.by_torch import Torch
from alexnet.errors import Misused, Refused, nearest
from alexnet.exchange import graph
from alexnet.exchange.backends import PRECISIONS, UNITS, OnnxRuntime, OpenVino

BATCH = 64  # pictures that go through at once; more come in parts


def engine(model=None, *, precision="auto", backend="auto", threads=None):
    """The fastest engine for the weights that a MODEL means."""
    with cards.WeightsFile(model) as stored:
        return of(stored, precision=precision, backend=backend, threads=threads)


def of(stored, *, precision="auto", backend="auto", threads=None):
    """The engine of an open cards.WeightsFile: from the disk where one is kept, else made and kept."""
    began, gate = time.perf_counter(), measured(stored)
    card = stored.card
    facts = {"row": card["row"], "classes": len(card["classes"]), "size": card["size"], "temperature": card["temperature"],
             "form": graph.FORM, "processor": processor.name()}

    @cache
    def weights():
        tensors = stored.arrays()
        return weights_of(card, tensors.pop("mean"), tensors)

    def attempt(kind, precision, why):
        ranges = gate[precision]["ranges"] if precision == "int8" else None
        with ThreadPoolExecutor(1) as beside:  # reads all of the weights, while the library is imported
            digest = beside.submit(lambda: stored.digest)
            version = kind.imported().__version__
            name = compiled.key(weights=digest.result(), backend=kind.name, version=version, precision=precision, ranges=ranges,
                                **facts)
        path = compiled.found(name) if kind.keeps else None
        running = path and _opened(kind, path, precision, threads, ranges=ranges, weights=weights)
        if not running:
            running = kind.made(weights(), precision, threads, ranges=ranges, keep=lambda write: compiled.keep(name, write))
        return Engine(running, kind, why, asked=precision, seconds=time.perf_counter() - began)

    return _first(attempt, precision, backend, gate)


def build(weights, *, precision="auto", backend="auto", threads=None, ranges=None):
    """The fastest engine for weights given as arrays. No gate is asked, so auto means bfloat16 or float32, and int8 wants the
    ranges of what each product sees."""
    began = time.perf_counter()
    graph.check(weights)
    if precision == "int8" and not ranges:
        raise Misused("int8 wants ranges: layer -> (least, largest) of what it sees, as gate.py finds them on training pictures.")

    def attempt(kind, precision, why):
        running = kind.made(weights, precision, threads, ranges=ranges)
        return Engine(running, kind, why, asked=precision, seconds=time.perf_counter() - began)

    return _first(attempt, precision, backend, {"int8": {"passed": True, "backend": backend}} if ranges else {})


def weights_of(card, mean, tensors):
    """A card and its tensors as what graphs are made of."""
    return graph.Weights(nets.from_spec(card["row"]), tensors, np.asarray(mean, np.float32), card["size"], len(card["classes"]),
                         card["temperature"])


def available():
    """(name, usable, why) of each backend, the one that `auto` tries first standing first."""
    found = []
    for kind in _order():
        there = kind.missing() is None
        found.append((kind.name, there, kind.strength() if there else kind.missing()))
    return found


def on_cpu(device="auto"):
    """Whether this device means the processor, without asking torch: auto does where no NVIDIA driver shows itself."""
    if str(device) != "auto":
        return str(device) == "cpu"
    return not (os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/dxg") or os.name == "nt")


class Engine:
    """A compiled network on the CPU. The same picture alone gives the same bits each time."""

    def __init__(self, running, kind, why, *, asked, seconds):
        self.running, self.backend, self.precision, self.why = running, kind.name, running.precision, why
        self.name, self.seconds_to_build = f"{kind.name} {running.precision}", seconds
        if running.precision != asked:
            self.why += f"; this processor runs {running.precision} in the place of {asked}"

    def probabilities(self, squares):
        squares = np.ascontiguousarray(squares)
        parts = [self.running.run(squares[i : i + BATCH])[0] for i in range(0, max(1, len(squares)), BATCH)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


# ---- the choice ------------------------------------------------------------------------------------------------------------


def _order():
    return (OpenVino, OnnxRuntime, Torch) if "avx512f" in processor.flags() else (OnnxRuntime, OpenVino, Torch)


def chosen(precision, gate):
    """[(precision, why), ...] in the order they are tried."""
    if precision == "auto":
        able, found = processor.flags(), [("float32", "this processor has no units for bfloat16")]
        if UNITS["bfloat16"] & able:
            passed = gate.get("bfloat16", {}).get("passed", True)
            found = [("float32", "bfloat16 did not pass its gate on these weights" if not passed else "it is the fall-back")]
            found = [("bfloat16", "this processor has units for bfloat16")] * passed + found
        int8 = gate.get("int8", {})
        if int8.get("passed") and UNITS["int8"] & able and set(int8.get("units", ())) <= able:
            found.insert(0, ("int8", "these weights passed the gate of int8"))
        return found
    if precision not in PRECISIONS:
        raise Misused(f"there is no precision {precision!r}: {nearest(precision, ('auto', *PRECISIONS))}")
    if precision == "int8" and not gate.get("int8", {}).get("passed"):
        failed = "did not pass" if "int8" in gate else "never went through"
        raise Refused(f"int8 is only for weights that passed its gate, and these {failed} it: measure them on a store of their "
                      "classes first, or take bfloat16 or float32.")
    return [(precision, "as asked")]


def _first(attempt, precision, backend, gate):
    """The first pair of precision and backend that works here."""
    kinds = {kind.name: kind for kind in _order()}
    if backend not in ("auto", *kinds):
        raise Misused(f"there is no engine {backend!r}: {nearest(backend, ('auto', *kinds))}")
    refusals = []
    for number, why in chosen(precision, gate):
        ordered = kinds.values() if number == "float32" else sorted(kinds.values(), key=lambda kind: kind is not OpenVino)
        for kind in ordered if backend == "auto" else [kinds[backend]]:
            if number not in (kind.auto if precision == backend == "auto" else kind.precisions):
                continue
            if number == "int8" and gate["int8"]["backend"] not in ("auto", kind.name):
                refusals.append(f"the gate measured {gate['int8']['backend']}, not {kind.name}")
                continue
            if missing := kind.missing():
                refusals.append(missing)
                continue
            try:
                return attempt(kind, number, "; ".join([f"{kind.strength()}; {number}: {why}", *refusals]))
            except Refused:
                raise
            except Exception as error:  # whatever a library throws: the next one may do better
                refusals.append(f"{kind.name} failed ({type(error).__name__}: {' '.join(str(error).split())[:200]})")
    raise Refused(f"no engine runs {precision} here with backend {backend}: {'; '.join(refusals) or 'none can'}; "
                  "pip install 'alexnet[exchange]', or take precision float32 and backend auto.")


# ---- on disk ---------------------------------------------------------------------------------------------------------------


def gate_file(weights_path):
    """NAME.engines.json beside NAME.safetensors: what gate.py measured."""
    return Path(weights_path).with_suffix(".engines.json")


def measured(stored):
    """precision -> what the gate found for these very tensors; nothing where it never ran."""
    try:
        found = json.loads(gate_file(stored.path).read_text())
        return found["precisions"] if found["weights"] == stored.digest else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _opened(kind, path, precision, threads, **more):
    """What was kept, running; None where the library does not want it any more, and then it is made again."""
    try:
        return kind.opened(path, precision, threads, **more)
    except Exception:
        path.unlink(missing_ok=True)
        return None
