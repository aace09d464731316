"""The house holds: a file imports only from lower floors, each library has one door, files stay readable."""

import ast
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent / "alexnet"
FILES = {file.relative_to(HOUSE).with_suffix("").as_posix(): file for file in sorted(HOUSE.rglob("*.py"))}
TREES = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in FILES.items()}

GROUND = {"errors", "progress", "device"}  # anyone may stand on these
FLOORS = {  # the first match counts; a folder is one room, whose files may import each other
    "errors": 0,
    "progress": 0,
    "device": 0,
    "places": 0,
    "compiled": 0.5,  # which reads places
    "cards": 1.5,
    "drawing": 0,
    "nets": 0.5,  # which draws by drawing and figures
    "recipes": 0,
    "ops": 0.2,  # which reads places
    "optim": 0.5,  # which reads recipes
    "parallel": 0,
    "figures": 0,
    "printing": 0,
    "predictions": 1.2,  # which writes whole files as rundir does
    "processor": 0,
    "net": 1,
    "data": 1,
    "ledger": 0,
    "memory": 0,
    "rundir": 1,
    "rows": 1.2,  # whose facts are written whole, as rundir does
    "weights": 2,
    "towers": 2,
    "parts": 2,
    "signals": 2,
    "trials": 2.5,
    "keeping": 2.5,
    "evaluate": 2.5,  # which reads weights
    "train": 3,
    "exchange": 1.3,  # foreign formats in terms of nets/
    "by_torch": 3,
    "engines": 3.5,  # which chooses among exchange's backends
    "gate": 3.7,
    "classifier": 4,
    "features": 4.5,
    "maps": 4.5,
    "search": 4.7,
    "transfer": 5,
    "convert": 4.9,
    "export": 5,  # which reads back what it wrote
    "explain": 5,
    "inspection": 5,
    "machine": 1,
    "stages": 5,
    "doctor": 6,
    "bench": 6,
    "scale": 6,
    "serve": 6,
    "demo": 6,
    "answers": 6,
    "words": 6,
    "cli": 7,
    "__main__": 8,
    "__init__": 8,
}
DOORS = {  # library -> the only rooms that may open it
    "matplotlib": {"figures", "drawing"},
    "cykooz_resizer": {"data"},
    "triton": {"ops/triton"},
    "argparse": {"words"},
    "ray": {"scale"},
    "fastapi": {"serve"},
    "starlette": {"serve"},
    "uvicorn": {"serve"},
    "prometheus_client": {"serve"},
    "onnx": {"exchange", "engines"},
    "onnxruntime": {"exchange", "engines"},
    "openvino": {"exchange", "engines"},
    "torchvision": set(),
    "huggingface_hub": {"exchange"},
    "pickle": {"exchange"},
}
WITHOUT_TORCH = (
    "data/picture",
    "data/sources",
    "data/prepare",
    "data/packing",
    "data/crew",
    "data/sides",
    "data/store",
    "data/order",
    "data/likeness",
    "data/sample",
    "figures",
    "printing",
    "drawing",
    "nets",
    "recipes",
    "answers",
    "cli",
    "errors",
    "progress",
    "places",
    "compiled",
    "cards",
    "engines",
    "exchange/graph",
    "serve",
    "gate",
)


def room(name):
    return name.split("/")[0]


def imported(tree):
    """Every module that a file imports, wherever in it: dotted names; for the package's own, paths below alexnet/."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(tree):
    for name in imported(tree):
        if name.startswith("alexnet."):
            yield room(name.removeprefix("alexnet.").replace(".", "/"))


@pytest.mark.parametrize("name", TREES)
def test_imports_come_from_lower_floors(name):
    here = room(name)
    assert here in FLOORS, f"alexnet/{name}.py stands on no floor: give it one here and in the design"
    for other in own(TREES[name]):
        if other == here or other in GROUND - {here} or other.startswith("__"):
            continue
        assert FLOORS[other] < FLOORS[here], (
            f"alexnet/{name}.py (floor {FLOORS[here]}) imports {other} (floor {FLOORS[other]})"
        )


@pytest.mark.parametrize("name", TREES)
def test_the_package_itself_gives_its_version_only(name):
    """`import alexnet` inside the house must not be a way around the floors."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "alexnet":
            assert node.attr == "__version__", f"alexnet/{name}.py, line {node.lineno}: alexnet.{node.attr}"


@pytest.mark.parametrize("name", TREES)
def test_each_library_has_its_door(name):
    for module in imported(TREES[name]):
        library = module.split(".")[0]
        if library in DOORS:
            assert any(name == door or name.startswith(f"{door}/") for door in DOORS[library]), (
                f"alexnet/{name}.py imports {module}"
            )
        if library == "torch":
            assert not name.startswith(tuple(f"{n}/" for n in WITHOUT_TORCH)) and name not in WITHOUT_TORCH, (
                f"{name} imports torch"
            )


@pytest.mark.parametrize("name", TREES)
def test_nothing_is_executed_or_imported_unseen(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("exec", "eval", "globals", "__import__"), (
                f"alexnet/{name}.py, line {node.lineno}"
            )
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), f"alexnet/{name}.py, line {node.lineno}"


@pytest.mark.parametrize("name", TREES)
def test_nothing_happens_at_import(name):
    """A file defines; it calls nothing for its effect."""
    if name == "__main__":
        return
    for node in TREES[name].body:
        called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        assert not called and not isinstance(node, ast.For | ast.While | ast.With), (
            f"alexnet/{name}.py, line {node.lineno}"
        )


@pytest.mark.parametrize("name", TREES)
def test_files_and_functions_can_be_read(name):
    assert not {"utils", "util", "helpers", "common", "misc"} & set(name.split("/"))
    text = FILES[name].read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= 400, f"alexnet/{name}.py has {len(lines)} lines"
    assert not text.strip() or ast.get_docstring(TREES[name]), f"alexnet/{name}.py does not say what it is for"
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.FunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= 80, f"alexnet/{name}.py: {node.name} has {length} lines"
