"""The processes that share a training. Needs no Keras."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """The processes of one training: where the first listens ("host:port"), how many there are, which this is."""

    coordinator: str | None
    processes: int
    process: int

    @property
    def first(self) -> bool:
        return self.process == 0


ALONE = Group(None, 1, 0)
