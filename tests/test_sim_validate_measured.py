"""A replay as a result: what summaries, files and reports see of it."""

import numpy as np
import pytest
from live_cases import Scripted, replayed, setting, standing

from policies.catalog import make_policy
from policies.protocol import PS_PER_S
from sim.cluster.fleet import Replica
from sim.options import RunOptions
from sim.runfile import read_run
from sim.validate.measured import as_served, measured_result
from traces.request import Trace


def measured(script, arrival_s, **options):
    n = len(arrival_s)
    trace = Trace(arrival_s, [20] * n, [5] * n, sla_s=0.8, task=["a", "b"] * (n // 2))
    found = replayed(
        trace, standing(make_policy("static(8)")), Scripted(script), setting(), **options
    )
    kind = Replica(setting().profile)
    served = as_served(trace, found.records)
    return measured_result(served, found, "static(8)", kind, RunOptions(), 0, ["beware"])


def test_gaps_between_tokens_are_those_of_the_stream():
    # 5 tokens, equally apart over the second half of 0.5 s.
    summary = measured(lambda number: "finished", [0.0, 3.0]).summary()
    assert summary["itl_s"]["mean"] == pytest.approx(0.0625)
    assert summary["itl_s"]["p99"] == pytest.approx(0.0625)
    assert summary["warnings"] == ["beware"]


def test_it_is_busy_while_an_exchange_is_open():
    result = measured(lambda number: "finished", [0.0, 0.25, 2.0, 9.0])
    [account] = result.accounts
    assert np.array(account.busy_ps) / PS_PER_S == pytest.approx([0, 0.75, 2, 2.5, 9, 9.5])
    assert account.peak_batch == 2
    assert result.summary()["utilisation"] == pytest.approx(1.75 / 9.5)


def test_what_did_not_finish_has_a_reason_and_wastes_its_tokens(tmp_path):
    script = ["broken", "finished", "never", "finished"].__getitem__
    result = measured(script, [0.0, 0.1, 0.2, 0.3], drain_s=5)
    assert result.summary()["statuses"]["failed"] == 1
    assert result.ledger.reason[0] == "HTTP 429: broken on purpose"
    assert set(result.ledger.gone_ps) == {0}
    assert result.summary()["wasted_tokens"] == 2
    assert result.summary()["goodput_pct"] == 50
    path = tmp_path / "measured.parquet"
    result.save(path, {"side": "measured"})
    run = read_run(path)
    assert run.requests["status"].tolist() == ["failed", "finished", "unfinished", "finished"]
    assert run.configuration["side"] == "measured"
    assert run.reasons[0] == "HTTP 429: broken on purpose"
    assert run.tokens.counts[0, -1].sum() == 4 + 4 + 1  # after the first one of a request
