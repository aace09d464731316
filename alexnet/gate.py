"""May these weights be used in bfloat16 or int8? Measured, not assumed: the top-1 error of the engine beside that of float32, on a
named split of a named store. int8 is calibrated on training pictures first. The answer stands beside the weights, in
NAME.engines.json, where engines.py reads it; with other tensors it counts no more.

    gate("runs/a", "stores/tiny-imagenet")          -> {"bfloat16": {"difference", "passed", ...}, "int8": {...}}
"""

import json
from pathlib import Path

import numpy as np

from alexnet import cards, engines, processor
from alexnet.data.store import open_split
from alexnet.errors import Misused, Refused, nearest
from alexnet.exchange.backends import UNITS, OnnxRuntime, OpenVino
from alexnet.exchange.graph import PRODUCTS
from alexnet.progress import Progress
from alexnet.rundir import now, replace_file

LIMITS = {"bfloat16": 0.001, "int8": 0.003}  # of top-1 error, over that of float32: 0.1 and 0.3 points
CALIBRATION = 384  # training pictures
SAMPLE = 1 << 20  # values a layer that a range is chosen on
SHARES = np.arange(1.0, 0.28, -0.04)  # of the largest value, where a range may end
BATCH = 64


def gate(model, store, *, precisions=tuple(LIMITS), split="val", backend="auto", threads=None):
    """Measures, writes NAME.engines.json beside the weights, and answers with it: precision -> errors and whether it passed (None
    where this processor cannot tell). The difference is that of top-1 errors; int8 is 384 training pictures' ranges."""
    for precision in precisions:
        if precision not in LIMITS:
            raise Misused(f"there is no gate for {precision!r}: {nearest(precision, LIMITS)}")
    kind = runner(backend)
    part = open_split(store, split)
    with cards.WeightsFile(model) as stored:
        cards.same_classes(stored.card, part, model or "default")
        tensors = stored.arrays()
        weights = engines.weights_of(stored.card, tensors.pop("mean"), tensors)
        path, digest, found = engines.gate_file(stored.path), stored.digest, engines.measured(stored)
    told = {"split": split, "images": len(part), "fingerprint": part.fingerprint, "backend": kind.name,
            "versions": {name: version(name) for name in kind.needs}, "processor": processor.name(),
            "units": sorted(set().union(*UNITS.values()) & processor.flags()), "date": now()}
    plain, answer = top1_error(kind.made(weights, "float32", threads), part, "float32"), {}
    for precision in precisions:
        for more in calibrations(weights, open_split(store, "train"), threads) if precision == "int8" else [{}]:
            running = kind.made(weights, precision, threads, ranges=more.get("ranges"))
            error = top1_error(running, part, precision)
            passed = error - plain <= LIMITS[precision] + 1e-9
            answer[precision] = {"error": error, "float32_error": plain, "difference": error - plain, "passed": passed,
                                 "limit": LIMITS[precision], **told, **more}
            if passed:
                break
        if running.precision == precision:
            found[precision] = answer[precision]
        else:  # nothing was measured but float32 once more
            answer[precision] |= {"passed": None, "note": f"this processor ran {running.precision} in the place of {precision}"}
    write(path, {"weights": digest, "precisions": found})
    return answer


def runner(backend):
    """The backend that would run what passes: OpenVINO, or ONNX Runtime's int8 where it is named."""
    kinds = {kind.name: kind for kind in (OpenVino, OnnxRuntime)}
    if backend not in ("auto", *kinds):
        raise Misused(f"the gate measures {' or '.join(kinds)}, not {backend!r}.")
    kind = kinds.get(backend, OpenVino)
    if missing := kind.missing():
        raise Refused(f"the gate has nothing to measure: {missing}; pip install 'alexnet[exchange]'.")
    return kind


def version(name):
    from importlib.metadata import version

    return version(name)


def write(path, content):
    try:
        replace_file(Path(path), json.dumps(content, indent=1).encode())
    except OSError as error:
        raise Refused(f"{path} cannot be written ({error.strerror}), and without it no engine knows the gate: copy the weights "
                      "to a folder of your own and name the copy.") from error


def batches(part, positions, what):
    with Progress(what, len(positions)) as bar:
        for first in range(0, len(positions), BATCH):
            places = positions[first : first + BATCH]
            yield part.pictures(places), part.labels[places]
            bar.advance(len(places))


def top1_error(running, part, what):
    """As evaluate counts it: every picture once, a tie shared among those that tie."""
    right = 0.0
    for pictures, labels in batches(part, np.arange(len(part)), f"top-1 error in {what}"):
        found = running.run(pictures)[0]
        own = found[np.arange(len(labels)), labels][:, None]
        first = (found > own).sum(1) == 0
        right += float((first / np.maximum((found == own).sum(1), 1)).sum())
    return 1 - right / len(part)


# ---- int8 ------------------------------------------------------------------------------------------------------------------


def calibrations(weights, train, threads):
    """First every product in int8; then those that see the picture stay as they are: processors without VNNI add up their bytes
    in 16 bits, which a picture's large values run over."""
    every = calibrated(weights, train, threads)
    yield every
    first = {layer.name for layer in weights.row.layers if getattr(layer, "sees", "") == "picture"}
    yield every | {"ranges": {name: ends for name, ends in every["ranges"].items() if name not in first}}


def calibrated(weights, train, threads):
    """The range of what each product sees, over pictures spread evenly through the training split."""
    kind = next(kind for kind in (OnnxRuntime, OpenVino) if not kind.missing())
    running = kind.made(weights, "float32", threads, watched=True)
    positions = np.unique(np.linspace(0, len(train) - 1, min(CALIBRATION, len(train))).astype(np.int64))
    products = [layer.name for layer in weights.row.layers if isinstance(layer, PRODUCTS)]
    ends, samples = {name: (0.0, 0.0) for name in products}, {name: [] for name in products}
    for pictures, _ in batches(train, positions, "calibrating int8"):
        for name, value in zip(products, running.run(pictures)[1:], strict=True):
            ends[name] = min(ends[name][0], float(value.min())), max(ends[name][1], float(value.max()))
            samples[name].append(spread(value, SAMPLE * len(pictures) // len(positions)))
    ranges = {name: fitted(np.concatenate(samples[name]), *ends[name]) for name in products}
    return {"ranges": ranges, "calibrated_on": {"split": train.name, "images": len(positions), "fingerprint": train.fingerprint}}


def spread(values, count):
    """So many of the values, from all over; the step is odd, so that it does not fall into step with rows or maps."""
    flat = values.reshape(-1)
    return flat[:: max(1, len(flat) // max(1, count)) | 1].copy()


def fitted(values, least, largest):
    """(least, largest): the range that brings values nearest to their bytes, in the mean of squares. What is never below zero
    is rounded to 255 steps, the rest to 127 each way."""
    end, steps, lowest = max(largest, -least), 255 if least >= 0 else 127, 0 if least >= 0 else -128
    if not end:
        return [0.0, 1.0]

    def miss(share):
        scale = end * share / steps
        rounded = np.rint(values / scale)
        return float(np.square(np.clip(rounded, lowest, steps) * scale - values).mean(dtype=np.float64))

    share = float(min(SHARES, key=miss))
    return [0.0 if least >= 0 else -end * share, end * share]

