"""What became of the requests of one replay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sim.ledger import UNFINISHED, UNSET

if TYPE_CHECKING:
    from calibrate.endpoint.exchange import Reply
    from sim.validate.lateness import Lateness

Ending = Literal["complete", "drained", "idle", "stopped", "interrupted"]
"""How a replay ends: everything is over; the time for what is left was up; the policy holds what is
left and nothing will happen any more; the server served nothing; the user wanted it to end."""


@dataclass(slots=True)
class Record:
    """One request that was submitted; instants are picoseconds since the replay began.

    Attributes
    ----------
    id : int
        Its row in the trace.
    planned_ps, arrival_ps : int
        When it should have arrived, and when it did.
    admitted_ps : int
        Release by the policy: the exchange with the server starts.
    sent_ps : int
        When it was handed to the connection.
    first_token_ps, finished_ps : int
        First token, and last one of those that finished, where they arrived here.
    known_ps : int
        When the policy was told that it is over.
    gone_ps : int
        When it was over without having finished.
    status : int
        Code of `sim.ledger.STATUSES`.
    reason : str
        Why it did not finish.
    demoted : bool
        Whether the policy made it best effort.
    reply : Reply or None
        What the exchange came to.
    """

    id: int
    planned_ps: int
    arrival_ps: int
    admitted_ps: int = UNSET
    sent_ps: int = UNSET
    first_token_ps: int = UNSET
    finished_ps: int = UNSET
    known_ps: int = UNSET
    gone_ps: int = UNSET
    status: int = UNFINISHED
    reason: str = ""
    demoted: bool = False
    reply: Reply | None = None


@dataclass(frozen=True, eq=False)
class Replayed:
    """One replay.

    Attributes
    ----------
    records : list of Record
        The requests that were submitted, by id: those that the trace begins with.
    end_ps : int
        When it ended.
    limit_ps : int
        When it would have ended at the latest; its end, if that was not its own.
    ending : str
        One of `Ending`.
    account : str
        Why it ended before its time; else empty.
    origin_s : float
        Its instant 0 on the driver's clock.
    lateness : Lateness
        How late the driver itself was.
    """

    records: list[Record]
    end_ps: int
    limit_ps: int
    ending: Ending
    account: str
    origin_s: float
    lateness: Lateness = field(repr=False)
