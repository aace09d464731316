"""The report: everything inside it, nothing fetched, honest about what it was measured on; and where it is written."""

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from alexnet import rundir, weights
from alexnet.errors import Refused
from alexnet.explain import explain


@pytest.fixture(scope="module")
def own_run(run, tmp_path_factory):
    """A copy of the run, measured with ten views too, that tests may write into."""
    path = tmp_path_factory.mktemp("explained") / "run"
    shutil.copytree(run, path)
    rundir.RunDir(path).log(
        "evaluate", views=10, top1_error=0.123, top5_error=0.01, images=48, split="val", top1_interval=[0.1, 0.2]
    )
    return path


@pytest.fixture(scope="module")
def explained(own_run):
    return explain(own_run)


class Page(HTMLParser):
    VOID = {"meta", "img", "link", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.targets, self.words = [], [], [], []
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.targets += [
            value for name, value in attributes if name in ("src", "href", "xlink:href", "srcset", "action")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_report_of_a_run_holds_everything_and_fetches_nothing(own_run, explained):
    text = (own_run / "report.html").read_text()
    page = Page(text)
    assert explained["report"] == str(own_run / "report.html") and explained["note"] is None
    assert all(target.startswith(("data:image/", "#")) for target in page.targets)
    assert not re.search(r"url\(\s*['\"]?(?!#)|@import", text) and "script" not in page.tags
    assert page.tags.count("img") == 1 + 8 and page.tags.count("svg") == 3  # kernels, pictures; curves
    words = " ".join(page.words)
    for expected in (
        "chance 93.8 %",
        "Learning curves",
        "First-layer kernels",
        "What it sees",
        "tiny64",
        "128 pictures",
        "lean a little to the good side",
        "batch size",
        "Top-1 error, one view",
        "Top-1 error, ten views",
        "12.3",
    ):
        assert expected in words, expected
    for name in ("curves", "kernels", "predictions"):
        assert Image.open(own_run / "figures" / f"{name}.png").width > 300
        assert (own_run / "figures" / f"{name}.svg").read_text().startswith("<?xml")


def test_report_of_a_weights_file(run, store, tmp_path, monkeypatch):
    net, mean, card = weights.read(run)
    weights.write(tmp_path / "mine.safetensors", net, mean, {**card, "data": {}, "note": "made <by hand> & small"})
    monkeypatch.chdir(tmp_path)
    found = explain("mine.safetensors")
    text = (tmp_path / "mine-report" / "report.html").read_text()
    assert found["report"] == "mine-report/report.html" and "--store" in found["note"]
    assert "made &lt;by hand&gt; &amp; small" in text and "Learning curves" not in text
    Page(text)
    found = explain("mine.safetensors", store=str(store), out="there")
    assert found["note"] is None and "What it sees" in (tmp_path / "there" / "report.html").read_text()
    with pytest.raises(Refused):
        explain("mine.safetensors", store=str(tmp_path / "nothing"))


def test_pictures_are_the_same_each_time_and_a_store_that_moved_costs_them_only(own_run, explained):
    first = np.asarray(Image.open(own_run / "figures" / "predictions.png"))
    explain(own_run)
    np.testing.assert_array_equal(first, np.asarray(Image.open(own_run / "figures" / "predictions.png")))
    config = rundir.RunDir(own_run).read("config.json")
    rundir.RunDir(own_run).write("config.json", {**config, "store": "/nowhere/at/all"})
    found = explain(own_run)
    assert "/nowhere/at/all" in found["note"] and "Learning curves" in (own_run / "report.html").read_text()


def test_no_model_no_report(tmp_path):
    with pytest.raises(Refused):
        explain(str(tmp_path))
