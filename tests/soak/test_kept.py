"""The soak's account of kept jobs sees one that vanished, and one whose picture did."""

from __future__ import annotations

import time
from contextlib import nullcontext

import zimage_kit as zk
from tests.soak.kept import Watch, ends


def _line(job: str, seed: int, server: int = 7) -> dict[str, object]:
    return {"kept": job, "seed": seed, "server": server}


def test_each_kept_job_has_one_end() -> None:
    lines = [_line("a", 1), _line("b", 2), _line("c", 3), _line("d", 4, server=8), {"began": "e", "does": "picture"}]
    found, problems = ends(lines, {"a": "done", "b": "failed", "d": "running"}, killed={8}, seeds={1, 3})
    assert found == {"done": 2, "failed": 1, "lost with its session": 1}
    assert problems == []


def test_one_that_vanished_is_a_problem() -> None:
    for last in ("running", "queued", "unknown"):
        found, (problem,) = ends([_line("a", 1)], {"a": last}, killed={8}, seeds={2})
        assert found == {"vanished": 1} and f"seen last as {last}" in problem
    _, (problem,) = ends([_line("a", 1)], {}, killed=set(), seeds=set())
    assert "vanished" in problem


def test_one_without_its_picture_is_a_problem() -> None:
    _, (problem,) = ends([_line("a", 1)], {"a": "done"}, killed={7}, seeds={2})
    assert "its picture is not there" in problem


def test_a_watch_sees_the_end_of_a_real_job(session: zk.Session, model: str) -> None:
    request = zk.Request(prompt="a red boat", model=model, width=64, height=64, steps=2, seed=11)
    job = session.submit(request, keep=True)
    lines = [_line(job.id, 11), _line("never was", 12), {"began": job.id, "does": "kept"}]
    with Watch(lambda: lines, lambda: nullcontext(session)) as watch:
        deadline = time.monotonic() + 120
        while watch.states.get(job.id) != "done":
            assert time.monotonic() < deadline, watch.states
            time.sleep(0.1)
    assert watch.states == {job.id: "done", "never was": "unknown"}
