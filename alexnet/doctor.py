"""Is everything in place here, and what will be used? Versions, the processor and its units, devices, which backend each operation
takes and why, engines, precision, decoding, memory, places. What is odd comes as a line that begins with what to do.

    alexnet doctor
"""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from pathlib import Path

import torch

from alexnet import __version__, cards, engines, machine, ops, processor, trials
from alexnet import device as devices
from alexnet.errors import Refused
from alexnet.ops import native, winograd
from alexnet.places import cache_folder

NEEDED = ("torch", "numpy", "pillow", "simplejpeg", "safetensors", "rich", "matplotlib", "scikit-image", "scikit-learn")
WELCOME = ("openvino", "onnxruntime", "onnx", "opencv-python-headless", "faiss-cpu", "pyarrow", "tensorboard")
LITTLE_MEMORY, LITTLE_DISK = 2e9, 2e9


def doctor(*, device="auto") -> dict:
    """One object; `do` holds a sentence for everything odd, beginning with what to do about it."""
    wanted = devices.pick(device)
    there, missing = versions()
    found = {
        "versions": there,
        "missing": missing,
        "processor": {"name": processor.name(), "units": machine.units(), "torch_uses": torch.backends.cpu.get_cpu_capability(),
                      **machine.cores(), "threads": torch.get_num_threads(), "load": machine.load(), "system": machine.system()},
        "memory": {"bytes": machine.memory(), "free": trials.free_memory(torch.device("cpu"))},
        "devices": cuda_devices(), "device": str(wanted),
        "precision": precision(wanted),
        "ops": operations(),
        "native": dict(zip(("usable", "why"), (native.ready(), native.library()[1]))),
        "engines": engines_here(),
        "compile": compiler(),
        "decoder": decoder(there),
        "allocator": allocator(),
        "cache": cache(),
        "disk_free": shutil.disk_usage(".").free,
        "shipped": shipped(),
    }
    return {**found, "do": todo(found)}


# ---- what is there ----------------------------------------------------------------------------------------------------------


def versions():
    """-> ({distribution: version}, {one that is not there: how it is installed})"""
    there, missing, extras = {"alexnet": __version__, "python": platform.python_version()}, {}, {}
    for line in _requirements():
        if match := re.match(r"""([\w.-]+).*extra == ['"](\w+)['"]""", line):
            if match[2] not in ("all", "test"):
                extras.setdefault(match[1].lower(), match[2])
    for name in (*NEEDED, *WELCOME):
        try:
            there[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing[name] = f"pip install 'alexnet[{extras[name]}]'" if name in extras else f"pip install {name}"
    return there, missing


def _requirements():
    try:
        return importlib.metadata.requires("alexnet") or []
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return []


def cuda_devices():
    """[{"name", "bytes", "free"}]; an NVIDIA card that torch cannot use is told in todo()."""
    if not torch.cuda.is_available():
        return []
    each = [torch.cuda.mem_get_info(number) for number in range(torch.cuda.device_count())]
    return [{"name": torch.cuda.get_device_name(number), "bytes": whole, "free": free} for number, (free, whole) in enumerate(each)]


def precision(wanted):
    """What `auto` comes to, and why."""
    kind = devices.precision("auto", wanted)
    if kind == "bfloat16":
        return {"auto": kind, "why": "this device has units that multiply it"}
    missing = " (AMX is not among the processor's)" if wanted.type == "cpu" else ""
    return {"auto": kind, "why": f"no units for bfloat16 here{missing}"}


def operations():
    """{operation: {device: {"backend", "why"}}} for a batch as nets have it: what ops chooses, what has one form only, what
    torch does itself."""
    found = {}
    for kind in ("cpu", "cuda"):
        if kind == "cuda" and not torch.cuda.is_available():
            continue
        batch = torch.zeros(2, 8, 4, 4, device=kind).contiguous(memory_format=torch.channels_last)
        library = "channels last, " + ("oneDNN" if kind == "cpu" else "cuDNN")
        table = {name: chosen(name, batch) for name in ops.__all__ if name not in ("backend", "convolution")}
        table |= {"convolutions": ("torch", library), "pools": ("torch", library)}
        if kind == "cpu":
            usable, why = winograd.usable()
            table["convolutions of 3 x 3 and 5 x 5"] = ("winograd" if usable else "torch"), f"in float32, stride 1: {why}"
        for name, (backend, why) in table.items():
            found.setdefault(name, {})[kind] = {"backend": backend, "why": why}
    return found


def chosen(name, batch):
    home = getattr(ops, name).__module__.removeprefix("alexnet.ops").lstrip(".")
    backend = (home, "its only form") if home else ops.backend(batch)
    if backend[0] == "cpu" and name not in ("response_norm", "norm_pool"):
        return "reference", "without the kernel, its only form"
    return backend


def engines_here():
    """[{"name", "usable", "why"}]: what may run a trained net."""
    return [dict(zip(("name", "usable", "why"), one)) for one in engines.available()]


def compiler():
    """A C++ compiler for torch.compile; None where there is none."""
    return next((path for path in map(shutil.which, ("g++", "clang++", "cl")) if path), None)


def decoder(there):
    if "simplejpeg" not in there:
        return "Pillow for every picture"
    return "simplejpeg (libjpeg-turbo) for grey and YCbCr JPEGs; Pillow for CMYK, unusual headers and every other format"


def allocator():
    """What the commands that run networks do with freed memory."""
    if os.environ.get("ALEXNET_MALLOC") == "default":
        return "commands leave it to the system, because ALEXNET_MALLOC=default"
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return "commands leave it to the system: this is not glibc"
    return "commands that run networks keep freed memory; a call from Python leaves it to the system"


def cache():
    folder = cache_folder()
    files = [file for file in folder.rglob("*") if file.is_file()] if folder.is_dir() else []
    near = folder
    while not near.exists():
        near = near.parent
    return {"folder": str(folder), "bytes": sum(file.stat().st_size for file in files), "files": len(files),
            "writable": os.access(near, os.W_OK) and near.is_dir()}


def shipped():
    """[{"name", "net", "classes", "bytes"}] of the weights in the package; "error" where a file is damaged."""
    found = []
    for file in sorted(cards.SHIPPED.glob("*.safetensors")):
        try:
            card = cards.read_card(file)
            facts = {"net": card["net"], "classes": len(card["classes"])}
        except (Refused, ValueError, OSError, KeyError) as error:
            facts = {"error": str(error)}
        found.append({"name": file.stem, "bytes": file.stat().st_size, **facts})
    return found


# ---- what is odd --------------------------------------------------------------------------------------------------------------


def todo(found):
    """Sentences that begin with what to do; none when all is well."""
    processor, memory, lines = found["processor"], found["memory"], []
    for name in NEEDED:
        if name in found["missing"]:
            lines.append(f"Install {name} ({found['missing'][name]}): the package needs it.")
    lines += outside(found["versions"], _requirements())
    threads, allowed = processor["threads"], processor["allowed"]
    if threads > allowed:
        lines.append(f"Set OMP_NUM_THREADS={max(1, int(allowed))}: torch starts {threads} threads, this process may use "
                     f"{allowed:g} of {processor['cores']} cores.")
    variable = next((name for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ), None)
    if threads < int(allowed) and variable:
        lines.append(f"Unset {variable} ({os.environ[variable]}): torch works with {threads} of {allowed:g} cores.")
    if processor["load"] and processor["load"] > 0.75 * allowed and allowed <= threads > 1:
        lines.append(f"Wait, or set OMP_NUM_THREADS lower: other work takes the cores (a load of {processor['load']:.1f} on "
                     f"{allowed:g}), and threads that wait for each other then lose many times what they gain.")
    if memory["free"] and memory["free"] < LITTLE_MEMORY:
        lines.append(f"Free memory, or train with --batch-size 0: {memory['free'] / 1e9:.1f} GB are left.")
    if found["disk_free"] < LITTLE_DISK:
        lines.append(f"Make room on the disk of this folder: {found['disk_free'] / 1e9:.1f} GB are left.")
    if not found["devices"] and Path("/proc/driver/nvidia/version").exists():
        lines.append("Install a torch that is built for CUDA (pytorch.org): an NVIDIA driver is here, and torch sees no device.")
    if os.environ.get("ALEXNET_MALLOC") == "default":
        lines.append("Unset ALEXNET_MALLOC: freed memory goes back to the kernel, which can cost half the time of a step.")
    if not any(one["usable"] for one in found["engines"] if one["name"] != "torch"):
        lines.append("Install an engine (pip install 'alexnet[exchange]'): torch, which takes longer, runs the nets in use.")
    if not found["native"]["usable"]:
        remedy = "Unset ALEXNET_NATIVE" if os.environ.get("ALEXNET_NATIVE") == "off" else "Install g++ for the CPU kernels"
        lines.append(f"{remedy}: {found['native']['why']}.")
    if not found["cache"]["writable"]:
        lines.append(f"Set ALEXNET_HOME to a folder that can be written: {found['cache']['folder']} cannot.")
    lines += [f"Reinstall alexnet: the weights {one['name']} that ship are damaged ({one['error']})."
              for one in found["shipped"] if "error" in one]
    if not found["shipped"]:
        lines.append("Name a --model wherever one is used: no weights ship with this copy.")
    return lines


def outside(there, requirements):
    """Packages whose version is not among those the package was made for; the pattern reads what pyproject.toml has: >=, <."""
    lines = []
    for line in requirements:
        name = re.match(r"[\w.-]+", line)[0].lower()
        if "extra ==" in line or name not in there:
            continue
        for sign, limit in re.findall(r"(>=|<)([\d.]+)", line):
            if (numbers(there[name]) < numbers(limit)) == (sign == ">="):
                lines.append(f"Install {name}{sign}{limit}: {there[name]} is here.")
    return lines


def numbers(version):
    """2.13.0+cpu as [2, 13, 0]."""
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])]
