"""What goes wrong, over HTTP: application/problem+json (RFC 9457), one sentence, the right status, and when to come again."""

import json
from http import HTTPStatus

from starlette.responses import Response

AGAIN = 1  # seconds after which a client may try again


class Problem(Exception):
    def __init__(self, status, sentence, *, headers=None, reason=None, **more):
        """reason: one word, for the counts; more: further members of the object."""
        super().__init__(sentence)
        self.status, self.sentence, self.more = status, sentence, more
        self.reason = reason or HTTPStatus(status).phrase.lower().replace(" ", "_")
        self.headers = dict(headers or {}) | ({"Retry-After": str(AGAIN)} if status in (429, 503) else {})

    def response(self, path=""):
        body = {"type": "about:blank", "title": HTTPStatus(self.status).phrase, "status": self.status, "detail": self.sentence}
        body |= self.more
        if path.startswith("/v2"):
            body["error"] = self.sentence  # where the Open Inference Protocol has it
        return Response(json.dumps(body), self.status, self.headers, "application/problem+json")


def unforeseen(error=None):
    return Problem(500, "this was not foreseen; the service's own log has the details.")


def invalid(errors):
    """What a validator found -> one sentence."""
    first = errors[0]
    where = ".".join(str(part) for part in first.get("loc", ())[1:]) or "the request"
    given = f"; {str(first['input'])[:60]!r} was given" if isinstance(first.get("input"), str | int | float) else ""
    return Problem(422, f"{where}: {first.get('msg', 'is not valid')[:200]}{given}.")
