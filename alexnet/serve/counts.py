"""What a service counts, as Prometheus reads it at /metrics. With several processes the counts lie in files of a folder that they
share, and any of them answers for all."""

import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Counts:
    def __init__(self):
        self.registry = CollectorRegistry()
        here = {"registry": self.registry, "namespace": "alexnet"}
        self.requests = Counter("requests", "Requests answered", ("route", "status"), **here)
        self.seconds = Histogram("request_seconds", "From a request's head to its answer", ("route",), buckets=SECONDS, **here)
        self.batches = Histogram("batch_pictures", "Pictures that went through the net together", buckets=SIZES, **here)
        self.refusals = Counter("refusals", "Requests and pictures refused", ("reason",), **here)
        self.waiting = Gauge("waiting_pictures", "Pictures accepted and not answered yet", multiprocess_mode="livesum", **here)
        self.swaps = Counter("model_swaps", "Models put in the place of another", **here)

    def text(self):
        if FOLDER not in os.environ:
            return generate_latest(self.registry), CONTENT_TYPE_LATEST
        whole = CollectorRegistry()
        MultiProcessCollector(whole)
        return generate_latest(whole), CONTENT_TYPE_LATEST
