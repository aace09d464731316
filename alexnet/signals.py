"""SIGINT, SIGTERM and SIGUSR1 while something must not stop in the middle: noted, for whoever works to look at when it suits."""

import signal
import threading


class Signals:
    """SIGINT and SIGTERM let the step finish and the checkpoint be written; a second SIGINT does not wait. SIGUSR1, which job
    managers send ahead of the end, only has the checkpoint written."""

    def __enter__(self):
        self.caught, self.wanted, self.before = None, False, {}
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._catch) for number in (signal.SIGINT, signal.SIGTERM)}
            if hasattr(signal, "SIGUSR1"):
                self.before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._want)
        return self

    def _want(self, number, frame):
        self.wanted = True

    def _catch(self, number, frame):
        if self.caught == signal.SIGINT:
            raise KeyboardInterrupt
        self.caught = number

    def __exit__(self, *error):
        for number, handler in self.before.items():
            signal.signal(number, handler)
