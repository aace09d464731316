"""The README's commands run as a reader would run them, its table is what results/ says, and the licence is where it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("page", tables.PAGES)
def test_the_tables_are_what_the_results_say(page):
    text = (ROOT / page).read_text()
    assert "made by `python -m benches.tables`" in text and tables.fresh(page, text) == text, "run python -m benches.tables"


def test_the_readme_is_one_screen_and_its_links_lead_somewhere():
    assert len(TEXT.splitlines()) <= 55
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("name", ["paper", "data", "performance", "design", "LOG", "gpu-jobs", "scale", "serve", "exchange"])
def test_files_that_the_docs_name_exist(name):
    text = (ROOT / "docs" / f"{name}.md").read_text()
    for file in re.findall(r"`((?:alexnet|data|ops|tests|benches|experiments)/[\w/]+\.py)", text):
        assert (ROOT / file).exists() or (ROOT / "alexnet" / file).exists(), file
