"""alexnet VERB: every verb is a Python function, and its options are read off that function's signature. Nothing heavy
is imported before a verb is called. Answers go to stdout (with --json an object a line), talk and errors to stderr."""

import errno
import os
import signal
import sys
import threading
import traceback
from importlib import import_module
from inspect import signature

import alexnet
from alexnet.answers import Answers
from alexnet.errors import Misused, Refused, nearest
from alexnet.memory import keep_memory
from alexnet.printing import ReaderLeft, write
from alexnet.progress import leads, mute, say
from alexnet.words import read_words

VERBS = {  # name -> (module, function, what it does)
    "demo": ("demo", "demo", "the whole thing in a few minutes, with nothing to download: train, measure, use, report"),
    "prepare": ("data.prepare", "prepare", "read pictures into a store: a folder, one square a picture, checksummed"),
    "inspect": ("inspection", "inspect", "the data doctor: odd pictures, empty classes, copies, leakage between splits"),
    "nets": ("nets", "nets", "the table of networks, or the layers of one"),
    "train": ("train", "train", "train a net on a store, measured every epoch"),
    "evaluate": ("evaluate", "evaluate", "top-1 and top-5 errors of a model, or of several as an ensemble"),
    "predict": ("classifier", "predict", "what is in these pictures: ranked classes with probabilities"),
    "features": ("features", "features", "any named layer of many pictures, as an array"),
    "search": ("search", "search", "pictures like this one: nearest neighbours in the last hidden layer"),
    "transfer": ("transfer", "transfer", "make a trained net your own: class folders in, a working model out"),
    "explain": ("explain", "explain", "figures and one HTML report of a run or a weights file"),
    "export": ("export", "export", "a net for other programs: ONNX, OpenVINO, torchvision, the Hugging Face hub, Caffe"),
    "convert": ("convert", "convert", "other programs' weights for here: torchvision, Caffe, ONNX, the hub, the 2012 program"),
    "serve": ("serve", "serve", "an HTTP service and a page: predict, search, features, explain; closed unless told otherwise"),
    "bench": ("bench", "bench", "where the time goes on this machine, stage by stage, and what the bottleneck is"),
    "doctor": ("doctor", "doctor", "versions, devices, which backend each op uses and why; what is odd, and what to do"),
}
THE_MACHINES = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO}  # reasons to fail, and clear enough in its words
HUNGRY = set(VERBS) - {"nets", "doctor", "inspect", "explain"}  # verbs that make large things over and over


def main(words=None):
    """The command: words -> exit code."""
    words = list(sys.argv[1:] if words is None else words)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
    try:
        return run(words)
    except ReaderLeft:
        mute(sys.stdout)
        return 0
    except KeyboardInterrupt:
        _complain("interrupted.")
        return 130
    except Exception as error:
        if "--debug" in words:
            traceback.print_exc()
        elif isinstance(error, Refused):
            _complain(error)
        elif isinstance(error, OSError) and error.errno in THE_MACHINES:
            what = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
            _complain(f"{what}{error.strerror.lower()}.")
        else:
            what = " ".join(str(error).split()) or "no reason given"
            _complain(
                f"{type(error).__name__}: {what.rstrip('.')}; this was not foreseen, --debug shows the traceback."
            )
        return 2 if isinstance(error, Misused) else 1


def run(words):
    """Find the verb, read its options, call its function, show what it answers; -> exit code."""
    verb, rest = split_verb(words)
    if verb is None:
        return _without_verb(rest)
    module, name, _ = VERBS[verb]
    function = getattr(import_module(f"alexnet.{module}"), name)
    given, asked = read_words(verb, function, rest, about=VERBS[verb][2])
    if asked["version"]:
        return _without_verb(["--version"])
    if verb in HUNGRY:
        keep_memory()
    show = Answers(verb, as_json=asked["json"], file=given.keywords.get("out"))
    if hook := next((p for p in signature(function).parameters if p.startswith("on_")), None):
        one = lasting(show.one) if "out" in given.keywords else show.one
        given.keywords[hook] = watched(one, given.keywords.get("out")) if verb == "train" else one  # each as it comes
        found = function(*given.positionals, **given.keywords)
        if "find_rate" in given.keywords:
            show.all(found)
        elif verb == "train" and leads():
            say(f"report: {explained(given.keywords['out'], anew=show.count > 0)}")
    else:
        show.all(function(*given.positionals, **given.keywords))
    return show.code


def lasting(show):
    """Where a file is made too, it is finished though nobody reads stdout any more."""

    def each(line):
        try:
            show(line)
        except ReaderLeft:
            mute(sys.stdout)

    return each


def watched(show, run):
    """An epoch as a line, and in a page beside the run that can be watched in a browser."""
    page = None

    def each(line):
        nonlocal page
        from alexnet.explain.live import Live

        show(line)
        page = page or Live(run)
        page(line)

    return each


def explained(run, *, anew):
    """A run that was trained by the command has its report beside it; where no epoch was trained, the one it has."""
    if not anew and os.path.exists(report := os.path.join(run, "report.html")):
        return report
    from alexnet.explain import explain

    return explain(run)["report"]


def split_verb(words):
    """-> (verb, the other words); common options may stand before the verb."""
    place = 0
    while place < len(words) and words[place].startswith("-"):
        place += 2 if words[place] == "--device" else 1
    if place >= len(words):
        return None, words
    verb = words[place]
    if verb not in VERBS:
        raise Misused(f"there is no verb {verb!r}: {nearest(verb, VERBS)}")
    return verb, words[:place] + words[place + 1 :]


def _without_verb(words):
    if "--version" in words:
        write(f"alexnet {alexnet.__version__}")
        return 0
    width = max(map(len, VERBS))
    lines = [
        "usage: alexnet VERB ...",
        "",
        "AlexNet (2012), the whole system: from pictures to a trained, measured classifier.",
        "",
    ]
    lines += [f"  {verb:{width}}  {about}" for verb, (_, _, about) in VERBS.items()]
    lines += [
        "",
        "alexnet VERB --help lists a verb's options. Every verb takes --json, --device, --debug and --version.",
    ]
    if "--help" in words or "-h" in words:
        write("\n".join(lines))
        return 0
    if unknown := [word for word in words if word not in ("--json", "--debug", "--device")][:1]:
        raise Misused(f"there is no option {unknown[0]} without a verb: {nearest(unknown[0], ['--help', '--version'])}")
    print("\n".join(lines), file=sys.stderr)
    return 2


# ---- the process -----------------------------------------------------------------------------------------------------


def _terminated(number, frame):
    raise SystemExit(143)


def _complain(sentence):
    print(f"alexnet: {sentence}", file=sys.stderr, flush=True)
