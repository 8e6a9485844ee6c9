"""Replicas that start, take requests, drain, fail, and are switched off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.protocol import NEVER_PS, PS_PER_S
from sim.cluster.agenda import CHANGE
from sim.cluster.failures import Outage
from sim.options import OptionError, to_ps

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from policies.protocol import Pending
    from sim.cluster.agenda import Agenda
    from sim.cluster.failures import Maintenance
    from sim.cluster.scenario import Scenario
    from sim.spec import Station

OFF, STARTING, READY, DRAINING, DOWN = range(5)
"""What a replica is doing.  DOWN is under repair or maintenance; OFF costs nothing."""

MOST_FAILURES = 1_000_000
"""A run with more random failures than this would hardly end."""


class Lifecycle:
    """Keeps the state of every replica, `Fleet.taking`, and what was up and paid for when.

    Parameters
    ----------
    scenario : Scenario
        What goes wrong, and how long a start takes.
    stations : sequence of Station
        The replicas at work.
    agenda : Agenda
        Where to note what will happen.
    lost : callable
        Told which requests a failing replica held, and the tokens generated for them.
    alive : callable
        Whether anything can still happen to a request; without it the run must end.
    """

    def __init__(
        self,
        scenario: Scenario,
        stations: list[Station],
        agenda: Agenda,
        lost: Callable[[int, list[Pending], int, int], None],
        alive: Callable[[int], bool],
    ) -> None:
        count = len(stations)
        self._fleet = scenario.fleet
        self._accounts = [spec.account for spec in scenario.specs]
        self._startup_ps = scenario.startup_ps
        self._pooled = scenario.autoscale is not None
        self._stations = stations
        self._agenda = agenda
        self._lost = lost
        self._alive = alive
        self._state = [OFF] * count
        # Counts changes of state: an appointment made in an earlier one is void.
        self._turn = [0] * count
        # When one that drains or is down returns; for ever is off.
        self._back_ps = [0] * count
        self._serving, self._served_ps = 0, 0  # how many are up; their seconds less their starts
        self._failures = 0
        random = None if scenario.failures is None else scenario.failures.random
        self._outages: list[_Outages] | None = None
        if random is not None:
            assert scenario.outage_rng is not None
            self._outages = [
                _Outages(scenario.outage_rng(i), random.mtbf_s, random.repair_s)
                for i in range(count)
            ]
        ready = count if scenario.ready is None else scenario.ready
        for index in range(ready):
            self._accounts[index].paid_ps.append(0)
            self._begin_service(index, 0)
        self._list_taking()
        for outage in () if scenario.failures is None else scenario.failures.scripted:
            self._note(outage)

    def count(self, *states: int) -> int:
        """Return how many replicas are in one of these states."""
        return sum(state in states for state in self._state)

    def taking(self) -> list[int]:
        """Return the replicas that take requests, ascending."""
        return [index for index, state in enumerate(self._state) if state == READY]

    def served_ps(self, now_ps: int) -> int:
        """Return how long replicas took or finished requests by now, all together [ps]."""
        return self._served_ps + self._serving * now_ps

    def start(self, replicas: int, now_ps: int) -> int:
        """Start so many replicas, as far as there are any that are off; return how many."""
        off = [index for index, state in enumerate(self._state) if state == OFF][:replicas]
        for index in off:
            self._accounts[index].paid_ps.append(now_ps)
            self._begin_start(index, now_ps)
        return len(off)

    def drain(self, replicas: int, now_ps: int) -> None:
        """Take so many replicas out of service: those that start first, then the last ones."""
        for index in reversed(range(len(self._state))):
            if replicas and self._state[index] == STARTING:
                replicas -= 1
                self._switch_off(index, now_ps)
        for index in reversed(range(len(self._state))):
            if replicas and self._state[index] == READY:
                replicas -= 1
                self._drain(index, now_ps, NEVER_PS)

    def left(self, index: int, now_ps: int) -> None:
        """Note that a request has left a replica: one that drains may now be empty."""
        if self._state[index] == DRAINING and self._stations[index].empty:
            self._end_drain(index, now_ps)

    def close(self, now_ps: int) -> None:
        """End the account of what is up and paid for."""
        for account in self._accounts:
            for periods in (account.up_ps, account.paid_ps):
                if len(periods) % 2:
                    periods.append(now_ps)

    def _note(self, outage: Outage | Maintenance) -> None:
        """Note a scripted outage."""
        act = self._fail if isinstance(outage, Outage) else self._drain_for
        back_ps = min(to_ps(outage.at_s + outage.for_s), NEVER_PS - 1)
        self._agenda.at(
            to_ps(outage.at_s),
            CHANGE,
            outage.replica,
            lambda now_ps: act(outage.replica, now_ps, back_ps),
            background=True,
        )

    def _set(self, index: int, state: int, back_ps: int = 0) -> None:
        self._state[index] = state
        self._back_ps[index] = back_ps
        self._turn[index] += 1

    def _go_up(self, index: int, now_ps: int) -> None:
        self._accounts[index].up_ps.append(now_ps)
        self._serving += 1
        self._served_ps -= now_ps

    def _leave_service(self, index: int, now_ps: int) -> None:
        self._accounts[index].up_ps.append(now_ps)
        self._serving -= 1
        self._served_ps += now_ps

    def _at(self, instant_ps: int, index: int, call: Callable[[int, int], None]) -> None:
        """Note a call about a replica that is void once its state has changed."""
        turn = self._turn[index]

        def act(now_ps: int) -> None:
            if self._turn[index] == turn:
                call(index, now_ps)

        self._agenda.at(instant_ps, CHANGE, index, act, background=True)

    def _begin_start(self, index: int, now_ps: int) -> None:
        self._set(index, STARTING)
        if self._startup_ps:
            self._at(now_ps + self._startup_ps, index, self._ready)
        else:
            self._ready(index, now_ps)

    def _ready(self, index: int, now_ps: int) -> None:
        self._begin_service(index, now_ps)
        self._list_taking()

    def _begin_service(self, index: int, now_ps: int) -> None:
        self._set(index, READY)
        self._go_up(index, now_ps)
        if self._outages is not None:
            self._at(now_ps + self._outages[index].up_ps(), index, self._fail_at_random)

    def _list_taking(self) -> None:
        self._fleet.taking = self.taking()

    def _fail_at_random(self, index: int, now_ps: int) -> None:
        assert self._outages is not None
        if not self._alive(now_ps):
            return
        self._failures += 1
        if self._failures > MOST_FAILURES:
            raise OptionError(
                f"failures: replicas failed {MOST_FAILURES:,} times by {now_ps / PS_PER_S:g} s: "
                "expected a longer mtbf_s"
            )
        self._fail(index, now_ps, now_ps + self._outages[index].repair_ps())

    def _fail(self, index: int, now_ps: int, back_ps: int) -> None:
        """Lose what the replica holds; it starts again, or is off, after the repair."""
        state = self._state[index]
        if state == OFF:
            return
        serves = state in (READY, DRAINING)
        if serves:
            self._leave_service(index, now_ps)
        self._stay_down(index, now_ps, back_ps)
        self._list_taking()
        if serves:
            lost, generated = self._stations[index].fail(now_ps)
            self._lost(index, lost, generated, now_ps)

    def _drain_for(self, index: int, now_ps: int, back_ps: int) -> None:
        state = self._state[index]
        if state == READY:
            self._drain(index, now_ps, back_ps)
        elif state == DRAINING:
            self._back_ps[index] = max(back_ps, self._back_ps[index])
        elif state != OFF:
            self._stay_down(index, now_ps, back_ps)

    def _drain(self, index: int, now_ps: int, back_ps: int) -> None:
        self._set(index, DRAINING, back_ps)
        self._list_taking()
        if self._stations[index].empty:
            self._end_drain(index, now_ps)

    def _end_drain(self, index: int, now_ps: int) -> None:
        self._leave_service(index, now_ps)
        self._stay_down(index, now_ps, self._back_ps[index])

    def _stay_down(self, index: int, now_ps: int, back_ps: int) -> None:
        """Be down until then, or longer where it already was to be, and start again."""
        back_ps = max(back_ps, self._back_ps[index])
        if back_ps == NEVER_PS:
            self._switch_off(index, now_ps)
            return
        self._set(index, DOWN, back_ps)
        self._at(max(back_ps, now_ps), index, self._return)

    def _return(self, index: int, now_ps: int) -> None:
        if self._pooled:  # back to the pool: the scaler says whether it is wanted
            self._switch_off(index, now_ps)
        else:
            self._begin_start(index, now_ps)

    def _switch_off(self, index: int, now_ps: int) -> None:
        self._set(index, OFF)
        self._accounts[index].paid_ps.append(now_ps)


class _Outages:
    """Draws when one replica fails and how long its repair takes."""

    def __init__(self, rng: np.random.Generator, mtbf_s: float, repair_s: float) -> None:
        self._rng = rng
        self._mtbf_s = mtbf_s
        self._repair_s = repair_s

    def up_ps(self) -> int:
        """Return the time to the next failure [ps], at least one."""
        return max(1, to_ps(self._rng.exponential(self._mtbf_s)))

    def repair_ps(self) -> int:
        """Return the time to repair [ps], at least one."""
        return max(1, to_ps(self._rng.exponential(self._repair_s)))
