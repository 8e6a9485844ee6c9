"""What a decider may not choose, said in one line."""

from __future__ import annotations

from policies.protocol import Choice, PolicyError


def is_sound(choice: object, now_ps: int, in_time: bool) -> bool:
    """Return whether this is a `Choice` whose timer can be kept.

    Timers of an instant come after its departures and arrivals: a choice at one of these is in time
    for them.
    """
    if not isinstance(choice, Choice) or type(choice.wake_ps) is not int:
        return False
    return choice.wake_ps > now_ps or (in_time and choice.wake_ps == now_ps)


def unsound(choice: object, now_ps: int) -> PolicyError:
    """Return the error for a choice that is not sound."""
    if not isinstance(choice, Choice):
        return PolicyError(f"a policy returned {choice!r:.80}: expected a Choice")
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
