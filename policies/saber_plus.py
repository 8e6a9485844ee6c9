"""SABER+: admit a request when all who run, and it, will be in time with what is yet to come.

Our own, from SABER (S. Chang et al., arXiv 2506.19677), by five changes; each is a parameter, so
that what it gains can be told apart (`docs/policies.md`).

1. `current`: whoever runs is asked for what it needs now, not for the speed it needed when it was
   released.  A request that has run ahead can bear a larger batch; one that was stalled can not.
2. `model`: when requests end is predicted from what steps cost, as the batch drains, with the time
   that the admitted prompt and those not yet prefilled take from everybody.  Later admissions are
   left out on purpose: each asks this question itself, for all who run by then.
   `reserve`: except that some of the time is kept for arrivals that are cheaper than the candidate:
   their prompts stall whoever runs, and are worth it, as one that costs less is one more met.  The
   share is what the prompts of cheaper arrivals took of the time lately, times this number; the
   cheapest request is asked for nothing, and the dearest one is turned down first as load grows.
   One that has waited for so long that only a small batch is fast enough has that batch to pay
   for, and is dear: else such requests, one after the other, would keep everybody out.
3. `order`: of those who wait the one with the least work is asked first, and of equals the one
   with the most time left, instead of one drawn at random.
4. `correct`: predictions are scaled by how long steps took lately over what the profile says.
5. `learn`: an answer is expected to be as long as the last of its task were, in tokens or as a
   share of ``max_tokens``, whichever has been steadier; so ``max_tokens`` may be a mere limit.
   While no answer of a task is known, a request that could not be in time even alone is taken for
   one with a limit, and let in if half of its time would do; so is any request of a task not yet
   known once an answer was shorter than its limit.

Who could not be in time even alone is best effort, and goes to the engine while nobody with a
deadline waits or runs, a few at a time: it binds nobody, but its prompt and its place in the batch
are counted.  Who runs and will be late whatever is done binds nobody any more either.

What it can not do: it never takes back what it released, and it does not know an answer before it
came: where those of a task differ much, more are turned down or late.  It serves those that can be
met with the least work, so under lasting overload the longest answers wait until it is over: that
is what goodput asks for, and not what everybody wants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from policies.parameters import check_number, check_whole, check_word
from policies.protocol import PolicyError
from policies.saber_plus_decider import SaberPlusDecider
from policies.text import call_text

if TYPE_CHECKING:
    import numpy as np

    from calibrate.profile import Profile
    from policies.protocol import Decider

Order = Literal["work", "deadline", "arrival", "random"]


@dataclass(frozen=True)
class SaberPlus:
    """The parameters.

    Attributes
    ----------
    current : bool
        Ask for what the running still need; else for the speed each needed at its release.
    model : bool
        Predict from step costs; else every token takes the step of a batch that stays as it is,
        and prompts take no time.
    reserve : float
        How much of the share of time that cheaper arrivals' prompts took is kept free; 0 for none.
    order : {"work", "deadline", "arrival", "random"}
        Which of those who wait is asked first.
    correct : bool
        Scale predictions by the step times observed.
    learn : float
        The quantile of the last answers of a task that is expected of the next, at most 1; 0 to
        take ``max_tokens`` for the length.
    idle_seats : int
        At most so many best-effort requests are released to be in the engine together.
    """

    current: bool = True
    model: bool = True
    reserve: float = 1.5
    order: Order = "work"
    correct: bool = True
    learn: float = 0.5
    idle_seats: int = 8

    def __post_init__(self) -> None:
        for name in ("current", "model", "correct"):
            if not isinstance(getattr(self, name), bool):
                value = getattr(self, name)
                raise PolicyError(f"saber+: {name}={value!r}: expected True or False")
        check_number("saber+", "reserve", self.reserve, at_least=0, at_most=100)
        check_number("saber+", "learn", self.learn, at_least=0, at_most=1)
        check_whole("saber+", "idle_seats", self.idle_seats, at_least=1)
        check_word("saber+", "order", self.order, get_args(Order))

    @property
    def label(self) -> str:
        """Canonical text of this policy: the parameters that differ from the defaults."""
        return call_text("saber+", self)

    def start(self, rng: np.random.Generator, profile: Profile) -> Decider:
        """Return a decider that predicts from `profile`."""
        return SaberPlusDecider(self, profile, rng)
