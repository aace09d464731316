"""The routes of `alexnet serve`: /v1, health, counts, the page and its files. create(settings) is the ASGI application; what the
routes share is in service.py, the Open Inference Protocol in inference.py."""

import asyncio
import json
import signal
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response

import alexnet
from alexnet.errors import Refused
from alexnet.serve import documents, examples, inference, writing
from alexnet.serve.guard import Guard
from alexnet.serve.problems import Problem, invalid, unforeseen
from alexnet.serve.service import Service

PAGE = Path(__file__).parent / "page"
STRAIGHT = ("/v1/predict",)
MANY = 2_000  # classes in an answer from which on it is written in a thread
A_DAY = {"Cache-Control": "private, max-age=86400"}
TOP = Annotated[int, Query(ge=1, le=1_000, description="how many classes of each picture")]
NEAREST = Annotated[int, Query(ge=1, le=100, description="how many neighbours of each picture")]
LAYER = Annotated[str | None, Query(max_length=60, description="the layer; the last hidden one unless named")]
NAME = Annotated[str, Query(max_length=400, description="what a picture sent as bytes is called in the answer")]


def create(settings, *, loaded=None):
    """The application, with its model loaded and tried out."""
    service = Service(settings, loaded=loaded)
    app = FastAPI(title="AlexNet", version=alexnet.__version__, docs_url=None, redoc_url=None, lifespan=_lifespan,
                  description=documents.ABOUT, openapi_tags=documents.TAGS)
    app.state.service = service
    for add in (_predict, _look, _model, inference.routes, _health, _page):
        add(app, service)
    handlers = {kind: _answered_as(problem_of, service) for kind, problem_of in PROBLEMS.items()}
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    app.add_exception_handler(Exception, _answered_as(unforeseen, service))
    return Guard(_straight(app, handlers), service)


def _straight(app, handlers):
    """The application, past the framework where nearly all requests go: it takes as long as the net of a small picture. The
    endpoint is the same; an address with options is read by the framework."""
    routes = {route.path: route for route in app.routes if route.path in STRAIGHT}

    async def serve(scope, receive, send):
        route = routes.get(scope.get("path"))
        if route is None or scope.get("method") != "POST" or scope["query_string"]:
            return await app(scope, receive, send)
        scope["route"], request = route, Request(scope, receive)
        try:
            response = await route.endpoint(request)
        except tuple(handlers) as error:
            kind = next(kind for kind in handlers if isinstance(error, kind))
            response = await handlers[kind](request, error)
        await response(scope, receive, send)

    return serve


@asynccontextmanager
async def _lifespan(app):
    service, loop = app.state.service, asyncio.get_running_loop()
    if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
        loop.add_signal_handler(signal.SIGHUP, lambda: loop.create_task(service.swap()))
    yield
    await service.close()


def _answered_as(problem_of, service):
    async def handler(request, error):
        problem = problem_of(error)
        service.counts.refusals.labels(problem.reason).inc()
        return problem.response(request.url.path)

    return handler


def _http(error):
    sentences = {404: "there is nothing at this address; /docs lists what there is.",
                 405: "this address is not asked in this way; /docs lists how."}
    return Problem(error.status_code, sentences.get(error.status_code, str(error.detail)), headers=error.headers)


PROBLEMS = {  # kind of exception -> the problem that it is
    Problem: lambda problem: problem,
    RequestValidationError: lambda error: invalid(error.errors()),
    Refused: lambda refusal: Problem(422, str(refusal)),
    HTTPException: _http,
    ClientDisconnect: lambda error: Problem(400, "the body broke off: its sender has left.", reason="left"),
}


async def answer(value, *, large=False):
    text = await asyncio.to_thread(json.dumps, value) if large else json.dumps(value)
    return Response(text, media_type="application/json")


def _listed(found, tell):
    """An object a picture, in the order given; one that cannot be read has its reason."""
    return [{"path": name, "error": told.sentence} if isinstance(told, Problem) else tell(name, told) for name, told in found]


# ---- /v1 ---------------------------------------------------------------------------------------------------------------------


def _predict(app, service):
    @app.post("/v1/predict", tags=["pictures"], **documents.PREDICT)
    async def predict(request: Request, top: TOP = 5, name: NAME = "picture"):
        """What is in these pictures: the likeliest classes of each, as `alexnet predict --json` has them."""
        found = await service.answers(request, service.probabilities)

        def all_of_them():
            return {"predictions": _listed(found, lambda name, told: told[0].clf.answer(name, told[1], top))}

        if top * len(found) < MANY:
            return await answer(all_of_them())
        return await answer(await asyncio.to_thread(all_of_them), large=True)

    @app.post("/v1/features", tags=["pictures"], **documents.FEATURES)
    async def features(request: Request, layer: LAYER = None, name: NAME = "picture"):
        """What a layer makes of each picture: a row of numbers, for neighbours, clusters or classes of one's own."""
        used = layer or service.model.last_hidden
        values = service.model.values(used)  # an unknown layer is refused before the body is read

        def write(found):
            each = _listed(found, lambda name, told: {"path": name, "features": told[1]})
            return writing.text({"layer": used, "features": each})

        text = await service.long_answer(request, service.features(used), write, values=values)
        return Response(text, media_type="application/json")

    @app.post("/v1/search", tags=["pictures"], **documents.SEARCH)
    async def search(request: Request, top: NEAREST = 6, name: NAME = "picture"):
        """The pictures of the index that are nearest to each of these, in the last hidden layer."""
        if service.model.index is None:
            raise Problem(404, "this service has no index; start it with --index INDEX.", reason="no_index")
        found = await service.answers(request, service.features())

        def all_of_them():
            return {"results": _listed(found, lambda name, told: {
                "path": name, "neighbours": told[0].neighbours(told[1][None], top)[0]})}

        return await answer(await asyncio.to_thread(all_of_them), large=True)


def _look(app, service):
    @app.post("/v1/explain", tags=["pictures"], **documents.EXPLAIN)
    async def explain(request: Request, index: Annotated[int | None, Query(ge=0, description="a class; the likeliest")] = None,
                      how: Literal["occlusion", "gradient"] = "occlusion", name: NAME = "picture"):
        """Where the net looked: the square that it saw, and the same with what mattered for a class laid over it."""
        if index is not None and index >= len(service.model.clf.classes):
            raise Problem(422, f"index: {index} is no class of this model; it has {len(service.model.clf.classes)}.")
        found = await service.answers(request, service.explained(index=index, how=how))
        return await answer({"explanations": _listed(found, lambda name, told: {**told[1], "path": name})}, large=True)

    @app.get("/v1/index/{position}.png", tags=["model"], responses=documents.PNG)
    async def picture_of_index(position: int):
        """A picture of the index, as the net saw it."""
        index = service.model.index
        if index is None or not 0 <= position < len(index):
            raise Problem(404, "the index has no picture at this position.")
        square = await asyncio.to_thread(index.picture, position)
        if square is None:
            raise Problem(404, "the index keeps no pixels of this picture.")
        return Response(await asyncio.to_thread(examples.png, square), media_type="image/png", headers=A_DAY)


def _model(app, service):
    @app.get("/v1/model", tags=["model"], **documents.MODEL)
    async def model():
        """What answers here: the net, its classes, its measured errors, its licence, and the limits of a request."""
        return await answer(service.model.described)

    @app.get("/v1/kernels.png", tags=["model"], responses=documents.PNG)
    async def kernels():
        """The first layer's kernels, the paper's figure 3 of this model."""
        sheet = await asyncio.to_thread(lambda: service.model.kernels)
        if sheet is None:
            raise Problem(404, "the first layer of this net has no kernels that are pictures.")
        return Response(sheet, media_type="image/png")


def _health(app, service):
    @app.get("/healthz", tags=["health"])
    async def healthz():
        """The process answers."""
        return await answer({"status": "alive"})

    @app.get("/readyz", tags=["health"], responses=documents.BUSY)
    async def readyz():
        """Requests may come: not while it ends, nor while its queue is full."""
        if service.draining or service.waiting >= service.limits.waiting:
            raise Problem(503, "the service is ending." if service.draining else "the queue is full.", reason="not_ready")
        return await answer({"status": "ready", "model": service.model.name})

    @app.get("/metrics", tags=["health"], responses={200: {"content": {"text/plain": {}}}})
    async def metrics():
        """Counts and times, as Prometheus reads them."""
        text, kind = service.counts.text()
        return Response(text, media_type=kind)


# ---- the page ----------------------------------------------------------------------------------------------------------------


def _page(app, service):
    files = {file.name: file for file in PAGE.iterdir() if file.suffix in (".html", ".css", ".js", ".svg", ".webmanifest")}

    def shown(path, name):
        @app.get(path, include_in_schema=False)
        async def file():
            return FileResponse(files[name], headers={"Cache-Control": "no-cache"})

    shown("/", "index.html")
    shown("/docs", "docs.html")
    shown("/favicon.ico", "icon.svg")
    for name in files:  # names from the package, so no path from a request reaches the file system
        shown(f"/page/{name}", name)

    @app.get("/page/examples", include_in_schema=False)
    async def listed():
        return await answer({"examples": await asyncio.to_thread(examples.names)})

    @app.get("/page/examples/{name}.jpg", include_in_schema=False)
    async def example(name: str):
        if name not in await asyncio.to_thread(examples.names):
            raise Problem(404, "there is no such example.")
        return Response(await asyncio.to_thread(examples.jpeg, name), media_type="image/jpeg", headers=A_DAY)
