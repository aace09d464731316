"""From a request to its pictures to their answers: what all routes share. A request is let in while there is room, its pictures are
decoded two at a time (so that a large request does not push ahead of a small one), and everything ends at its deadline."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

import numpy as np

from alexnet.serve import bodies, model
from alexnet.serve.counts import Counts
from alexnet.serve.decoding import Decoder
from alexnet.serve.problems import Problem

TURNS = 2  # pictures of one request that are decoded at once
VALUE = 64  # bytes that a number of an answer takes while it is written


class Service:
    def __init__(self, settings, *, loaded=None):
        self.settings, self.limits, self.draining, self.waiting = settings, settings.limits, False, 0
        self.counts = Counts()
        self.model = loaded or model.load(settings, self.counts)
        self.room = bodies.Room(self.limits.memory)
        self.decoder = Decoder(self.limits)
        self.looking, self.writing = ThreadPoolExecutor(1, "maps"), ThreadPoolExecutor(1, "answers")

    # ---- a request -------------------------------------------------------------------------------------------------------

    async def answers(self, request, ask):
        """[(name, answer or Problem), ...] of the request's pictures: ask(model, square, deadline) -> what to await.
        An answer is (the model that gave it, what it gave)."""
        with self.room.of_request() as take:
            given = await bodies.pictures(request, self.limits, take)
            return _some(await self.answered(given, ask, self.deadline()))

    async def long_answer(self, request, ask, write, *, values):
        """What write(those of answers) makes in a thread, which has its room and its time too. values: numbers that a picture's
        answer is."""
        with self.room.of_request() as take:
            given = await bodies.pictures(request, self.limits, take)
            if len(given) * values > self.limits.values:
                raise Problem(413, f"this layer makes {values:,} values of a picture, and an answer has {self.limits.values:,} at "
                              "most: send fewer pictures at once, or run `alexnet features`.", reason="values")
            take(len(given) * values * VALUE)
            deadline = self.deadline()
            found = _some(await self.answered(given, ask, deadline))
            async with self.until(deadline):
                return await asyncio.get_running_loop().run_in_executor(self.writing, write, found)

    async def answered(self, given, ask, deadline):
        loaded, turns = self.model, asyncio.Semaphore(TURNS)
        with self.admitted(len(given)):
            async with self.until(deadline):
                jobs = [self._one(one, ask, loaded, turns, deadline) for one in given]
                answers = [await jobs[0]] if len(jobs) == 1 else await asyncio.gather(*jobs)
        return [(one.name, answer) for one, answer in zip(given, answers)]

    def deadline(self):
        return asyncio.get_running_loop().time() + self.limits.seconds

    @asynccontextmanager
    async def until(self, deadline):
        try:
            async with asyncio.timeout_at(deadline):
                yield
        except TimeoutError:
            raise Problem(503, f"no answer within {self.limits.seconds:g} seconds: the service is busy.",
                          reason="deadline") from None

    async def _one(self, one, ask, loaded, turns, deadline):
        try:
            async with turns:
                loaded.net.expect(1)
                try:
                    whole = isinstance(one.data, np.ndarray)  # pixels as the net takes them
                    square = one.data if whole else await self.decoder.square(one.data, loaded.size, loaded.resampling)
                    asked = ask(loaded, square, deadline)  # it stands in the queue before it is no longer expected
                finally:
                    loaded.net.expect(-1)
            return loaded, await asked
        except Problem as problem:
            self.counts.refusals.labels(problem.reason).inc()
            return problem

    @contextmanager
    def admitted(self, count):
        if self.waiting + count > self.limits.waiting:
            raise Problem(429, "too many pictures are waiting: try again in a second.", reason="queue")
        self._wait(count)
        try:
            yield
        finally:
            self._wait(-count)

    def _wait(self, count):
        self.waiting += count
        self.counts.waiting.set(self.waiting)

    # ---- what is asked of a model ----------------------------------------------------------------------------------------

    @staticmethod
    def probabilities(loaded, square, deadline):
        return loaded.net.ask(square, deadline)

    def features(self, layer=None):
        return lambda loaded, square, deadline: loaded.features(layer).ask(square, deadline)

    def explained(self, **how):
        async def ask(loaded, square, deadline):
            if loaded.looks >= model.LOOKS:
                raise Problem(429, "too many pictures are being explained: try again in a second.", reason="looks")
            loaded.looks += 1
            try:
                work = asyncio.get_running_loop().run_in_executor(
                    self.looking, lambda: loaded.explanation("", square, **how))
                work.add_done_callback(lambda done: setattr(loaded, "looks", loaded.looks - 1))
            except BaseException:
                loaded.looks -= 1
                raise
            return await work

        return ask

    # ---- its life --------------------------------------------------------------------------------------------------------

    async def swap(self):
        """The model read again: requests under way end with the one they came to. What cannot be loaded changes nothing."""
        try:
            self.model = await asyncio.to_thread(model.load, self.settings, self.counts)
            self.counts.swaps.inc()
            print(f"alexnet: {self.model.name} was loaded again.", file=sys.stderr, flush=True)
        except Exception as error:
            print(f"alexnet: the model stays as it was: {error}", file=sys.stderr, flush=True)

    async def close(self):
        await self.decoder.close()


def _some(found):
    """As found, unless no picture was answered: one status for the request then, that of its first picture."""
    if isinstance(found[0][1], Problem) and all(isinstance(answer, Problem) for _, answer in found):
        raise found[0][1]
    return found
