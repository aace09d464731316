"""Talk on stderr: a bar on a terminal, a plain line now and then elsewhere. Knows nothing of networks or pictures."""

import os
import sys
import time

PLAIN_EVERY = 10.0  # seconds between lines off a terminal


def leads():
    """Of several processes that torchrun started, the one that speaks for all."""
    return os.environ.get("RANK", "0") == "0"


def say(text):
    if leads():
        spoken(text, sys.stderr)


def spoken(text, stream):
    """Talk is no answer: where nobody listens any more, work goes on."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        mute(stream)


def mute(stream):
    """What is written to it from here on goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def seconds(value):
    """12 s, 3:05 min, 2:10:00 h: the shortest that reads well."""
    value = int(value)
    if value < 60:
        return f"{value} s"
    minutes, rest = divmod(value, 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"


class Progress:
    """with Progress("reading", total) as bar: bar.advance(n, loss="4.21"). Rate, time left and the facts given follow."""

    def __init__(self, what, total, *, unit="pictures", start=0, stream=None):
        self.what, self.total, self.unit, self.start = what, max(total, 1), unit, start
        self.stream = stream or sys.stderr
        self.done, self.facts, self.live = start, {}, None

    def __enter__(self):
        self.began = self.spoke = time.monotonic()
        if leads() and self.stream.isatty() and os.environ.get("TERM") != "dumb":
            self.live = _live(self)
        return self

    def advance(self, count=1, **facts):
        self.done += count
        self.facts.update(facts)
        if self.live:
            self.live.update(0, completed=self.done, tail=self.tail())
        elif time.monotonic() - self.spoke > PLAIN_EVERY and leads():
            self.spoke = time.monotonic()
            spoken(self.line(), self.stream)

    @property
    def rate(self):
        return (self.done - self.start) / max(time.monotonic() - self.began, 1e-9)

    def tail(self):
        left = (self.total - self.done) / self.rate if self.rate > 0 else 0
        facts = "".join(f"  {key} {value}" for key, value in self.facts.items())
        return f"{self.rate:,.0f} {self.unit}/s  {seconds(max(left, 0))} left{facts}"

    def line(self):
        return f"{self.what}: {self.done:,} of {self.total:,} {self.unit}, {self.tail()}"

    def __exit__(self, kind, *rest):
        if self.live:
            self.live.stop()


def _live(progress):
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    except ImportError:  # the plain lines serve
        return None
    console = Console(file=progress.stream, no_color="NO_COLOR" in os.environ)
    columns = TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn(), TextColumn("{task.fields[tail]}")
    bar = Progress(*columns, console=console, transient=True, refresh_per_second=5,
                   redirect_stdout=sys.stdout.isatty())  # answers that go to a file or a pipe stay there
    bar.add_task(progress.what, total=progress.total, completed=progress.start, tail="")
    bar.start()
    return bar
