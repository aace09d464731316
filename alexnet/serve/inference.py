"""The Open Inference Protocol, version 2, over HTTP, with its binary tensors: clients of KServe, Triton, Seldon and OpenVINO's
server ask here. Input `pictures` (BYTES, an encoded picture each; JSON: base64) or `squares` (UINT8, pixels as the net takes them);
outputs `probabilities`, `labels` (BYTES, the likeliest first) and, when asked for, `features`."""

import asyncio
import json
from typing import NamedTuple

import numpy as np
from fastapi import Request
from starlette.responses import Response

import alexnet
from alexnet.serve import bodies, documents, writing
from alexnet.serve.problems import Problem

LABELS = 5
NUMBERS = 400_000  # commas in a JSON request: pixels may be sent so
LENGTH = "inference-header-content-length"
OUTPUTS = {"probabilities": "FP32", "labels": "BYTES", "features": "FP32"}


class Asked(NamedTuple):
    id: str | None
    given: list  # [Given, ...], or squares as arrays
    outputs: list  # [(name, whether as bytes), ...]


def routes(app, service):
    @app.get("/v2/health/live", tags=["inference"])
    async def live():
        """The process answers."""
        return Response("{}", media_type="application/json")

    @app.get("/v2/health/ready", tags=["inference"], responses=documents.BUSY)
    async def ready():
        """Requests may come."""
        _or_busy(service)
        return Response("{}", media_type="application/json")

    @app.get("/v2", tags=["inference"])
    async def server():
        """What this server is, and which extensions it speaks."""
        return _json({"name": "alexnet", "version": alexnet.__version__, "extensions": ["binary_tensor_data"]})

    versions = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
    for place, start in enumerate(versions):
        more = {"tags": ["inference"], "responses": documents.BUSY | documents.GONE, "include_in_schema": not place}
        _routes_of_model(app, service, start, more)


def _routes_of_model(app, service, start, more):
    @app.get(start, **more)
    async def metadata(request: Request, model: str):
        """Its tensors."""
        return _json(described(_known(service, request)))

    @app.get(f"{start}/ready", **more)
    async def model_ready(request: Request, model: str):
        """Requests for this model may come."""
        _known(service, request)
        _or_busy(service)
        return Response("{}", media_type="application/json")

    @app.post(f"{start}/infer", openapi_extra=documents.INFER, **more)
    async def infer(request: Request, model: str):
        """Probabilities of pictures, or of pixels as the net takes them."""
        loaded = _known(service, request)
        with service.room.of_request() as take:
            body = await bodies.read(request, service.limits, take)
            asked = await asyncio.to_thread(read, body, request.headers.get(LENGTH), loaded, service.limits)
            rows = await _rows(service, asked)
        head, blobs = await asyncio.to_thread(written, rows[0][0], model, asked, rows)
        if not blobs:
            return Response(head, media_type="application/json")
        return Response(head + b"".join(blobs), media_type="application/octet-stream", headers={LENGTH: str(len(head))})


async def _rows(service, asked):
    """[(model, probabilities, features or None), ...]; one picture that cannot be read refuses the request."""
    wanted = {name for name, _ in asked.outputs}

    async def ask(loaded, square, deadline):
        if square.shape != (loaded.size, loaded.size, 3):
            raise Problem(422, f"squares: this model takes {loaded.size} x {loaded.size} x 3.")
        row = await loaded.net.ask(square, deadline)
        return row, await loaded.features().ask(square, deadline) if "features" in wanted else None

    found = await service.answered(asked.given, ask, service.deadline())
    for name, told in found:
        if isinstance(told, Problem):
            raise Problem(told.status, f"{name}: {told.sentence}", reason="picture")
    return [(loaded, *rows) for _, (loaded, rows) in found]


def _known(service, request):
    loaded, place = service.model, request.path_params
    if place["model"] != loaded.name or place.get("version", "1") != "1":
        raise Problem(404, f"there is no model of this name and version here; there is {loaded.name}, version 1.")
    return loaded


def _or_busy(service):
    if service.draining:
        raise Problem(503, "the service is ending.", reason="not_ready")


def described(loaded):
    classes, size = len(loaded.clf.classes), loaded.size
    return {"name": loaded.name, "versions": ["1"], "platform": "alexnet",
            "inputs": [{"name": "pictures", "datatype": "BYTES", "shape": [-1]},
                       {"name": "squares", "datatype": "UINT8", "shape": [-1, size, size, 3]}],
            "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, classes]},
                        {"name": "labels", "datatype": "BYTES", "shape": [-1, min(LABELS, classes)]},
                        {"name": "features", "datatype": "FP32", "shape": [-1, -1]}]}


def _json(value):
    return Response(json.dumps(value), media_type="application/json")


# ---- a request ---------------------------------------------------------------------------------------------------------------


def read(body, length, loaded, limits):
    """The bytes of a request -> Asked."""
    end = len(body) if length is None else bodies.whole_number(length)
    if end is None or end > len(body):
        raise Problem(400, f"Inference-Header-Content-Length is {length[:20]!r}; the body has {len(body):,} bytes.")
    asked, rest = bodies.loads(body[:end], NUMBERS), memoryview(body)[end:]
    inputs = asked.get("inputs") if isinstance(asked, dict) else None
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Problem(422, "inputs: one tensor is wanted, pictures (BYTES) or squares (UINT8).")
    given = _tensor(inputs[0], rest, loaded, limits)
    if not given:
        raise Problem(422, "inputs: the tensor is empty.")
    as_bytes = _parameters(asked).get("binary_data_output") is True
    outputs = asked.get("outputs") or [{"name": "probabilities"}, {"name": "labels"}]
    if not isinstance(outputs, list) or len(outputs) > len(OUTPUTS) or not all(isinstance(one, dict) for one in outputs):
        raise Problem(422, f"outputs: a list of {', '.join(OUTPUTS)} is wanted.")
    for one in outputs:
        if not isinstance(one.get("name"), str) or one["name"] not in OUTPUTS:
            raise Problem(422, f"outputs: {str(one.get('name'))[:40]!r} is none of {', '.join(OUTPUTS)}.")
    return Asked(asked["id"] if isinstance(asked.get("id"), str) else None, given,
                 [(one["name"], _parameters(one).get("binary_data", as_bytes) is True) for one in outputs])


def _parameters(one):
    found = one.get("parameters")
    return found if isinstance(found, dict) else {}


def _tensor(tensor, rest, loaded, limits):
    name, kind, shape = (tensor.get(key) for key in ("name", "datatype", "shape"))
    if (name, kind) not in (("pictures", "BYTES"), ("squares", "UINT8")):
        raise Problem(422, "inputs: the tensor is pictures (BYTES) or squares (UINT8).")
    if not isinstance(shape, list) or not shape or not all(type(side) is int and side >= 0 for side in shape):
        raise Problem(422, f"{name}: its shape is a list of whole numbers.")
    size = _parameters(tensor).get("binary_data_size")
    if size is not None and (type(size) is not int or size != len(rest)):
        raise Problem(400, f"{name}: binary_data_size is {str(size)[:20]}, {len(rest):,} bytes follow the JSON.")
    if name == "squares":
        return _squares(tensor, shape, rest if size is not None else None, loaded, limits)
    count = 1
    for side in shape:
        count = min(count * side, limits.items + 1)
    _allowed(count, limits)
    data = _elements(rest, limits) if size is not None else tensor.get("data")
    if not isinstance(data, list) or len(data) != count:
        raise Problem(422, f"{name}: its data are not the {count} pictures of its shape.")
    if size is not None:
        return [bodies.Given(f"pictures[{i}]", one) for i, one in enumerate(data)]
    if not all(isinstance(one, str) for one in data):
        raise Problem(422, f"{name}: each of its data is a picture as base64.")
    return [bodies.Given(f"pictures[{i}]", bodies.unbase64(one, f"pictures[{i}]")) for i, one in enumerate(data)]


def _allowed(count, limits):
    if count > limits.items:
        raise Problem(413, f"the shape says more pictures than the {limits.items} of a request.", reason="items")


def _elements(rest, limits):
    """BYTES: each element behind its length in four bytes."""
    found, at = [], 0
    while at < len(rest) and len(found) <= limits.items:
        end = at + 4 + int.from_bytes(rest[at : at + 4], "little")
        if end > len(rest):
            raise Problem(400, "pictures: the tensor is cut off.")
        found.append(bytes(rest[at + 4 : end]))
        at = end
    return found


def _squares(tensor, shape, rest, loaded, limits):
    wanted = [loaded.size, loaded.size, 3]
    if len(shape) != 4 or shape[1:] != wanted:
        raise Problem(422, f"squares: its shape is [N, {loaded.size}, {loaded.size}, 3].")
    _allowed(shape[0], limits)
    try:
        if rest is not None:
            whole = np.frombuffer(rest, np.uint8)
        else:
            whole = np.array(tensor.get("data"), np.float64).reshape(-1)
            if not ((whole >= 0) & (whole <= 255) & (whole % 1 == 0)).all():
                raise ValueError
            whole = whole.astype(np.uint8)
        whole = whole.reshape(shape)
    except (ValueError, TypeError, OverflowError):
        raise Problem(422, "squares: its data are not whole numbers from 0 to 255, as many as its shape says.") from None
    return [bodies.Given(f"squares[{i}]", one) for i, one in enumerate(whole)]


# ---- an answer ---------------------------------------------------------------------------------------------------------------


def written(loaded, name, asked, rows):
    """-> (the JSON's bytes, the binary tensors behind it)."""
    many, blobs, outputs = np.stack([row for _, row, _ in rows]), [], []
    for output, as_bytes in asked.outputs:
        if output == "labels":
            value = [[one.name for one in loaded.clf.rank(row, LABELS)] for row in many]
            shape, flat = [len(value), len(value[0])], [label for row in value for label in row]
            blob = b"".join(len(text).to_bytes(4, "little") + text for text in (label.encode() for label in flat))
        else:
            array = many if output == "probabilities" else np.stack([features for _, _, features in rows])
            shape, flat, blob = list(array.shape), None, None
            if as_bytes:
                blob = np.ascontiguousarray(array, "<f4").tobytes()
            else:
                flat = array.reshape(-1)
        told = {"name": output, "datatype": OUTPUTS[output], "shape": shape}
        if as_bytes:
            blobs.append(blob)
            told["parameters"] = {"binary_data_size": len(blob)}
        else:
            told["data"] = flat
        outputs.append(told)
    answer = {"model_name": name, "model_version": "1", "outputs": outputs} | ({"id": asked.id} if asked.id is not None else {})
    return writing.text(answer).encode(), blobs
