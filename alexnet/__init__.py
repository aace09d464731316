"""AlexNet (Krizhevsky, Sutskever, Hinton 2012): the whole system. Importing this is cheap: torch is imported on first use.

A verb of the command line is a function of the same name here: alexnet.train(...) is `alexnet train ...`. Where a file
has the verb's name (train.py), the module itself is callable, so that alexnet.train(...) and alexnet.train.Loop both work.
"""

import sys
from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

# public name -> the module that defines it
PUBLIC = {
    "AlexNet": "net",
    "Classifier": "classifier",
    "Ranked": "classifier",
    "load": "classifier",
    "predict": "classifier",
    "nets": "nets",
    "prepare": "data.prepare",
    "train": "train",
    "evaluate": "evaluate",
    "features": "features",
    "search": "search",
    "transfer": "transfer",
    "explain": "explain",
    "inspect": "inspection",
    "demo": "demo",
    "export": "export",
    "convert": "convert",
    "serve": "serve",
    "bench": "bench",
    "doctor": "doctor",
    "Refused": "errors",
}
__all__ = sorted(PUBLIC)


class _Room(ModuleType):
    def __call__(self, *args, **kwargs):
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)


class _Package(ModuleType):
    def __setattr__(self, name, value):
        if PUBLIC.get(name) == name and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


def __getattr__(name):
    if name not in PUBLIC:
        raise AttributeError(f"alexnet has no {name!r}")
    module = import_module(f"alexnet.{PUBLIC[name]}")
    return module if PUBLIC[name] == name else getattr(module, name)


def __dir__():
    return __all__


sys.modules[__name__].__class__ = _Package
