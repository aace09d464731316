"""The socket's end of a service: uvicorn with a stricter protocol. A head has to arrive in time and within a size, connections are
counted, and a connection that idles when the service ends may still send what was on its way."""

import socket

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from alexnet.errors import Refused
from alexnet.serve.settings import Limits

HEAD_SECONDS = 10  # for a request's line and headers
LAST = 0.5  # seconds that idle connections stay when the service ends: a request may be on the wire
IDLE = 30  # seconds between requests of a connection


def config(app, settings, *, workers=1, factory=False, seconds=30):
    """seconds: those that requests under way get when the service ends."""
    return uvicorn.Config(
        app, factory=factory, workers=workers, http=protocol(settings.limits), ws="none", lifespan="on", loop="asyncio",
        log_config=None, log_level="error", access_log=False, proxy_headers=False, server_header=False,
        timeout_keep_alive=IDLE, timeout_graceful_shutdown=seconds, backlog=settings.limits.connections)


def bound(host, port):
    """The listening socket, or why there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # with the protocol named, asyncio sends at once
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except (OSError, OverflowError) as error:
        made.close()
        raise Refused(f"{host}, port {port}, cannot be listened on ({getattr(error, 'strerror', None) or error}): "
                      "name another --host or --port.") from None
    made.setblocking(False)
    made.set_inheritable(True)
    return made


def protocol(limits):
    """The class for uvicorn, which makes one a connection and passes it no limits of ours."""
    return Strict if limits == Strict.limits else type("Limited", (Strict,), {"limits": limits})


class Strict(HttpToolsProtocol):
    limits = Limits()

    def connection_made(self, transport):
        super().connection_made(transport)
        self.timer, self.head = None, 0
        if len(self.connections) > self.limits.connections:
            return self._turn_away(b"503 Service Unavailable", b"too many connections", b"retry-after: 1\r\n")
        self._hurry()

    def data_received(self, data):
        if self._in_head():
            self._hurry()
            self.head += len(data)
        super().data_received(data)
        if self.parser is not None and self._in_head() and self.head > self.limits.head:
            self._turn_away(b"431 Request Header Fields Too Large", b"the request's headers are too large")

    def on_headers_complete(self):
        self._stop_timer()
        self.head = 0
        super().on_headers_complete()

    def connection_lost(self, exc):
        self._stop_timer()
        super().connection_lost(exc)

    def shutdown(self):
        """An idle connection gets a moment; whoever asks in it is answered and told to close."""
        self.app.service.draining = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LAST, self._last)
        else:
            self.cycle.keep_alive = False

    def _last(self):
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    def send_400_response(self, msg):
        self._turn_away(b"400 Bad Request", b"this is no HTTP request that can be read")

    def _in_head(self):
        """Is the next thing to come a request's head?"""
        return self.cycle is None or not self.cycle.more_body

    def _hurry(self):
        if self.timer is None:
            self.timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _too_slow(self):
        self.timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:  # an answer is being made: the half request behind it may wait as long
            self._hurry()

    def _stop_timer(self):
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _turn_away(self, status, sentence, *more):
        if not self.transport.is_closing():
            body = b'{"type": "about:blank", "status": %s, "detail": "%s."}' % (status[:3], sentence)
            self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-type: application/problem+json\r\n" + b"".join(more)
                                 + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            self.transport.close()
