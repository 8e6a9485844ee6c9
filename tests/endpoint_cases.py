"""Sessions with an engine of known cost in virtual time: what a client would have seen."""

from heapq import heappop, heappush
from itertools import count

import numpy as np
from servers.engine import Engine

from calibrate.endpoint import plan as plan_module
from calibrate.endpoint import sender
from calibrate.endpoint.exchange import Reply
from calibrate.endpoint.findings import Seen
from calibrate.endpoint.plan import Bounds, Facts, plan
from calibrate.endpoint.session import SETTLED_MESSAGES, Exchange
from calibrate.steptime import StepCost

COST = StepCost.affine(
    decode_s=0.010,
    sequence_s=0.0002,
    context_token_s=2e-7,
    prefill_s=0.010,
    prompt_token_s=5e-5,
    attention_token2_s=2e-9,
)

QUICK = StepCost.affine(decode_s=0.002, sequence_s=0.0002, prefill_s=0.002, prompt_token_s=2e-5)


def make_brief(monkeypatch):
    """Make calibrations of one round with short answers: enough to fit, not to fit well."""
    for name, value in (
        ("ROUNDS", 1),
        ("ANSWER_TOKENS", 24),
        ("ALONE_ANSWER_TOKENS", 12),
        ("ALONE_TIMES", 1),
        ("LONG_TOKENS", 512),
    ):
        monkeypatch.setattr(plan_module, name, value)
    monkeypatch.setattr(sender, "LONGEST_WAIT_S", 0.05)


class Virtual:
    """Runs sessions as `run_session` does, on an engine whose time costs nothing.

    A request reaches the engine `up_s` after it was sent, a token the client `down_s` after its
    step, and later by an exponential `jitter_s`, in order.
    """

    def __init__(self, cost=COST, *, up_s=0.002, down_s=0.001, jitter_s=0.0, seed=0, **engine):
        self.engine = Engine(cost, **engine)
        self.up_s, self.down_s, self.jitter_s = up_s, down_s, jitter_s
        self.rng = np.random.default_rng(seed)

    def run(self, session):
        """Return the exchanges of a session."""
        arrivals, order, live = [], count(), {}
        exchanges, left = [], {}
        inserts = list(session.inserts)
        goal = None

        def send(at_s, prompt, output, client):
            heappush(arrivals, (at_s + self.up_s, next(order), at_s, prompt, output, client))

        for client in range(session.level):
            left[client] = list(session.prompts[1:])
            send(0.0, session.prompts[0], session.output_tokens, client)
        got = [0] * session.level
        goal = [SETTLED_MESSAGES] * session.level
        inserting = False
        now_s = 0.0
        while arrivals or self.engine.busy:
            if not self.engine.busy:
                now_s = max(now_s, arrivals[0][0])
            while arrivals and arrivals[0][0] <= now_s:
                _, _, sent_s, prompt, output, client = heappop(arrivals)
                live[self.engine.add(prompt, output).number] = (sent_s, prompt, output, client, [])
            seconds, given = self.engine.step()
            now_s += seconds
            for sequence in given:
                sent_s, prompt, output, client, token_s = live[sequence.number]
                late_s = self.rng.exponential(self.jitter_s) if self.jitter_s else 0.0
                arrived_s = now_s + self.down_s + late_s
                token_s.append(max(arrived_s, token_s[-1] if token_s else 0.0))
                if client is not None:
                    got[client] += 1
                if len(token_s) < output:
                    continue
                reply = Reply("finished", sent_s, token_s[-1], tuple(token_s), prompt, counted=True)
                exchanges.append(Exchange(prompt, reply, client is None))
                if client is None:
                    inserting = False
                    goal = [n + SETTLED_MESSAGES for n in got]
                elif left[client]:
                    send(token_s[-1], left[client].pop(0), session.output_tokens, client)
            settled = all(n >= least for n, least in zip(got, goal, strict=True))
            if inserts and not inserting and settled:
                inserting = True
                send(now_s + self.down_s, inserts.pop(0), 1, None)
        return exchanges


def measured(**engine):
    """Return the facts of a virtual engine and its sessions, as a run would plan them."""
    facts = Facts(
        model_len=4096,
        kv_tokens=200_000,
        chunked=engine.get("discipline", "chunked") == "chunked",
        batched_tokens=512,
        most_together=16,
    )
    virtual = Virtual(max_num_batched_tokens=512, max_num_seqs=16, **engine)
    sessions = plan(facts, Bounds(1000, float("inf"), float("inf"))).sessions
    return facts, [Seen.of(session, virtual.run(session)) for session in sessions]
