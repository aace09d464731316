"""What evaluate fits: the weights of an ensemble by the source's search, never on what is reported; and the temperature, kept in
the card while the tensors stay."""

import shutil
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

import alexnet
from alexnet import figures, rundir, weights
from alexnet.answers import show_evaluate
from alexnet.data import augment
from alexnet.data.feed import Feed
from alexnet.data.store import open_split
from alexnet.errors import Misused, Refused
from alexnet.evaluate import passes, scores, temperature, weighing
from tests.test_evaluate import seen

CPU = torch.device("cpu")


def plainly(found, labels, places):
    """The source's search once more, with numpy, as it is told: no early end, every sum anew."""
    members, best = len(found), None

    def credit(shares):
        both = np.tensordot(np.float32(shares), found, 1)
        own = both[np.arange(len(labels)), labels][:, None]
        return np.clip((places - (both > own).sum(1)).clip(0) / (both == own).sum(1), 0, 1).sum()

    shares = [0.5] * members
    best = credit(shares)
    for _ in range(5):
        before = list(shares)
        for at in range(members):
            for step in range(21):
                tried = [*shares[:at], step / 20, *shares[at + 1 :]]
                if any(tried) and credit(tried) > best + 1e-3:
                    best, shares = credit(tried), tried
        if shares == before:
            break
    return shares


@pytest.mark.parametrize("places", [1, 5])
@pytest.mark.parametrize("seed", range(4))
def test_the_search_for_weights_is_the_sources(seed, places):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 12, 600)
    logits = draw.normal(size=(4, 600, 12)) * 2
    logits[np.arange(4)[:, None], np.arange(600), labels] += np.array([1.5, 0.3, 0.9, -1.0])[:, None]
    found = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    found = found.astype(np.float32)
    shares = weighing.search(torch.from_numpy(found), torch.from_numpy(labels), places)
    assert shares == plainly(found, labels, places) and shares != [0.5] * 4
    assert all(0 <= share <= 1 and share * 20 == round(share * 20) for share in shares)


def test_weights_that_are_all_zero_do_not_win():
    """Where every net is worse than chance, ties of nothing would be credited with more."""
    labels = torch.zeros(40, dtype=torch.int64)
    wrong = torch.tensor([0.0, 0.3, 0.2, 0.2, 0.1, 0.1, 0.1]).expand(2, 40, 7)
    assert weighing.search(wrong, labels, 5) == [0.5, 0.5]


def test_fitted_weights_beside_the_plain_average(run, other, store, monkeypatch):
    gone = []
    batches = Feed.batches
    monkeypatch.setattr(Feed, "batches", lambda self, plan: (gone.append(self.split.name), batches(self, plan))[1])
    answer = alexnet.evaluate(run, other, store, fit_weights="train")
    assert gone == ["train", "val"]  # every picture once
    assert answer["fitted_on"] == "train" and sum(answer["weights"]) == pytest.approx(1) and len(answer["weights"]) == 2
    plain = alexnet.evaluate(run, other, store)
    assert answer["plain"] == {key: plain[key] for key in answer["plain"]} and set(plain) <= set(answer) | {"note"}
    members = [passes.Member(*weights.read(model)[:2], device=CPU) for model in (run, other)]
    fed = {split: Feed(open_split(store, split)) for split in ("train", "val")}
    assert answer["weights"] == weighing.fitted(members, fed["train"])
    assert passes.errors(members, fed["val"], [answer["weights"]])[0].items() <= answer.items()
    fits = passes.errors(members, fed["train"], [answer["weights"], [0.5, 0.5]])
    assert fits[0]["top5_error"] < fits[1]["top5_error"]  # where it was fitted it is better
    assert f"{run} learnt from the pictures of train" in answer["note"] and str(other) not in answer["note"]
    show_evaluate(answer)


def test_few_classes_are_fitted_by_top1(run, store, tmp_path, capsys):
    """A store of four classes: top-5 error is 0 whatever the weights."""
    for number in range(4):
        for split in ("train", "val"):
            folder = tmp_path / "pictures" / split / f"class {number}"
            folder.mkdir(parents=True)
            Image.new("RGB", (64, 64), (60 * number, 90 + (split == "val"), 7)).save(folder / "1.png")
    alexnet.prepare(tmp_path / "pictures", tmp_path / "four", size=64, workers=1)
    classes = open_split(tmp_path / "four", "val").classes
    for seed in range(2):
        net = alexnet.AlexNet("tiny64", classes=4, seed=seed)
        card = weights.card(net, classes=classes, size=64, centring="colour")
        weights.write(tmp_path / str(seed), net, torch.zeros(3, 1, 1), card)
    answer = alexnet.evaluate(tmp_path / "0", tmp_path / "1", tmp_path / "four", fit_weights="train")
    assert answer["top5_error"] == 0 and "with 4 classes top-5 error is constant" in answer["note"]
    show_evaluate(answer)
    shown = capsys.readouterr().out
    assert "plain average" in shown and "weights fitted on  train" in shown and "(weight 0." in shown


def test_weights_are_never_fitted_on_what_is_reported(run, store, tmp_path):
    with pytest.raises(Misused, match="is the split that is reported"):
        alexnet.evaluate(run, run, store, fit_weights="val")
    with pytest.raises(Misused, match="there is one"):
        alexnet.evaluate(run, store, fit_weights="train")
    with pytest.raises(Misused, match="no split 'tset'"):
        alexnet.evaluate(run, run, store, fit_weights="tset")
    shutil.copytree(store, tmp_path / "store")
    shutil.copytree(store / "val", tmp_path / "store/test")
    with pytest.raises(Misused, match="holds the same pictures as val"):
        alexnet.evaluate(run, run, tmp_path / "store", fit_weights="test")


# ---- the temperature -----------------------------------------------------------------------------------------------------


def tensors(content):
    return content[8 + int.from_bytes(content[:8], "little") :]


def test_a_temperature_of_another_split(plain, store, tmp_path):
    """Fitted on train, it is SciPy's; it is kept, and what is measured from then on has it."""
    was = plain.read_bytes()
    answer = alexnet.evaluate(plain, store, fit_temperature="train")
    assert tensors(plain.read_bytes()) == tensors(was) and answer["cross_fitted"] is False
    (fitted,) = answer["temperatures"]
    found, labels = seen(plain, store, "train")
    assert fitted == pytest.approx(scores.fitted_temperature(np.log(found), labels), rel=1e-4) and fitted != 1
    assert weights.read_card(plain)["temperature"] == fitted
    after = alexnet.evaluate(plain, store)
    assert after["temperatures"] == [fitted] and after["log_loss"] == answer["log_loss"] and after["ece"] == answer["ece"]
    softened = np.log(seen(plain, store)[0]) / fitted
    softened = np.exp(softened) / np.exp(softened).sum(1, keepdims=True)
    labels = open_split(store, "val").labels
    assert answer["log_loss"] == pytest.approx(-np.log(softened[np.arange(48), labels]).mean(), rel=1e-4)
    picture = open_split(store, "val").pictures([0])[0]
    assert alexnet.load(plain)(picture)[0].probability == pytest.approx(softened[0].max(), rel=1e-4)
    again = alexnet.evaluate(plain, store, fit_temperature="train")  # from the logits, not from what they were divided by
    assert again["temperatures"] == [fitted] == again["before"]["temperatures"]


def test_a_temperature_of_the_reported_split_is_cross_fitted(plain, other, store):
    before = alexnet.evaluate(plain, store)
    found, labels = seen(plain, store)
    logits, half = np.log(found), scores.halves(48)
    answer = alexnet.evaluate(plain, store, fit_temperature="val")
    assert answer["cross_fitted"] and "cross-fitted" in answer["note"]
    assert answer["before"] == {"temperatures": [1.0], "log_loss": before["log_loss"], "ece": before["ece"]}
    total = 0
    for own in (half, ~half):
        scaled = logits[own] / scores.fitted_temperature(logits[~own], labels[~own])
        total -= (scaled - np.log(np.exp(scaled).sum(1, keepdims=True)))[np.arange(own.sum()), labels[own]].sum()
    assert answer["log_loss"] == pytest.approx(total / 48, rel=1e-4)
    assert answer["temperatures"] == [pytest.approx(scores.fitted_temperature(logits, labels), rel=1e-4)]
    assert alexnet.evaluate(plain, store)["log_loss"] < min(answer["log_loss"], before["log_loss"])  # all pictures fitted
    both = alexnet.evaluate(plain, other, store, fit_temperature="val")
    assert len(both["temperatures"]) == 2 and weights.read_card(other)["temperature"] == both["temperatures"][1]


def mean_of_ten(model, pictures, temperature):
    """Each view by hand."""
    net, mean, _ = weights.read(model)
    with torch.no_grad():
        seen = [net.eval()(one) for one in augment.views(torch.from_numpy(pictures), mean=mean, crop=net.row.crop, count=10)]
    return (sum(torch.softmax(logits / temperature, 1) for logits in seen) / 10).double().numpy()


def test_several_views_have_a_temperature_of_their_own(plain, store):
    """It is that of their mean, SciPy's; errors stay, one view is answered as before, and predict has what evaluate has."""
    alexnet.evaluate(plain, store, fit_temperature="train")
    one, ten = (alexnet.evaluate(plain, store, views=views) for views in (1, 10))
    part, (single,) = open_split(store, "train"), one["temperatures"]
    mean, labels = mean_of_ten(plain, part.pictures(np.arange(len(part))), single), part.labels
    answer = alexnet.evaluate(plain, store, views=10, fit_temperature="train")
    fitted, card = answer["temperatures"][0], weights.read_card(plain)
    assert fitted == pytest.approx(scores.fitted_temperature(np.log(mean), labels), rel=1e-4) and fitted != 1
    assert card["temperature"] == single and card["temperature_of_views"] == {"10": fitted}
    assert "of 10 views together" in answer["note"] and ten["temperatures"] == [1.0] == answer["before"]["temperatures"]
    same = ("top1_error", "top5_error", "temperatures")
    after, again = (alexnet.evaluate(plain, store, views=views) for views in (1, 10))
    assert after == one and [again[key] for key in same] == [ten["top1_error"], ten["top5_error"], [fitted]]
    assert again["log_loss"] == answer["log_loss"] != ten["log_loss"] == answer["before"]["log_loss"]
    picture, clf = open_split(store, "val").pictures([0])[0], alexnet.load(plain)
    powers = np.array([row.probability for row in clf(picture, views=10)])
    wanted = np.sort(mean_of_ten(plain, picture[None], single)[0])[::-1] ** (1 / fitted)
    assert powers == pytest.approx(wanted / wanted.sum(), rel=1e-5) and "of 10 views" in str(clf)
    temperature.keep(plain, card["temperature"])
    assert weights.read_card(plain)["temperature_of_views"] == {"10": fitted}
    temperature.keep(plain, 3.0)  # the mean is another now
    assert weights.read_card(plain)["temperature_of_views"] == {}


def test_a_runs_checkpoints_stay_whole(run, store, tmp_path):
    """Their sums are kept: a run stopped after an epoch is fitted, goes on, and ends where the run ended that was left alone."""

    def stop(line):
        if line["epoch"] == 2:
            raise KeyboardInterrupt

    half = tmp_path / "half"
    with pytest.raises(KeyboardInterrupt):
        alexnet.train(store, recipe="tiny", out=half, epochs=2, batch_size=16, precision="float32", on_epoch=stop)
    before = {name: rundir.RunDir(half).load(name) for name in ("best", "last")}
    last = half / "checkpoints/last/weights.safetensors"
    alexnet.evaluate(half, last, store, fit_temperature="val")
    for name, files in before.items():
        found = rundir.whole(half / "checkpoints" / name)
        own, file = "weights.safetensors", half / "checkpoints" / name / "weights.safetensors"
        assert weights.read_card(file)["temperature"] != 1 and tensors(found.pop(own)) == tensors(files.pop(own))
        assert found == files
    assert rundir.RunDir(half).load("last") == rundir.whole(half / "checkpoints/last")
    assert alexnet.train(store, out=half, resume=True)["epoch"] == 2
    ends = [rundir.RunDir(folder).load("last")["weights.safetensors"] for folder in (half, run)]
    assert tensors(ends[0]) == tensors(ends[1])


def test_the_reliability_plot_is_before_and_after(plain, store, tmp_path, monkeypatch):
    drawn, draw = [], figures.reliability
    monkeypatch.setattr(figures, "reliability", lambda series: (drawn.append(series), draw(series))[1])
    first = alexnet.evaluate(plain, store, reliability=str(tmp_path / "plot.svg"))
    answer = alexnet.evaluate(plain, store, fit_temperature="train", reliability=str(tmp_path / "plot.png"))
    assert [[error for *_, error in series] for series in drawn] == [[first["ece"]], [answer["before"]["ece"], answer["ece"]]]
    _, bins, intervals, _ = drawn[0][0]
    full = bins.pictures > 0
    assert bins.pictures.sum() == 48 and (np.array(intervals)[full].T[0] <= bins.right[full]).all()
    assert Image.open(tmp_path / "plot.png").width > 500 and ElementTree.parse(tmp_path / "plot.svg").getroot().tag.endswith("svg")


def test_a_file_that_cannot_be_written_is_refused_before_the_work(plain, store, monkeypatch):
    monkeypatch.setattr(temperature.os, "access", lambda path, mode: False)
    with pytest.raises(Refused, match="cannot be written, and its card keeps the temperature: copy the file"):
        alexnet.evaluate(plain, store, fit_temperature="val")
    assert weights.read_card(plain)["temperature"] == 1


def test_a_damaged_checkpoint_gets_no_new_sums(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    file = tmp_path / "run/checkpoints/best/loop.json"
    file.write_text(file.read_text() + " ")
    with pytest.raises(Refused, match="is damaged"):
        temperature.keep(tmp_path / "run", 2.0)


def test_two_fits_are_two_steps(run, other, store):
    with pytest.raises(Misused, match="are two steps"):
        alexnet.evaluate(run, other, store, fit_weights="train", fit_temperature="train")
