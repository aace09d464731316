"""An index while it is changed: by several at once, by one that is cut short, until nothing is left in it."""

import subprocess
import sys
import threading

import pytest

import alexnet
from alexnet import search
from alexnet.errors import Misused, Refused
from alexnet.search.index import Index


@pytest.fixture
def library(pictures, run, tmp_path):
    """An index of three pictures, and three more, each in a folder of its own."""
    files = sorted((pictures / "val").rglob("*.png"))[:6]
    for number, file in enumerate(files):
        folder = tmp_path / ("begun" if number < 3 else f"more{number - 3}")
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.png").write_bytes(file.read_bytes())
    search.search(tmp_path / "library", build=str(tmp_path / "begun"), model=str(run))
    return tmp_path / "library", [str(tmp_path / f"more{number}") for number in range(3)]


def held(folder):
    """The names of an index's pictures; each is found at 0 from itself."""
    known = Index.open(folder)
    for at in range(len(known)):
        assert known.nearest(known.vectors([at]), top=1)[1][0, 0] == at
    return [known.entry(at)["path"].rpartition("/")[2] for at in range(len(known))]


def meanwhile(monkeypatch, act):
    """act() happens once, while features are worked out."""
    real = search.classifier.squares_of

    def first(*given, **named):
        monkeypatch.setattr(search.classifier, "squares_of", real)
        act()
        return real(*given, **named)

    monkeypatch.setattr(search.classifier, "squares_of", first)


def test_who_adds_while_another_adds_or_removes_loses_nothing(library, monkeypatch):
    own, more = library
    meanwhile(monkeypatch, lambda: search.search(own, add=more[1]))
    answer, = search.search(own, add=more[0])
    assert answer["images"] == 5 and held(own) == ["0.png", "1.png", "2.png", "4.png", "3.png"]
    meanwhile(monkeypatch, lambda: search.search(own, remove="*/4.png"))
    answer, = search.search(own, add=more[2])
    assert answer["images"] == 5 and held(own) == ["0.png", "1.png", "2.png", "3.png", "5.png"]


def test_who_builds_what_another_has_built_meanwhile_is_refused(library, run, tmp_path, monkeypatch):
    own, more = tmp_path / "new", library[1]
    meanwhile(monkeypatch, lambda: search.search(own, build=more[1], model=str(run)))
    with pytest.raises(Refused, match="there already"):
        search.search(own, build=more[0], model=str(run))
    assert held(own) == ["4.png"]


def test_one_at_a_time_changes_an_index_and_a_killed_one_is_no_obstacle(library, capsys):
    own, more = library
    words = f"from alexnet.search import lock\nwith lock.changing({str(own)!r}): print('held', flush=True), input()"
    holder = subprocess.Popen([sys.executable, "-c", words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    changes = [threading.Thread(target=search.search, args=(own,), kwargs=how) for how in ({"remove": "*/1.png"}, {"add": more[0]})]
    for change in changes:
        change.start()
    changes[0].join(1)
    assert all(change.is_alive() for change in changes) and held(own) == ["0.png", "1.png", "2.png"]
    holder.kill()
    for change in changes:
        change.join(30)
    holder.communicate()
    assert sorted(held(own)) == ["0.png", "2.png", "3.png"] and "another process changes" in capsys.readouterr().err


def test_a_build_that_was_cut_short_is_built_again(library, run, tmp_path, monkeypatch):
    own, more = tmp_path / "new", library[1]
    with monkeypatch.context() as patch:
        patch.setattr(search.index, "write_card", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            search.search(own, build=str(tmp_path / "begun"), model=str(run))
    assert list(own.glob("vectors*"))
    (own / "index.json.0123abcd.new").write_bytes(b"{")
    with pytest.raises(Refused, match="--build"):
        search.search(own, add=more[0])
    (own / "names.txt").write_text("mine")
    with pytest.raises(Refused, match="there already"):
        search.search(own, build=more[0], model=str(run))
    (own / "names.txt").unlink()
    search.search(own, build=more[0], model=str(run))
    assert held(own) == ["3.png"] and not list(own.glob("*.new"))


def test_what_is_refused_leaves_no_index_and_one_that_is_there_stays(library, run, store, tmp_path):
    own = library[0]
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.jpg").write_text("no picture")
    before = held(own)
    with pytest.raises(Refused, match="no picture that can be read"):
        search.search(tmp_path / "new", build=str(tmp_path / "none"), model=str(run))
    with pytest.raises(Refused, match="no picture that can be read"):
        search.search(own, add=str(tmp_path / "none"))
    with pytest.raises(Misused, match="no split"):
        search.search(tmp_path / "new", build=str(store), split="none", model=str(run))
    assert not (tmp_path / "new").exists() and held(own) == before and not list(own.glob("rows*"))


def test_an_index_without_pictures_has_no_neighbours(library, tmp_path):
    own, more = library
    search.search(own, remove="*")
    found, = search.search(own, str(tmp_path / "begun" / "0.png"), out=str(tmp_path / "sheet.png"))
    assert found == {"path": str(tmp_path / "begun" / "0.png"), "neighbours": []}
    with pytest.raises(Refused, match="has 0 pictures"):
        search.search(own, duplicates=True)
    search.search(own, add=more[0])
    assert held(own) == ["3.png"]


def test_the_model_is_found_again_from_another_folder(library, run, tmp_path, monkeypatch):
    picture = str(tmp_path / "begun" / "0.png")
    monkeypatch.chdir(run.parent)
    search.search(tmp_path / "new", build=str(tmp_path / "begun"), model=run.name)
    monkeypatch.chdir(tmp_path)
    found, = search.search(tmp_path / "new", picture, top=1)
    assert found["neighbours"][0]["path"] == picture
    for given, kept in ((None, "default"), ("default", "default"), ("hf:me/net", "hf:me/net")):
        assert search.index.create(tmp_path / "other", alexnet.load(run), model=given)["model"] == kept
