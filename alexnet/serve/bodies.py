"""A request's body to the pictures in it: raw bytes, multipart/form-data, or JSON with base64. It is read within a time and a
size, held in memory, never on disk; no address in it is fetched, and a name in it is only given back."""

import asyncio
import binascii
import json
import re
from contextlib import contextmanager
from email.message import Message
from typing import NamedTuple

from alexnet import predictions
from alexnet.serve.problems import Problem

ACCEPTED = "a picture's bytes (image/*), multipart/form-data, or application/json with base64"
STRUCTURE = 10_000  # commas, colons and brackets in a JSON body: base64 has none, and a parser's time goes by them
PART_HEAD = 4_096  # bytes of the headers of a part
DISCARD = 2.0  # seconds in which the rest of a refused body is read, so that the client sees the answer
SHAPE = '{"pictures": ["BASE64", ...]} or {"pictures": [{"name": "cat.jpg", "data": "BASE64"}, ...]}'


class Given(NamedTuple):
    name: str
    data: bytes


class Room:
    """Bytes of bodies that are held at once: counted as they arrive, so that who is slow holds little."""

    def __init__(self, most):
        self.most, self.held = most, 0

    @contextmanager
    def of_request(self):
        mine = 0

        def take(count):
            nonlocal mine
            if self.held + count > self.most:
                raise Problem(429, "too many large requests are under way: try again in a second.", reason="memory")
            self.held, mine = self.held + count, mine + count

        try:
            yield take
        finally:
            self.held -= mine


async def read(request, limits, take):
    """The whole body, or a Problem; take(count) reserves room for what has arrived."""
    if (whole_number(request.headers.get("content-length", "")) or 0) > limits.bytes:
        if request.headers.get("expect", "").lower() != "100-continue":
            await discard(request)
        raise too_large(limits)
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.sending):
            async for part in request.stream():
                size += len(part)
                if size > limits.bytes:
                    break
                take(len(part))
                parts.append(part)
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {limits.sending:g} seconds.", headers={"Connection": "close"}) from None
    if size > limits.bytes:
        parts.clear()
        await discard(request)
        raise too_large(limits)
    return b"".join(parts)


def whole_number(text):
    """What a header says in at most 18 plain digits, or None."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def too_large(limits):
    return Problem(413, f"the body is larger than the {limits.bytes:,} bytes that are read.", headers={"Connection": "close"},
                   reason="bytes")


async def discard(request):
    """A connection that is closed while its client still sends loses the answer: some more is read, and thrown away."""
    try:
        async with asyncio.timeout(DISCARD):
            async for _ in request.stream():
                pass
    except Exception:
        pass


async def pictures(request, limits, take):
    """[Given, ...] of the request, at least one."""
    body, kind = await read(request, limits, take), request.headers.get("content-type", "")
    work = (body, kind, limits, request.query_params.get("name", "picture"))
    found = split(*work) if len(body) < 1 << 18 else await asyncio.to_thread(split, *work)
    if not found:
        raise Problem(422, f"there is no picture in the request: {ACCEPTED} is accepted.")
    if len(found) > limits.items:
        raise Problem(413, f"{len(found)} pictures are more than the {limits.items} of a request.", reason="items")
    return found


def split(body, kind, limits, name):
    kind = kind.strip()
    media = kind.partition(";")[0].strip().lower()
    if media == "multipart/form-data":
        return of_multipart(body, kind, limits)
    if media == "application/json":
        return of_json(body, limits)
    # what curl --data-binary says when nobody tells it otherwise is taken for bytes too: the picture's own header decides
    if media.startswith("image/") or media in ("", "application/octet-stream", "application/x-www-form-urlencoded"):
        if not body:
            raise Problem(422, f"the body is empty: {ACCEPTED} is accepted.")
        return [Given(name, body)]
    raise Problem(415, f"{media[:80]!r} is not read: {ACCEPTED} is accepted.", headers={"Accept": "image/*, application/json"})


# ---- multipart ---------------------------------------------------------------------------------------------------------------


def of_multipart(body, kind, limits):
    """Every part that has a file name or calls itself a picture; other fields are passed over."""
    boundary = _parameters("content-type", kind).get("boundary", "")
    if not re.fullmatch(r"[ -~]{1,70}", boundary):
        raise Problem(400, "the multipart body names no boundary of 1 to 70 plain characters.")
    mark = b"\r\n--" + boundary.encode()
    body = b"\r\n" + body
    if body.count(mark) > 2 * limits.items + 2:
        raise Problem(413, f"the multipart body has more parts than the {limits.items} pictures of a request.", reason="items")
    pieces = body.split(mark)[1:]
    if not pieces or not pieces[-1].startswith(b"--"):
        raise Problem(400, "the multipart body is cut off: its last boundary is missing.")
    found = []
    for piece in pieces[:-1]:
        head, gap, content = piece.partition(b"\r\n\r\n")
        if not gap or len(head) > PART_HEAD or head.strip(b" \t")[:2] != b"\r\n":
            raise Problem(400, "a part of the multipart body has no headers that can be read.")
        headers = dict(line.split(b":", 1) for line in head.split(b"\r\n") if b":" in line)
        headers = {name.strip().lower(): value.decode("utf-8", "replace").strip() for name, value in headers.items()}
        told = _parameters("content-disposition", headers.get(b"content-disposition", ""))
        if "filename" in told or headers.get(b"content-type", "").startswith("image/"):
            found.append(Given(told.get("filename") or told.get("name") or "picture", content))
    return found


def _parameters(header, value):
    """The parameters behind a header's value, as text."""
    message = Message()
    message[header] = value.replace("\r", " ").replace("\n", " ")
    found = message.get_params(failobj=[], header=header)[1:]
    return {name.lower(): text if isinstance(text, str) else text[2] for name, text in found}  # RFC 2231 gives triples


# ---- JSON --------------------------------------------------------------------------------------------------------------------


def loads(body, structure=STRUCTURE):
    """The object of a JSON body; one that is all structure is refused before it costs a parser's time."""
    if sum(body.count(mark) for mark in b",:[{") > structure:
        raise Problem(413, f"the JSON has more than {structure:,} commas, colons and brackets.", reason="structure")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON ({str(error)[:80]}).") from None


def of_json(body, limits):
    asked = loads(body)
    many = asked.get("pictures") if isinstance(asked, dict) else None
    if not isinstance(many, list):
        raise Problem(422, f"the JSON is not of the shape {SHAPE}.")
    if len(many) > limits.items:
        raise Problem(413, f"{len(many)} pictures are more than the {limits.items} of a request.", reason="items")
    found = []
    for place, one in enumerate(many):
        one = {"data": one} if isinstance(one, str) else one
        if not isinstance(one, dict) or not isinstance(one.get("data"), str) or not isinstance(one.get("name", ""), str):
            raise Problem(422, f"pictures[{place}] is not a picture: the shape is {SHAPE}.")
        name = predictions.as_text(one.get("name") or f"pictures[{place}]")
        found.append(Given(name, unbase64(one["data"], f"pictures[{place}]")))
    return found


def unbase64(text, what):
    """A picture as base64, alone or as a data: URL. No other address is looked at."""
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    elif re.match(r"(?i)[a-z][a-z0-9+.-]*://", text[:64]):
        raise Problem(422, f"{what} is an address: nothing is fetched, send the picture itself as base64.")
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except ValueError as error:
        raise Problem(422, f"{what} is not base64 ({str(error)[:60]}).") from None
