"""A group of processes that share a training. Needs no Keras."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """The address "host:port" of the first process, the number of processes, and this one's number."""

    coordinator: str | None
    processes: int
    process: int

    @property
    def first(self) -> bool:
        return self.process == 0


ALONE = Group(None, 1, 0)
