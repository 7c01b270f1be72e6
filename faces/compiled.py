"""How numba kernels are compiled and spread over cores: one decorator, one pool of threads.

Kernels release the GIL and run on plain threads, each on its own faces. numba's own parallel loops are not used: they
take seconds to compile, and their thread layers break when several threads call them or when a process forks after.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, TypeVar

import numba
from threadpoolctl import ThreadpoolController

Function = TypeVar("Function", bound=Callable[..., Any])

_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def kernel(function: Function) -> Function:
    """Compile for the types of the first call, GIL released, kept on disk where that is possible.

    No fast mathematics: a product and a sum round twice, as in numpy. A copy on disk is used as long as no file of the
    kernel's folder has changed, so a kernel may call kernels of its own folder and read its constants. Where no folder
    can be written (a read-only image without a home) the kernel is compiled anew in each process.
    """
    options = {"nogil": True, "fastmath": False, "error_model": "numpy", "boundscheck": False}
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:
        return numba.njit(cache=False, **options)(function)
    # numba asks about the kernel's own file alone (0.68), though it bakes other files' constants and kernels in.
    index = compiled._cache._cache_file
    index._source_stamp = (index._source_stamp, _folder_stamp(Path(function.__code__.co_filename).parent))
    return compiled


@lru_cache(maxsize=16)
def _folder_stamp(folder: Path) -> tuple[tuple[str, float, int], ...]:
    """Name, time of change and bytes of every source file in a folder."""
    stats = ((path.name, path.stat()) for path in sorted(folder.glob("*.py")))
    return tuple((name, stat.st_mtime, stat.st_size) for name, stat in stats)


def is_compiled(function: Any) -> bool:
    """Whether some process has left this kernel on disk, compiled, for whatever types."""
    folder = function.stats.cache_path
    return bool(folder) and any(Path(folder).glob(f"*.{function.py_func.__name__}-*.nbi"))


def cores() -> int:
    """Threads a kernel may use: NUMBA_NUM_THREADS, else OMP_NUM_THREADS, else the cores this process may run on."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "")
        if value.isdigit() and int(value) > 0:
            return int(value)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[object]:
    """Inside, numpy's linear algebra stays in its calling thread; afterwards it is as it was.

    Fitting solves many small systems and spreads faces over cores itself; a picture of a person is one core's work.
    OpenBLAS's own threads wait by spinning: on a busy machine they took 16 times the CPU of a fit, and on a quiet one
    as much as the whole picture again (measured).
    """
    return _blas().limit(limits=1, user_api="blas")


def on_one_blas_thread(work: Function) -> Function:
    """The function inside `one_blas_thread`: sums of another number of threads differ in their last bits, so that a set
    prepared in one process was not bit for bit that of workers of one thread each."""

    @wraps(work)
    def alone(*args: Any, **kwargs: Any) -> Any:
        """`work`, with linear algebra in the calling thread."""
        with one_blas_thread():
            return work(*args, **kwargs)

    return alone  # type: ignore[return-value]


def over_faces(work: Callable[[int, int], None], count: int, threads: int | None = None) -> None:
    """Call `work(first, step)` so that the faces first, first + step, ... below count are done once each.

    threads None means all of `cores()`; 1 runs in the calling thread. Errors of a worker are raised here.
    """
    workers = max(1, min(count, cores() if threads is None else threads))
    if workers == 1:
        work(0, 1)
        return
    key = (os.getpid(), workers)
    if key not in _pools:
        _pools[key] = ThreadPoolExecutor(workers, thread_name_prefix="faces")
    for done in [_pools[key].submit(work, first, workers) for first in range(workers)]:
        done.result()
