"""A function over many items in several processes, which end with the one that started them."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any, Callable, Iterator, Sequence, Tuple

from lavis_asym.errors import UserError


def in_processes(function: Callable[[Any], Any], items: Sequence[Any], processes: int) -> Iterator[Tuple[Any, Any]]:
    """Each item with `function(item)`, as they are done.

    Args:
        function, items: picklable.
        processes: at once.
    Raises:
        UserError: a process was killed. What the function raises.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
    pool = ProcessPoolExecutor(max(1, min(processes, len(items))), context, _follow_parent)
    try:
        futures = {pool.submit(function, item): item for item in items}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed, perhaps for want of memory; "
            "start the same command again with fewer --processes"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _follow_parent() -> None:
    """In a worker process: Ctrl-C ends it without a traceback, and so does its parent's death, even by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sentinel = multiprocessing.parent_process().sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
