"""Runs functions over shards, on local workers or on Beam, with the same results.

What is computed is a function of one shard: it writes another shard, or returns a small
partial result. Partial results are merged in the order of the shards, in groups of
fixed size, so both forms give the same result to the last bit. Beam's elements are
shards and partial results, never rows.
"""

import ctypes
import functools
import logging
import os
import pickle
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa

from pipeline.columnar import files

In = TypeVar("In")
Partial = TypeVar("Partial")

_LOG = logging.getLogger(__name__)

MERGED_TOGETHER = 16
"""Partial results that are merged at once, and so held at once by one worker."""


@dataclass(frozen=True)
class Workers:
    """Local workers: threads, since Arrow, NumPy, TFDV and TensorFlow release the lock.

    Forked processes took a third more processor time for TFDV's statistics, and
    TensorFlow doesn't survive a fork.

    Attributes:
        count: How many at once; 0 means one per core, see `limit_workers`.
    """

    count: int = 0

    @property
    def at_once(self) -> int:
        """Number of concurrent workers."""
        return self.count or min(cores(), _limit or cores())


@dataclass(frozen=True)
class OnBeam:
    """Beam's workers.

    Attributes:
        pipeline: Makes a pipeline on an engine.
        scratch: A directory that this process and the engine's workers share; partial
            results pass through files in it.
    """

    pipeline: Callable[[], Any]
    scratch: str


Runner = Workers | OnBeam


# Of glibc's malloc.h.
_M_ARENA_MAX = -8

# Of this process: a runner sets it in the nodes that it forks.
_limit = 0


def limit_workers(count: int) -> None:
    """Bounds the workers of this process, and the threads of Arrow and TensorFlow.

    Call it before TensorFlow has computed anything: its threads are started once.

    Args:
        count: Most at once; 0 means as many as there are cores.
    """
    # Three seconds, for those who only need the rest of this module.
    import tensorflow as tf

    global _limit  # noqa: PLW0603 - executors are created by TFX, out of our reach
    _limit = count
    pa.set_cpu_count(Workers().at_once)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)
    except RuntimeError as error:
        _LOG.warning("TensorFlow keeps its number of threads: %s", error)


def return_freed_memory() -> None:
    """Makes allocators return freed memory to the system instead of keeping it.

    Arrow's own allocator and glibc, with an arena for each thread, keep the most that
    they have ever handed out: at 300,000 rows 110 MB of Transform's 900 and 140 MB of
    the Trainer's 810. Neither node takes longer without.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    libc = ctypes.CDLL(None)
    # Other C libraries have no such setting.
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)


def cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_shards(
    do: Callable[[In], Partial], shards: Sequence[In], runner: Runner
) -> list[Partial]:
    """Applies a function to each shard.

    Args:
        do: What; picklable for Beam. Its result is small.
        shards: The shards, or whatever describes a piece of work.
        runner: Who does it.

    Returns:
        The results in the order of the shards.

    Raises:
        Exception: What `do` raised; on Beam, as the engine reports it.
    """
    if isinstance(runner, OnBeam):
        alone = functools.partial(_as_list, do)
        return aggregate(alone, _concatenated, shards, runner) or []
    return list(in_order(do, shards, runner))


def aggregate(
    accumulate: Callable[[In], Partial],
    merge: Callable[[list[Partial]], Partial],
    shards: Sequence[In],
    runner: Runner,
) -> Partial | None:
    """Reduces shards to one value: a partial result per shard, then merges.

    Args:
        accumulate: The partial result of a shard; picklable as its result is,
            for Beam.
        merge: One partial result of several, in the order of their shards.
        shards: The shards, or whatever describes a piece of work.
        runner: Who does it.

    Returns:
        The merged result; None if there are no shards.
    """
    if not shards:
        return None
    if isinstance(runner, OnBeam):
        return _on_beam(accumulate, merge, shards, runner)
    return _merged(in_order(accumulate, shards, runner), merge)


def _merged(
    partials: Iterable[Partial], merge: Callable[[list[Partial]], Partial]
) -> Partial:
    """Merges partial results in groups as they arrive, level by level."""
    # As a counter in base 16 carries: what is held grows with the logarithm of the
    # shards, and the groups are those that `_on_beam` makes.
    levels: list[list[Partial]] = [[]]

    def close(level: int) -> None:
        if level + 1 == len(levels):
            levels.append([])
        levels[level + 1].append(_one_of(levels[level], merge))
        levels[level] = []
        if len(levels[level + 1]) == MERGED_TOGETHER:
            close(level + 1)

    for partial in partials:
        levels[0].append(partial)
        if len(levels[0]) == MERGED_TOGETHER:
            close(0)
    level = 0
    while level + 1 < len(levels) or len(levels[level]) > 1:
        if levels[level]:
            close(level)
        level += 1
    return levels[level][0]


def _one_of(group: list[Partial], merge: Callable[[list[Partial]], Partial]) -> Partial:
    return group[0] if len(group) == 1 else merge(group)


def in_order(
    do: Callable[[In], Partial], shards: Iterable[In], workers: Workers
) -> Iterator[Partial]:
    """Ordered parallel map with a bounded backlog.

    Args:
        do: What is done with each.
        shards: The pieces of work; read on this thread, a few ahead.
        workers: How many work at once; a single one is this thread.
    """
    at_once = workers.at_once
    if isinstance(shards, Sized):
        at_once = min(at_once, len(shards))
    if at_once <= 1:
        yield from map(do, shards)
        return
    waiting: deque[Future[Partial]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        for shard in shards:
            waiting.append(pool.submit(do, shard))
            # One more than can run, so that a worker never waits for the consumer.
            if len(waiting) > at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def beside(do: Callable[[], Partial]) -> Callable[[], Partial]:
    """Starts work on another thread; on this one, at once, if there is one worker only.

    Args:
        do: The work.

    Returns:
        Waits for the result and returns it, or raises what the work has raised.
    """
    if Workers().at_once <= 1:
        result = do()
        return lambda: result
    pool = ThreadPoolExecutor(1)
    started = pool.submit(do)
    pool.shutdown(wait=False)
    return started.result


def _as_list(do: Callable[[In], Partial], shard: In) -> list[Partial]:
    return [do(shard)]


def _concatenated(lists: list[list[Partial]]) -> list[Partial]:
    return [result for results in lists for result in results]


def _on_beam(
    accumulate: Callable[[In], Partial],
    merge: Callable[[list[Partial]], Partial],
    shards: Sequence[In],
    runner: OnBeam,
) -> Partial:
    """Runs a Beam pipeline with a merge stage per level of `_merged`."""
    import apache_beam as beam

    # Beam has no way to return a value to the process that started a pipeline.
    result = files.join(runner.scratch, f"result-{uuid.uuid4().hex}.pickle")
    with runner.pipeline() as pipeline:
        partials = (
            pipeline
            | "Shards" >> beam.Create(list(enumerate(shards)))
            # Or an engine may fuse the source with the work: one worker does it all.
            | "Spread" >> beam.Reshuffle()
            | "Accumulate" >> beam.Map(functools.partial(_pickled, accumulate))
        )
        count, level = len(shards), 0
        while count > 1:
            partials = (
                partials
                | f"Group{level}" >> beam.GroupByKey()
                | f"Merge{level}" >> beam.Map(functools.partial(_merged_group, merge))
            )
            count, level = -(-count // MERGED_TOGETHER), level + 1
        _ = partials | "Write" >> beam.Map(functools.partial(_write_partial, result))
    try:
        found: Partial = pickle.loads(files.read_bytes(result))  # noqa: S301 - ours
    finally:
        files.remove(result)
    return found


Numbered = tuple[int, tuple[int, bytes]]
"""Number of the group that a partial result is merged in, its own number, pickled."""


def _numbered(number: int, partial: Any) -> Numbered:
    return number // MERGED_TOGETHER, (number, pickle.dumps(partial))


def _pickled(do: Callable[[Any], Any], shard: tuple[int, Any]) -> Numbered:
    return _numbered(shard[0], do(shard[1]))


def _merged_group(
    merge: Callable[[list[Any]], Any],
    group: tuple[int, Iterable[tuple[int, bytes]]],
) -> Numbered:
    partials = [pickle.loads(each) for _, each in sorted(group[1])]  # noqa: S301 - ours
    return _numbered(group[0], _one_of(partials, merge))


def _write_partial(location: str, partial: Numbered) -> None:
    files.write_bytes(location, partial[1][1])
