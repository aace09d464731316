"""alexnet serve: the answers are those of predict, in every kind of body and in every company; errors say what and why; closed
unless told otherwise; and whoever was let in is answered, also at the end."""

import base64
import concurrent.futures
import io
import json
import re
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from alexnet import answers, classifier
from alexnet.errors import Misused, Refused
from alexnet.evaluate import temperature
from tests.serving import running, settings

pytest.importorskip("fastapi")

from alexnet import serve as room  # noqa: E402
from alexnet.serve import lanes, model  # noqa: E402
from alexnet.serve.settings import Limits  # noqa: E402


@pytest.fixture(scope="module")
def served(run):
    with running(settings(run)) as found:
        yield found


@pytest.fixture(scope="module")
def client(served):
    return served[0]


@pytest.fixture(scope="module")
def clf(run):
    return classifier.load(run, device="cpu")


@pytest.fixture(scope="module")
def photographs(pictures):
    return sorted((pictures / "val").rglob("*.png"))


FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def picture_of(width, height, kind="JPEG", **more):
    file = io.BytesIO()
    grain = np.random.default_rng(0).integers(0, 255, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    Image.fromarray(grain).resize((width, height)).save(file, kind, **more)
    return file.getvalue()


def png_of(width, height, body=b""):
    """A grey PNG that says it has so many pixels; body: its compressed rows."""
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def expected(clf, path, name, top=5):
    found = next(classifier.answers(clf, [(str(path), None)], top=top))
    return {**json.loads(answers.as_json(found)), "path": name}


# ---- the answers are those of predict ----------------------------------------------------------------------------------------


def test_one_picture_is_bit_for_bit_what_predict_says(client, clf, photographs):
    for path in photographs[:3]:
        data = path.read_bytes()
        wanted = {"predictions": [expected(clf, path, "picture")]}
        assert client.post("/v1/predict", content=data).json() == wanted
        assert client.post("/v1/predict", content=data, headers={"Content-Type": "image/png"}).json() == wanted
    assert len(client.post("/v1/predict?top=16", content=data).json()["predictions"][0]["top"]) == 16


def test_what_is_unknown_is_so_here_too(plain, photographs):
    temperature.keep(plain, unknown_below=0.999)
    clf, path = classifier.load(plain, device="cpu"), photographs[0]
    wanted = expected(clf, path, "picture")
    assert wanted["unknown"] is True
    with running(settings(plain)) as (client, _):
        assert client.post("/v1/predict", content=path.read_bytes()).json() == {"predictions": [wanted]}
        assert client.get("/v1/model").json()["unknown_below"] == 0.999


def test_ten_views_are_those_of_predict(run, clf, photographs):
    with running(settings(run, views=10)) as (client, _):
        found = client.post("/v1/predict", content=photographs[0].read_bytes()).json()["predictions"][0]["top"]
        told = client.get("/v1/model").json()
        assert told["views"] == 10 and told["engine"] == "cpu"
    with pytest.raises(Misused, match="--views is 3; it may be 1, 2, 5, 9, 10"):
        model.load(settings(run, views=3))
    wanted = {one.id: one.probability for one in clf(photographs[0], views=10, top=5)}
    assert {one["id"]: one["probability"] for one in found} == pytest.approx(wanted, rel=1e-5)
    assert wanted != pytest.approx({one.id: one.probability for one in clf(photographs[0])}, rel=1e-3)


def test_every_kind_of_body_is_the_same_picture(client, clf, photographs):
    path = photographs[0]
    data, wanted = path.read_bytes(), expected(clf, path, "cat.png", top=2)
    text = base64.b64encode(data).decode()
    answers_of = [
        client.post("/v1/predict?top=2&name=cat.png", content=data),
        client.post("/v1/predict?top=2", files={"file": ("cat.png", data)}),
        client.post("/v1/predict?top=2", json={"pictures": [{"name": "cat.png", "data": text}]}),
        client.post("/v1/predict?top=2", json={"pictures": [{"name": "cat.png", "data": f"data:image/png;base64,{text}"}]}),
    ]
    assert [one.json() for one in answers_of] == [{"predictions": [wanted]}] * 4


def test_many_pictures_keep_their_order_and_the_unreadable_its_place(client, clf, photographs):
    files = [("f", (f"{i}.png", path.read_bytes())) for i, path in enumerate(photographs[:20])]
    files.insert(7, ("f", ("odd é.png", b"no picture")))
    found = client.post("/v1/predict", files=files).json()["predictions"]
    assert [one["path"] for one in found] == [name for _, (name, _) in files]
    assert found.pop(7) == {"path": "odd é.png", "error": "the picture cannot be read: not a picture in a known format."}
    for one, path in zip(found, photographs):
        alone = expected(clf, path, one["path"])
        assert [c["index"] for c in one["top"]] == [c["index"] for c in alone["top"]]
        np.testing.assert_allclose([c["probability"] for c in one["top"]], [c["probability"] for c in alone["top"]], atol=1e-3)


def test_company_changes_nothing(client, clf, photographs):
    wanted = [expected(clf, path, "picture") for path in photographs]
    with concurrent.futures.ThreadPoolExecutor(16) as clients:
        found = list(clients.map(lambda path: client.post("/v1/predict", content=path.read_bytes()).json(), photographs))
    for one, alone in zip(found, wanted):
        one = one["predictions"][0]["top"]
        assert one[0]["index"] == alone["top"][0]["index"]
        np.testing.assert_allclose([c["probability"] for c in one], [c["probability"] for c in alone["top"]], atol=1e-3)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG"])
def test_formats_near_and_apart_are_read_alike(client, clf, kind):
    data = picture_of(301, 203, kind, **{"progressive": True} if kind == "JPEG" else {})
    found = client.post("/v1/predict", content=data).json()["predictions"][0]["top"]
    assert [(c["index"], c["probability"]) for c in found] == [(r.index, r.probability) for r in clf(data, top=5)]


@pytest.mark.parametrize("sent", [b"", b"no picture at all", None])
def test_past_the_framework_and_through_it_the_answer_is_the_same(client, photographs, sent):
    """An address without options goes past the framework."""
    sent = photographs[0].read_bytes() if sent is None else sent
    past, through = (client.post(f"/v1/predict{options}", content=sent, headers={"Content-Type": "image/png"})
                     for options in ("", "?top=5"))
    assert past.status_code == through.status_code and past.content == through.content
    assert past.headers["content-type"] == through.headers["content-type"]
    assert f'route="/v1/predict",status="{past.status_code}"' in client.get("/metrics").text


def test_features_are_those_of_the_classifier(client, clf, photographs):
    data = photographs[0].read_bytes()
    found = client.post("/v1/features", content=data).json()
    assert found["layer"] == clf.last_hidden
    np.testing.assert_allclose(found["features"][0]["features"], clf.features([data])[0], rtol=1e-5, atol=1e-5)
    assert len(client.post("/v1/features?layer=prob", content=data).json()["features"][0]["features"]) == 16
    refused = client.post("/v1/features?layer=fc9", content=data)
    assert refused.status_code == 422 and "fc7" in refused.json()["detail"]


def test_the_model_tells_of_itself(client, clf):
    found = client.get("/v1/model").json()
    assert found["net"] == clf.card["net"] and len(found["classes"]) == 16 and found["classes"][3]["id"] == clf.classes[3].id
    assert found["errors"] == clf.card["errors"] and found["index"] is None and found["limits"]["bytes"] == 20_000_000
    sheet = Image.open(io.BytesIO(client.get("/v1/kernels.png").content))
    assert sheet.size[0] > 300


def test_where_the_net_looked(client, photographs):
    found = client.post("/v1/explain?how=occlusion", content=photographs[0].read_bytes()).json()["explanations"][0]
    for key in ("square", "overlay"):
        shown = Image.open(io.BytesIO(base64.b64decode(found[key].partition(",")[2])))
        assert shown.size == (64, 64)
    assert found["square"] != found["overlay"] and found["how"] == "occlusion"
    assert client.post("/v1/explain?index=16", content=b"x").status_code == 422


def test_neighbours_of_an_index(run, store, tmp_path, photographs):
    import alexnet

    alexnet.search(str(tmp_path / "index"), build=str(store), model=str(run), split="val", device="cpu")
    with running(settings(run, index=str(tmp_path / "index"))) as (client, service):
        found = client.post("/v1/search?top=3", content=photographs[5].read_bytes()).json()["results"][0]["neighbours"]
        assert found[0]["distance"] == 0 and [*map(float, sorted(n["distance"] for n in found))] == [n["distance"] for n in found]
        assert "/" not in json.dumps(found)  # no path of this machine is told
        shown = client.get(f"/v1/index/{found[0]['position']}.png")
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(shown.content))), service.model.clf.square(photographs[5]))
        assert client.get("/v1/index/99999.png").status_code == client.get("/v1/index/-1.png").status_code == 404
        assert client.get("/v1/model").json()["index"] == {"pictures": 48}
    with pytest.raises(Refused):
        model.load(settings("default", index=str(tmp_path / "index")))


# ---- what goes wrong ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status, word, sent", [
    (400, "not a picture", {"content": b"hello"}),
    (400, "truncated", {"content": picture_of(200, 200)[:-900]}),
    (422, "empty", {"content": b""}),
    (415, "text/plain", {"content": b"x", "headers": {"Content-Type": "text/plain"}}),
    (400, "not JSON", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
    (400, "not JSON", {"content": b"[" * 9000, "headers": {"Content-Type": "application/json"}}),
    (413, "commas", {"content": b"[" * 99000, "headers": {"Content-Type": "application/json"}}),
    (422, "shape", {"json": {"images": []}}),
    (422, "no picture", {"json": {"pictures": []}}),
    (422, "base64", {"json": {"pictures": ["?"]}}),
    (422, "nothing is fetched", {"json": {"pictures": ["http://localhost/cat.jpg"]}}),
    (422, "nothing is fetched", {"json": {"pictures": ["file:///etc/passwd"]}}),
    (413, "pictures", {"json": {"pictures": ["AAAA"] * 65}}),
    (413, "parts", {"files": [("f", ("a", b"x"))] * 200}),
    (400, "boundary", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}),
    (400, "cut off", {"content": b"--b\r\n\r\nx", "headers": FORM}),
    (400, "headers", {"content": b"--b\r\nx\r\n--b--", "headers": FORM}),
    (422, "no picture", {"content": b"--b\r\nA: b\r\n\r\nx\r\n--b--", "headers": FORM}),
    (413, "pixels", {"content": png_of(12_001, 9_000)}),
    (413, "pixels", {"content": b"GIF89a" + b"\xff" * 4 + picture_of(16, 16, "GIF")[10:]}),
    (413, "20,000,000 bytes", {"content": b"\xff" * 20_000_001}),
    (413, "20,000,000 bytes", {"content": iter([b"\xff" * 1_000_000] * 21)}),
    (422, "top", {"content": b"x", "params": {"top": 0}}),
])
def test_errors_say_what_and_why(client, status, word, sent):
    found = client.post("/v1/predict", **sent)
    assert found.status_code == status and found.headers["content-type"] == "application/problem+json", found.text
    told = found.json()
    assert told["status"] == status and word in told["detail"] and told["detail"].endswith(".") and "Traceback" not in found.text


def test_addresses_that_are_not_there(client):
    assert client.get("/v3").status_code == 404 and client.get("/v3").json()["detail"].startswith("there is nothing")
    refused = client.get("/v1/predict")
    assert refused.status_code == 405 and refused.headers["allow"] == "POST"
    assert client.post("/v1/search", content=b"x").status_code == 404
    for path in ("/page/../app.py", "/page/%2e%2e/app.py", "/page/..%2fapp.py", "/page/examples/..%2fcard.jpg", "//etc/passwd"):
        assert client.get(path).status_code == 404


def test_frames_are_limited(run, photographs):
    stills = [Image.new("L", (16, 16), shade) for shade in range(12)]
    file = io.BytesIO()
    stills[0].save(file, "GIF", save_all=True, append_images=stills[1:])
    with running(settings(run, limits=Limits(frames=10))) as (client, _):
        found = client.post("/v1/predict", content=file.getvalue())
        assert found.status_code == 413 and "10 frames" in found.json()["detail"]
    with running(settings(run, limits=Limits(frames=12))) as (client, _):
        assert client.post("/v1/predict", content=file.getvalue()).status_code == 200


def test_who_decodes_too_long_is_stopped_and_delays_nobody(run, photographs):
    data, slow = photographs[0].read_bytes(), png_of(9_900, 9_900, zlib.compress(bytes(9_901 * 9_900), 1))
    with running(settings(run, limits=Limits(decoding=0.2))) as (client, _):
        client.post("/v1/predict", content=picture_of(40, 40, "GIF"))  # starts a child, which takes its time
        client.post("/v1/predict", content=picture_of(40, 40, "GIF"))
        with concurrent.futures.ThreadPoolExecutor(1) as beside:
            hostile = beside.submit(client.post, "/v1/predict", content=slow)
            times = []
            while not hostile.done():
                began = time.perf_counter()
                assert client.post("/v1/predict", content=data).status_code == 200
                times.append(time.perf_counter() - began)
        assert hostile.result().status_code == 422 and "0.2 seconds" in hostile.result().json()["detail"]
        assert np.median(times) < 0.15
        assert client.post("/v1/predict", content=picture_of(40, 40, "GIF")).status_code == 200  # another child


def test_what_is_looked_at_before_decoding():
    assert lanes.look(picture_of(500, 375)) == (500, 375, True)
    assert lanes.look(picture_of(500, 375, "PNG")) == (500, 375, True)
    assert lanes.look(picture_of(500, 375, "WEBP")) == (500, 375, True)
    assert lanes.look(picture_of(501, 375, "WEBP", lossless=True)) == (501, 375, True)
    assert not lanes.look(picture_of(500, 375, "GIF")).near
    assert lanes.look(png_of(5000, 3750)) == (5000, 3750, False)
    assert not lanes.look(b"\xff\xd8\xff\xe0\x00\x02" + b"\xff\xe1\x00\x02" * 5_000).near
    stills = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 99, 200)]
    for kind in ("WEBP", "PNG"):
        file = io.BytesIO()
        stills[0].save(file, kind, save_all=True, append_images=stills[1:])
        assert not lanes.look(file.getvalue()).near
    for data in (picture_of(64, 64), picture_of(64, 64, "PNG"), picture_of(64, 64, "WEBP")):
        for end in range(0, len(data), 7):
            lanes.look(data[:end])  # whatever is cut off is no error here


# ---- closed unless told otherwise --------------------------------------------------------------------------------------------


def test_a_key_is_wanted_where_one_is_set(run, photographs):
    data = photographs[0].read_bytes()
    with running(settings(run, key="long random word")) as (client, _):
        basic = {"Authorization": "Basic long random word"}
        for headers in ({}, {"X-API-Key": "long random wor"}, {"Authorization": "Bearer no"}, basic):
            found = client.post("/v1/predict", content=data, headers=headers)
            assert found.status_code == 401 and found.headers["www-authenticate"] == "Bearer"
        for headers in ({"X-API-Key": "long random word"}, {"Authorization": "Bearer long random word"}):
            assert client.post("/v1/predict", content=data, headers=headers).status_code == 200
        assert {client.get(path).status_code for path in ("/healthz", "/readyz", "/v2/health/live", "/", "/docs")} == {200}
        assert {client.get(path).status_code for path in ("/metrics", "/v1/model", "/v2/models/x", "/openapi.json")} == {401}


def test_names_pages_and_headers(run, client):
    with running(settings(run, hosts=room._hosts(None, "127.0.0.1"))) as (local, _):
        assert local.get("/healthz").status_code == 200
        assert local.get("/healthz", headers={"Host": "localhost:8000"}).status_code == 200
        assert local.get("/healthz", headers={"Host": "[::1]:8000"}).status_code == 200
        assert local.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert client.get("/v1/model", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    for path in ("/", "/v1/model", "/nowhere", "/docs"):
        found = client.get(path)
        assert "default-src 'none'" in found.headers["content-security-policy"]
        assert "access-control-allow-origin" not in found.headers
        assert found.headers["x-content-type-options"] == "nosniff" and "server" not in found.headers


def test_the_page_asks_nobody_else(client):
    pages = {"/": client.get("/").text, "/docs": client.get("/docs").text}
    named = set(re.findall(r'(?:src|href)="([^"#]+)"', "".join(pages.values())))
    assert named and all(name.startswith("/") for name in named)
    for name in named:
        found = client.get(name)
        assert found.status_code == 200, name
        assert not re.search(r"(?<!xmlns=.)https?://", found.text.replace("http://www.w3.org", "")), name
    for text in pages.values():
        assert not any(part in text for part in ("<style", " style=", "onclick")) and not re.search(r"<script(?! [^>]*src=)", text)
    shown = client.get("/page/examples").json()["examples"]
    assert shown and client.get(f"/page/examples/{shown[0]}.jpg").headers["content-type"] == "image/jpeg"


def test_options_and_their_refusals(tmp_path, monkeypatch):
    for wrong in ({"workers": 0}, {"port": 70000}, {"wait": -1}, {"seconds": 0}):
        with pytest.raises(Misused):
            room.serve(**wrong)
    (tmp_path / "key").write_text("\n")
    for file in ("nowhere", "key"):
        with pytest.raises(Refused):
            room.serve(api_key_file=str(tmp_path / file))
    (tmp_path / "key").write_text("word\n")
    assert room._key(tmp_path / "key") == "word"
    assert room._hosts(None, "0.0.0.0") is None and room._hosts("a.example, B.example", "0.0.0.0") == ("a.example", "b.example")
    with pytest.raises(Refused):
        room.serve(model=str(tmp_path / "nothing.safetensors"))
