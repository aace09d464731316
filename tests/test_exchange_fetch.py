"""load("torchvision") and load("hf:OWNER/REPO"): from the caches of those libraries, from a server with a checksum, and without a
network as one sentence. The server and the caches are made here; nothing real is fetched."""

import functools
import hashlib
import http.server
import io
import json
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import alexnet
from alexnet import cards
from alexnet.cli import main
from alexnet.errors import Misused, Refused
from alexnet.exchange import fetch
from tests.foreign import kernels, made, square
from tests.test_exchange import normalised, tower


@pytest.fixture
def homes(tmp_path, monkeypatch):
    for name in (*fetch.OFFLINE, "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("ALEXNET_HOME", "TORCH_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A file on a server here that is called as torchvision calls its own: with its checksum in its name."""
    state, run = tower(kernels())
    folder = tmp_path / "server"
    folder.mkdir()
    torch.save(state, folder / "plain.pth")
    digest = hashlib.sha256((folder / "plain.pth").read_bytes()).hexdigest()[:8]
    file = (folder / "plain.pth").rename(folder / f"alexnet-owt-{digest}.pth")
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *given: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(fetch, "URL", f"http://127.0.0.1:{server.server_address[1]}/{file.name}")
    yield file, run
    server.shutdown()
    server.server_close()


def test_torchvision_is_fetched_once(homes, served, capsys):
    file, run = served
    given = square(256)
    first = alexnet.load("torchvision", precision="float32").probabilities(given)[0]
    np.testing.assert_allclose(first, run(normalised(given, 224, fetch.torchvision.MEAN, fetch.torchvision.STD)), atol=2e-6)
    assert "comes from http://127.0.0.1" in capsys.readouterr().err
    kept = homes / "TORCH_HOME" / "hub" / "checkpoints" / file.name
    assert kept.read_bytes() == file.read_bytes() and list(kept.parent.iterdir()) == [kept]
    file.unlink()  # and now without the server's copy
    np.testing.assert_array_equal(alexnet.load("torchvision", precision="float32").probabilities(given)[0], first)
    assert [one.name for one in (homes / "ALEXNET_HOME" / "models").iterdir()] == [f"{file.stem}.safetensors"]


def test_a_damaged_download_is_not_kept(homes, served):
    file, _ = served
    content = bytearray(file.read_bytes())
    content[5000] ^= 1
    file.write_bytes(content)
    with pytest.raises(Refused, match="its checksum is"):
        alexnet.load("torchvision")
    assert not list((homes / "TORCH_HOME").rglob("*.pth*"))


def test_two_downloads_at_once_put_a_whole_file_in_place(homes, monkeypatch):
    """The second opens its file when half of the first's is there, and goes on when the first has ended."""
    content, file = bytes(range(256)) * 2048, homes / "kept.pth"
    begun, ended, calls = threading.Event(), threading.Event(), []

    class Answer(io.BytesIO):
        headers = {"Content-Length": str(len(content))}

        def read(self, size):
            if threading.current_thread() is second:
                begun.set()
                ended.wait(20)
            elif self.tell() and not begun.is_set():
                second.start()
                begun.wait(20)
            return super().read(len(content) // 2)

    def fetched():
        fetch.download("http://here", file, digest=hashlib.sha256(content).hexdigest(), what="a net")
        calls.append(file.read_bytes() == content)

    monkeypatch.setattr(fetch.urllib.request, "urlopen", lambda url, timeout: Answer(content))
    second = threading.Thread(target=fetched)
    try:
        fetched()
    finally:
        ended.set()
        second.join()
    assert calls == [True, True] and list(homes.iterdir()) == [file]


def test_without_a_network_it_is_one_sentence(homes, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "URL", "http://127.0.0.1:9/alexnet-owt-7be5be79.pth")  # nobody listens there
    with pytest.raises(
        Refused, match=r"could not be fetched .* it wants a network; or put the file at .*TORCH_HOME/hub/checkpoints"
    ):
        alexnet.load("torchvision")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Refused, match="HF_HUB_OFFLINE says offline"):
        alexnet.load("torchvision")
    with pytest.raises(
        Refused, match="hf:me/net is not kept in .*HF_HOME/hub and could not be fetched .HF_HUB_OFFLINE says offline"
    ):
        alexnet.load("hf:me/net")
    with pytest.raises(Misused, match="hf:OWNER/REPO is accepted"):
        alexnet.load("hf:net")
    capsys.readouterr()
    assert main(["predict", "x.jpg", "--model", "hf:me/net"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(Refused, match="could not be put at me/net"):
        monkeypatch.setenv("HF_TOKEN", "none")
        alexnet.export("default", str(homes / "hub"), to="hub", upload="me/net")


def kept_by_the_hub(home, name, folder, commit="0123456789abcdef0123456789abcdef01234567"):
    """A repository in the cache as huggingface_hub leaves it."""
    root = home / "hub" / f"models--{name.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    (root / "snapshots" / commit).mkdir(parents=True)
    for file in folder.iterdir():
        (root / "snapshots" / commit / file.name).write_bytes(file.read_bytes())


@pytest.mark.parametrize("row", ["single_tower", "paper"])
def test_the_hub_s_own_cache_serves_offline(row, homes, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = made(homes / "ours.safetensors", row)
    alexnet.export(str(model), str(homes / "folder"), to="hub")
    kept_by_the_hub(homes / "HF_HOME", "me/net", homes / "folder")
    given = square(cards.read_card(model)["size"])
    ours, theirs = (alexnet.load(one, precision="float32").probabilities(given) for one in (model, "hf:me/net"))
    np.testing.assert_array_equal(ours, theirs)
    assert alexnet.convert("hf:me/net", str(homes / "again.safetensors"))["format"] == "hub"


def test_a_folder_that_is_no_net_is_one_sentence(homes, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = homes / "folder"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    save_file({"conv1.weight": torch.zeros(2, 3, 7, 7)}, folder / "model.safetensors")
    kept_by_the_hub(homes / "HF_HOME", "me/resnet", folder)
    with pytest.raises(Refused, match="not laid out as torchvision's alexnet: it has no features.0.weight"):
        alexnet.load("hf:me/resnet")
    assert not list((homes / "ALEXNET_HOME").rglob("*.safetensors"))
