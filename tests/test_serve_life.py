"""alexnet serve in company and at its ends: who rides together, who is asked to come again, models that are swapped, a command that
ends with nothing lost; the Open Inference Protocol; and what a client may do to the wire."""

import asyncio
import base64
import concurrent.futures
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pytest
from PIL import Image

from alexnet import classifier
from tests.serving import raw, running, settings

pytest.importorskip("fastapi")

from alexnet.data import picture  # noqa: E402
from alexnet.serve import batching, bodies, decoding, model  # noqa: E402
from alexnet.serve.problems import Problem  # noqa: E402
from alexnet.serve.settings import Limits  # noqa: E402


@pytest.fixture(scope="module")
def client(run):
    with running(settings(run)) as (found, _):
        yield found


@pytest.fixture(scope="module")
def clf(run):
    return classifier.load(run, device="cpu")


@pytest.fixture(scope="module")
def photographs(pictures):
    return sorted((pictures / "val").rglob("*.png"))


# ---- queues, deadlines, ends -------------------------------------------------------------------------------------------------


class Slow:
    """A model whose net takes its time."""

    def __init__(self, clf, seconds):
        self.clf, self.seconds, self.sizes = clf, seconds, []

    def __getattr__(self, name):
        return getattr(self.clf, name)

    def probabilities(self, squares, views=1):
        time.sleep(self.seconds)
        self.sizes.append(len(squares))
        return self.clf.probabilities(squares, views)


def test_a_full_queue_and_a_deadline_are_said(run, clf, photographs):
    data = photographs[0].read_bytes()
    for seconds, took, wanted in ((8, 0.6, {200, 429}), (0.5, 1.0, {503})):
        given = settings(run, limits=Limits(waiting=4, seconds=seconds))
        slow = Slow(clf, took)
        with running(given, loaded=model.Model(slow, given)) as (client, service):
            with concurrent.futures.ThreadPoolExecutor(12) as clients:
                found = list(clients.map(lambda _: client.post("/v1/predict", content=data), range(12 if 200 in wanted else 2)))
            assert {one.status_code for one in found} == wanted
            assert all(one.headers.get("retry-after") == "1" for one in found if one.status_code != 200)
            assert service.waiting == 0 and service.room.held == 0
            slow.seconds = 0
            time.sleep(took)
            assert client.post("/v1/predict", content=data).status_code == 200  # and it goes on


def test_pictures_ride_together(run, clf, photographs):
    given = settings(run)
    slow = Slow(clf, 0.05)
    with running(given, loaded=model.Model(slow, given)) as (client, _), concurrent.futures.ThreadPoolExecutor(16) as clients:
        list(clients.map(lambda path: client.post("/v1/predict", content=path.read_bytes()).raise_for_status(), photographs))
        assert sum(slow.sizes) == len(photographs) and max(slow.sizes) > 4
        slow.sizes.clear()
        client.post("/v1/predict", content=photographs[0].read_bytes())
        assert slow.sizes == [1]


def test_the_batcher_alone():
    async def main():
        sizes = []

        def run(squares):
            sizes.append(len(squares))
            if squares[0, 0] == 9:
                raise ValueError("broken")
            return squares * 2

        batcher, loop = batching.Batcher(run, most=3, wait=0.2), asyncio.get_running_loop()
        far = loop.time() + 9
        rows = await asyncio.gather(*(batcher.ask(np.array([i]), far) for i in range(7)))
        assert [int(row[0]) for row in rows] == [0, 2, 4, 6, 8, 10, 12] and sizes == [3, 3, 1]
        began = loop.time()
        await batcher.ask(np.array([1]), far)
        assert loop.time() - began < 0.1  # nobody is on the way: no waiting
        batcher.expect(1)
        began, one = loop.time(), asyncio.ensure_future(batcher.ask(np.array([1]), far))
        await asyncio.sleep(0.05)
        assert not one.done()  # somebody is
        batcher.expect(-1)
        await one
        assert loop.time() - began < 0.15
        with pytest.raises(TimeoutError):
            await batcher.ask(np.array([1]), loop.time() - 1)
        with pytest.raises(ValueError):
            await batcher.ask(np.array([9]), far)
        left = asyncio.ensure_future(batcher.ask(np.array([1]), far))
        await asyncio.sleep(0)
        left.cancel()
        assert int((await batcher.ask(np.array([2]), far))[0]) == 4

    asyncio.run(main())


def test_the_model_is_swapped_without_a_dropped_request(run, plain, other, photographs, tmp_path):
    file, data = tmp_path / "model.safetensors", photographs[0].read_bytes()
    file.write_bytes(plain.read_bytes())
    with running(settings(file)) as (client, service):
        before, answers_of, stop = client.post("/v1/predict", content=data).json(), [], threading.Event()

        def ask():
            while not stop.is_set():
                answers_of.append(client.post("/v1/predict", content=data))

        asking = threading.Thread(target=ask)
        asking.start()
        file.write_bytes(b"broken")
        asyncio.run(service.swap())
        assert client.post("/v1/predict", content=data).json() == before  # what cannot be loaded changes nothing
        file.write_bytes(other.read_bytes())
        asyncio.run(service.swap())
        after = client.post("/v1/predict", content=data).json()
        stop.set()
        asking.join()
        assert {one.status_code for one in answers_of} == {200} and answers_of[0].json() == before != after


def test_weights_that_are_replaced_on_disk_change_nothing_before_they_are_read_again(client, plain, other, photographs):
    data = photographs[0].read_bytes()
    with running(settings(plain)) as (its, _):
        os.replace(other, plain)
        for address in ("/v1/features", "/v1/explain?how=gradient"):
            found = its.post(address, content=data)
            assert found.status_code == 200 and found.json() == client.post(address, content=data).json(), found.text[:200]
        assert its.get("/v1/kernels.png").content == client.get("/v1/kernels.png").content


def test_counts_are_there_for_prometheus(client, photographs):
    client.post("/v1/predict", content=photographs[0].read_bytes())
    client.post("/v1/predict", content=b"nothing")
    text = client.get("/metrics").text
    assert 'alexnet_requests_total{route="/v1/predict",status="200"}' in text and "alexnet_batch_pictures_bucket" in text
    assert 'alexnet_refusals_total{reason="unreadable"}' in text and "alexnet_waiting_pictures 0" in text
    client.get("/made/up/by/anybody")
    assert "made" not in client.get("/metrics").text


def started(words, *, seconds=60):
    """The command as a process -> (process, its address)."""
    process = subprocess.Popen([sys.executable, "-m", "alexnet", "serve", "--port", "0", *words], stderr=subprocess.PIPE, text=True,
                               env=os.environ | {"OMP_NUM_THREADS": "1"})
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        line = process.stderr.readline()
        if found := re.search(r"http://\S+?:\d+", line):
            return process, found[0]
        if not line and process.poll() is not None:
            break
    process.kill()
    raise AssertionError("the command did not say where it listens")


def test_the_command_ends_with_nothing_lost(run, photographs):
    process, address = started(["--model", str(run), "--device", "cpu"])
    lost, answered, ending = [], [], threading.Event()

    def ask(path):
        data = path.read_bytes()
        with httpx.Client(timeout=20) as own:
            while True:
                try:
                    found = own.post(f"{address}/v1/predict", content=data)
                except httpx.ConnectError:
                    return  # nobody listens any more: it was not accepted
                except httpx.HTTPError as error:
                    lost.append(repr(error))
                    return
                answered.append((found.status_code, ending.is_set()))

    try:
        threads = [threading.Thread(target=ask, args=(path,)) for path in photographs[:8]]
        for thread in threads:
            thread.start()
        time.sleep(1)
        ending.set()
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(20)
        assert process.wait(20) == 143
    finally:
        process.kill()
    assert not lost and {status for status, _ in answered} == {200} and any(late for _, late in answered)


def test_an_idle_connection_may_still_ask_when_the_service_ends(run, photographs):
    def answer_of(connection):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        found = b""
        while b"alive" not in found and (part := connection.recv(4096)):
            found += part
        return found

    with running(settings(run)) as (client, service):
        with socket.create_connection((client.base_url.host, client.base_url.port), timeout=5) as one:
            assert b"connection: close" not in answer_of(one)
            client.server.should_exit = True
            until = time.monotonic() + 5
            while not service.draining and time.monotonic() < until:
                time.sleep(0.01)
            last = answer_of(one)  # it was on its way
            assert b"200 OK" in last and b"connection: close" in last


# ---- the Open Inference Protocol ---------------------------------------------------------------------------------------------


def test_version_two_of_the_inference_protocol(client, clf, photographs):
    name = client.get("/readyz").json()["model"]
    assert client.get("/v2/health/live").status_code == client.get("/v2/health/ready").status_code == 200
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    told = client.get(f"/v2/models/{name}").json()
    assert told["outputs"][0]["shape"] == [-1, 16] and client.get(f"/v2/models/{name}/versions/1/ready").status_code == 200
    unknown = client.get("/v2/models/other")
    assert unknown.status_code == 404 and unknown.json()["error"] == unknown.json()["detail"]
    data = [path.read_bytes() for path in photographs[:2]]
    texts = [base64.b64encode(one).decode() for one in data]
    wanted = np.concatenate([clf.probabilities(clf.square(one)[None]) for one in data])
    asked = {"id": "7", "inputs": [{"name": "pictures", "datatype": "BYTES", "shape": [2], "data": texts}]}
    found = client.post(f"/v2/models/{name}/infer", json=asked).json()
    assert found["id"] == "7" and found["model_name"] == name and found["outputs"][0]["shape"] == [2, 16]
    np.testing.assert_allclose(np.reshape(found["outputs"][0]["data"], (2, 16)), wanted, atol=1e-5)
    assert found["outputs"][1]["data"][0] == clf(data[0])[0].name
    squares = np.stack([clf.square(one) for one in data])
    asked = {"inputs": [{"name": "squares", "datatype": "UINT8", "shape": list(squares.shape), "data": squares.tolist()}],
             "outputs": [{"name": "probabilities"}, {"name": "features"}]}
    found = client.post(f"/v2/models/{name}/versions/1/infer", json=asked).json()
    np.testing.assert_allclose(np.reshape(found["outputs"][0]["data"], (2, 16)), wanted, atol=1e-5)
    assert found["outputs"][1]["shape"][0] == 2


def test_binary_tensors_both_ways(client, clf, photographs):
    name, data = client.get("/readyz").json()["model"], photographs[0].read_bytes()
    blob = len(data).to_bytes(4, "little") + data
    head = json.dumps({"inputs": [{"name": "pictures", "datatype": "BYTES", "shape": [1],
                                   "parameters": {"binary_data_size": len(blob)}}],
                       "parameters": {"binary_data_output": True}}).encode()
    found = client.post(f"/v2/models/{name}/infer", content=head + blob,
                        headers={"Inference-Header-Content-Length": str(len(head))})
    length = int(found.headers["inference-header-content-length"])
    told = json.loads(found.content[:length])["outputs"]
    row = np.frombuffer(found.content[length:], "<f4", count=16)
    assert told[0]["parameters"]["binary_data_size"] == 64
    np.testing.assert_array_equal(row, clf.probabilities(clf.square(data)[None])[0])


@pytest.mark.parametrize("inputs", [
    None, [], [1], [{"name": "x"}], [{"name": "pictures", "datatype": "BYTES", "shape": "x", "data": []}],
    [{"name": "pictures", "datatype": "BYTES", "shape": [2], "data": ["AAAA"]}],
    [{"name": "pictures", "datatype": "BYTES", "shape": [1], "data": [3]}],
    [{"name": "pictures", "datatype": "BYTES", "shape": [0], "data": []}],
    [{"name": "squares", "datatype": "UINT8", "shape": [1, 64, 64, 3], "data": [1, 2]}],
    [{"name": "squares", "datatype": "UINT8", "shape": [1, 64, 64, 3], "data": [[["a"]]]}],
    [{"name": "squares", "datatype": "UINT8", "shape": [1, 2, 2, 3], "data": [0] * 12}],
    [{"name": "pictures", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 3}}],
])
def test_malformed_inference_is_refused(client, inputs):
    name = client.get("/readyz").json()["model"]
    found = client.post(f"/v2/models/{name}/infer", json={"inputs": inputs})
    assert found.status_code in (400, 422) and found.json()["error"]


# ---- the wire ----------------------------------------------------------------------------------------------------------------


def test_heads_are_limited(client):
    assert b"431" in raw(client, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 60_000, close=False)
    assert b"400" in raw(client, b"\x16\x03\x01\x02\x00 nonsense\r\n\r\n")
    assert b"200 OK" in raw(client, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


def test_slow_senders_are_told(run):
    with running(settings(run, limits=Limits(sending=0.2))) as (client, service):
        sent = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"
        assert b"408 Request Timeout" in raw(client, sent, seconds=3, close=False)
        assert service.room.held == 0


def test_room_is_taken_as_bytes_arrive():
    room_of = bodies.Room(10)
    with room_of.of_request() as one, room_of.of_request() as two:
        one(6)
        with pytest.raises(Problem) as refused:
            two(5)
        assert refused.value.status == 429 and refused.value.headers["Retry-After"] == "1"
        two(4)
    assert room_of.held == 0


def test_the_cards_resampling_reaches_both_decoders():
    """Near ones in threads, odd ones in a child: sampled as whoever asks the net without the service does."""
    pixels = np.random.default_rng(0).integers(0, 256, (200, 240, 3), dtype=np.uint8)

    async def main():
        decoder = decoding.Decoder(Limits())
        try:
            for kind in ("PNG", "TIFF"):
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, kind)
                for resampling in (None, picture.POINTS):
                    found = await decoder.square(file.getvalue(), 64, resampling)
                    assert np.array_equal(found, picture.square(pixels, 64, resampling)), (kind, resampling)
        finally:
            await decoder.close()

    asyncio.run(main())
