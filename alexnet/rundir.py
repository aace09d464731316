"""One run's folder: what it was told (config.json), where it ran (environment.json), what happened (log.jsonl, metrics.csv),
and checkpoints that survive a kill at any moment. Knows files, not networks: tensors come and go as dicts."""

import csv
import glob
import hashlib
import json
import os
import platform
import secrets
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from alexnet import processor
from alexnet.errors import Refused
from alexnet.ledger import KINDS
from alexnet.progress import say

METRICS = ("epoch", "images", "train_loss", "val_images", "val_top1_error", "val_top5_error", "log_loss", "lr", "images_per_second",
           "waiting", "seconds", "images_seen", *(f"{kind}_seconds" for kind in KINDS))
# what the last bits of a sum depend on
SAME = ("alexnet", "commit", "python", "torch", "platform", "device_name", "threads", "kernels")
EVENTS = {"train/loss": "train_loss", "train/rate": "lr", "train/pictures_per_second": "images_per_second",
          "train/waiting": "waiting", "val/loss": "log_loss", "val/top1_error": "val_top1_error",
          "val/top5_error": "val_top5_error"}
STALE = 24 * 3600  # seconds after which nobody is writing a half file any more


class RunDir:
    def __init__(self, path, writes=True):
        """writes: of several processes that share the folder, one writes and the others read."""
        self.path, self.writes = Path(path), writes
        self.checkpoints = self.path / "checkpoints"
        self.events = None  # TensorBoard's writer, once there is something to write
        self.writer, self.writing = ThreadPoolExecutor(1), None  # what is being saved beside the training

    def check(self, *, resume):
        """A folder with something in it is only entered to resume."""
        if self.path.exists() and not self.path.is_dir():
            raise Refused(f"{self.path} is a file; a run needs a folder of its own.")
        if self.path.exists() and any(self.path.iterdir()) and not resume:
            raise Refused(f"{self.path} is not empty: --resume goes on with the run in it, another --out begins a new one.")

    def make(self):
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Refused(f"{self.path} cannot be written ({error.strerror}); name another --out.") from error

    def read(self, name):
        file = self.path / name
        return json.loads(file.read_text()) if file.exists() else None

    @contextmanager
    def said(self):
        """A disk that is full is one sentence."""
        try:
            yield
        except OSError as error:
            raise Refused(f"{self.path} cannot be written ({error.strerror or error}): make room, and --resume goes on from the "
                          f"last whole checkpoint.") from error

    def write(self, name, value):
        if not self.writes:
            return
        with self.said():
            replace_file(self.path / name, json.dumps(value, indent=1, ensure_ascii=False).encode())

    def place_of(self, store):
        """Where a store lies, for config.json: in full, and from this folder, so that the two can move together."""
        try:
            near = os.path.relpath(os.path.realpath(store), os.path.realpath(self.path))
        except ValueError:  # another drive
            near = os.path.realpath(store)
        return {"store": os.path.abspath(store), "store_from_run": near}

    def log(self, event, **facts):
        if not self.writes:
            return
        with self.said(), open(self.path / "log.jsonl", "a") as file:
            file.write(json.dumps({"event": event, **facts}) + "\n")
        if event == "epoch":
            with self.said():
                self._write_metrics()
                self._write_events(facts)

    def log_size(self):
        file = self.path / "log.jsonl"
        return file.stat().st_size if file.exists() else 0

    def cut_log(self, size):
        """Forget what was logged after the checkpoint that the run goes on from: it will happen again."""
        if not self.writes:
            return
        if self.log_size() > size:
            os.truncate(self.path / "log.jsonl", size)
        self._write_metrics()

    def _write_metrics(self):
        with placing(self.path / "metrics.csv") as new, open(new, "w", newline="") as file:
            table = csv.DictWriter(file, METRICS, extrasaction="ignore")
            table.writeheader()
            table.writerows({**line, **{f"{kind}_seconds": value for kind, value in line.get("ledger", {}).items()}}
                            for line in epochs(self.path))

    def _write_events(self, line):
        """For TensorBoard, where it is installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.events = self.events or SummaryWriter(self.path / "tensorboard", purge_step=line["epoch"])
        for tag, key in EVENTS.items():
            self.events.add_scalar(tag, line[key], line["epoch"])
        self.events.flush()

    def save(self, name, files):
        """A whole checkpoint or none: `files` (name -> bytes) go into a new folder, with their checksums, which then takes
        the place of `name`; the one before stays as `name`-before. Whatever is cut short, one whole checkpoint remains."""
        new, place, before = (self.checkpoints / n for n in (f"{name}-new", name, f"{name}-before"))
        with self.said():
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            for file, content in files.items():
                write_file(new / file, content)
            sums = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
            write_file(new / "sums.json", json.dumps(sums).encode())
            if place.exists():
                shutil.rmtree(before, ignore_errors=True)
                os.replace(place, before)
            os.replace(new, place)
            sync_folder(self.checkpoints)

    def save_later(self, checkpoints):
        """{name: files}, one after the other, while the caller goes on; first what was given before is done."""
        self.settle()
        self.writing = self.writer.submit(lambda: [self.save(name, files) for name, files in checkpoints.items()])

    def settle(self):
        """Wait until everything is saved; a failure is raised here."""
        if self.writing:
            writing, self.writing = self.writing, None
            writing.result()

    def load(self, name):
        """The newest whole checkpoint of this name as {file: bytes}, or None."""
        found = [files for n in (f"{name}-new", name, f"{name}-before") if (files := whole(self.checkpoints / n))]
        if (self.checkpoints / name).exists() and not whole(self.checkpoints / name):
            say(f"{self.checkpoints / name} is damaged; "
                f"{'an older checkpoint takes its place' if found else 'there is no older one, the run begins again'}.")
        return max(found, key=place_in_run, default=None)


def whole(folder):
    """Every file of a checkpoint, if all are there and match their checksums."""
    try:
        sums = json.loads((folder / "sums.json").read_text())
        files = {file: (folder / file).read_bytes() for file in sums}
    except (OSError, ValueError):
        return None
    return files if all(hashlib.sha256(files[file]).hexdigest() == digest for file, digest in sums.items()) else None


def place_in_run(files):
    loop = json.loads(files.get("loop.json", b"{}"))
    return loop.get("epoch", 0), loop.get("step", 0)


def write_file(path, content):
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path, content):
    """All of the new content or all of the old."""
    with placing(path) as new:
        write_file(new, content)


@contextmanager
def placing(path):
    """with placing(path) as new: what is written to `new`, a name that nobody else has, takes the place of `path` in the end; where
    it fails nothing stays. What a killed process left there goes a day later."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.{'[0-9a-f]' * 8}.new"):
        with suppress(OSError):  # gone already, or another's
            if time.time() - left.stat().st_mtime > STALE:
                left.unlink()
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        yield new
        os.replace(new, path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def sync_folder(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_log(run):
    """Every event; a last line that a kill cut short is left out."""
    file = Path(run) / "log.jsonl"
    events = []
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            events.append(json.loads(line))
        except ValueError:
            break
    return events


def epochs(run):
    return [event for event in read_log(run) if event["event"] == "epoch"]


def environment(device, **facts):
    """Where and when, for environment.json."""
    import torch

    import alexnet
    from alexnet.ops import native

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor.name()
    return {"alexnet": alexnet.__version__, "python": platform.python_version(), "torch": torch.__version__,
            "platform": f"{platform.system()} {platform.machine()}", "device": str(device), "device_name": name,
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(), "kernels": "own" if native.ready() else "plain",
            "commit": commit(), "started": now(), **facts}


def differences(before, now):
    """What another environment had instead of this one, in words."""
    return [f"{key.replace('_', ' ')} {before.get(key)} (here {now.get(key)})" for key in SAME if before.get(key) != now.get(key)]


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def commit():
    """The commit of the code that runs, "+" where it was changed since; nothing for an installed package."""
    folder = Path(__file__).parent
    try:
        git = ["git", "-C", str(folder)]
        name = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=5)
        dirty = subprocess.run([*git, "status", "--porcelain", "--", "."], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return name.stdout.strip() + "+" * bool(dirty.stdout.strip()) if name.returncode == 0 else None
