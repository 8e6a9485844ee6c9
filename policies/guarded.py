"""A policy from a user's module, whose failures are told in one line that names it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.protocol import PolicyError

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Choice, Decider, Policy, View


@dataclass(frozen=True)
class Guarded:
    """A policy that turns whatever its code raises into a `PolicyError`.

    Attributes
    ----------
    policy : Policy
        The policy as it was given.
    """

    policy: Policy

    @property
    def label(self) -> str:
        """The policy's own label."""
        return self.policy.label

    @property
    def max_num_seqs(self) -> int | None:
        """The batch size the policy sets, if it sets one."""
        return getattr(self.policy, "max_num_seqs", None)

    def start(self, rng: np.random.Generator, profile: Profile) -> GuardedDecider:
        """Return the policy's decider, guarded like the policy."""
        try:
            decider = self.policy.start(rng, profile)
        except PolicyError:
            raise
        except (Exception, SystemExit) as error:
            raise _failure(self.label, "start", error) from error
        if not callable(getattr(decider, "decide", None)):
            raise PolicyError(
                f"policy {self.label}: start returned {decider!r:.80}: expected an object with "
                "decide(view)"
            )
        return GuardedDecider(decider, self.label)


class GuardedDecider:
    """A decider that turns whatever its code raises into a `PolicyError`."""

    __slots__ = ("_decider", "_label")

    def __init__(self, decider: Decider, label: str) -> None:
        self._decider = decider
        self._label = label

    def decide(self, view: View) -> Choice:
        """Return what the decider chose."""
        try:
            return self._decider.decide(view)
        except PolicyError:
            raise
        except (Exception, SystemExit) as error:
            raise _failure(self._label, "decide", error) from error


def _failure(label: str, call: str, error: BaseException) -> PolicyError:
    """Return the error that says what was raised and where."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    message = " ".join(str(error).split())
    return PolicyError(
        f"policy {label}: its {call} failed with {type(error).__name__}: {message}{where}"
    )
