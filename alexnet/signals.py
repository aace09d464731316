"""SIGINT and SIGTERM while something must not stop in the middle: they are noted, and whoever works looks when it suits."""

import signal
import threading


class Signals:
    """SIGINT and SIGTERM let the step finish and the checkpoint be written; a second SIGINT does not wait."""

    def __enter__(self):
        self.caught, self.before = None, {}
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._catch) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _catch(self, number, frame):
        if self.caught == signal.SIGINT:
            raise KeyboardInterrupt
        self.caught = number

    def __exit__(self, *error):
        for number, handler in self.before.items():
            signal.signal(number, handler)
