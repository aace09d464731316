"""Pictures of different requests go through the net together: as soon as a batch is full, or nobody else is on the way, or a few
milliseconds have passed. The net has a thread of its own; while it works, the next batch gathers. Who has left or is late rides no
more."""

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np


class Ride(NamedTuple):
    square: np.ndarray
    answer: asyncio.Future
    deadline: float  # of the loop's clock


class Batcher:
    def __init__(self, run, *, most=64, wait=0.003, on_batch=lambda count: None, thread=None):
        """run: uint8 (B, S, S, 3) -> a row a picture, called in `thread`, one batch at a time."""
        self.run, self.most, self.wait, self.on_batch = run, most, wait, on_batch
        self.thread = thread or ThreadPoolExecutor(1, "net")
        self.waiting, self.coming, self.driver, self.news = deque(), 0, None, None

    def ask(self, square, deadline):
        """A future of the picture's row: TimeoutError if its turn comes after the deadline."""
        loop = asyncio.get_running_loop()
        ride = Ride(square, loop.create_future(), deadline)
        self.waiting.append(ride)
        self._wake()
        if self.driver is None:
            self.driver = loop.create_task(self._drive())
        return ride.answer

    def expect(self, count):
        """So many more pictures are being decoded (or, negative, no longer)."""
        self.coming += count
        self._wake()

    def _wake(self):
        if self.news is not None and not self.news.done():
            self.news.set_result(None)

    async def _drive(self):
        try:
            while self.waiting:
                await self._gather()
                if batch := self._batch():
                    await self._answer(batch)
        finally:
            self.driver = None

    async def _gather(self):
        """Wait for a full batch while pictures are on the way, and not for long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.wait
        while self.coming and len(self.waiting) < self.most and (left := until - loop.time()) > 0:
            self.news = loop.create_future()
            await asyncio.wait([self.news], timeout=left)
        self.news = None

    def _batch(self):
        now, batch = asyncio.get_running_loop().time(), []
        while self.waiting and len(batch) < self.most:
            ride = self.waiting.popleft()
            if ride.answer.done():
                continue
            if ride.deadline < now:
                ride.answer.set_exception(TimeoutError())
                continue
            batch.append(ride)
        return batch

    async def _answer(self, batch):
        try:
            rows = await asyncio.get_running_loop().run_in_executor(self.thread, self._run, [ride.square for ride in batch])
            self.on_batch(len(batch))
        except Exception as error:
            for ride in batch:
                if not ride.answer.done():
                    ride.answer.set_exception(error)
            return
        for ride, row in zip(batch, rows, strict=True):
            if not ride.answer.done():
                ride.answer.set_result(row)

    def _run(self, squares):
        rows = self.run(np.stack(squares))
        if len(rows) != len(squares):
            raise RuntimeError(f"{len(rows)} answers for {len(squares)} pictures")
        return rows
