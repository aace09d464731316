"""The ledger of a run: kinds of time, marks of error, and what an interruption does to them."""

import csv
import json

import pytest

import alexnet
from alexnet import ledger, rundir, weights
from alexnet.ledger import Ledger


def test_kinds_add_up_and_an_epoch_has_its_own_share():
    book = Ledger()
    book.add("step", 6.0)
    book.add("waiting", 2.0)
    book.close()
    book.add("step", 3.0)
    book.add("waiting", 1.0)
    book.add("saving", 5.0)
    assert book.trained() == 4.0 and book.waiting() == 0.25 and book.seconds() == 17.0
    again = Ledger(**json.loads(json.dumps(book.state())))
    assert again.trained() == 4.0 and again.shown() == book.shown()


def test_a_mark_is_kept_where_it_was_first_passed():
    book = Ledger()
    for epoch, error in enumerate((0.97, 0.52, 0.61, 0.5, 0.49), 1):
        book.add("step", 10)
        book.reach(error, epoch=epoch, images=100 * epoch)
    assert book.reached["0.55"] == {"epoch": 2, "images": 200, "seconds": 20.0}
    assert book.reached["0.5"]["epoch"] == 4 and "0.45" not in book.reached and book.reached["0.95"]["epoch"] == 2


def test_it_is_in_the_csv_the_card_and_the_log(run):
    lines = rundir.epochs(run)
    rows = list(csv.DictReader(open(run / "metrics.csv")))
    assert {f"{kind}_seconds" for kind in ledger.KINDS} <= rows[0].keys()
    assert float(rows[1]["step_seconds"]) == lines[1]["ledger"]["step"] > lines[0]["ledger"]["step"] > 0
    assert rows[1]["images_seen"] == "256" and lines[1]["ledger"]["setup"] > 0 == lines[1]["ledger"]["compile"]
    card = weights.read_card(run)
    assert card["ledger"]["step"] > 0 and card["environment"]["torch"] and "fingerprint" in card["data"]
    assert card["ledger"]["reached"] == {mark: where for mark, where in lines[-1]["reached"].items()
                                         if where["epoch"] <= card["epoch"]}
    told = ledger.told(lines[-1])
    assert told["training steps"].endswith("%)") and any(key.endswith("error") for key in told)


def test_another_environment_is_said_when_a_run_goes_on(store, tmp_path, capsys, monkeypatch):
    path = tmp_path / "run"
    quick = {"recipe": "tiny", "batch_size": 64, "precision": "float32"}
    with pytest.raises(KeyboardInterrupt):
        alexnet.train(store, out=path, epochs=3, **quick, on_epoch=stop)
    before = weights.read_card(path)["ledger"]
    known = rundir.environment
    monkeypatch.setattr(rundir, "environment", lambda *args, **facts: {**known(*args, **facts), "torch": "9.9"})
    line = alexnet.train(store, out=path, resume=True)
    assert "this run was made with torch" in capsys.readouterr().err
    assert line["epoch"] == 3 and line["ledger"]["setup"] > before["setup"]  # of both processes
    resumed = [one for one in rundir.read_log(path) if one["event"] == "resumed"]
    assert len(resumed) == 1 and "9.9" in resumed[0]["other"][0]
    assert json.loads((path / "environment.json").read_text())["torch"] != "9.9"  # where it began


def stop(line):
    if line["epoch"] == 2:
        raise KeyboardInterrupt
