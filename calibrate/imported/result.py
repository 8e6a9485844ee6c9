"""What a benchmark tool measured in one run, whichever tool it was."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class ImportedRequest:
    """One request as the tool's client saw it.

    Parameters
    ----------
    prompt_tokens, output_tokens : int
        As the file counts them; of a request that failed, the tokens that came.
    start_s : float or None
        When it was sent, in seconds since the first one of its run; None where the file does not
        say and it does not follow.
    ttft_s : float or None
        From there to the first token; None where it did not come, or was not streamed.
    e2e_s : float or None
        From there to the last token; of a request that failed to its end, None where unknown.
    gaps_s : tuple of float
        Between the messages that brought tokens; empty where the file has no such times.
    error : str
        Why it failed; empty where it did not.
    """

    prompt_tokens: int
    output_tokens: int
    start_s: float | None
    ttft_s: float | None
    e2e_s: float | None
    gaps_s: tuple[float, ...] = ()
    error: str = ""

    @property
    def generating_s(self) -> float | None:
        """Seconds from the first token to the last."""
        if self.ttft_s is None or self.e2e_s is None:
            return None
        return self.e2e_s - self.ttft_s

    @property
    def is_token_by_token(self) -> bool:
        """Whether every token came in a message of its own, so that the gaps are those of tokens.

        An engine that speculates, or a server that falls behind, puts several into one.
        """
        return bool(self.gaps_s) and len(self.gaps_s) == self.output_tokens - 1


@dataclass(frozen=True)
class Summary:
    """Statistics of a run's successful requests, where a file has no single ones.

    Parameters
    ----------
    prompt_tokens, output_tokens : float
        Means.
    ttft_s : float
        The median.
    tpot_s : float
        Mean seconds a token after the first.
    """

    prompt_tokens: float
    output_tokens: float
    ttft_s: float
    tpot_s: float


@dataclass(frozen=True)
class Imported:
    """One run of a benchmark tool.

    Parameters
    ----------
    source : str
        The file, and which run in it.
    tool, version, model, date : str
        As far as the file says, the date in ISO form; else empty.
    concurrency : int or None
        The most requests that the tool had open at once; None for no such limit.
    request_rate : float or None
        Requests a second that it sent; None where it sent them as soon as it might.
    requests : tuple of ImportedRequest
        In the order of the file; empty where it has only statistics.
    summary : Summary or None
        Of a file that has only statistics.
    requests_made : int
        How many requests there were, those included that are not listed.
    failed : int
        How many of these failed.
    notes : tuple of str
        What the reader of the file had to assume or leave out, a sentence each.
    """

    source: str
    tool: str
    version: str = ""
    model: str = ""
    date: str = ""
    concurrency: int | None = None
    request_rate: float | None = None
    requests: tuple[ImportedRequest, ...] = ()
    summary: Summary | None = None
    requests_made: int = 0
    failed: int = 0
    notes: tuple[str, ...] = ()

    @property
    def has_loads(self) -> bool:
        """Whether it is known for every instant which requests were open."""
        return (
            bool(self.requests)
            and len(self.requests) >= self.requests_made
            and all(request.start_s is not None for request in self.requests)
        )

    @property
    def is_closed_loop(self) -> bool:
        """Whether each request was sent as soon as another ended: `concurrency` all the time."""
        return self.concurrency is not None and self.request_rate is None


def reconstructed_starts(e2e_s: Sequence[float], concurrency: int | None) -> list[float]:
    """Return when requests were sent that a tool sent in order, each as soon as it might.

    With at most `concurrency` open at once, first come, first served; all at 0 without that limit.
    """
    if concurrency is None:
        return [0.0] * len(e2e_s)
    free_s = [0.0] * concurrency
    heapify(free_s)
    starts = []
    for seconds in e2e_s:
        starts.append(free_s[0])
        heapreplace(free_s, free_s[0] + seconds)
    return starts
