"""What is named instead of kept: `torchvision`, and `hf:OWNER/REPO` (or hf:OWNER/REPO@REVISION). Downloads go where those libraries
put theirs (TORCH_HOME, HF_HOME), so that what is there already is used, with a bar and a checksum; HF_HUB_OFFLINE is honoured, and
without a network the answer is one sentence."""

import hashlib
import os
import re
import urllib.request
from pathlib import Path

from alexnet.errors import Misused, Refused
from alexnet.exchange import hub, torchvision
from alexnet.progress import Progress, say
from alexnet.rundir import placing

URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"  # the digits begin its SHA-256
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "ALEXNET_OFFLINE")
PART = 1 << 20


def foreign(model):
    """Whether a MODEL is of this kind."""
    return str(model) == "torchvision" or str(model).startswith("hf:")


def offline():
    return next((name for name in OFFLINE if os.environ.get(name, "").lower() in ("1", "true", "yes", "on")), None)


def source(model):
    """(one name for the content, a function that reads it as a Found)."""
    if str(model) == "torchvision":
        file = torchvision_file()
        return file.stem, lambda read_own: torchvision.read(file)
    folder = hub_folder(str(model))
    name = re.sub(r"[^A-Za-z0-9._-]+", "--", str(model).partition("@")[0].removeprefix("hf:"))
    return f"hf--{name}--{folder.name[:12]}", lambda read_own: hub.read(folder, read_own=read_own)


def torchvision_file():
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch"
    file = Path(home).expanduser() / "hub" / "checkpoints" / URL.rpartition("/")[2]
    if not file.is_file():
        download(URL, file, digest=file.stem.rpartition("-")[2], what="torchvision's alexnet")
    return file


def download(url, file, *, digest, what):
    """To a file beside it first, which takes its place when its SHA-256 begins as it should."""
    if flag := offline():
        raise Refused(f"{what} is not here ({file}), and {flag} says offline: unset it where there is a network, or put the file "
                      "there.")
    say(f"{what} comes from {url} into {file.parent}")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with urllib.request.urlopen(url, timeout=20) as answer, placing(file) as part:
            _received(answer, part, digest)
    except (OSError, ValueError) as error:  # no network, no such host, cut off
        reason = getattr(error, "reason", error)
        raise Refused(f"{what} could not be fetched from {url} ({reason}): it wants a network; or put the file at {file} "
                      "yourself.") from None


def _received(answer, part, digest):
    """Written to a file, which is all there and has the right checksum, or an OSError."""
    length, sum_ = int(answer.headers.get("Content-Length") or 0), hashlib.sha256()
    with open(part, "wb") as kept, Progress("downloading", length, unit="bytes") as bar:
        while content := answer.read(PART):
            kept.write(content)
            sum_.update(content)
            bar.advance(len(content))
    if length and part.stat().st_size != length:
        raise OSError(f"{part.stat().st_size:,} of {length:,} bytes came")
    if not sum_.hexdigest().startswith(digest):
        raise OSError(f"its checksum is {sum_.hexdigest()[: len(digest)]} and not {digest}")


def hub_folder(model):
    """The snapshot of hf:OWNER/REPO on this disk, fetched where a network says there is a newer one."""
    name, _, revision = model.removeprefix("hf:").partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise Misused(f"{model!r} is no repository: hf:OWNER/REPO is accepted, or hf:OWNER/REPO@REVISION.")
    try:
        from huggingface_hub import HfApi, snapshot_download
    except ImportError:
        raise Refused(f"{model} wants huggingface_hub, which is not installed: pip install 'alexnet[hub]'.") from None
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface")
    cache = os.environ.get("HF_HUB_CACHE") or home.expanduser() / "hub"
    wanted = {"repo_id": name, "revision": revision or None, "cache_dir": cache, "allow_patterns": list(hub.FILES)}
    try:
        folder = Path(snapshot_download(**wanted, local_files_only=bool(offline())))
        if not offline():
            checked(folder, HfApi().model_info(name, revision=folder.name, files_metadata=True).siblings)
        return folder
    except Refused:
        raise
    except Exception as error:  # the library's own, httpx's, the system's
        here = _kept(wanted, snapshot_download)
        if here and not offline():
            say(f"{model}: no answer from the hub ({type(error).__name__}), so the copy kept here is used")
        if here:
            return here
        why = f"{offline()} says offline" if offline() else " ".join(str(error).split())[:160]
        raise Refused(f"{model} is not kept in {cache} and could not be fetched ({why}): look at its name and at the "
                      "network.") from None


def _kept(wanted, snapshot_download):
    try:
        return Path(snapshot_download(**wanted, local_files_only=True))
    except Exception:
        return None


def checked(folder, siblings):
    """The SHA-256 that the hub states of its large files, against what is here."""
    for one in siblings or ():
        stated, file = getattr(getattr(one, "lfs", None), "sha256", None), folder / one.rfilename
        if stated and file.is_file():
            with open(file, "rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != stated:
                    raise Refused(f"{file} is damaged: its checksum is not the one that the hub states; delete it and load "
                                  "again.")
