"""What a verb answers, on stdout: one JSON object a line, or a table for people. The standard library is enough."""

import json
from types import NoneType

from alexnet.answers.data import show_inspect, show_prepare
from alexnet.answers.evaluated import show_evaluate
from alexnet.answers.exchanged import show_convert, show_export
from alexnet.answers.machine import show_bench, show_doctor
from alexnet.answers.training import show_demo, show_epoch, show_explain, show_nets, show_rates
from alexnet.answers.use import show_features, show_found, show_picture, show_transfer
from alexnet.printing import write

EPOCH = (
    "epoch",
    "images",
    "train_loss",
    "val_images",
    "val_top1_error",
    "val_top5_error",
    "log_loss",
    "lr",
    "images_per_second",
)


class Answers:
    """Shows what a verb answers, at once or one by one; `code` is the exit code."""

    def __init__(self, verb, *, as_json, file=None):
        self.verb, self.as_json, self.file, self.code, self.count = verb, as_json, file, 0, 0

    def one(self, answer):
        """One of many, as it comes: an epoch, a picture."""
        if "error" in answer:
            self.code = 1
        if self.as_json:
            keep = EPOCH if self.verb == "train" else answer
            write(as_json({key: answer[key] for key in keep if key in answer}))
        else:
            ONE[self.verb](answer, self)
        self.count += 1

    def all(self, answer):
        if self.verb == "features" and answer["refused"]:
            self.code = 1
        if self.as_json:
            for one in answer if isinstance(answer, list) else [answer]:
                write(as_json(one))
        else:
            ALL[self.verb](answer)


def as_json(value):
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value):
    """As JSON has it: no NaN, no numpy, no paths."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
        return None
    return value if isinstance(value, str | int | float | bool | NoneType) else str(value)


ONE = {"train": show_epoch, "predict": show_picture, "inspect": show_inspect, "search": show_found}
ALL = {
    "train": show_rates,  # of --find-rate; epochs come one by one
    "prepare": show_prepare,
    "nets": show_nets,
    "evaluate": show_evaluate,
    "features": show_features,
    "transfer": show_transfer,
    "explain": show_explain,
    "demo": show_demo,
    "bench": show_bench,
    "export": show_export,
    "convert": show_convert,
    "serve": lambda answer: None,  # it has said where it listens
    "doctor": show_doctor,
}
