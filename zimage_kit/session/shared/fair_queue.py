"""FairQueue: which job runs next. Interactive before batch, owners in turn, each owner's jobs in order."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from dataclasses import dataclass
from itertools import count

from ...engine.task import Priority

_RANK: dict[Priority, int] = {"interactive": 0, "batch": 1}


@dataclass(frozen=True)
class _Waiting:
    owner: str
    rank: int


class FairQueue:
    """The waiting jobs. The least recently served owner is next; one that was never served comes before all others."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}  # in the order in which they came
        self._served: dict[str, int] = {}  # owner -> when it last had a turn
        self._clock = count()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, job: str) -> bool:
        return job in self._waiting

    def add(self, job: str, owner: str, priority: Priority = "interactive") -> None:
        """Queue a job after its owner's others of this priority."""
        self._waiting[job] = _Waiting(owner, _RANK[priority])

    def put_back(self, job: str, owner: str, priority: Priority) -> None:
        """Queue a job that was taken but could not begin, before its owner's others. The turn does not count."""
        self._served.pop(owner, None)
        self._waiting = {job: _Waiting(owner, _RANK[priority]), **self._waiting}

    def hasten(self, job: str) -> bool:
        """Put a waiting job before its owner's others, and among the interactive ones. False: it is not waiting."""
        waiting = self._waiting.pop(job, None)
        if waiting is None:
            return False
        self._waiting = {job: _Waiting(waiting.owner, _RANK["interactive"]), **self._waiting}
        return True

    def remove(self, job: str) -> bool:
        """Take a job out without counting a turn. False: it is not waiting."""
        return self._waiting.pop(job, None) is not None

    def take(self, job: str) -> None:
        """Take a job out and count a turn for its owner."""
        self._served[self._waiting.pop(job).owner] = next(self._clock)

    def forget(self, owner: str) -> None:
        """Forget the turns of an owner that is gone. Its waiting jobs stay until they are removed."""
        self._served.pop(owner, None)

    def order(self) -> list[str]:
        """All waiting jobs in the order in which they will run if no others come. Takes O(n log(owners))."""
        ranks: dict[int, dict[str, deque[str]]] = defaultdict(lambda: defaultdict(deque))
        for job, waiting in self._waiting.items():
            ranks[waiting.rank][waiting.owner].append(job)
        served, clock = dict(self._served), max(self._served.values(), default=0)
        found = []
        for rank in sorted(ranks):
            queues = ranks[rank]
            # owners that were never served, in the order in which they came, and then the others
            heap = [(served.get(owner, -1), number, owner) for number, owner in enumerate(queues)]
            heapq.heapify(heap)
            while heap:
                _, number, owner = heapq.heappop(heap)
                found.append(queues[owner].popleft())
                clock += 1
                served[owner] = clock
                if queues[owner]:
                    heapq.heappush(heap, (clock, number, owner))
        return found
