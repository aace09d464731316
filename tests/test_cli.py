"""The command: options read off signatures and accepted anywhere, answers as tables or JSON, errors, exit codes."""

import json
import os
import signal
import subprocess
import sys
from typing import Annotated, Literal

import numpy as np
import pytest
from PIL import Image

from alexnet import answers, cli
from alexnet.errors import Misused, Refused
from alexnet.words import arguments, read_words

KEYS_OF_AN_EPOCH = [
    "epoch",
    "images",
    "train_loss",
    "val_images",
    "val_top1_error",
    "val_top5_error",
    "log_loss",
    "lr",
    "images_per_second",
]


@pytest.fixture
def alexnet(capfd, monkeypatch):
    """alexnet("predict", ...) -> (exit code, stdout, stderr), in this process."""
    monkeypatch.setenv("ALEXNET_MALLOC", "default")
    before = signal.getsignal(signal.SIGTERM)

    def call(*words):
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as left:
            code = left.code
        return code, *capfd.readouterr()

    yield call
    signal.signal(signal.SIGTERM, before)


def sheet(
    first: Annotated[str, "a first thing"],
    *,
    wide_open: Annotated[float, "how wide"] = 0.5,
    kind: Literal["plain", "fancy", 3] = "plain",
    limit: int | None = 7,
    size: int,
    careful: bool = True,
    loud: bool = False,
    on_page=None,
): ...


def read(*words, function=sheet):
    return read_words("nets", function, list(words), about="")


def test_options_are_read_off_the_signature():
    given, asked = read(
        "a", "--size", "3", "--wide-open=0.25", "--kind", "3", "--no-careful", "--loud", "--limit", "none"
    )
    assert given.positionals == ["a"]
    assert given.keywords == {"size": 3, "wide_open": 0.25, "kind": 3, "careful": False, "loud": True}
    assert not asked["json"]
    assert read("a", "--size=3")[0].keywords == {"size": 3}  # what is not given is not passed


def test_options_stand_anywhere():
    for words in (["--size", "3", "--json", "a"], ["a", "--json", "--size=3"], ["--json", "a", "--size", "3"]):
        given, asked = read(*words)
        assert (given.positionals, given.keywords, asked["json"]) == (["a"], {"size": 3}, True)
    given, _ = read("--size", "3", "--", "--json")
    assert given.positionals == ["--json"]
    assert read("-", "--size", "-3")[0] == (["-"], {"size": -3})


@pytest.mark.parametrize(
    "words, said",
    [
        (["a", "--size", "three"], "--size is 'three'; it wants a whole number."),
        (["a", "--size", "3", "--kind", "fanzy"], "--kind is 'fanzy': did you mean fancy?"),
        (["a", "--siz", "3"], "nets has no option --siz: did you mean --size?"),
        (["a", "--wide_open", "3"], "nets has no option --wide_open: did you mean --wide-open?"),
        (["a", "--size"], "--size wants a value"),
        (["a", "--size", "--json"], "--size wants a value"),
        (["a", "--size", "3", "--loud=yes"], "--loud takes no value, 'yes' was given."),
        (["a"], "these are missing: --size"),
        (["--size", "3"], "these are missing: FIRST"),
        (["a", "b", "--size", "3"], "unrecognized arguments: b"),
        (["a", "--size", "3", "--on-page", "x"], "nets has no option --on-page"),
    ],
)
def test_a_slip_is_answered(words, said):
    with pytest.raises(Misused) as caught:
        read(*words)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_fields_of_the_recipe_are_options_of_train():
    from alexnet import recipes, train

    given, _ = read("STORE", "--out", "RUN", "--epochs", "3", "--no-reflect", "--crop", "resized", function=train.train)
    assert given.keywords == {"out": "RUN", "epochs": 3, "reflect": False, "crop": "resized"}
    known = {argument.name for argument in arguments(train.train)}
    assert set(recipes.options()) <= known


@pytest.mark.parametrize(
    "words, said",
    [
        (["evalute"], "there is no verb 'evalute': did you mean evaluate"),
        (["--jsn"], "there is no option --jsn"),
        (["nets", "papr"], "there is no net 'papr': did you mean paper?"),
        (["predict"], "these are missing: IMAGE"),
        (["train", "STORE", "--out", "RUN", "--crop", "windov"], "--crop is 'windov': did you mean window?"),
        (
            ["train", "STORE", "--out", "RUN", "--moment", "0.9"],
            "train has no option --moment: did you mean --momentum",
        ),
        (["evaluate"], "these are missing: MODEL"),
    ],
)
def test_wrong_usage_is_one_sentence_and_2(alexnet, words, said):
    code, out, err = alexnet(*words)
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1


def test_every_verb_has_help_and_version(alexnet):
    for verb in cli.VERBS:
        code, out, _ = alexnet(verb, "--help")
        assert code == 0 and out.startswith(f"usage: alexnet {verb}") and "--json" in out
        assert alexnet(verb, "--version")[:2] == alexnet("--version")[:2]
    code, out, _ = alexnet("--help")
    assert code == 0 and all(verb in out for verb in cli.VERBS)
    assert alexnet()[0] == 2


def test_a_failure_is_one_sentence_and_1(alexnet, monkeypatch):
    def wrong(name=None):
        raise {"refused": Refused("it is\nrefused."), "odd": KeyError("what")}[name]

    monkeypatch.setattr("alexnet.nets.nets", wrong)
    assert alexnet("nets", "refused")[:2] == (1, "")
    code, _, err = alexnet("nets", "odd")
    assert code == 1 and "--debug" in err and err.count("\n") == 1
    code, _, err = alexnet("nets", "odd", "--debug")
    assert code == 1 and "Traceback" in err


def test_json_has_no_nan_and_no_numpy():
    value = {"a": float("nan"), "b": np.float32(0.5), "c": np.arange(2), "d": (1, float("inf")), 5: None}
    assert json.loads(answers.as_json(value)) == {"a": None, "b": 0.5, "c": [0, 1], "d": [1, None], "5": None}


def test_nets_as_table_and_as_lines(alexnet):
    from alexnet import nets

    code, out, err = alexnet("nets")
    assert (code, err) == (0, "") and all(name in out for name in nets.ROWS) and "\033" not in out
    lines = alexnet("nets", "--json")[1].splitlines()
    assert [json.loads(line)["name"] for line in lines] == list(nets.ROWS)
    assert "60,965,224" in alexnet("nets", "paper")[1]


def test_evaluate_answers_as_the_contract_says(alexnet, run, store):
    code, out, _ = alexnet("evaluate", run, "--views", "10", store, "--json")
    found = json.loads(out)
    assert code == 0 and found["views"] == 10 and found["images"] == 48 and found["refused"] == 0
    assert {"models", "top1_error", "top5_error", "log_loss", "top1_interval"} <= set(found)
    code, out, _ = alexnet("evaluate", run, run, store)
    assert code == 0 and "top-1 error" in out and "48 pictures" in out


def test_predict_answers_in_order_whatever_is_in_it(alexnet, run, pictures, tmp_path):
    broken, odd = tmp_path / "broken.jpg", os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    broken.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    Image.new("RGB", (70, 90), "red").save(tmp_path / "red.png")
    os.rename(tmp_path / "red.png", odd)
    good = pictures / "val" / "cat" / "0001.png"
    code, out, err = alexnet(
        "predict", good, "--top", 2, broken, os.fsdecode(odd), "nothing.jpg", "--model", run, "--json"
    )
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 1 and err == ""
    assert [line["path"] for line in lines] == [str(good), str(broken), str(tmp_path / "caf\\xe9.png"), "nothing.jpg"]
    assert [set(line) for line in lines] == [{"path", "top"}, {"path", "error"}, {"path", "top"}, {"path", "error"}]
    assert [set(one) for one in lines[0]["top"]] == [{"index", "id", "name", "probability"}] * 2
    code, out, err = alexnet("predict", good, broken, "--model", run)
    assert code == 1 and str(good) in out and f"{broken}: " in err and err.count("\n") == 1
    assert alexnet("predict", good, "--model", run, "--out", tmp_path / "a.csv")[:2] == (0, "")


def command(*words, **settings):
    return subprocess.Popen(
        [sys.executable, "-m", "alexnet", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **settings,
    )


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_training_behind_a_checkpoint(store, tmp_path, number, code):
    run = tmp_path / "run"
    with command(
        "train", store, "--recipe", "tiny", "--out", run, "--epochs", "500", "--batch-size", "64", "--json"
    ) as training:
        line = json.loads(training.stdout.readline())
        training.send_signal(number)
        rest, err = training.communicate(timeout=60)
    assert training.returncode == code and "--resume" in err and "Traceback" not in err
    assert list(line) == KEYS_OF_AN_EPOCH and all(
        list(json.loads(one)) == KEYS_OF_AN_EPOCH for one in rest.splitlines()
    )
    assert (run / "checkpoints" / "last" / "weights.safetensors").exists()


def test_a_reader_that_leaves_is_no_error(pictures, run):
    with command("predict", pictures / "train", "--model", run, "--json") as predicting:
        predicting.stdout.close()
        err = predicting.stderr.read()
        assert predicting.wait(60) == 0 and "Traceback" not in err and "roken" not in err


def test_what_is_made_is_finished_though_nobody_reads_any_more(pictures, store, run, tmp_path):
    few = ["train", store, "--recipe", "tiny", "--out", tmp_path / "run", "--epochs", "2", "--batch-size", "64", "--json"]
    for words in (few, ["predict", pictures / "train", "--model", run, "--json", "--out", tmp_path / "answers.jsonl"]):
        with command(*words) as working:
            working.stdout.close()
            err = working.stderr.read()
            assert working.wait(120) == 0 and "Traceback" not in err and "roken" not in err
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) >= 2 and (tmp_path / "run" / "report.html").exists()
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == sum(1 for _ in (pictures / "train").rglob("*.*"))
    with command(*few[:5], tmp_path / "deaf", *few[6:]) as working:  # and though nobody listens
        working.stderr.close()
        out = working.stdout.read()
        assert working.wait(120) == 0 and len(out.splitlines()) == 2


def test_the_range_test_is_answered(alexnet, store, tmp_path):
    words = ("train", store, "--recipe", "tiny", "--batch-size", "64", "--find-rate", tmp_path / "rate.svg")
    code, out, err = alexnet(*words, "--json")
    assert code == 0 and json.loads(out)["proposed_rate"] > 0
    code, out, err = alexnet(*words[:-1], tmp_path / "no" / "rate.svg")
    assert code == 1 and "the folder" in err and "is not there" in err and "trying" not in err
