"""features and search: rows in the order given, exact neighbours against a plain loop, an index that changes and refuses."""

import errno
import json
import os
import shutil
import sys
import types

import numpy as np
import pytest
from PIL import Image

import alexnet
from alexnet import cli, features, search
from alexnet.classifier import Classifier
from alexnet.data.store import open_split
from alexnet.errors import Misused, Refused
from alexnet.search.index import Index


@pytest.fixture(scope="module")
def clf(run):
    return alexnet.load(run)


@pytest.fixture(scope="module")
def index(store, run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index") / "store"
    answer, = search.search(folder, build=str(store), model=str(run))
    assert answer["images"] == answer["added"] == 128 and answer["layer"] == "fc7" and answer["units"] == 256
    return folder


def plain(vectors, query, top):
    """Distances one by one, in double precision, of vectors and a query as an index keeps them."""
    apart = [(float(np.sqrt(((v.astype(np.float64) - query.astype(np.float64)) ** 2).sum())), i)
             for i, v in enumerate(np.asarray(vectors, np.float16))]
    return sorted(apart)[:top]


def test_features_of_files_are_those_of_the_net_a_row_each(pictures, clf, run, tmp_path):
    files = sorted((pictures / "val").rglob("*.png"))[:5]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    given = [*files[:2], broken, *files[2:]]
    answer = features.features(*map(str, given), model=str(run), out=str(tmp_path / "f.npy"), layer="conv3")
    table = np.load(tmp_path / "f.npy")
    assert answer["images"] == 5 and answer["refused"] == 1 and table.shape == (6, answer["units"])
    assert np.isnan(table[2]).all() and "picture" in answer["refused_pictures"][0]["error"]
    net = clf.net.activations(clf.preprocess([str(file) for file in files]))
    np.testing.assert_allclose(table[[0, 1, 3, 4, 5]], net["conv3"].flatten(1).detach().numpy(), rtol=1e-4, atol=1e-4)
    for layer in ("conv1", "norm1", "pool1", "fc7", "fc8", "prob"):  # those that run in one pass have their own names too
        expected = net[layer][0].flatten().detach().numpy()
        np.testing.assert_allclose(clf.features([str(files[0])], layer)[0], expected, rtol=1e-4, atol=1e-4)
    assert cli.main(["features", *map(str, given), "--model", str(run), "--out", str(tmp_path / "f.parquet"), "--json"]) == 1
    import pyarrow.parquet as pq

    rows = pq.read_table(tmp_path / "f.parquet").to_pylist()
    assert [row["path"] for row in rows] == [str(one) for one in given] and len(rows[0]["features"]) == 256
    with pytest.raises(Misused, match="no layer 'fc17': did you mean fc7"):
        features.features(str(files[0]), model=str(run), out=str(tmp_path / "f.npy"), layer="fc17")
    with pytest.raises(Refused, match="none of the 1 pictures"):
        features.features(str(broken), model=str(run), out=str(tmp_path / "f.npy"))


def test_neighbours_are_the_nearest_by_a_plain_loop(store, index, clf, pictures):
    known, split = Index.open(index, clf), open_split(store, "train")
    vectors = features.of_split(clf, split)
    queries = clf.features([str(file) for file in sorted((pictures / "val").rglob("*.png"))[:9]])
    distances, positions = known.nearest(queries, top=7)
    for query, d, p in zip(queries, distances, positions):
        expected = plain(vectors, query.astype(np.float16), 7)
        np.testing.assert_allclose(d, [one[0] for one in expected], rtol=1e-5)
        assert p.tolist() == [one[1] for one in expected]
    own, at = known.nearest(vectors[5:6], top=1)
    assert at[0, 0] == 5 and own[0, 0] == 0
    assert (known.picture(5) == split.pictures([5])[0]).all()
    assert known.entry(5) == {"path": split.names[5], "store": str(store), "id": split.classes[split.labels[5]].id,
                              "class": split.classes[split.labels[5]].name}


@pytest.fixture
def dies(monkeypatch):
    """How many pictures the net was shown at a time; after the first batch there is one interrupt. A picture alone says how long a
    row is."""
    layer, calls = Classifier.layer, []

    def killed(self, squares, name=None):
        calls.append(len(squares))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return layer(self, squares, name)

    monkeypatch.setattr("alexnet.rows.EVERY", 0)
    monkeypatch.setattr(Classifier, "layer", killed)
    return calls


def test_a_build_that_was_killed_goes_on_to_the_same_index(index, store, run, tmp_path, dies):
    with pytest.raises(KeyboardInterrupt):
        search.search(tmp_path / "i", build=str(store), model=str(run))
    assert {file.suffix for file in (tmp_path / "i").iterdir()} == {".rows", ".json"}
    search.search(tmp_path / "i", build=str(store), model=str(run))
    assert dies == [1, 64, 64, 1, 64]  # the second batch once more, not the first
    vectors = [Index.open(folder).vectors(range(128)) for folder in (index, tmp_path / "i")]
    assert (vectors[0] == vectors[1]).all() and not list((tmp_path / "i").glob("rows-*"))


def test_features_of_files_go_on_after_a_kill_and_begin_again_where_a_file_changed(pictures, run, tmp_path, dies, monkeypatch):
    monkeypatch.setattr("alexnet.classifier.BATCH", 2)
    files = [shutil.copy(file, tmp_path / f"{i}.png") for i, file in enumerate(sorted((pictures / "val").rglob("*.png"))[:5])]
    with open(files[1], "wb") as file:
        file.write(b"no picture")
    out, given = tmp_path / "f.npy", {"model": str(run), "layer": "fc7"}
    with pytest.raises(KeyboardInterrupt):
        features.features(*map(str, files), out=str(out), **given)
    answer = features.features(*map(str, files), out=str(out), **given)
    assert dies == [1, 1, 2, 1, 2, 1] and answer["refused_pictures"][0]["path"] == str(files[1])  # told though read before
    features.features(*map(str, files), out=str(tmp_path / "whole.npy"), **given)
    np.testing.assert_array_equal(np.load(out), np.load(tmp_path / "whole.npy"))
    del dies[:]
    with pytest.raises(KeyboardInterrupt):
        features.features(*map(str, files), out=str(out), **given)
    os.utime(files[0], (1, 1))
    features.features(*map(str, files), out=str(out), **given)
    assert dies == [1, 1, 2, 1, 1, 2, 1] and not list(tmp_path.glob("f.npy-*"))


def test_a_full_disk_is_one_sentence_before_the_first_row(pictures, run, tmp_path, monkeypatch, capsys):
    def full(*given):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    assert cli.main(["features", str(pictures / "val"), "--model", str(run), "--out", str(tmp_path / "f.npy")]) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"alexnet: {tmp_path / 'f.npy-'}") and said.endswith(": no space left on device.") and "\n" not in said
    assert not list(tmp_path.iterdir())


def test_nothing_that_can_be_read_leaves_nothing(run, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(Refused, match="none of the 1 pictures"):
        features.features(str(tmp_path / "broken.png"), model=str(run), out=str(tmp_path / "f.npy"))
    assert [file.name for file in tmp_path.iterdir()] == ["broken.png"]


def test_an_index_of_a_folder_goes_on_after_a_kill(pictures, run, tmp_path, dies, monkeypatch):
    monkeypatch.setattr("alexnet.classifier.BATCH", 8)
    (pictures / "val" / "broken.png").write_bytes(b"no picture")
    try:
        with pytest.raises(KeyboardInterrupt):
            search.search(tmp_path / "i", build=str(pictures / "val"), model=str(run))
        answer, = search.search(tmp_path / "i", build=str(pictures / "val"), model=str(run))
    finally:
        (pictures / "val" / "broken.png").unlink()
    assert answer["refused"] == 1 and answer["images"] == sum(dies) - dies[2] - 2
    fresh, = search.search(tmp_path / "fresh", build=str(pictures / "val"), model=str(run))
    one, other = Index.open(tmp_path / "i"), Index.open(tmp_path / "fresh")
    np.testing.assert_array_equal(one.vectors(range(len(one))), other.vectors(range(len(other))))


def test_blocks_queries_and_parts_change_no_answer(index, clf, monkeypatch):
    whole = Index.open(index, clf)
    queries = whole.vectors([3, 50, 127]) + 0.25
    expected = whole.nearest(queries, top=9)
    monkeypatch.setattr("alexnet.search.index.BLOCK", 10)
    monkeypatch.setattr("alexnet.search.index.QUERIES", 2)
    for one, other in zip(expected, whole.nearest(queries, top=9)):
        np.testing.assert_array_equal(one, other)
    assert whole.nearest(queries, top=500)[1].shape == (3, 128)


def test_a_folder_of_ones_own_is_added_to_searched_and_taken_out_again(index, run, pictures, tmp_path, capsys):
    own = tmp_path / "library"
    answer, = search.search(own, build=str(pictures / "val"), model=str(run))
    assert answer["images"] == 48
    copy = tmp_path / "copies" / "again.png"
    copy.parent.mkdir()
    first = sorted((pictures / "val").rglob("*.png"))[0]
    Image.open(first).save(copy)
    (copy.parent / "text.png").write_bytes(b"x")
    answer, = search.search(own, add=str(copy.parent))
    assert (answer["images"], answer["added"], answer["refused"]) == (49, 1, 1)
    pair, = search.search(own, duplicates=True, top=1, out=str(tmp_path / "pairs.png"))
    assert {pair["path"], pair["neighbours"][0]["path"]} == {str(first), str(copy)}
    assert pair["neighbours"][0]["distance"] < 0.01  # another batch, other last bits
    assert Image.open(tmp_path / "pairs.png").width > 200
    assert cli.main(["search", str(own), str(first), str(copy.parent / "text.png"), "--top", "2", "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["path"] == str(first) and "error" in lines[1]
    assert {one["path"] for one in lines[0]["neighbours"]} == {str(first), str(copy)}
    answer, = search.search(own, remove="*/copies/*")
    assert (answer["images"], answer["removed"]) == (48, 1) and len(list(own.iterdir())) == 6  # four of a part, card, lock
    found, = search.search(own, str(first), top=2, out=str(tmp_path / "found.jsonl"))
    assert str(copy) not in [one["path"] for one in found["neighbours"]]
    assert json.loads((tmp_path / "found.jsonl").read_text()) == found
    answer, = search.search(own, remove="*/cat/*")  # within a part
    assert answer["images"] == 45
    rest, = search.search(own, str(first), top=45)
    assert not any("/cat/" in one["path"] for one in rest["neighbours"]) and rest["neighbours"][0]["path"] == str(first)


def test_every_pair_of_copies_is_found(tmp_path, clf):
    """Thirty of one picture, more than are asked for at first, after two others."""
    vectors = np.random.default_rng(0).normal(size=(32, 16))
    vectors[2:] = vectors[2]
    card = search.index.create(tmp_path / "i", clf, model="x")
    part = search.index.part(tmp_path / "i", 0, vectors, [str(i) for i in range(32)], [-1] * 32)
    search.index.write_card(tmp_path / "i", {**card, "parts": [part]})
    for top in (435, 153, 30, 29, 7, 10_000):
        pairs = search.search(tmp_path / "i", duplicates=True, top=top)
        named = [(int(pair["path"]), int(pair["neighbours"][0]["path"])) for pair in pairs]
        apart = [pair["neighbours"][0]["distance"] for pair in pairs]
        assert len(set(named)) == len(named) == min(top, 32 * 31 // 2) and apart == sorted(apart)
        assert apart[:435] == [0] * min(top, 435) and all(a < b for a, b in named)
        if 29 <= top <= 435:
            assert named == [(a, b) for a in range(2, 32) for b in range(a + 1, 32)][:top] and len(set(sum(named, ()))) == 30


def test_only_what_a_sheet_shows_is_decoded(index, pictures, tmp_path, monkeypatch):
    shown, opened, real = [], [], (Index.picture, search.stores.open_split)
    monkeypatch.setattr(Index, "picture", lambda *given: (shown.append(given), real[0](*given))[1])
    monkeypatch.setattr(search.stores, "open_split", lambda *given: (opened.append(given), real[1](*given))[1])
    files = [str(file) for file in sorted((pictures / "val").rglob("*.png"))[:5]]
    plain = [search.search(index, *files), search.search(index, duplicates=True, out=str(tmp_path / "pairs.jsonl"))]
    assert not shown and not opened
    monkeypatch.setattr(search, "SHOWN", 2)
    out = str(tmp_path / "sheet.png")
    sheets = [search.search(index, *files, out=out), search.search(index, duplicates=True, out=out)]
    assert sheets == plain and len(shown) == 2 * 6 + 2 * 2 and len(opened) == 2  # a part, for each of the two searches


def test_another_store_under_the_same_name_is_no_source_of_pictures(store, run, tmp_path):
    shutil.copytree(store, tmp_path / "store")
    search.search(tmp_path / "i", build=str(tmp_path / "store"), model=str(run))
    known = Index.open(tmp_path / "i")
    assert known.picture(0) is not None
    shutil.rmtree(tmp_path / "store")
    assert known.picture(0) is None
    shutil.copytree(store, tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "train")
    (tmp_path / "store" / "val").rename(tmp_path / "store" / "train")
    os.utime(tmp_path / "store" / "train" / "store.json")
    assert known.picture(0) is None


def test_parts_of_a_store_keep_their_pictures_when_some_are_taken_out(store, run, tmp_path):
    search.search(tmp_path / "i", build=str(store), model=str(run))
    split = open_split(store, "train")
    search.search(tmp_path / "i", remove="*/cat/*")
    known = Index.open(tmp_path / "i")
    assert len(known) == 120
    for at in (0, 50, 119):
        place = split.names.index(known.entry(at)["path"])
        assert (known.picture(at) == split.pictures([place])[0]).all()


def test_other_weights_damage_and_odd_words_are_refused(index, store, run, pictures, tmp_path):
    picture = str(next((pictures / "val").rglob("*.png")))
    with pytest.raises(Refused, match="made with other weights"):
        search.search(index, picture, model="default")
    with pytest.raises(Refused, match="there already"):
        search.search(index, build=str(store), model=str(run))
    with pytest.raises(Refused, match="no whole index"):
        search.search(tmp_path / "nothing", picture)
    with pytest.raises(Refused, match="nothing in .* matches"):
        search.search(index, remove="*/unicorn/*")
    for words, answer in (((index,), "wants an INDEX"), ((), "wants an INDEX")):
        with pytest.raises(Misused, match=answer):
            search.search(*words)
    with pytest.raises(Misused, match="one thing at a time"):
        search.search(index, picture, duplicates=True)
    with pytest.raises(Misused, match="no split 'test'"):
        search.search(tmp_path / "new", build=str(store), split="test", model=str(run))
    damaged = tmp_path / "damaged"
    search.search(damaged, build=str(store), model=str(run))
    (damaged / "labels-00000.npy").write_bytes((damaged / "labels-00000.npy").read_bytes()[:-100])
    with pytest.raises(Refused, match="damaged"):
        Index.open(damaged)


def test_without_faiss_an_approximate_index_is_refused_before_any_work(store, run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(Refused, match="needs FAISS"):
        search.search(tmp_path / "i", build=str(store), model=str(run), approximate=True)
    assert not (tmp_path / "i").exists()


def test_an_approximate_index_says_its_recall(tmp_path, clf, monkeypatch):
    pytest.importorskip("faiss")
    from alexnet.search import approximate
    from alexnet.search import index as indexes

    random = np.random.default_rng(0)
    centres = random.normal(size=(40, 16))
    vectors = np.repeat(centres, 50, axis=0) + 0.3 * random.normal(size=(2000, 16))
    card = indexes.create(tmp_path / "i", clf, model="x")
    part = indexes.part(tmp_path / "i", 0, vectors, [f"{i}" for i in range(2000)], [-1] * 2000)
    indexes.write_card(tmp_path / "i", {**card, "parts": [part]})
    known = Index.open(tmp_path / "i", clf)
    facts = approximate.build(known)
    assert facts["recall"] >= 0.9 and facts["probes"] <= facts["lists"]
    indexes.write_card(tmp_path / "i", {**known.card, "approximate": facts})
    again = Index.open(tmp_path / "i", clf)
    distances, positions = approximate.opened(again).nearest(vectors[:20], top=3)
    assert (positions[:, 0] == np.arange(20)).mean() > 0.9
    everything = approximate.opened(again).nearest(vectors[:20], top=2000)  # more than the lists that are read hold
    np.testing.assert_array_equal(everything[1], again.nearest(vectors[:20], top=2000)[1])
    monkeypatch.setattr(approximate, "LEAST", 5000)
    with pytest.raises(Refused, match="exact search answers at once"):
        approximate.build(known)


def test_what_an_approximate_index_does_not_find_is_answered_exactly(index, clf, monkeypatch):
    """A stand-in for FAISS, whose lists hold too few for the second query: it fills up with -1."""
    from alexnet.search import approximate

    class Lists:
        def search(self, queries, top):
            return np.array([[0, 1, 4], [0, 9, 3e38]], np.float32), np.array([[3, 5, 7], [50, 2, -1]])

    known = Index.open(index, clf)
    known.card = {**known.card, "approximate": {"file": "approximate.faiss", "probes": 1}}
    monkeypatch.setattr(approximate, "imported", lambda: types.SimpleNamespace(read_index=lambda file: Lists()))
    queries = known.vectors([3, 50])
    distances, positions = approximate.opened(known).nearest(queries, top=3)
    exact = known.nearest(queries[1:], top=3)
    np.testing.assert_array_equal(positions, [[3, 5, 7], exact[1][0]])
    np.testing.assert_allclose(distances, [[0, 1, 2], exact[0][0]], rtol=1e-6)
