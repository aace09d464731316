"""What every request passes, in and out: the name it came for, the key, whose page sent it; then counts, headers that keep browsers
careful, and one honest sentence for whatever nobody foresaw. Plain ASGI, so that nothing is buffered on the way."""

import hashlib
import hmac
import sys
import time
import traceback

from alexnet.serve.problems import Problem, unforeseen

OPEN = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")  # without a key: they tell nothing else
CLOSED = ("/v1", "/v2", "/metrics", "/openapi.json")
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
          "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=(), interest-cohort=()"),
]


class Guard:
    def __init__(self, app, service):
        self.app, self.service = app, service
        self.key = _digest(service.settings.key) if service.settings.key else None

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, path, started, whole = time.perf_counter(), scope["path"], [], False

        async def out(message):
            nonlocal whole
            whole = message["type"] == "http.response.body" and not message.get("more_body", False)
            if message["type"] == "http.response.start":
                started.append(message["status"])
                present = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *((n, v) for n, v in HEADERS if n not in present)]
                if b"cache-control" not in present:
                    message["headers"].append((b"cache-control", b"no-store"))
                if self.service.draining and b"connection" not in present:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            if problem := self.refused(scope, path):
                await problem.response(path)(scope, receive, out)
            else:
                await self.app(scope, receive, out)
        except Exception:
            if started and not whole:
                raise  # the server tells of it, and ends the connection
            traceback.print_exc(file=sys.stderr)
            if not started:
                await self._told(unforeseen()).response(path)(scope, receive, out)
        finally:
            self.count(scope, started, time.perf_counter() - began)

    def refused(self, scope, path):
        """Why this request goes no further, or None."""
        headers = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, value)
        if not self._known(headers.get(b"host", b"")):
            return self._told(Problem(421, "this service does not answer to this name: start it with --hosts NAME.", reason="host"))
        if not path.startswith(CLOSED) or path in OPEN:
            return None
        if headers.get(b"sec-fetch-site") == b"cross-site":
            return self._told(Problem(403, "pages of other sites may not ask this service.", reason="cross_site"))
        if self.key and not hmac.compare_digest(_digest(_shown(headers)), self.key):
            return self._told(Problem(401, "this service wants its key: Authorization: Bearer KEY, or X-API-Key: KEY.",
                                      reason="key", headers={"WWW-Authenticate": "Bearer"}))
        return None

    def _known(self, host):
        hosts = self.service.settings.hosts
        if hosts is None:
            return True
        name = host.decode("latin-1").lower().rstrip(".")
        name = name[: name.find("]") + 1] if name.startswith("[") else name.partition(":")[0]
        return name in hosts

    def _told(self, problem):
        self.service.counts.refusals.labels(problem.reason).inc()
        return problem

    def count(self, scope, started, seconds):
        route = getattr(scope.get("route"), "path", "other")  # never the path itself: anybody may think up another
        self.service.counts.requests.labels(route, started[0] if started else 499).inc()
        self.service.counts.seconds.labels(route).observe(seconds)


def _shown(headers):
    kind, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return key.strip() if kind.lower() == "bearer" else headers.get(b"x-api-key", b"").decode("latin-1")


def _digest(key):
    """Of one length whatever was sent, so that comparing takes one time."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
