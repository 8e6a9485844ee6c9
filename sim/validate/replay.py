"""One policy, once: on the server, and the same arrivals in the simulator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from policies.gate import Gated
from policies.protocol import PS_PER_S
from sim.cluster.fleet import Replica
from sim.intake import mean_context_tokens
from sim.options import OptionError
from sim.setup import POLICY_STREAM, random_stream, resolved, told
from sim.simulation import simulate
from sim.validate.caveats import caveats_of
from sim.validate.measured import as_served, measured_result

if TYPE_CHECKING:
    from calibrate.profile import Profile
    from policies.protocol import Decider, Policy
    from sim.options import RunOptions
    from sim.result import Result
    from sim.validate.record import Replayed
    from traces.request import Trace


@dataclass(frozen=True, eq=False)
class Setting:
    """What all replays have in common.

    Attributes
    ----------
    profile : Profile
        The server as the simulation takes it.
    options : RunOptions
        Of the simulation; ``max_num_seqs`` is the server's own.
    """

    profile: Profile
    options: RunOptions

    def kind(self, trace: Trace) -> Replica:
        """Return the server as policies are told of it, with the mean context of a trace."""
        context_tokens = mean_context_tokens(trace)
        return told((Replica(self.profile),), self.options, context_tokens)[0]


@dataclass(frozen=True, eq=False)
class Pair:
    """A policy measured and simulated.

    Attributes
    ----------
    measured, simulated : Result
        The same requests, in the same order.
    replayed : Replayed or None
        The replay itself; None where only the simulation was wanted.
    """

    measured: Result
    simulated: Result
    replayed: Replayed


def in_front(policy: Policy, server_seqs: int) -> Policy:
    """Return a policy as it stands in front of a server that is already running.

    One that fixes the batch size holds it at a gate of its own: the server's cannot be changed.

    Raises
    ------
    OptionError
        For a batch size that the server does not have.
    """
    seats: int | None = getattr(policy, "max_num_seqs", None)
    if seats is None:
        return policy
    if seats > server_seqs:
        raise OptionError(
            f"policy {policy.label}: the server's engine runs {server_seqs} requests at most, as "
            "--max-num-seqs says: expected a smaller batch"
        )
    return Gated(policy, seats)


def decider_of(policy: Policy, setting: Setting, trace: Trace, seed: int) -> Decider:
    """Return the decider that replica 0 of a simulation with this seed would have."""
    return policy.start(random_stream(seed, POLICY_STREAM, 0), setting.kind(trace).profile)


def simulated(trace: Trace, policy: Policy, setting: Setting, seed: int, until_s: float) -> Result:
    """Return a simulation that ends at `until_s`, as the replay on the server does."""
    options = replace(setting.options, until_s=until_s)
    return simulate(trace, setting.profile, policy=policy, seed=seed, **vars(options))


def pair_of(trace: Trace, replayed: Replayed, policy: Policy, setting: Setting, seed: int) -> Pair:
    """Return a replay as a result, and the simulation of the same arrivals.

    Parameters
    ----------
    trace : Trace
        What was planned.
    replayed : Replayed
        What became of it; at least one request.
    policy : Policy
        As it stood in front of the server.
    setting : Setting
    seed : int
        Of the policy's choices.
    """
    served = as_served(trace, replayed.records)
    until_s = replayed.limit_ps / PS_PER_S
    kind = setting.kind(served)
    options = replace(setting.options, until_s=until_s)
    measured = measured_result(
        served,
        replayed,
        policy.label,
        kind,
        resolved(options, policy, (kind,), round(kind.profile.client_overhead_s * PS_PER_S)),
        seed,
        caveats_of(trace, replayed),
    )
    return Pair(measured, simulated(served, policy, setting, seed, until_s), replayed)
