"""What a server answered so far, in a file that survives being killed at any moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from calibrate.endpoint.exchange import Reply
from calibrate.endpoint.session import Exchange, Session
from calibrate.journal import Journal
from calibrate.schema import ProfileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from calibrate.endpoint.session import Sent


class Kept:
    """The sessions that were sent, each written once it is over.

    A session lasts seconds, and one that was cut off tells nothing: writing it as its replies come
    would keep no more, and disturb the times of those still to come. How many requests it sends at
    most is written before, so that a run that goes on knows what is left of the number agreed to.

    Parameters
    ----------
    path, task, resume
        As of `Journal`; the task never has the key in it.

    Attributes
    ----------
    sessions : dict
        The exchanges of each session whose requests all finished.
    skipped : dict
        Why a session is not sent, or not again.
    statuses : Counter
        How all requests ended.
    server : dict or None
        As given to `keep_server`.
    requests : int
        Requests for tokens that were sent so far, those of a run that was killed at the most.
    """

    def __init__(self, path: Path, task: Mapping[str, Any], *, resume: bool) -> None:
        self.path = path
        self.sessions: dict[Session, tuple[Exchange, ...]] = {}
        self.skipped: dict[Session, str] = {}
        self.statuses: Counter[str] = Counter()
        self.requests = 0
        self.server: dict[str, Any] | None = None
        self._begun = 0
        self._journal = Journal(path, task, resume=resume, take=self._take)

    def close(self, *, remove: bool) -> None:
        """Close the file; remove it where all in it has become a profile, or nothing is in it."""
        self._journal.close(remove=remove or not self.sessions)

    def keep_server(self, server: Mapping[str, Any], requests: int) -> None:
        """Keep what a server is, and that the requests begun were so many.

        Raises ProfileError for a server that is not the one of an earlier run.
        """
        if self.server is not None:
            for name, value in server.items():
                if self.server.get(name) != value:
                    raise ProfileError(
                        f"{self.path} was measured on a server with {name} "
                        f"{self.server.get(name)!r}, this one has {value!r}: start it as before, "
                        "or remove the file"
                    )
        self._keep({"server": dict(server), "requests": requests})

    def begin(self, requests: int) -> None:
        """Keep that so many requests at most are about to be sent, before it is known how many."""
        self._keep({"begun": requests})

    def end(self, session: Session, sent: Sent) -> None:
        """Keep what became of the session begun, and its exchanges if all finished."""
        statuses = Counter(e.reply.status for e in sent.exchanges)
        if sent.requests > statuses.total():
            statuses["cancelled"] = sent.requests - statuses.total()
        entry: dict[str, Any] = {"sent": sent.requests, "statuses": dict(statuses)}
        if sent.requests and set(statuses) == {"finished"}:
            start_s = min(e.reply.sent_s for e in sent.exchanges)
            entry["session"] = astuple(session)
            entry["exchanges"] = [_to_json(e, start_s) for e in sent.exchanges]
        self._keep(entry)

    def skip(self, session: Session, reason: str) -> None:
        """Keep why a session is not sent again."""
        self._keep({"skipped": astuple(session), "reason": reason})

    def _keep(self, entry: Mapping[str, Any]) -> None:
        self._take(entry)
        self._journal.append(entry)

    def _take(self, entry: Mapping[str, Any]) -> None:
        if "server" in entry:
            self.server = dict(entry["server"])
            self._ended(int(entry["requests"]))
            return
        if "skipped" in entry:
            self.skipped[_session(entry["skipped"])] = str(entry["reason"])
            return
        if "begun" in entry:
            self._begun = int(entry["begun"])
            self.requests += self._begun
            return
        self._ended(int(entry["sent"]))
        self.statuses.update({str(name): int(n) for name, n in entry["statuses"].items()})
        if "session" in entry:
            exchanges = tuple(_from_json(each) for each in entry["exchanges"])
            self.sessions[_session(entry["session"])] = exchanges

    def _ended(self, requests: int) -> None:
        self.requests += requests - self._begun
        self._begun = 0


def _session(values: Any) -> Session:
    level, prompts, output_tokens, inserts, number = values
    return Session(int(level), tuple(prompts), int(output_tokens), tuple(inserts), int(number))


def _to_json(exchange: Exchange, start_s: float) -> dict[str, Any]:
    """Return a finished exchange, its instants in seconds from the session's start."""
    reply = exchange.reply
    return {
        "asked": exchange.asked_tokens,
        "inserted": exchange.inserted,
        "prompt_tokens": reply.prompt_tokens,
        "sent_s": round(reply.sent_s - start_s, 6),
        "ended_s": round(reply.ended_s - start_s, 6),
        "token_s": [round(instant_s - start_s, 6) for instant_s in reply.token_s],
    }


def _from_json(entry: Mapping[str, Any]) -> Exchange:
    reply = Reply(
        "finished",
        float(entry["sent_s"]),
        float(entry["ended_s"]),
        tuple(map(float, entry["token_s"])),
        entry["prompt_tokens"],
    )
    if not reply.token_s:
        raise ValueError("a finished reply without a token")
    return Exchange(int(entry["asked"]), reply, bool(entry["inserted"]))
