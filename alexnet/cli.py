"""alexnet VERB: every verb is a Python function, and its options are read off that function's signature. Nothing heavy
is imported before a verb is called. Answers go to stdout (with --json an object a line), talk and errors to stderr."""

import argparse
import difflib
import os
import shutil
import signal
import sys
import threading
import traceback
from importlib import import_module
from inspect import Parameter, signature
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import alexnet
from alexnet.answers import Answers
from alexnet.errors import Misused, Refused, nearest
from alexnet.memory import keep_memory
from alexnet.printing import ReaderLeft, write
from alexnet.progress import leads, say

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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        _complain("interrupted.")
        return 130
    except Exception as error:
        if "--debug" in words:
            traceback.print_exc()
        elif isinstance(error, Refused):
            _complain(error)
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
    given, asked = read_words(verb, function, rest)
    if asked["version"]:
        return _without_verb(["--version"])
    if verb in HUNGRY:
        keep_memory()
    show = Answers(verb, as_json=asked["json"], file=given.keywords.get("out"))
    if hook := next((p for p in signature(function).parameters if p.startswith("on_")), None):
        given.keywords[hook] = watched(show.one, given.keywords.get("out")) if verb == "train" else show.one  # each as it comes
        function(*given.positionals, **given.keywords)
        if verb == "train" and "find_rate" not in given.keywords and leads():
            say(f"report: {explained(given.keywords['out'])}")
    else:
        show.all(function(*given.positionals, **given.keywords))
    return show.code


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


def explained(run):
    """A run that was trained by the command has its report beside it."""
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


# ---- a verb's options, from its function ---------------------------------------------------------------------------


class Argument(NamedTuple):
    name: str
    place: str  # a "first" positional, "many" of them, an "option", a field of the "recipe"
    kind: Any
    help: str
    default: Any
    shown: str = ""  # in the usage, where it is not the name

    @property
    def option(self):
        return "--" + self.name.strip("_").replace("_", "-")  # from_ is --from


class Given(NamedTuple):
    positionals: list
    keywords: dict


def arguments(function):
    """The signature as Arguments. **fields are those of a recipe; callables (on_...) are for Python only."""
    hints = get_type_hints(function, include_extras=True)
    found = []
    for p in signature(function).parameters.values():
        if p.kind is Parameter.VAR_KEYWORD:
            options = import_module("alexnet.recipes").options()
            found += [Argument(name, "recipe", kind, about, None) for name, (kind, about) in options.items()]
            continue
        if p.name.startswith("on_"):
            continue
        kind, about, shown = hints.get(p.name, Any), "", []
        if get_origin(kind) is Annotated:
            kind, about, *shown = get_args(kind)
        if kind is Any and p.default not in (Parameter.empty, None):
            kind = type(p.default)
        place = {Parameter.POSITIONAL_OR_KEYWORD: "first", Parameter.VAR_POSITIONAL: "many"}.get(p.kind, "option")
        found.append(Argument(p.name, place, kind, about, p.default, *shown))
    return found


def read_words(verb, function, words):
    """-> (Given for the function, the common options). Options stand anywhere; `--` ends them."""
    known = arguments(function)
    about = VERBS[verb][2]
    parser = _Parser(
        prog=f"alexnet {verb}",
        usage=_usage(verb, known),
        description=f"{about[:1].upper()}{about[1:]}.",
        allow_abbrev=False,
        add_help=False,
        formatter_class=_Help,
    )
    groups = {
        "option": parser.add_argument_group("options"),
        "recipe": parser.add_argument_group("fields of the recipe"),
    }
    takes_value = {
        "--help": False,
        "-h": False,
        "--json": False,
        "--debug": False,
        "--version": False,
        "--device": True,
    }
    for argument in known:
        if argument.place not in groups:
            _add_positional(parser, argument)
        elif argument.name != "device":
            takes_value |= _add_option(groups[argument.place], argument)
    common = parser.add_argument_group("options of every verb")
    common.add_argument("--json", action="store_true", help="answer as one JSON object a line on stdout")
    common.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    common.add_argument("--version", action="store_true", help="print the version")
    common.add_argument("-h", "--help", action="help", help="print this")
    ordered = _options_first(verb, words, takes_value)
    if "--version" in ordered and "--help" not in ordered:
        return Given([], {}), {"version": True}
    read = vars(parser.parse_args(ordered))
    positionals, keywords = [], {}
    for argument in known:
        value = read.get(argument.name, argparse.SUPPRESS)
        if argument.place == "many":
            positionals += value
        elif argument.place == "first" and value is not argparse.SUPPRESS:
            positionals.append(value)
        elif value is not argparse.SUPPRESS and value is not None:
            keywords[argument.name] = value
    return Given(positionals, keywords), {key: read[key] for key in ("json", "version")}


def _options_first(verb, words, takes_value):
    """The same words with the options first, each joined to its value, and the positionals behind `--`."""
    options, positionals, words = [], [], list(words)
    while words:
        word = words.pop(0)
        if word == "--":
            positionals += words
            break
        if word == "-" or not word.startswith("-"):
            positionals.append(word)
            continue
        name, equals, value = word.partition("=")
        if name not in takes_value:
            close = difflib.get_close_matches(name.strip("-"), [option[2:] for option in takes_value], n=2, cutoff=0.6)
            hint = f"did you mean --{' or --'.join(close)}?" if close else f"alexnet {verb} --help lists what it takes."
            raise Misused(f"{verb} has no option {name}: {hint}")
        if takes_value[name] and not equals:
            if not words or words[0].partition("=")[0] in takes_value:
                raise Misused(f"{name} wants a value; see alexnet {verb} --help.")
            value = words.pop(0)
        elif equals and not takes_value[name]:
            raise Misused(f"{name} takes no value, {value!r} was given.")
        options.append(f"{name}={value}" if takes_value[name] else name)
    return options + (["--", *positionals] if positionals else [])


def _add_positional(parser, argument):
    name, shown = argument.name, _metavar(argument)
    if argument.place == "many":
        parser.add_argument(name, metavar=shown, nargs="+", type=_converter(argument), help=argument.help)
    elif argument.place == "first" and argument.default is not Parameter.empty:
        parser.add_argument(
            name, metavar=shown, nargs="?", type=_converter(argument), help=argument.help, default=argparse.SUPPRESS
        )
    else:
        parser.add_argument(name, metavar=shown, type=_converter(argument), help=argument.help)


def _add_option(parser, argument):
    """Adds it; -> {its spelling: whether it takes a value}."""
    about = argument.help.replace("%", "%%")
    if (
        argument.default is not Parameter.empty
        and argument.default not in (None, "")
        and not isinstance(argument.default, bool)
    ):
        about += f" (default: {argument.default})".replace("%", "%%")
    if argument.kind is bool:
        opposite = "--no-" + argument.option[2:]
        if argument.default is False:
            parser.add_argument(argument.option, action="store_const", const=True, dest=argument.name, help=about)
            return {argument.option: False}
        parser.add_argument(
            argument.option, action=argparse.BooleanOptionalAction, dest=argument.name, default=None, help=about
        )
        return {argument.option: False, opposite: False}
    choices = [str(choice) for choice in get_args(_without_none(argument.kind))] if _is_choice(argument.kind) else None
    shown = "{" + ",".join(choices) + "}" if choices else _metavar(argument)
    needed = argument.default is Parameter.empty
    parser.add_argument(
        argument.option, dest=argument.name, metavar=shown, type=_converter(argument), required=needed, help=about
    )
    return {argument.option: True}


def _converter(argument):
    """Text -> value of the argument's kind, refused in one sentence."""
    kind, optional = _without_none(argument.kind), _without_none(argument.kind) is not argument.kind
    shown = argument.option if argument.place in ("option", "recipe") else argument.name.upper()

    def convert(text):
        if optional and text == "none" and kind is not str:
            return None
        if _is_choice(kind):
            for choice in get_args(kind):
                if text == str(choice):
                    return choice
            raise Misused(f"{shown} is {text!r}: {nearest(text, get_args(kind))}")
        try:
            return kind(text) if kind in (int, float) else text
        except ValueError:
            article = "a whole number" if kind is int else "a number"
            raise Misused(f"{shown} is {text!r}; it wants {article}.") from None

    return convert


def _without_none(kind):
    if get_origin(kind) in (Union, UnionType):
        return next(part for part in get_args(kind) if part is not NoneType)
    return kind


def _is_choice(kind):
    return get_origin(_without_none(kind)) is Literal


def _metavar(argument):
    if argument.place == "many":
        return argument.shown or argument.name.upper().removesuffix("S") + "..."
    shown = argument.shown or argument.name.strip("_").rpartition("_")[2].upper()
    return {int: "N", float: "X"}.get(_without_none(argument.kind), shown)


def _usage(verb, known):
    """Options need no listing twice; what has to be there is named."""
    needed = [f"{a.option} {_metavar(a)}" for a in known if a.place == "option" and a.default is Parameter.empty]
    places = [
        _metavar(a)
        if a.place == "many" or a.default is Parameter.empty
        else f"[{_metavar(a)}]"
        for a in known
        if a.place in ("first", "many")
    ]
    return " ".join(["alexnet", verb, *places, *needed, "[options]"])


class _Help(argparse.HelpFormatter):
    def __init__(self, prog):
        super().__init__(prog, max_help_position=30, width=min(110, shutil.get_terminal_size((100, 24)).columns - 2))


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        message = message.replace("the following arguments are required: ", "these are missing: ")
        raise Misused(f"{self.prog.removeprefix('alexnet ')}: {message}; see {self.prog} --help.")


# ---- the process -----------------------------------------------------------------------------------------------------


def _terminated(number, frame):
    raise SystemExit(143)


def _complain(sentence):
    print(f"alexnet: {sentence}", file=sys.stderr, flush=True)
