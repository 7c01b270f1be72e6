"""The pool: order, progress, errors. Real Ray is in tests/integration and one slow test; the rest is the serial way."""

import os
import socket

import pytest

from faces.errors import SamaeError
from pipelines.ray_pool import RayPool, _call, join_cluster


def double(value: int) -> int:
    return 2 * value


def refuse(value: int) -> int:
    if value == 2:
        raise SamaeError(f"photograph {value} is missing: restore it")
    return value


def test_order_and_progress() -> None:
    heard: list[tuple[float, float]] = []
    answers = RayPool(address="serial").map(double, [3, 1, 2], lambda done, total, _: heard.append((done, total)))
    assert answers == [6, 2, 4]
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_nothing_to_do() -> None:
    assert RayPool(address="serial").map(double, []) == []


def test_the_sentence_of_a_worker_comes_out() -> None:
    with pytest.raises(SamaeError, match="photograph 2 is missing"):
        RayPool(address="serial").map(refuse, [1, 2, 3])
    assert _call(refuse, 2) == (None, "photograph 2 is missing: restore it")
    assert _call(refuse, 3) == (3, None)


@pytest.mark.slow
def test_ray_workers_run_at_the_priority_of_whoever_asked() -> None:
    """Ray's own default is nice 15: on a machine with other work, workers then stand still for minutes."""
    pool = RayPool(address="local", cores=2)
    try:
        found = pool.map(os.nice, [0, 0, 0])
    finally:
        pool.start().shutdown()
    assert found == [os.nice(0)] * 3


def test_a_cluster_that_does_not_answer_is_said_at_once() -> None:
    with socket.socket() as taken:  # bound and not listening: whoever connects is refused
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionError, match="Connection refused"):
            join_cluster(f"127.0.0.1:{taken.getsockname()[1]}")
