"""What a service is told when it starts, and what it lets a request ask of it. Every limit holds before anything is decoded."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    bytes: int = 20_000_000  # of a request's body
    pixels: int = 100_000_000  # of a picture
    frames: int = 1_000  # of an animation, though only the first is looked at
    items: int = 64  # pictures in a request
    values: int = 2_000_000  # of a layer, in an answer as JSON
    seconds: float = 10.0  # from a body that is there to its answer
    sending: float = 20.0  # for a client to send its body
    decoding: float = 5.0  # for an odd picture, which is decoded in a process of its own
    waiting: int = 512  # pictures accepted and not answered yet
    memory: int = 256_000_000  # bytes of bodies held at once
    connections: int = 1_024
    head: int = 32_768  # bytes of a request's line and headers


@dataclass(frozen=True)
class Settings:
    model: str | None = None
    index: str | None = None
    device: str = "auto"
    views: int = 1  # crops and reflections of a picture, for its classes
    key: str | None = None  # what a client has to show
    hosts: tuple | None = None  # names under which the service answers; None: any
    batch: int = 64
    wait: float = 0.003  # seconds that a batch waits for pictures which are being decoded
    limits: Limits = field(default_factory=Limits)
