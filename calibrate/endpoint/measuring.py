"""`calibrate endpoint`: measure a running server from outside and make a profile of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from calibrate.endpoint.client import Client, Endpoint
from calibrate.endpoint.findings import (
    Budget,
    Discipline,
    batched_tokens,
    discipline,
    most_together,
)
from calibrate.endpoint.kept import Kept
from calibrate.endpoint.plan import WARM_UP, Bounds, Facts, Plan, plan, scouts
from calibrate.endpoint.probe import MOST_PROBES
from calibrate.endpoint.profiled import Looked, endpoint_profile, slug
from calibrate.endpoint.sender import Sender, Stopped
from calibrate.endpoint.server import look_at
from calibrate.gpu import Calibration
from calibrate.schema import ProfileError

if TYPE_CHECKING:
    from calibrate.endpoint.findings import Seen
    from calibrate.endpoint.options import EndpointOptions
    from calibrate.endpoint.server import Server
    from calibrate.endpoint.session import Session
    from calibrate.gpu import Reporter

LEAST_PROMPT = 256
"""A model that takes no longer prompts leaves nothing to see."""
ENOUGH_CHUNKS = 3
SESSIONS_IN_TIME = 30
"""Prompts of one session may take such a part of the time."""


def calibrate_endpoint(options: EndpointOptions, reporter: Reporter) -> Calibration:
    """Measure a server, fit the cost of its steps and write the profile.

    Parameters
    ----------
    options : EndpointOptions
    reporter : Reporter
        Told what is sent, and the requests sent so far.

    Returns
    -------
    Calibration
        Complete unless the agreed requests or time, or the server, ended it before its time; the
        partial file is then kept.

    Raises
    ------
    ProfileError
        For a server that cannot be used; for measurements of another run that are in the way; when
        too little was measured for a fit.
    ConnectionError
        When the server does not answer at all.
    """
    path = options.out or Path(f"{slug(options.model)}-endpoint.json")
    if not path.name or path.is_dir():
        raise ProfileError(f"--out {path} is a folder, expected a file name")
    path.parent.mkdir(parents=True, exist_ok=True)
    task = {"url": options.url, "model": options.model, "api": options.api}
    kept = Kept(path.with_name(path.name + ".partial"), task, resume=options.resume)
    complete = False
    try:
        looked, seen = asyncio.run(_measure(options, kept, reporter))
        reporter.say("fitting")
        try:
            profile = endpoint_profile(options, looked, seen)
        except ProfileError as error:
            if not looked.stopped:
                raise
            raise ProfileError(
                f"{looked.stopped}, before there was enough for a profile ({error}): what was "
                "measured is kept, go on with --resume"
            ) from None
        profile.save(path)
        complete = not looked.stopped and not looked.cut
    finally:
        kept.close(remove=complete)
    return Calibration(profile, path, complete, kept.path)


async def _measure(
    options: EndpointOptions, kept: Kept, reporter: Reporter
) -> tuple[Looked, list[Seen]]:
    """Return what a server turned out to be, and its sessions of this run and earlier ones."""
    deadline_s = asyncio.get_running_loop().time() + options.budget_s
    rng = np.random.default_rng(options.seed)
    server = await _looked_at(options, kept, rng, deadline_s)
    async with Client(server.endpoint) as client:
        sender = Sender(client, server, kept, rng, options.max_requests, deadline_s, reporter.say)
        run = _Run(options, sender, reporter, _facts(options, server))
        try:
            await run.all()
        except Stopped as stop:
            run.stopped = str(stop)
    return run.looked(), run.seen


async def _looked_at(
    options: EndpointOptions, kept: Kept, rng: np.random.Generator, deadline_s: float
) -> Server:
    if kept.requests + MOST_PROBES > options.max_requests:
        raise ProfileError(
            f"--max-requests {options.max_requests:,}: {kept.requests:,} were sent already, by the "
            "runs that this one goes on from: agree to more"
        )
    kept.begin(MOST_PROBES)
    async with Client(Endpoint(options.url, options.model, options.api, options.key)) as client:
        try:
            async with asyncio.timeout_at(deadline_s):
                server = await look_at(client, rng)
        except TimeoutError:
            raise ProfileError(
                f"{options.url}: the time agreed to was over before it had shown how it can be "
                "asked: expected a longer --budget"
            ) from None
    told = {
        name: getattr(server, name)
        for name in ("engine", "version", "max_model_len", "kv_tokens", "takes_ids")
    }
    kept.keep_server(told, server.requests)
    return server


def _facts(options: EndpointOptions, server: Server) -> Facts:
    facts = Facts(
        model_len=server.max_model_len,
        kv_tokens=options.kv_tokens or server.kv_tokens,
        most_together=options.max_num_seqs,
    )
    if facts.longest_prompt < LEAST_PROMPT:
        raise ProfileError(
            f"{options.model} leaves room for prompts of {facts.longest_prompt} tokens, too few to "
            f"see what they cost: expected at least {LEAST_PROMPT}"
        )
    return facts


@dataclass
class _Run:
    """The sessions of a run, one after the other, each planned with what the last ones showed."""

    options: EndpointOptions
    sender: Sender
    reporter: Reporter
    facts: Facts
    seen: list[Seen] = field(default_factory=list)
    discipline: Discipline = field(default_factory=lambda: discipline([]))
    budget: Budget = field(default_factory=lambda: batched_tokens([]))
    cut: tuple[str, ...] = ()
    stopped: str = ""

    async def all(self) -> None:
        """Send all there is to send; Stopped where that has to end before."""
        scouting = scouts(self.facts.longest_prompt)
        self._announce(scouting)
        self.sender.kept.sessions.pop(WARM_UP, None)  # the server may have cooled down since
        await self.sender.send(WARM_UP)
        await self._scout(scouting)
        done: set[Session] = set()
        while True:
            planned = self._plan(done)
            todo = next((s for s in planned.sessions if s not in done), None)
            self.cut = planned.cut
            if todo is None:
                return
            self.reporter.progress(
                self.sender.kept.requests, self.sender.kept.requests + _requests(planned, done)
            )
            one = await self.sender.send(todo)
            done.add(todo)
            if one is not None:
                self.seen.append(one)
                if self.facts.most_together is None:
                    self._find_limit()

    def looked(self) -> Looked:
        """Return what was found out so far."""
        kept = self.sender.kept
        return Looked(
            server=self.sender.server,
            facts=self.facts,
            discipline=self.discipline,
            budget=self.budget,
            cut=self.cut,
            stopped=self.stopped,
            requests=kept.requests,
            statuses=kept.statuses,
        )

    async def _scout(self, sessions: list[Session]) -> None:
        """See how prompts are prefilled beside decodes, longer ones as long as that is unclear."""
        for session in sessions:
            if self.facts.seconds(session) > self.options.budget_s / 10:
                break
            one = await self.sender.send(session)
            if one is None:
                break
            self.seen.append(one)
            self._learn()
            chunks = [each.chunks for each in one.observed.inserts]
            if not chunks or max(chunks) >= ENOUGH_CHUNKS or self.options.max_num_batched_tokens:
                break

    def _learn(self) -> None:
        """Take what the scouts showed for the facts."""
        given = self.options.discipline
        self.discipline = (
            discipline(self.seen) if given is None else Discipline(given, "given: --discipline")
        )
        chunked = self.discipline.name == "chunked"
        tokens = self.options.max_num_batched_tokens
        if tokens is not None:
            self.budget = Budget(tokens, "given: --max-num-batched-tokens")
        elif chunked:
            self.budget = batched_tokens(self.seen)
        else:
            self.budget = Budget(None, "unknown: prompts are not cut")
        inserts = [each for one in self.seen for each in one.observed.inserts]
        if inserts:
            longest = max(inserts, key=lambda each: each.prompt_tokens)
            self.facts = replace(
                self.facts,
                step_s=float(np.median([each.decode_s for each in inserts])),
                prompt_token_s=longest.took_s / longest.prompt_tokens,
            )
        self.facts = replace(self.facts, chunked=chunked, batched_tokens=self.budget.tokens)

    def _find_limit(self) -> None:
        limit = most_together(self.seen)
        if limit is not None:
            self.reporter.say(f"the server runs {limit} requests together at most")
            self.facts = replace(self.facts, most_together=limit)
            if limit == 1:
                raise Stopped("the server runs one request at a time, and a cost needs two levels")

    def _plan(self, done: set[Session]) -> Plan:
        bounds = Bounds(
            requests=self.sender.requests_left,
            seconds=self.sender.seconds_left,
            longest_s=self.options.budget_s / SESSIONS_IN_TIME,
            levels=self.options.levels,
        )
        return plan(self.facts, bounds, {*done, *self.sender.kept.sessions})

    def _announce(self, scouting: list[Session]) -> None:
        first = self._plan(set())
        requests = 1 + sum(s.requests for s in scouting) + first.requests
        tokens = sum(s.tokens for s in scouting) + first.tokens
        self.reporter.say(
            f"sending about {requests:,} requests with about {tokens:,} tokens, prompts and "
            f"answers together; never more than {self.options.max_requests:,} requests, nor longer "
            f"than {self.options.budget_s:g} s"
        )


def _requests(planned: Plan, done: set[Session]) -> int:
    return sum(s.requests for s in planned.sessions if s not in done)
