"""What hostile clients send to alexnet serve: no 5xx but honest 503s, no crash, nothing held, and healthy answers in between."""

import asyncio
import base64
import concurrent.futures
import io
import itertools
import json
import os
import random
import signal
import socket
import threading
import time

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.serving import raw, running, settings
from tests.test_picture import damaged
from tests.test_serve import picture_of, png_of
from tests.test_serve_life import Slow, started

pytest.importorskip("fastapi")

from alexnet import classifier  # noqa: E402
from alexnet.serve import decoding, model  # noqa: E402
from alexnet.serve.problems import Problem  # noqa: E402
from alexnet.serve.settings import Limits  # noqa: E402

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) (w) file closefile\nshowpage\n"


@pytest.fixture(scope="module")
def served(run):
    with running(settings(run)) as found:
        yield found


@pytest.fixture(scope="module")
def good(pictures):
    return (pictures / "val" / "cat" / "0001.png").read_bytes()


@pytest.fixture(autouse=True)
def healthy(served, good):
    """After whatever a test did: the same answer as ever, nothing waiting, nothing held."""
    client, service = served
    before = client.post("/v1/predict", content=good).json()
    yield
    assert client.post("/v1/predict", content=good).json() == before and client.get("/readyz").status_code == 200
    assert service.waiting == 0 and service.room.held == 0 and service.model.net.coming == 0 and service.decoder.patient == 0


def honest(found):
    assert found.status_code < 500 or found.status_code == 503, (found.status_code, found.text)
    if found.status_code >= 400:
        told = found.json()
        assert told["status"] == found.status_code and told["detail"].endswith((".", "?")) and "Traceback" not in found.text
    return found.status_code


def test_corrupt_pictures_are_refused_and_say_why(served):
    client, _ = served
    whole = {f"photo.{kind}": picture_of(160, 120, kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF")}
    draw = random.Random(0)
    for name, data in whole.items():
        for _ in range(12):
            hurt = bytearray(data[: draw.randrange(1, len(data))] if draw.random() < 0.4 else data)
            for _ in range(draw.randrange(1, 20)):
                hurt[draw.randrange(len(hurt))] = draw.randrange(256)
            assert honest(client.post(f"/v1/predict?name={name}", content=bytes(hurt))) in (200, 400, 413, 422)


def test_the_damaged_pictures_of_prepare_are_refused(served):
    client, _ = served
    refused = 0
    for name, data in damaged().items():
        data = data[0] if isinstance(data, tuple) else data
        if isinstance(data, bytes):
            refused += honest(client.post("/v1/predict", params={"name": name[:99]}, content=data)) in (400, 413, 422)
    assert refused >= 5


def test_polyglots_and_programs_are_pictures_or_refused(served, good):
    client, _ = served
    assert client.post("/v1/predict", content=good + b"PK\x03\x04" + b"<script>alert(1)</script>").status_code == 200
    for data in (POSTSCRIPT, b"\xc5\xd0\xd3\xc6" + bytes(26) + POSTSCRIPT, b"%PDF-1.4\n" + good, b"<svg/>",
                 b"GIF89a=1;alert(1)//", b"\x89HDF\r\n\x1a\n" + bytes(99), b"GRIB" + bytes(99), b"MZ" + bytes(99)):
        assert client.post("/v1/predict", content=data).status_code == 400, data[:20]
    answer = client.post("/v1/predict?name=%3Cscript%3E", content=good)
    assert answer.headers["content-type"] == "application/json" and answer.headers["x-content-type-options"] == "nosniff"


def test_bombs_are_defused_before_they_are_decoded(served):
    client, _ = served
    scans = picture_of(2_000, 1_500, progressive=True)
    at = scans.index(b"\xff\xda")
    bombs = [png_of(65_000, 65_000), b"II*\0\x08\0\0\0" + bytes(4_000), b"BM" + bytes(16) + b"\xff\xff\xff\x7f" * 2 + bytes(40),
             scans[:-2] + scans[at : at + 40] * 5_000, b"\xff\xd8\xff" + b"\xe1\x00\x02\xff" * 200_000,
             b"\x89PNG\r\n\x1a\n" + (bytes(4) + b"tEXt" + bytes(4)) * 60_000]
    for bomb in bombs:
        began = time.perf_counter()
        assert honest(client.post("/v1/predict", content=bomb)) in (400, 413, 422)
        assert time.perf_counter() - began < 20


def test_decoders_that_are_ended_are_started_again(served):
    client, service = served
    sound = picture_of(40, 40, "GIF")
    wanted = [client.post("/v1/predict", content=sound).json() for _ in service.decoder.children]
    for child in service.decoder.children:
        os.kill(child.process.pid, signal.SIGKILL)
    time.sleep(0.3)
    assert [client.post("/v1/predict", content=sound).json() for _ in service.decoder.children] == wanted


def test_a_picture_that_ends_its_decoders_is_refused(monkeypatch):
    started = []

    async def start():
        started.append(1)
        return await asyncio.create_subprocess_exec("head", "-c9", stdin=-1, stdout=-1)

    async def main():
        child = decoding.Child()
        monkeypatch.setattr(decoding, "start", start)
        for process in (None, await start()):
            started.clear()
            child.process = process
            with pytest.raises(Problem, match="gave up"):
                await child.ask(bytes(99), 64, None, Limits())
            assert len(started) == 1 and child.process is None

    asyncio.run(main())


def test_malformed_multipart_and_json(served, good):
    client, draw = served[0], random.Random(1)
    form = httpx.Request("POST", "http://x", files={"a": ("cat.png", good), "b": ("é\r\n.png", good)})
    form.read()
    text = json.dumps({"pictures": [{"name": "cat", "data": base64.b64encode(good).decode()}]}).encode()
    for content, kind in ((form.content, form.headers["content-type"]), (text, "application/json")):
        for _ in range(60):
            hurt = bytearray(content)
            for _ in range(draw.randrange(1, 30)):
                place = draw.choice((draw.randrange(200), draw.randrange(len(hurt)), len(hurt) - 1 - draw.randrange(100)))
                if draw.random() < 0.5:
                    hurt[place] = draw.randrange(256)
                else:
                    del hurt[place : place + draw.randrange(1, 40)]
            honest(client.post("/v1/predict", content=bytes(hurt), headers={"Content-Type": kind}))
    for kind in ("multipart/form-data; boundary=" + "x" * 5000, "application/json; charset=utf-7",
                 "multipart/form-data; boundary*=utf-8''a%0d%0ab", "/", ";;;"):
        honest(client.post("/v1/predict", content=good, headers={"Content-Type": kind}))
    for deep in (b"[" * 9_000, b'{"a":' * 4_000, b'{"pictures": [' + b'"\\ud800",' * 60 + b'"x"]}',
                 b"\xff\xfe" * 99, b"1e999999", b"9" * 9_000):
        assert honest(client.post("/v1/predict", content=deep, headers={"Content-Type": "application/json"})) in (400, 413, 422)


def test_odd_names_and_numbers_are_data_too(served, good):
    client, service = served
    text, infer = base64.b64encode(good).decode(), f"/v2/models/{service.model.name}/infer"
    headers = {"Content-Type": "application/json"}
    sent = json.dumps({"pictures": [{"name": "half \ud800", "data": text}, {"name": "half \ud800", "data": "AAAA"}]})
    for address, word in (("/v1/predict", "predictions"), ("/v1/features", "features"), ("/v1/explain", "explanations")):
        found = client.post(address, content=sent, headers=headers)
        assert honest(found) == 200 and [one["path"] for one in found.json()[word]] == ["half \\ud800"] * 2
    asked = {"inputs": [{"name": "pictures", "datatype": "BYTES", "shape": [1], "data": [text]}]}
    for length in ("²", "9" * 5_000, "-1", "+1", ""):
        found = client.post(infer, json=asked, headers={"Inference-Header-Content-Length": length.encode("latin-1")})
        assert honest(found) == 400 and len(found.content) < 1_000, length[:9]
    for name, kind, shape in (("pictures", "BYTES", [10**3_000] * 2), ("pictures", "BYTES", [9] * 9_000),
                              ("squares", "UINT8", [10**3_000, 64, 64, 3])):
        found = client.post(infer, json={"inputs": [{"name": name, "datatype": kind, "shape": shape, "data": []}]})
        assert honest(found) == 413 and len(found.content) < 1_000


def test_odd_heads_and_half_requests(served):
    client, _ = served
    for sent in (b"", b"\r\n" * 50, b"GET", b"GET / HTTP/9.9\r\n\r\n", b"GET \xff HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"POST /v1/predict HTTP/1.1\r\n\r\n", b"GET http://evil/ HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"GET /%ff%fe%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                 b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                 b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                 b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx",
                 b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\nhalf",
                 b"GET /?top=%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % (b"9" * 20_000)):
        found = raw(client, sent, seconds=2)
        assert b"HTTP/1.1 5" not in found, (sent[:40], found[:80])


def test_slow_clients_hold_nobody_up(run, good, monkeypatch):
    from alexnet.serve import listening

    monkeypatch.setattr(listening, "HEAD_SECONDS", 0.5)
    with running(settings(run, limits=Limits(sending=0.6, connections=40))) as (client, service):
        idle = [socket.create_connection((client.base_url.host, client.base_url.port)) for _ in range(30)]
        for place, one in enumerate(idle):
            body_to_come = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
            one.sendall(body_to_come if place % 2 else b"GET / HTTP/1.1\r\nX: ")
        began = time.perf_counter()
        assert client.post("/v1/predict", content=good).status_code == 200
        assert time.perf_counter() - began < 0.5
        time.sleep(1.5)
        gone = 0
        for place, one in enumerate(idle):
            one.settimeout(2)
            told = one.recv(4096)
            gone += told == b"" or b"408" in told
            one.close()
        assert gone == 30 and service.room.held == 0
        monkeypatch.setattr(listening, "HEAD_SECONDS", 20)
        many = [socket.create_connection((client.base_url.host, client.base_url.port)) for _ in range(60)]
        time.sleep(0.3)
        told = [one.recv(200)[:12] for one in many[45:]]
        for one in many:
            one.close()
        assert told == [b"HTTP/1.1 503"] * 15
        time.sleep(0.3)
        assert httpx.get(f"{client.base_url}/healthz").status_code == 200


def test_a_flood_past_the_queue_is_asked_to_come_again(run, good):
    given = settings(run, limits=Limits(waiting=8, seconds=5))
    slow = Slow(classifier.load(run, device="cpu"), 0.05)
    with running(given, loaded=model.Model(slow, given)) as (client, service):
        with concurrent.futures.ThreadPoolExecutor(48) as clients:
            found = list(clients.map(lambda _: client.post("/v1/predict", content=good), range(300)))
        statuses = {one.status_code for one in found}
        assert statuses <= {200, 429, 503} and 200 in statuses and 429 in statuses
        assert all("retry-after" in one.headers for one in found if one.status_code != 200)
        assert service.waiting == 0 and client.post("/v1/predict", content=good).status_code == 200


def test_who_leaves_in_the_middle_leaves_nothing(served, good, capsys):
    client, service = served
    for part, options in itertools.product((0.1, 0.5, 0.999, 1), (b"", b"?top=2")):
        with socket.create_connection((client.base_url.host, client.base_url.port)) as one:
            head = b"POST /v1/predict%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (options, len(good))
            one.sendall(head + good[: int(part * len(good))])
    time.sleep(0.5)
    assert service.room.held == 0 and service.waiting == 0 and "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("options", ["", "?top=2"])
def test_what_nobody_foresaw_is_one_problem_and_one_traceback(served, good, options, monkeypatch, capsys):
    client, service = served
    monkeypatch.setattr(service, "answers", None)
    found = client.post(f"/v1/predict{options}", content=good)
    assert found.status_code == 500 and found.headers["content-type"] == "application/problem+json"
    assert found.json()["detail"].startswith("this was not foreseen") and "no-store" in found.headers["cache-control"]
    time.sleep(0.2)
    assert capsys.readouterr().err.count("TypeError: 'NoneType'") == 1


def test_the_values_of_an_answer_are_limited(run, good):
    files = [("f", (str(i), good)) for i in range(4)]
    with running(settings(run, limits=Limits(values=100_000))) as (client, service):
        for layer, count in service.model.names.items():
            row, = client.post(f"/v1/features?layer={layer}", content=good).json()["features"]
            assert len(row["features"]) == count
        assert client.post("/v1/features?layer=conv1", files=files[:3]).status_code == 200
        found = client.post("/v1/features?layer=conv1", files=files)
        assert honest(found) == 413 and "100,000 at most" in found.json()["detail"]
        assert client.get("/v1/model").json()["limits"]["values"] == 100_000


def test_a_long_answer_has_its_room_and_its_time(run, good, monkeypatch):
    with running(settings(run, limits=Limits(memory=1_000_000))) as (client, service):
        assert client.post("/v1/features?layer=conv1", content=good).status_code == 429 and service.room.held == 0
        assert client.post("/v1/features", content=good).status_code == 200
    with running(settings(run, limits=Limits(seconds=2))) as (client, service):
        monkeypatch.setattr("alexnet.serve.writing.text", lambda value: time.sleep(3) or "{}")
        assert client.post("/v1/features", content=good).status_code == 503 and service.room.held == 0


def test_a_long_answer_is_written_beside_the_others(served, good):
    client, files = served[0], [("f", (str(i), good)) for i in range(32)]
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        began, times = time.perf_counter(), []
        large = beside.submit(client.post, "/v1/features?layer=conv1", files=files)
        while not large.done():
            asked = time.perf_counter()
            assert client.get("/healthz").status_code == 200
            times.append(time.perf_counter() - asked)
        whole = time.perf_counter() - began
    assert large.result().status_code == 200 and max(times) < whole / 3


def test_large_requests_do_not_push_ahead(served, good):
    """While somebody sends sixty-four large photographs at a time, a small question is answered soon."""
    client, stop, large = served[0], threading.Event(), picture_of(3_000, 2_250, quality=60)
    files = [("f", (str(i), large)) for i in range(24)]

    def ask():
        while not stop.is_set():
            honest(httpx.post(f"{client.base_url}/v1/predict", files=files, timeout=60))

    greedy = threading.Thread(target=ask)
    greedy.start()
    try:
        time.sleep(0.5)
        times = []
        for _ in range(20):
            began = time.perf_counter()
            assert client.post("/v1/predict", content=good).status_code == 200
            times.append(time.perf_counter() - began)
    finally:
        stop.set()
        greedy.join()
    assert np.median(times) < 0.5


@pytest.mark.slow
def test_a_client_that_others_wrote_gets_predictions(served, good):
    http = pytest.importorskip("tritonclient.http")
    client, service = served
    other = http.InferenceServerClient(f"{client.base_url.host}:{client.base_url.port}")
    name = service.model.name
    assert other.is_server_live() and other.is_server_ready() and other.is_model_ready(name)
    assert other.get_model_metadata(name)["inputs"][0]["datatype"] == "BYTES"
    wanted = service.model.clf.probabilities(service.model.clf.square(good)[None])[0]
    for binary in (True, False):
        asked = http.InferInput("pictures", [1], "BYTES")
        asked.set_data_from_numpy(np.array([good if binary else base64.b64encode(good)], object), binary_data=binary)
        found = other.infer(name, [asked], outputs=[http.InferRequestedOutput("probabilities", binary_data=binary),
                                                    http.InferRequestedOutput("labels", binary_data=binary)])
        np.testing.assert_array_equal(found.as_numpy("probabilities")[0], wanted)
        first = found.as_numpy("labels")[0][0]
        assert (first.decode() if isinstance(first, bytes) else first) == service.model.clf.classes[int(wanted.argmax())].name
    squares = http.InferInput("squares", [2, 64, 64, 3], "UINT8")
    squares.set_data_from_numpy(np.stack([service.model.clf.square(good)] * 2))
    assert other.infer(name, [squares]).as_numpy("probabilities").shape == (2, 16)
    with pytest.raises(Exception, match="no model"):
        other.infer("nobody", [squares])
    other.close()


@pytest.mark.slow
def test_several_processes_answer_as_one(run, good):
    process, address = started(["--model", str(run), "--device", "cpu", "--workers", "2"])
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                httpx.get(f"{address}/readyz").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.2)
        for _ in range(20):
            assert httpx.post(f"{address}/v1/predict", content=good).status_code == 200
        assert 'alexnet_requests_total{route="/v1/predict",status="200"} 20.0' in httpx.get(f"{address}/metrics").text
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_thousand_cases_of_the_document(served):
    """schemathesis on the OpenAPI document; ALEXNET_CASES says how many of each operation."""
    schemathesis = pytest.importorskip("schemathesis")
    client, _ = served
    schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    cases, seen = int(os.environ.get("ALEXNET_CASES", "130")), 0
    import hypothesis

    for operation in schema.get_all_operations():
        operation = operation.ok()

        @hypothesis.given(operation.as_strategy())
        @hypothesis.settings(max_examples=cases, deadline=None, database=None, derandomize=True,
                             suppress_health_check=list(hypothesis.HealthCheck))
        def one(case):
            nonlocal seen
            seen += 1
            found = case.call(base_url=str(client.base_url))
            assert found.status_code < 500 or found.status_code == 503, (case.method, case.path, found.text[:300])

        one()
    assert seen >= cases * 8


def test_no_picture_is_kept(served, good, tmp_path):
    """Nothing is opened for writing while pictures are answered, in this process."""
    client, opened = served[0], []
    import sys

    on = [True]
    sys.addaudithook(lambda event, args: opened.append(args[0]) if on[0] and event == "open" and isinstance(args[1], str)
                     and set(args[1]) & set("wax+") else None)
    client.post("/v1/predict", files=[("f", ("cat.png", good * 1))] * 4)
    client.post("/v1/predict", content=picture_of(300, 200, "GIF"))
    client.post("/v1/predict", content=io.BytesIO(b"nothing" * 400_000).read())
    Image.open(io.BytesIO(good))
    on[0] = False
    assert [name for name in opened if "cat" in str(name) or str(name).startswith(("/tmp", str(tmp_path)))] == []
