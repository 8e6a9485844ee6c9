"""The same call for many things, in this process or in others; results in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar
from warnings import catch_warnings, simplefilter

from sim.options import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")


def check_jobs(jobs: int) -> None:
    """Raise OptionError for a number of worker processes that makes no sense."""
    if jobs == 0 or jobs < -1:
        raise OptionError(f"jobs={jobs}: expected at least 1, or -1 for one a core")


def each(function: Callable[[T], R], things: Sequence[T], jobs: int) -> Iterator[R]:
    """Yield `function(thing)` for each thing, in order; workers go on with the next meanwhile.

    Parameters
    ----------
    function : callable
        Picklable where `jobs` is not 1, as are the things.
    things : sequence
    jobs : int
        Worker processes, -1 for one a core.
    """
    if jobs == 1 or len(things) < 2:
        yield from map(function, things)
        return
    from joblib import Parallel, delayed

    results = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(function)(thing) for thing in things
    )
    try:
        for result in results:  # noqa: UP028  # so that the close below is ours
            yield result
    finally:
        # When it is cut short, nobody needs to hear that workers had more to give.
        with catch_warnings():
            simplefilter("ignore")
            results.close()
