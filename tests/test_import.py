"""Importing is cheap and changes nothing; asking for help loads no library that a network needs."""

import os
import statistics
import subprocess
import sys

import alexnet

HEAVY = ("torch", "matplotlib", "numpy", "PIL", "rich", "skimage", "sklearn")


def fresh(code):
    """What a new process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_import_is_cheap():
    code = "import sys, time; began = time.perf_counter(); import alexnet; took = time.perf_counter() - began\n"
    code += f"print(took, {set(HEAVY)} & sys.modules.keys())"
    answers = [fresh(code).split(" ", 1) for _ in range(5)]
    assert {loaded for _, loaded in answers} == {"set()"}
    assert statistics.median(float(seconds) for seconds, _ in answers) < 0.15


def test_import_changes_nothing():
    code = (
        "import os, signal, sys, warnings, numpy, PIL.Image\n"  # these have filters of their own
        "before = dict(os.environ), signal.getsignal(signal.SIGTERM), list(warnings.filters)\n"
        "import alexnet, alexnet.cli, alexnet.classifier\n"
        "after = dict(os.environ), signal.getsignal(signal.SIGTERM), list(warnings.filters)\n"
        "print(before == after, 'torch' in sys.modules)"
    )
    assert fresh(code) == "True False"


def test_help_loads_no_library():
    for words in (["--help"], ["--version"], ["nets"], ["nets", "--help"]):
        code = (
            f"import sys; from alexnet.cli import main\ntry: main({words})\nexcept SystemExit: pass\n"
            f"print(); print({set(HEAVY)} & sys.modules.keys())"
        )
        assert fresh(code).splitlines()[-1] == "set()", words


def test_public_names_are_there_and_verbs_callable():
    assert set(alexnet.__all__) == set(alexnet.PUBLIC)
    for name in alexnet.PUBLIC:
        assert callable(getattr(alexnet, name)), name
    assert alexnet.nets("paper")[0]["parameters"] == alexnet.nets.nets("paper")[0]["parameters"]


def test_module_and_command_are_the_same():
    done = subprocess.run(
        [sys.executable, "-m", "alexnet", "--version"], capture_output=True, text=True, env=os.environ
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, f"alexnet {alexnet.__version__}", "")
