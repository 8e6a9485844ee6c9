"""What a decider may not choose, said in one line."""

from __future__ import annotations

from policies.protocol import Choice, PolicyError


def is_sound(choice: object, now_ps: int, in_time: bool, most_tokens: int) -> bool:
    """Return whether this is a `Choice` whose timer can be kept and whose budget can be set.

    Timers of an instant come after its departures and arrivals: a choice at one of these is in time
    for them.  A step may hold at most `most_tokens`.
    """
    if not isinstance(choice, Choice) or type(choice.wake_ps) is not int:
        return False
    if not _is_budget(choice.max_num_batched_tokens, most_tokens):
        return False
    return choice.wake_ps > now_ps or (in_time and choice.wake_ps == now_ps)


def unsound(choice: object, now_ps: int, most_tokens: int) -> PolicyError:
    """Return the error for a choice that is not sound."""
    if not isinstance(choice, Choice):
        return PolicyError(f"a policy returned {choice!r:.80}: expected a Choice")
    tokens = choice.max_num_batched_tokens
    if not _is_budget(tokens, most_tokens):
        expected = (
            f"0 to leave it, or a whole number from 1 to {most_tokens}, the run's own"
            if most_tokens
            else "0, as the budget of this server cannot be set"
        )
        return PolicyError(
            f"a policy chose max_num_batched_tokens={tokens!r} at {now_ps} ps: expected {expected} "
            "(see view.max_num_batched_tokens)"
        )
    return PolicyError(
        f"a policy asked at {now_ps} ps to be woken at {choice.wake_ps!r} ps: expected a later "
        "instant, as a whole number"
    )


def not_queued(request: object, replica: int, verb: str) -> PolicyError:
    """Return the error for a choice about a request that does not wait at the replica."""
    return PolicyError(
        f"a policy {verb} request {request!r}, which does not wait at replica {replica}: expected "
        "the id of a request that arrived there and was neither released nor refused"
    )


def _is_budget(tokens: object, most_tokens: int) -> bool:
    return type(tokens) is int and 0 <= tokens <= most_tokens
