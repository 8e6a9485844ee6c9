"""Looks at a cluster at fixed intervals and changes the number of its replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.protocol import PS_PER_S, PolicyError
from policies.scaling import Load
from sim.cluster.agenda import CHANGE, WHO_BITS
from sim.cluster.lifecycle import READY, STARTING
from sim.options import OptionError, to_ps

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.cluster.agenda import Agenda
    from sim.cluster.lifecycle import Lifecycle
    from sim.cluster.scenario import Scenario
    from sim.spec import Station

LAST = (1 << WHO_BITS) - 1
"""A look comes after the other changes of its instant."""

MOST_LOOKS = 10_000_000
"""A run with more looks than this would hardly end."""


class Lookout:
    """Shows a scaler the load and carries out what it asks for.

    Attributes
    ----------
    arrived : int
        Requests submitted since the last look.
    """

    def __init__(
        self,
        scenario: Scenario,
        stations: list[Station],
        lifecycle: Lifecycle,
        agenda: Agenda,
        alive: Callable[[int], bool],
    ) -> None:
        assert scenario.autoscale is not None and scenario.met is not None
        rules = scenario.autoscale
        self._rules = rules
        self._met = scenario.met
        self._stations = stations
        self._lifecycle = lifecycle
        self._agenda = agenda
        self._alive = alive
        self._interval_ps = max(1, to_ps(rules.interval_s))
        self._up_cooldown_ps = to_ps(rules.up_cooldown_s)
        self._down_cooldown_ps = to_ps(rules.down_cooldown_s)
        self._up_from_ps = self._down_from_ps = 0
        self._busy_ps = self._served_ps = 0
        self.arrived = 0
        self._goals = self._goals_met = self._looks = 0
        agenda.at(self._interval_ps, CHANGE, LAST, self._look, background=True)

    def note_end(self, request: int) -> None:
        """Note that a request has ended for good."""
        met = self._met(request)
        if met is not None:
            self._goals += 1
            self._goals_met += met

    def _look(self, now_ps: int) -> None:
        if not self._alive(now_ps):
            return
        rules, lifecycle = self._rules, self._lifecycle
        self._looks += 1
        if self._looks > MOST_LOOKS:
            raise OptionError(
                f"autoscale looked {MOST_LOOKS:,} times by {now_ps / PS_PER_S:g} s: expected a "
                "longer interval_s"
            )
        present = lifecycle.count(READY, STARTING)
        desired = rules.scaler.desired(self._load(now_ps))
        if isinstance(desired, bool) or not isinstance(desired, int):
            raise PolicyError(f"a scaler asked for {desired!r} replicas: expected a whole number")
        desired = min(max(desired, rules.min_replicas), rules.max_replicas)
        if desired > present and now_ps >= self._up_from_ps:
            if lifecycle.start(desired - present, now_ps):
                self._up_from_ps = now_ps + self._up_cooldown_ps
        elif desired < present and now_ps >= self._down_from_ps:
            lifecycle.drain(present - desired, now_ps)
            self._down_from_ps = now_ps + self._down_cooldown_ps
        self._agenda.at(now_ps + self._interval_ps, CHANGE, LAST, self._look, background=True)

    def _load(self, now_ps: int) -> Load:
        busy_ps = sum(station.busy_ps(now_ps) for station in self._stations)
        served_ps = self._lifecycle.served_ps(now_ps)
        queues = [station.waiting_and_running() for station in self._stations]
        span_ps = served_ps - self._served_ps
        load = Load(
            now_ps=now_ps,
            taking=self._lifecycle.count(READY),
            starting=self._lifecycle.count(STARTING),
            utilisation=(busy_ps - self._busy_ps) / span_ps if span_ps else 0.0,
            waiting=sum(waiting for waiting, _ in queues),
            running=sum(running for _, running in queues),
            arrived=self.arrived,
            ended=self._goals,
            met=self._goals_met,
        )
        self._busy_ps, self._served_ps = busy_ps, served_ps
        self.arrived = self._goals = self._goals_met = 0
        return load
