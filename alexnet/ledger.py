"""Where a run's time went, kind by kind, across interruptions, and when each error was first reached."""

from alexnet.progress import seconds

KINDS = ("setup", "compile", "step", "waiting", "evaluation", "saving")  # waiting: for data, while the device had nothing to do
MARKS = (0.95, 0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.26, 0.25, 0.2, 0.18, 0.15, 0.13, 0.11, 0.1, 0.05, 0.02, 0.01)


class Ledger:
    def __init__(self, spent=(), before=(), reached=()):
        self.spent = dict.fromkeys(KINDS, 0.0) | dict(spent)  # seconds of all processes that worked on this run
        self.before = dict(self.spent) | dict(before)  # at the beginning of this epoch
        self.reached = dict(reached)  # error -> {"epoch", "seconds", "images"}

    def add(self, kind, seconds):
        self.spent[kind] += seconds

    def seconds(self):
        return sum(self.spent.values())

    def trained(self):
        """Seconds of this epoch's training, waiting included."""
        return sum(self.spent[kind] - self.before[kind] for kind in ("step", "waiting"))

    def waiting(self):
        """The share of this epoch's training in which the device waited for data."""
        return (self.spent["waiting"] - self.before["waiting"]) / max(self.trained(), 1e-9)

    def reach(self, error, **where):
        """An epoch's error: marks it passes for the first time are kept, with the place where that was."""
        for mark in MARKS:
            if error <= mark:
                self.reached.setdefault(f"{mark:g}", {**where, "seconds": round(self.seconds(), 3)})

    def close(self):
        """The epoch is over."""
        self.before = dict(self.spent)

    def shown(self):
        return {kind: round(value, 3) for kind, value in self.spent.items()}

    def state(self):
        return {"spent": self.spent, "before": self.before, "reached": self.reached}


def told(line):
    """An epoch's line in words: seconds of each kind, and when each error was first reached."""
    named = {"setup": "setting up", "compile": "compiling", "step": "training steps", "waiting": "waiting for data",
             "evaluation": "measuring", "saving": "saving"}
    ledger, reached = line.get("ledger", {}), line.get("reached", {})
    shares = {named[kind]: f"{value:,.1f} s ({100 * value / line['seconds']:.1f} %)" for kind, value in ledger.items() if value}
    return shares | {f"to {100 * float(mark):g} % error": f"{seconds(where['seconds'])}, {where['images']:,} pictures, epoch "
                     f"{where['epoch']}" for mark, where in reached.items()}
