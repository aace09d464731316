"""A verb's options, read off the signature of its function: names, types, help texts and defaults are the annotations'. Options may
stand anywhere; what does not fit is answered in one sentence."""

import argparse
import difflib
import shutil
from importlib import import_module
from inspect import Parameter, signature
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from alexnet.errors import Misused, nearest


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


def read_words(verb, function, words, *, about):
    """-> (Given for the function, the common options). Options stand anywhere; `--` ends them."""
    known = arguments(function)
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
