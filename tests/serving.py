"""A service as clients meet it: uvicorn on a real socket, in a thread of the tests' own process."""

import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import httpx

from alexnet.serve.settings import Limits, Settings


def settings(model, *, limits=None, **more):
    return replace(Settings(model=str(model), device="cpu", limits=limits or Limits()), **more)


@contextmanager
def running(given, *, loaded=None):
    """-> (httpx client, service)."""
    import uvicorn

    from alexnet.serve import app, listening

    guard = app.create(given, loaded=loaded)
    listener = listening.bound("127.0.0.1", 0)
    server = uvicorn.Server(listening.config(guard, given))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    kept = httpx.Limits(max_keepalive_connections=None, keepalive_expiry=None)  # or one thread closes what another reads
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30, limits=kept) as client:
            client.server = server
            yield client, guard.service
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def raw(client, sent, *, seconds=5.0, close=True):
    """Bytes to the socket -> all that comes back until the other end closes, or the time is over."""
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=seconds) as connection:
        connection.sendall(sent)
        if close:
            connection.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while part := connection.recv(65536):
                found += part
        except (TimeoutError, ConnectionError):
            pass
        return found
