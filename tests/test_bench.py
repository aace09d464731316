"""bench: the contract's keys on real runs of a toy, parts that add up to the whole, shares below the ceiling, no trace left; and
the sentence on planted timings."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import alexnet
from alexnet import answers, bench, cards, cli, machine, nets, stages
from alexnet.bench import bottleneck, products
from alexnet.errors import Misused, Refused
from alexnet.nets.layers import Dense

CPU = torch.device("cpu")


@pytest.fixture
def small(monkeypatch):
    """A ceiling that takes no time and means nothing."""
    monkeypatch.setattr(machine, "PRODUCT", {"cpu": 64})
    monkeypatch.setattr(machine, "COPIED", {"cpu": 1 << 16})


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Beside other work two threads wait for each other, ten times as long as they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # the engines' own
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def answer():
    return bench(net="tiny64", recipe="tiny", batch_size=8, seconds=1.5, workers=1)


def draw(file, *, side):
    Image.fromarray(np.random.default_rng(side).integers(0, 256, (side, side + 9, 3), np.uint8)).save(file)


def test_the_parts_of_a_step_are_about_the_step(answer):
    parts = sum(answer["stages"][name]["fastest"] for name in ("augment", "forward", "backward", "optimiser"))
    assert 0.5 < parts / answer["training"]["fastest"] < 2
    assert answer["training"]["pictures_per_second"] == pytest.approx(8 / answer["training"]["seconds_per_step"])
    assert answer["stages"]["decode_and_resize"]["fastest"] < 1.5 * sum(
        answer["stages"][name]["slowest"] for name in ("decode", "resize"))


def test_shares_are_work_over_time_over_the_ceiling():
    """Of planted seconds, by hand: three times the forward pass, less the gradient that the picture does not need."""
    row, best = nets.row("tiny64"), {"float32": 1e11, "copy": 1e10}
    shapes = nets.shapes(row, 200)
    forward, first = 2 * sum(s.multiply_adds for s in shapes), 2 * shapes[0].multiply_adds
    told = {"classes": 200, "size": 64, "stages": planted(), "training": stepped(0.5) | {"batch_size": 100},
            "inference": {"engine": "torch float32", "batch_size": 10, "seconds_per_batch": 0.2}}
    bench.with_shares(told, row, best=best, kind="float32", averaging=False)
    shares = {name: one["share_of_ceiling"] for name, one in told["stages"].items() if "share_of_ceiling" in one}
    assert shares == pytest.approx({
        "forward": 100 * forward / 0.1 / 1e11, "backward": 100 * (2 * forward - first) / 0.1 / 1e11,
        "augment": 100 * 3 * (64 * 64 + 4 * 56 * 56) / 0.1 / 1e10,
        "optimiser": sum(s.parameters for s in shapes) * 4 * 5 / 0.1 / 1e10})
    assert told["training"]["share_of_ceiling"] == pytest.approx(100 * (3 * forward - first) / 0.5 / 1e11)
    assert told["inference"]["share_of_ceiling"] == pytest.approx(10 * forward / 0.2 / 1e11)
    assert told["stages"]["optimiser"]["ceiling"] == "copy" and told["inference"]["ceiling"] == "float32"


@pytest.mark.slow  # a matter of timing: it wants quiet cores
def test_no_share_is_above_the_ceiling(answer):
    """Of the best of several ceilings: other work may have been running while the first was measured."""
    ceilings = [answer["ceiling"], *(machine.ceiling(CPU, "float32", seconds=0.2) for _ in range(2))]
    best = {of: max(one[of] for one in ceilings) for of in ("float32", "copy")}
    told = [one for one in (*answer["stages"].values(), answer["training"], answer["inference"]) if "ceiling" in one]
    shares = [one["share_of_ceiling"] * answer["ceiling"][one["ceiling"]] / best[one["ceiling"]] for one in told]
    assert len(shares) == 6 and all(0 < one < 1.2 for one in shares), shares


def test_conditions_and_what_was_random_are_said(answer):
    assert answer["inference"]["weights"] == "random" and answer["training"]["weights"] == "random"
    assert {"threads", "load", "precision", "allocator", "layout", "units", "torch", "commit"} <= answer["conditions"].keys()
    assert answer["net"] == "tiny64" and answer["size"] == 64 and answer["classes"] == 200
    assert answer["peak_memory_mb"] > 50 and answer["training"]["seconds_to_first_step"] > 0
    assert "embedded" in answer["pictures"]["what"] and answer["inference"]["engine"] and answer["bottleneck"].endswith(".")


@pytest.mark.parametrize("columns, bars", [(120, True), (60, False)])
def test_people_get_a_table_that_fits(answer, capsys, monkeypatch, columns, bars):
    monkeypatch.setenv("COLUMNS", str(columns))
    answers.show_bench(answer)
    out = capsys.readouterr().out
    table = out.split("\n\n")[1]
    assert ("█" in out or "#" in out) == bars and max(map(len, table.splitlines())) <= columns
    assert all(name.replace("_", " ") in table for name in answer["stages"]) and answer["bottleneck"] in out


@pytest.mark.parametrize("words, key, other", [
    (["--inference"], "inference.seconds_per_batch", "training"), (["--training"], "training.seconds_per_step", "inference")])
def test_the_command_keeps_the_contract(words, key, other, capfd, monkeypatch, small):
    monkeypatch.setenv("ALEXNET_MALLOC", "default")
    assert cli.main(["bench", *words, "--net", "tiny64", "--batch-size", "4", "--seconds", "0.2", "--json"]) == 0
    out, _ = capfd.readouterr()
    found = json.loads(out)
    part, name = key.split(".")
    assert out.count("\n") == 1 and found[part][name] > 0 and found[part]["batch_size"] == 4 and other not in found


def test_a_store_is_taken_as_it_is(tmp_path, small):
    """More pictures a step than the store has cannot be had; the row is the recipe's first that fits the store."""
    for label in "abc":
        (tmp_path / "pictures" / label).mkdir(parents=True)
        draw(tmp_path / "pictures" / label / "1.png", side=40)
        draw(tmp_path / "pictures" / label / "2.png", side=50)
    alexnet.prepare(str(tmp_path / "pictures"), str(tmp_path / "store"), size=32, workers=1)
    found = bench(recipe="tiny", pictures=tmp_path / "store", batch_size=500, training=True, seconds=0.1)
    assert (found["net"], found["training"]["batch_size"], found["classes"]) == ("small32", 6, 3)


def test_a_model_is_taken_with_its_weights(small):
    found = bench(model="default", inference=True, batch_size=2, seconds=0.1)
    assert found["inference"]["weights"] == "default" and found["inference"]["seconds_per_batch"] > 0
    assert (found["net"], found["classes"]) == (cards.read_card()["net"], len(cards.read_card()["classes"]))


def test_a_folder_of_pictures_is_read(tmp_path):
    for number in range(3):
        draw(tmp_path / f"{number}.png", side=80)
    (tmp_path / "9.jpg").write_bytes(b"no picture")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    encoded, about, found = stages.photographs(str(tmp_path))
    assert encoded[1] == (tmp_path / "1.png").read_bytes() and about["count"] == 3 and found["read"]["pictures"] == 4
    assert "disk" in about["what"]


@pytest.mark.parametrize("given, said", [
    ({"batch_size": 0}, "--batch-size is 0"), ({"seconds": 0}, "--seconds is 0"), ({"pictures": "nowhere"}, "it wants a folder"),
    ({"net": "small64_batchnorm", "batch_size": 1}, "take 2, or --inference"),
    ({"net": "tiny64", "model": "default"}, "leave one out"), ({"recipe": "moderm"}, "did you mean modern")])
def test_what_does_not_fit_is_refused_before_anything_is_timed(given, said, capsys):
    with pytest.raises(Misused, match=said):
        bench(**given)
    assert capsys.readouterr().err == ""


def test_an_empty_folder_and_a_store_of_another_size_are_refused(store, tmp_path):
    with pytest.raises(Refused, match="no picture in it can be read"):
        bench(pictures=tmp_path)
    with pytest.raises(Refused, match="64"):
        bench(net="batchnorm", pictures=store)


def test_the_stopwatch_leaves_the_loop_as_it_was_and_sees_every_part(store, monkeypatch):
    """A pause planted in the forward pass shows there and nowhere else."""
    import time

    from alexnet import recipes
    from alexnet.data.store import open_split
    from alexnet.net import AlexNet
    from alexnet.parts import Part

    forward = AlexNet.forward
    monkeypatch.setattr(AlexNet, "forward", lambda self, batch: (time.sleep(0.15), forward(self, batch))[1])
    parts, whole = stages.train_alone(Part(open_split(store)), nets.row("tiny64"), recipes.recipe("tiny"), batch_size=4, device=CPU,
                                      precision="float32", workers=1, spend={"parts": 0.1, "training": 0.1})
    assert parts["forward"]["fastest"] > 0.15 > max(parts[name]["fastest"] for name in ("augment", "backward", "optimiser"))
    assert whole["seconds_per_step"] > 0.15 and whole["waiting"] < 0.1


# ---- what needs no clock ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["single_tower", "lenet", "cifar26"])
def test_multiply_adds_are_those_of_the_table_and_the_picture_needs_no_gradient(name):
    shapes = nets.shapes(nets.row(name), 10)
    conv1 = shapes[0]
    by_hand = conv1.output[0] * conv1.output[1] * conv1.output[2] * conv1.input[0] * conv1.layer.kernel**2
    assert products(nets.row(name), 10) == (sum(shape.multiply_adds for shape in shapes), by_hand)
    dense = nets.Row("x", "", (Dense("fc1", 50), Dense("fc2", 0)), crop=8, columns=1)
    assert products(dense, 10) == (192 * 50 + 500, 192 * 50)


def planted(**parts):
    """Stages whose slowest part is as given; 100 pictures a step, decoding 1,000 a second."""
    seconds = {"augment": 0.1, "forward": 0.1, "backward": 0.1, "optimiser": 0.1} | parts
    return {name: {"seconds": value} for name, value in seconds.items()} | {"all_cores": {"pictures_per_second": 1000.0}}


def stepped(seconds, waiting=0.0):
    return {"seconds_per_step": seconds, "pictures_per_second": 100 / seconds, "waiting": waiting}


@pytest.mark.parametrize("slowest", ["augment", "forward", "backward", "optimiser"])
def test_the_sentence_names_the_slowest_part(slowest):
    said = bottleneck(planted(**{slowest: 0.7}), training=stepped(1.0))
    assert said == (f"Training waits for nothing: the step takes 1.00 s, of which 70 % is {slowest}; "
                    "decoding could feed 10 times that.")


def test_the_sentence_names_the_store_when_steps_wait_for_it():
    said = bottleneck(planted(backward=0.7), training=stepped(0.5, waiting=0.4))
    assert said.startswith("Training waits for the store: 40 % of a step's 500 ms") and "backward" not in said


def test_of_the_net_in_use_it_names_decoding_or_the_network():
    used = {"seconds_per_batch": 0.01, "batch_size": 100, "pictures_per_second": 10_000.0}
    assert bottleneck(planted(), inference=used).startswith("Prediction waits for decoding, 1,000 pictures a second")
    used = {"seconds_per_batch": 0.5, "batch_size": 100, "pictures_per_second": 200.0}
    assert bottleneck(planted(), inference=used) == (
        "Prediction waits for the network: 100 pictures take 500 ms, decoding could feed 5.0 times that.")


def test_repeated_counts_what_it_says():
    calls = []
    taken = machine.repeated(lambda: calls.append(1), seconds=0, device=CPU, least=4)
    assert len(taken) == 4 and len(calls) == 5  # the first is not counted
    assert len(machine.repeated(lambda: None, seconds=1, device=CPU, most=7)) == 7


def test_the_ceiling_leaves_no_setting_behind():
    before = torch.backends.cuda.matmul.allow_tf32
    found = machine.ceiling(CPU, "float32", seconds=0.01)
    assert found.keys() == {"float32", "copy"} and min(found.values()) > 1e8
    assert torch.backends.cuda.matmul.allow_tf32 == before


def test_the_gate_says_which_precisions_may_answer(run, store, tmp_path, capsys):
    path = tmp_path / "w.safetensors"
    path.write_bytes(cards.find(run).read_bytes())
    with pytest.raises(Misused, match="name it with --model"):
        alexnet.bench(gate=str(store))
    answer = alexnet.bench(model=str(path), inference=True, batch_size=4, seconds=0.2, gate=str(store))
    assert answer["gate"].keys() == {"bfloat16", "int8"} and answer["gate"]["int8"]["images"] == 48
    kept = json.loads((tmp_path / "w.engines.json").read_text())["precisions"]
    assert kept["int8"]["difference"] == answer["gate"]["int8"]["difference"]
    answers.show_bench(answer)
    assert "points of top-1 error, 0.3 allowed" in capsys.readouterr().out
