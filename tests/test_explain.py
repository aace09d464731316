"""The report: everything inside it, nothing fetched, honest about what it was measured on; the search it shows is exact; a run that
goes on has a page that looks again by itself."""

import io
import re
import shutil
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import alexnet
from alexnet import figures, rundir, weights
from alexnet.errors import Misused, Refused
from alexnet.explain import explain, head, live, neighbours, page
from alexnet.explain.subject import Subject

NAMES = ("curves", "predictions", "neighbours", "kernels", "looked", "feature-maps", "confusion", "calibration", "architecture")


@pytest.fixture(scope="module")
def own_run(run, pictures, tmp_path_factory):
    """A copy of the run, measured with ten views too, on its store with a refused picture, that tests may write into."""
    folder = tmp_path_factory.mktemp("explained")
    shutil.copytree(run, folder / "run")
    shutil.copytree(pictures, folder / "pictures")
    (folder / "pictures" / "val" / "cat" / "<odd>.png").write_text("no picture")
    alexnet.prepare(str(folder / "pictures"), str(folder / "store"), size=64, workers=1)
    own = rundir.RunDir(folder / "run")
    own.write("config.json", {**own.read("config.json"), **own.place_of(folder / "store")})
    own.log("evaluate", views=10, top1_error=0.123, top5_error=0.01, images=48, split="val", top1_interval=[0.1, 0.2])
    return folder / "run"


@pytest.fixture(scope="module")
def explained(own_run):
    return explain(own_run)


@pytest.fixture(scope="module")
def subject(own_run):
    return Subject(own_run)


class Page(HTMLParser):
    VOID = {"meta", "img", "link", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.targets, self.words, self.ids = [], [], [], [], []
        self.feed(text)
        assert not self.open, f"left open: {self.open}"
        assert len(set(self.ids)) == len(self.ids), "an id stands twice"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.targets += [
            value for name, value in attributes if name in ("src", "href", "xlink:href", "srcset", "action")
        ]
        self.ids += [value for name, value in attributes if name == "id"]
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
    assert {target[1:] for target in page.targets if target.startswith("#")} <= set(page.ids)
    assert not re.search(r"url\(\s*['\"]?(?!#)|@import|http-equiv=\"refresh", text) and "script" not in page.tags
    assert len(text) < 1.5e6 and page.tags.count("section") == 11 and page.tags.count("svg") == 5
    words = " ".join(page.words)
    for expected in (
        "chance 93.8 %",
        "Learning curves",
        "What it sees",
        "all 128 pictures",
        "First-layer kernels",
        "colour selectivity",
        "Where it looks",
        "Layer by layer",
        "The 10 worst",
        "The 5 best",
        "calibration error is",
        "Architecture",
        "tiny64",
        "lean a little to the good side",
        "batch size",
        "Top-1 error, one view",
        "Top-1 error, ten views",
        "12.3",
        "cat/<odd>.png",
        "not a picture",
    ):
        assert expected in words, expected
    for name in NAMES:
        assert Image.open(own_run / "figures" / f"{name}.png").width > 300
        assert (own_run / "figures" / f"{name}.svg").read_text().startswith("<?xml")
    assert len(explained["figures"]) == 2 * len(NAMES)


def test_report_of_a_weights_file(run, store, tmp_path, monkeypatch):
    net, mean, card = weights.read(run)
    weights.write(tmp_path / "mine.safetensors", net, mean, {**card, "data": {}, "note": "made <by hand> & small"})
    monkeypatch.chdir(tmp_path)
    found = explain("mine.safetensors")
    text = (tmp_path / "mine-report" / "report.html").read_text()
    assert found["report"] == "mine-report/report.html" and "--store" in found["note"]
    assert "made &lt;by hand&gt; &amp; small" in text and "Learning curves" not in text and "Architecture" in text
    Page(text)
    subject = Subject("mine.safetensors", store=str(store))
    assert subject.note is None and len(subject.examples) == 8
    for options in ({"store": str(tmp_path / "nothing")}, {"store": str(store), "split": "vall"}):
        with pytest.raises(Refused):
            explain("mine.safetensors", **options)
    with pytest.raises(Misused):
        explain("mine.safetensors", searched=-1)


def test_pictures_are_the_same_each_time_and_a_store_that_moved_costs_them_only(own_run, explained, tmp_path):
    drawn = figures.as_png(alexnet.explain.figure(own_run, "predictions"))
    first, again = (np.asarray(Image.open(file)) for file in (own_run / "figures" / "predictions.png", io.BytesIO(drawn)))
    np.testing.assert_array_equal(first, again)
    shutil.copytree(own_run, tmp_path / "moved")
    config = rundir.RunDir(own_run).read("config.json")
    rundir.RunDir(tmp_path / "moved").write("config.json", {**config, "store": "/nowhere/at/all", "store_from_run": "nowhere"})
    (tmp_path / "moved" / "report.html").unlink()
    found = explain(tmp_path / "moved")
    assert "/nowhere/at/all" in found["note"] and "Learning curves" in (tmp_path / "moved" / "report.html").read_text()


def test_the_store_is_found_from_any_folder_and_beside_a_run_that_moved(store, tmp_path, monkeypatch):
    work = tmp_path / "work"
    shutil.copytree(store, work / "data" / "store")
    monkeypatch.chdir(work)
    alexnet.train("data/store", recipe="tiny", out="run", epochs=1, batch_size=64, precision="float32")
    alexnet.train("data/store", recipe="tiny", out="run", epochs=1, batch_size=64, precision="float32", resume=True)
    monkeypatch.chdir("/")
    assert Subject(work / "run").gallery.split.store == str(work / "data" / "store")
    work.rename(tmp_path / "moved")
    found = Subject(tmp_path / "moved" / "run")
    assert found.note is None and (tmp_path / "moved" / "data" / "store").samefile(found.gallery.split.store)


def test_another_store_in_its_place_is_said(own_run, pictures, tmp_path):
    shutil.copytree(own_run, tmp_path / "run")
    shutil.copytree(pictures, tmp_path / "pictures")
    for folder in (tmp_path / "pictures" / "train").iterdir():
        next(folder.iterdir()).unlink()
    alexnet.prepare(str(tmp_path / "pictures"), str(tmp_path / "store"), size=64, workers=1)
    own = rundir.RunDir(tmp_path / "run")
    own.write("config.json", {**own.read("config.json"), **own.place_of(tmp_path / "store")})
    answer = explain(own.path, searched=0)
    text = (own.path / "report.html").read_text()
    assert answer["note"] == (f"{tmp_path / 'store'} holds other pictures in train than when the run was made: it is not "
                              "known whether the net was trained on those shown.")
    assert escape(answer["note"]) in text and "none of them trained on" not in text and "Measured on" in text
    Page(text)
    shutil.rmtree(tmp_path / "store" / "val")
    assert Subject(own.path).gallery.name == "train"  # and not what it was trained on
    assert "none of them trained on" in head.head(Subject(own.path, store=str(tmp_path / "store")))
    assert Subject(own.path, store=str(tmp_path / "store")).gallery.name == "train"
    own.write("config.json", {**own.read("config.json"), "holdout": 0.25})
    assert Subject(own.path).gallery.name == "train"


def test_without_the_store_a_report_with_pictures_stays(own_run, explained, tmp_path):
    shutil.copytree(own_run, tmp_path / "run")
    own = rundir.RunDir(tmp_path / "run")
    own.write("config.json", {**own.read("config.json"), **own.place_of(tmp_path / "gone")})
    before = {file: file.stat().st_mtime_ns for file in own.path.rglob("*") if file.is_file()}
    answer = explain(own.path)
    assert before == {file: file.stat().st_mtime_ns for file in own.path.rglob("*") if file.is_file()}
    assert str(tmp_path / "gone") in answer["note"] and "stays as it was" in answer["note"] and answer["figures"] == []
    assert "Learning curves" in Path(explain(own.path, out=tmp_path / "out")["report"]).read_text()
    live.Live(own.path)({})  # a page without pictures
    assert "stays" not in explain(own.path)["note"] and "Learning curves" in (own.path / "report.html").read_text()


def test_neighbours_are_the_nearest_of_all_training_pictures(subject):
    places = neighbours.queries(subject.gallery)
    labels = subject.gallery.split.labels[places]
    assert len(set(labels.tolist())) == 5  # five classes
    split, positions = subject.training
    squares = subject.gallery.split.pictures(places)
    near = neighbours.nearest(subject.clf, squares, split, positions, own=np.full(5, -1))
    known, asked = (subject.clf.features(list(one)).astype(np.float64) for one in (split.pictures(positions), squares))
    far = np.sqrt(((asked[:, None] - known) ** 2).sum(-1))
    for row, distances in zip(near, far):
        np.testing.assert_allclose(distances[row], np.sort(distances)[:6], rtol=1e-5)
    own = neighbours.nearest(subject.clf, split.pictures([7, 9]), split, positions, own=np.array([7, -1]))
    assert 7 not in own[0] and own[1][0] == 9  # a picture is its own nearest, unless it is left out


def test_neighbours_of_a_part_and_of_none_say_so(own_run):
    asked = Subject(own_run, searched=40)
    said = neighbours.sections(asked, {})[0].said
    assert len(asked.once(neighbours.found).rows) == 5 and asked.once(neighbours.found) is asked.once(neighbours.found)
    assert "40 pictures, drawn at random from the 128" in said
    assert not neighbours.sections(Subject(own_run, searched=0), {})


def test_only_errors_shows_only_errors(own_run):
    asked = Subject(own_run, errors=True)
    assert asked.examples and all(one.top[0].index != one.truth for one in asked.examples)
    assert asked.seen.right.sum() + (~asked.seen.right).sum() == 48


def test_a_picture_of_one_s_own_is_looked_at(own_run, pictures):
    file = sorted((pictures / "val" / "cat").iterdir())[0]
    drawn = alexnet.explain.figure(own_run, "looked", picture=str(file))
    assert len(drawn.axes[0].images) == 3
    with pytest.raises(Misused):
        alexnet.explain.figure(own_run, "looks")


def test_what_is_measured_is_what_evaluate_measures(own_run, subject):
    found = alexnet.evaluate(own_run, store=subject.gallery.split.store)
    assert 1 - subject.seen.right.mean() == pytest.approx(found["top1_error"], abs=1.01 / 48)  # another engine may tip one picture
    assert 1 - subject.seen.among.mean() == pytest.approx(found["top5_error"], abs=1.01 / 48)


def test_a_run_that_goes_on_has_a_page_that_looks_again(own_run, tmp_path, capsys):
    shutil.copytree(own_run, tmp_path / "run")
    run = rundir.RunDir(tmp_path / "run")
    loop = run.read("checkpoints/last/loop.json")
    assert not Subject(run.path).unfinished
    run.write("checkpoints/last/loop.json", {**loop, "finished": False})
    assert Subject(run.path).unfinished
    assert 'http-equiv="refresh"' in page.page("t", "h", [], refresh=True)
    watch = live.Live(run.path)
    watch({})
    text = (run.path / "report.html").read_text()
    Page(text)
    assert 'http-equiv="refresh"' in text and "Learning curves" in text and "First-layer kernels" in text and len(text) < 4e5
    assert "report.html" in capsys.readouterr().err
    (run.path / "report.html").unlink()
    watch.cost = 3600
    watch({})
    assert not (run.path / "report.html").exists()  # too soon for what it costs
    watch.cost = 0
    watch({})
    assert (run.path / "report.html").exists()
    shutil.rmtree(run.checkpoints)
    assert "First-layer" not in live.written(run.path)  # before the first checkpoint


def test_no_model_no_report(tmp_path):
    with pytest.raises(Refused):
        explain(str(tmp_path))
