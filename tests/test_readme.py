"""The README's commands run as a reader would run them, its table is what results/ says, and the licence is where it says."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
import torch

from benches import tables

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
BLOCK = re.search(r"```sh\n(.*?)```", TEXT, re.DOTALL)[1]


def test_the_commands_of_the_readme_run_one_after_the_other(pictures, tmp_path):
    os.symlink(pictures / "train", tmp_path / "photos")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for line in BLOCK.splitlines():
        done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True,
                              env={**os.environ, "PATH": path, "OMP_NUM_THREADS": str(torch.get_num_threads())})
        assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "run" / "report.html").exists()


def test_the_script_of_the_readme_ends_in_a_service(pictures, tmp_path):
    os.symlink(pictures / "train", tmp_path / "photos")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1]
    script = script.replace('out="mine"', 'out="mine", epochs=1').replace("serve(", f"serve(port={port}, ")
    with subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert any(f":{port}/" in line for line in process.stderr), "it ended before it listened"
            picture = next((pictures / "val").rglob("*.png")).read_bytes()
            found = [answer(f"http://127.0.0.1:{port}/v1/{verb}?top=3", picture) for verb in ("predict", "search")]
            assert len(found[0]["predictions"][0]["top"]) == 3 and len(found[1]["results"][0]["neighbours"]) == 3
        finally:
            process.terminate()
    assert process.returncode == -signal.SIGTERM and (tmp_path / "mine" / "report.html").exists()


def answer(address, picture):
    for _ in range(100):
        try:
            return json.load(urlopen(Request(address, picture), timeout=60))
        except ConnectionError:
            time.sleep(0.1)
        except URLError as error:  # it has said where it will listen, and does in a moment
            assert isinstance(error.reason, ConnectionError), error
            time.sleep(0.1)
    raise AssertionError(f"{address} never answered")


@pytest.mark.parametrize("page", tables.PAGES)
def test_the_tables_are_what_the_results_say(page):
    text = (ROOT / page).read_text()
    assert "made by `python -m benches.tables`" in text and tables.fresh(page, text) == text, "run python -m benches.tables"


def test_the_readme_is_one_screen_and_its_links_lead_somewhere():
    assert len(TEXT.splitlines()) <= 60
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("name", ["paper", "data", "performance", "design", "LOG", "gpu-jobs", "scale", "serve", "exchange"])
def test_files_that_the_docs_name_exist(name):
    text = (ROOT / "docs" / f"{name}.md").read_text()
    for file in re.findall(r"`((?:alexnet|data|ops|tests|benches|experiments)/[\w/]+\.py)", text):
        assert (ROOT / file).exists() or (ROOT / "alexnet" / file).exists(), file
