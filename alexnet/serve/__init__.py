"""`alexnet serve`: the trained net as an HTTP service with a page, closed unless told otherwise. It needs the extra [serve]; what
is open, what is limited and how to run it for others stands in docs/serve.md."""

import importlib.util
import ipaddress
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

from alexnet.errors import Misused, Refused
from alexnet.progress import say
from alexnet.serve.settings import Limits, Settings

NEEDS = ("fastapi", "uvicorn", "httptools", "prometheus_client")
LOCAL = ("localhost", "127.0.0.1", "[::1]")
KEY = "ALEXNET_API_KEY"


def serve(
    *,
    model: Annotated[str | None, "a run folder, a weights file or a name that ships (default: default)"] = None,
    index: Annotated[str | None, "an index of alexnet search --build, for nearest pictures"] = None,
    host: Annotated[str, "the address to listen on; others than this machine reach 0.0.0.0"] = "127.0.0.1",
    port: Annotated[int, "0 takes a free one"] = 8000,
    hosts: Annotated[str | None, "names it answers to, with commas (default: this machine's on loopback, else any)"] = None,
    api_key_file: Annotated[str | None, f"a file with the key that clients show (or the variable {KEY})"] = None,
    workers: Annotated[int, "processes, each with a model of its own"] = 1,
    views: Annotated[int, "1, 2, 5, 9 or 10 crops and reflections of each picture, averaged: slower, and errs less"] = 1,
    batch: Annotated[int, "pictures that go through the net together at most"] = 64,
    wait: Annotated[float, "milliseconds that a batch waits for pictures on their way"] = 3.0,
    queue: Annotated[int, "pictures that may wait; more are asked to come again"] = 512,
    max_megabytes: Annotated[float, "of a request"] = 20.0,
    max_megapixels: Annotated[float, "of a picture"] = 100.0,
    seconds: Annotated[float, "from a request to its answer at most"] = 10.0,
    device="auto",
):
    """Listens until SIGINT or SIGTERM, then answers what was accepted, and ends. SIGHUP reads the model again."""
    _installed()
    limits = Limits(bytes=round(max_megabytes * 1e6), pixels=round(max_megapixels * 1e6), waiting=queue, seconds=seconds)
    _positive(workers=workers, batch=batch, queue=queue, max_megabytes=max_megabytes, max_megapixels=max_megapixels,
              seconds=seconds)
    if wait < 0 or not 0 <= port < 65536:
        raise Misused(f"--wait is {wait:g} and --port {port}; they want 0 or more, and a port below 65,536.")
    settings = Settings(model=model, index=index, device=device, key=_key(api_key_file), hosts=_hosts(hosts, host), views=views,
                        batch=batch, wait=wait / 1000, limits=limits)
    run(settings, host=host, port=port, workers=workers)


def run(settings, *, host, port, workers=1):
    """Listens with these settings; the model is loaded and tried before anybody may connect."""
    from uvicorn import Server
    from uvicorn.supervisors import Multiprocess

    from alexnet.serve import listening

    if workers > 1:
        from alexnet.serve import model

        model.load(settings)  # a broken one is refused here, once
        folder = tempfile.mkdtemp(prefix="alexnet-counts-")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        try:
            listener = listening.bound(host, port)
            told(settings, listener)
            Multiprocess(listening.config(partial(_create, settings), settings, workers=workers, factory=True), [listener]).run()
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]
            shutil.rmtree(folder, ignore_errors=True)
        return
    listener = listening.bound(host, port)
    try:
        app = _create(settings)
        told(settings, listener)
        Server(listening.config(app, settings)).run([listener])
    finally:
        listener.close()


def _create(settings):
    from alexnet.serve import app

    return app.create(settings)


def told(settings, listener):
    """Where it answers, and who may come, on stderr."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    say(f"alexnet: http://{shown if host not in ('0.0.0.0', '::') else 'localhost'}:{port}/ (the page), /docs, /metrics")
    if not settings.key and not _loopback(host):
        say(f"alexnet: whoever reaches {shown} may ask: name --api-key-file, or listen on 127.0.0.1.")


def _installed():
    gone = [name for name in NEEDS if not importlib.util.find_spec(name)]
    if gone:
        raise Refused(f"serve needs {' and '.join(gone)}: pip install 'alexnet[serve]'.")


def _positive(**options):
    for name, value in options.items():
        if value <= 0:
            raise Misused(f"--{name.replace('_', '-')} is {value:g}; it wants more than 0.")


def _key(file):
    """The key, never an argument: those are seen by every user of the machine."""
    try:
        key = Path(file).read_text(encoding="utf-8").strip() if file else os.environ.get(KEY, "").strip()
    except (OSError, ValueError) as error:
        raise Refused(f"--api-key-file {file} cannot be read ({error}); name a file with the key as its only line.") from None
    if file and not key:
        raise Refused(f"--api-key-file {file} is empty: write a long random word into it.")
    return key or None


def _hosts(named, host):
    """On loopback only this machine's names, so that no page elsewhere can reach the service under a name of its own."""
    if named:
        return tuple(name.strip().lower() for name in named.split(",") if name.strip())
    return LOCAL + ((host.lower(),) if host not in LOCAL else ()) if _loopback(host) else None


def _loopback(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
