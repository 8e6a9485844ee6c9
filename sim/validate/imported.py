"""What another tool measured as a replay, so that it is compared as one without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from calibrate.endpoint.exchange import Reply
from policies.protocol import PS_PER_S
from policies.static import Static
from sim.ledger import FAILED, FINISHED
from sim.options import DEFAULT_MAX_NUM_SEQS, OptionError
from sim.validate.lateness import Lateness
from sim.validate.live import Done, Job
from sim.validate.record import Record, Replayed
from traces.request import Trace

if TYPE_CHECKING:
    from calibrate.imported.result import Imported, ImportedRequest
    from policies.protocol import Policy

PATIENCE = 10
"""The simulation may take so many times as long as the measurement did."""


def trace_and_replay(imported: Imported) -> tuple[Trace, Replayed]:
    """Return an imported run as the trace that arrived and a replay of it.

    Requests arrive when the tool sent them, also those of a closed loop: where the simulation is
    slower than the server was, more of them are open than the tool would have let be. Answers have
    the tokens that the file counts; where several came in one message, or only the first and last
    instant are known, they are evenly spaced between those. A request that failed stays in the
    trace with the tokens that it got, at least one.

    Parameters
    ----------
    imported : Imported
        With requests that are all listed, sent at known instants and streamed.

    Raises
    ------
    OptionError
        That says what the file lacks, and how to have it.
    """
    requests = sorted(_usable(imported), key=lambda request: request.start_s or 0.0)
    records = [_record(id, request) for id, request in enumerate(requests)]
    trace = Trace(
        [record.arrival_ps / PS_PER_S for record in records],
        [max(request.prompt_tokens, 1) for request in requests],
        [max(request.output_tokens, 1) for request in requests],
        meta={"source": imported.source, "format": imported.tool},
    )
    end_ps = max(max(record.finished_ps, record.gone_ps) for record in records)
    replayed = Replayed(
        records=records,
        end_ps=end_ps,
        limit_ps=PATIENCE * end_ps,
        ending="complete",
        account="",
        origin_s=0.0,
        lateness=Lateness(),
    )
    return trace, replayed


def done_of(imported: Imported, max_num_seqs: int | None, seed: int, place: int = 0) -> Done:
    """Return an imported run as a replay that was made: straight into an engine of so many seats.

    Raises what `trace_and_replay` raises.
    """
    trace, replayed = trace_and_replay(imported)
    policy: Policy = Static(DEFAULT_MAX_NUM_SEQS if max_num_seqs is None else max_num_seqs)
    return Done(Job(place, 0, policy, trace, seed), replayed, imported.date)


def _usable(imported: Imported) -> tuple[ImportedRequest, ...]:
    """Return the requests, or raise OptionError if they do not make a replay."""
    where = f"{imported.source} ({imported.tool})"
    if not imported.requests:
        raise OptionError(
            f"{where} has only statistics, expected every request: save it with --save-detailed "
            "(vllm bench) or per_request: true (inference-perf)"
        )
    if len(imported.requests) < imported.requests_made:
        raise OptionError(
            f"{where} lists {len(imported.requests):,} of {imported.requests_made:,} requests, "
            "expected all: what else the server was doing is unknown; run it without warm-up and "
            "sampling"
        )
    if not imported.has_loads:
        raise OptionError(
            f"{where} does not say when requests were sent, nor does it follow: "
            f"{'; '.join(imported.notes)}"
        )
    if not any(request.ttft_s for request in imported.requests if not request.error):
        raise OptionError(
            f"{where} has no request with a time to the first token, expected answers that were "
            "streamed and came"
        )
    return imported.requests


def _record(id: int, request: ImportedRequest) -> Record:
    start_s, e2e_s = request.start_s or 0.0, request.e2e_s or 0.0
    start_ps, end_ps = _ps(start_s), _ps(start_s + e2e_s)
    error = request.error or ("" if request.ttft_s is not None else "it was not streamed")
    record = Record(id, start_ps, start_ps, admitted_ps=start_ps, sent_ps=start_ps, known_ps=end_ps)
    token_s = _tokens(request)
    if request.ttft_s is not None:
        record.first_token_ps = _ps(start_s + request.ttft_s)
    if error:
        record.status, record.reason, record.gone_ps = FAILED, error, end_ps
    else:
        record.status, record.finished_ps = FINISHED, end_ps
    record.reply = Reply(
        status="failed" if error else "finished",
        sent_s=start_s,
        ended_s=start_s + e2e_s,
        token_s=token_s,
        prompt_tokens=request.prompt_tokens or None,
        reason=error,
        counted=True,
    )
    return record


def _tokens(request: ImportedRequest) -> tuple[float, ...]:
    """Return when each token came; evenly spaced where that is not known."""
    if request.ttft_s is None or request.e2e_s is None or not request.output_tokens:
        return ()
    start_s = request.start_s or 0.0
    first_s, last_s = start_s + request.ttft_s, start_s + request.e2e_s
    known = [first_s, *(first_s + np.cumsum(request.gaps_s)).tolist()]
    if len(known) == 1:
        known.append(max(last_s, first_s))
    at = np.linspace(0, len(known) - 1, request.output_tokens)
    return tuple(np.interp(at, range(len(known)), known).tolist())


def _ps(seconds: float) -> int:
    return round(seconds * PS_PER_S)
