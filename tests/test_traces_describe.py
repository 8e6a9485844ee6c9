"""The numbers of a trace: by hand on a small one, as published on the Azure trace."""

import json
from pathlib import Path

import numpy as np
import pytest

from traces.describe import describe
from traces.formats import load
from traces.request import Trace, TraceError

AZURE = Path(__file__).parents[2] / "shared/data/traces/AzureLLMInferenceTrace_code.csv"


def test_a_trace_small_enough_to_count() -> None:
    t = Trace(
        [10, 10.25, 10.5, 11, 13, 14],
        [1, 2, 3, 4, 5, 105],
        [2, 1, 1, 1, 1, 1],
        task=["b", "a", None, "b", "b", "a"],
        sla_s=[1, 3, 5] + [np.nan] * 3,
    )
    gaps = np.array([0.25, 0.25, 0.5, 2, 1])
    d = describe(t)
    assert d["n"] == 6
    assert d["span_s"] == 4
    assert d["mean_rps"] == pytest.approx(5 / 4)
    assert d["interarrival_cv"] == pytest.approx(gaps.std() / 0.8)
    assert d["idle_seconds_share"] == pytest.approx(1 / 5)  # of seconds 0 to 4 only 2 is idle
    assert d["peak_1s"] == 3  # 10, 10.25, 10.5; the window is half open, [10, 11)
    assert d["peak_60s"] == 6
    assert d["prompt"] == {"mean": 20, "p50": 3.5, "p90": 55, "p99": pytest.approx(100), "max": 105}
    assert d["output"]["mean"] == pytest.approx(7 / 6)
    assert d["correlation"] == pytest.approx(np.corrcoef(t.prompt_tokens, t.output_tokens)[0, 1])
    assert list(d["tasks"].items()) == [("b", 3), ("a", 2)]
    assert d["sla"] == {"requests": 3, "mean_s": 3, "min_s": 1, "max_s": 5}
    assert json.loads(json.dumps(d)) == d


def test_what_is_undefined_is_none() -> None:
    for t in (Trace([5], [10], [2]), Trace([5, 5], [10, 10], [2, 3])):
        d = describe(t)
        assert d["mean_rps"] is None
        assert d["interarrival_cv"] is None
        assert d["correlation"] is None
        assert d["idle_seconds_share"] == 0
        assert "sla" not in d
        assert d["tasks"] == {}
    with pytest.raises(TraceError, match="without requests"):
        describe(Trace([], [], []))


def test_names_no_request_has_are_not_tasks() -> None:
    assert describe(Trace([0, 1], [1, 1], [1, 1], task=["a", "b"])[:1])["tasks"] == {"a": 1}


def test_azure_code_trace() -> None:
    if not AZURE.exists():
        pytest.skip(f"reference data {AZURE.name} is not here")
    d = describe(load(AZURE))
    assert d["n"] == 8819
    assert round(d["span_s"]) == 3436
    assert {k: round(v) for k, v in d["prompt"].items() if k in ("mean", "p50", "p99")} == {
        "mean": 2048,
        "p50": 1469,
        "p99": 7436,
    }
    assert round(d["output"]["mean"], 1) == 27.9
    assert d["output"]["p50"] == 13
    assert round(d["output"]["p99"]) == 251
    assert round(d["interarrival_cv"], 2) == 13.15
