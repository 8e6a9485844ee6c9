"""What is asked of a server, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from calibrate.schema import integer, one_of, wrong

STATUSES = ("finished", "refused", "failed", "timed_out", "cancelled")
"""How an exchange ends: with all its tokens; turned away by the server (HTTP 429 or 503); with any
other error, of HTTP, of the connection or in the stream; without an answer in time; given up by us.
"""


@dataclass(frozen=True)
class Ask:
    """One completion to ask for.

    Parameters
    ----------
    prompt : tuple of int, or str
        Token ids where the server takes them, else text.
    max_tokens : int
        The tokens to generate; the server is asked not to stop earlier.
    body : bytes
        The JSON to post, where `Endpoint.prepared` wrote it beforehand.
    """

    prompt: tuple[int, ...] | str
    max_tokens: int
    body: bytes = field(default=b"", repr=False, compare=False)

    def __post_init__(self) -> None:
        integer("max_tokens", self.max_tokens, at_least=1)
        if not self.prompt:
            raise wrong("prompt", self.prompt, "at least one token")


@dataclass(frozen=True)
class Reply:
    """What became of one completion; instants are `time.perf_counter` seconds of this process.

    Parameters
    ----------
    status : str
        One of `STATUSES`.
    sent_s : float
        When sending began, before a connection was opened or a free one found.
    ended_s : float
        When it was over: its last byte, the error, or our giving up.
    token_s : tuple of float
        When each generated token arrived, in order; tokens that one message carried share an
        instant.  Also the tokens of an exchange that did not finish.
    prompt_tokens : int or None
        As the server counted them; None where it did not say.
    reason : str
        Why it did not finish, such as "HTTP 429: ..."; empty for "finished".
    http_status : int or None
        None where there was no answer.
    retry_after_s : float or None
        How long the server asked us to wait.
    counted : bool
        Whether the server counted its tokens; else each message with content was taken for one.
    """

    status: str
    sent_s: float
    ended_s: float
    token_s: tuple[float, ...] = ()
    prompt_tokens: int | None = None
    reason: str = ""
    http_status: int | None = None
    retry_after_s: float | None = None
    counted: bool = False

    def __post_init__(self) -> None:
        one_of("status", self.status, STATUSES)
        if (self.status == "finished") == bool(self.reason):
            raise wrong("reason", self.reason, "a reason, unless it finished")

    @property
    def output_tokens(self) -> int:
        """Tokens that arrived."""
        return len(self.token_s)

    @property
    def ttft_s(self) -> float | None:
        """Seconds from sending to the first token; None without one."""
        return self.token_s[0] - self.sent_s if self.token_s else None

    @property
    def e2e_s(self) -> float | None:
        """Seconds from sending to the last token; None unless it finished."""
        return self.token_s[-1] - self.sent_s if self.status == "finished" else None

    @property
    def tokens_per_s(self) -> float | None:
        """Generation speed between first and last token; None with less than two instants."""
        if self.output_tokens < 2 or self.token_s[-1] <= self.token_s[0]:
            return None
        return (self.output_tokens - 1) / (self.token_s[-1] - self.token_s[0])


class Progress:
    """How far an exchange is, while it goes on.

    Attributes
    ----------
    first_s : float or None
        When the first token arrived.
    messages : int
        Tokens so far where the server counts them as it goes, else messages with content.
    """

    __slots__ = ("first_s", "messages")

    def __init__(self) -> None:
        self.first_s: float | None = None
        self.messages = 0
