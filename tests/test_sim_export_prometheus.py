"""Metrics for Prometheus: read back by its own parsers and held against the run's numbers."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families
from test_sim_export_perfetto import failing

from calibrate import load_profile
from sim import simulate
from sim.export.buckets import FIRST_TOKEN_S, LATENCY_S, token_edges
from sim.export.prometheus import write_metrics
from sim.gaps import gap_rows
from sim.options import OptionError
from sim.runfile import read_run, run_of
from sim.tokens import EDGES_S
from traces import workload

PAPER = load_profile("paper-qwen2.5-coder-3b")
RESULT = simulate(
    workload("W3", rps=20, n=300, seed=1),
    PAPER,
    "saber",
    replicas=2,
    timeline=True,
    kv_tokens=6000,
    client_overhead_s=0.05,
)
RUN = run_of(RESULT)
BADLY = run_of(failing(until_s=14.0))


SAMPLE = re.compile(r"([a-z0-9_:]+)\{(.*)\} ([0-9.e+-]+) ([0-9.]+)")
LABEL = re.compile(r'(\w+)="([^"]*)"')
TYPE = re.compile(r"^# TYPE (\S+) (\w+)$", re.MULTILINE)


def final(run, folder):
    path = folder / "run.prom"
    write_metrics(run, path)
    return {each.name: each for each in text_string_to_metric_families(path.read_text())}


def over_time(run, folder, start_s=0.0):
    """Return the families of a series; each scrape by itself must be valid OpenMetrics.

    The parser of prometheus_client forgets samples of histograms at several instants, so that it
    reads one instant at a time, here some of them.
    """
    path = folder / "run.om"
    write_metrics(run, path, start_s)
    *lines, end = path.read_text().splitlines()
    assert end == "# EOF"
    told = [line for line in lines if line.startswith("#")]
    families = {name: Metric(name, "-", kind) for name, kind in TYPE.findall("\n".join(told))}
    scrapes = defaultdict(list)
    for family, line in by_family(lines):
        name, labels, value, at_s = SAMPLE.fullmatch(line).groups()
        families[family].add_sample(name, dict(LABEL.findall(labels)), float(value), float(at_s))
        scrapes[float(at_s)].append((family, line))
    instants = sorted(scrapes)
    for at_s in (instants[0], instants[len(instants) // 2], instants[-1]):
        mine = set(scrapes[at_s])
        present = {family for family, _ in mine}
        text = "\n".join(
            line
            for family, line in by_family(lines, comments=True)
            if family in present and (line.startswith("#") or (family, line) in mine)
        )
        parsed = openmetrics_parser.text_string_to_metric_families(f"{text}\n{end}\n")
        for each in parsed:
            assert each.type == families[each.name].type
            assert len(each.samples) == sum(family == each.name for family, _ in mine)
    return families


def by_family(lines, *, comments=False):
    """Yield (family, line); families must not be mixed."""
    family = None
    for line in lines:
        if line.startswith("#"):
            family = line.split()[2]
        assert line.startswith("#") or SAMPLE.fullmatch(line)[1].startswith(family)
        if comments or not line.startswith("#"):
            yield family, line


def total(family, suffix="", **labels):
    """Return the sum over replicas of the samples with these labels."""
    return sum(
        each.value
        for each in family.samples
        if each.name == family.name + suffix and labels.items() <= each.labels.items()
    )


def test_counters_are_the_runs(tmp_path):
    said, frame = final(RUN, tmp_path), RUN.requests
    for replica in (0, 1):
        mine, labels = frame[frame["replica"] == replica], {"engine": str(replica)}
        labels["model_name"] = "Qwen2.5-Coder-3B"
        for name, expected in (
            ("vllm:prompt_tokens", mine["prompt_tokens"].sum()),
            ("vllm:generation_tokens", mine["output_tokens"].sum()),
            ("vllm:num_preemptions", mine["preemptions"].sum()),
            ("vllm:request_success", len(mine)),
            ("saber:requests_submitted", len(mine)),
            ("saber:requests_with_objective", len(mine)),
            ("saber:requests_met", mine["met"].sum()),
        ):
            assert total(said[name], "_total", **labels) == expected, name
    assert total(said["vllm:num_preemptions"], "_total") > 0
    met = total(said["saber:requests_met"], "_total")
    assert 100 * met / len(frame) == pytest.approx(RUN.summary["goodput_pct"])
    assert total(said["vllm:request_success"], "_total", finished_reason="stop") == 300


def observed(run):
    """Return by metric its upper edges, and what is observed, of each finished request."""
    frame = run.requests
    first_s, last_s = frame["first_token_s"] - 0.05, frame["finished_s"] - 0.05
    decode_s = last_s - first_s
    per_token_s = decode_s / (frame["output_tokens"] - 1).clip(lower=1)
    tokens = token_edges(int((frame["prompt_tokens"] + frame["output_tokens"]).max()))
    return {
        "vllm:request_prompt_tokens": (tokens, frame["prompt_tokens"]),
        "vllm:request_generation_tokens": (tokens, frame["output_tokens"]),
        "vllm:time_to_first_token_seconds": (FIRST_TOKEN_S, first_s - frame["admitted_s"]),
        "vllm:request_time_per_output_token_seconds": (EDGES_S, per_token_s),
        "vllm:e2e_request_latency_seconds": (LATENCY_S, last_s - frame["admitted_s"]),
        "vllm:request_decode_time_seconds": (LATENCY_S, decode_s),
        "saber:request_held_time_seconds": (LATENCY_S, frame["admitted_s"] - frame["arrival_s"]),
        "saber:time_to_first_token_seconds": (
            FIRST_TOKEN_S,
            frame["first_token_s"] - frame["arrival_s"],
        ),
        "saber:e2e_request_latency_seconds": (LATENCY_S, frame["finished_s"] - frame["arrival_s"]),
    }


@pytest.mark.parametrize("name", observed(RUN))
def test_histograms_have_what_was_observed(name, tmp_path):
    family = final(RUN, tmp_path)[name]
    edges, values = observed(RUN)[name]
    buckets = [each for each in family.samples if each.name.endswith("_bucket")]
    assert len(buckets) == 2 * (len(edges) + 1)
    for replica in (0, 1):
        mine = values[RUN.requests["replica"] == replica]
        labels = {"engine": str(replica)}
        assert total(family, "_count", **labels) == len(mine)
        assert total(family, "_sum", **labels) == pytest.approx(mine.sum())
        for each in buckets:
            if each.labels["engine"] == str(replica):
                within = (mine.round(9) <= float(each.labels["le"])).sum()
                assert each.value == within


def test_what_clients_see_is_what_the_summary_says(tmp_path):
    said = final(RUN, tmp_path)
    for name, key in (("time_to_first_token", "ttft_s"), ("e2e_request_latency", "e2e_s")):
        family = said[f"saber:{name}_seconds"]
        mean_s = total(family, "_sum") / total(family, "_count")
        assert mean_s == pytest.approx(RUN.summary[key]["mean"])


def test_token_gaps_are_those_of_the_ledger(tmp_path):
    family = final(RUN, tmp_path)["vllm:inter_token_latency_seconds"]
    rows = gap_rows(RESULT.accounts)
    assert total(family, "_count") == (rows[:, 3] * rows[:, 4]).sum()
    mean_s = total(family, "_sum") / total(family, "_count")
    assert mean_s == pytest.approx(RUN.summary["itl_s"]["mean"])
    below = total(family, "_bucket", le="0.025") / total(family, "_count")
    assert (below >= 0.5) == (RUN.summary["itl_s"]["p50"] <= 0.025)


def test_gauges_are_the_last_sample(tmp_path):
    said, timeline = final(BADLY, tmp_path), BADLY.timeline
    for name, values in (
        ("vllm:num_requests_running", timeline.running),
        ("vllm:num_requests_waiting", timeline.waiting),
        ("vllm:kv_cache_usage_perc", timeline.kv_usage),
        ("saber:num_requests_held", timeline.held),
    ):
        for replica in range(3):
            assert total(said[name], engine=str(replica)) == pytest.approx(values[replica, -1])
    assert total(said["vllm:num_requests_running"]) > 0


def test_every_status_is_counted_and_bad_ends_are_in_no_success(tmp_path):
    said, frame = final(BADLY, tmp_path), BADLY.requests
    for status, count in frame["status"].value_counts().items():
        assert total(said["saber:requests"], "_total", status=status) == count
    finished = (frame["status"] == "finished").sum()
    assert total(said["vllm:request_success"], "_total") == finished
    assert total(said["vllm:e2e_request_latency_seconds"], "_count") == finished
    begun = frame["first_token_s"].notna()
    assert begun.sum() > finished
    assert total(said["vllm:time_to_first_token_seconds"], "_count") == begun.sum()
    assert total(said["vllm:prompt_tokens"], "_total") == frame["prompt_tokens"][begun].sum()
    useful = frame["output_tokens"][frame["status"] == "finished"].sum()
    assert total(said["vllm:generation_tokens"], "_total") > useful


def test_requests_sent_nowhere_are_counted_apart(tmp_path):
    frame = BADLY.requests.assign(replica=np.int16(-1), admitted_s=np.nan, first_token_s=np.nan)
    lost = frame.assign(finished_s=np.nan, status="failed", met=False)
    said = final(replace(BADLY, requests=lost), tmp_path)
    assert total(said["saber:requests"], "_total", engine="none") == len(lost)
    assert not [each for each in said["vllm:request_success"].samples if each.value]


def test_prefix_cache_counters(tmp_path):
    kept = replace(RUN, prefix_tokens=((100, 40), (7, 0)))
    said = final(kept, tmp_path)
    assert total(said["vllm:prefix_cache_queries"], "_total", engine="0") == 100
    assert total(said["vllm:prefix_cache_hits"], "_total") == 40


def test_without_a_timeline_there_are_no_gauges_and_the_rest_is_the_same(tmp_path):
    said = final(RUN, tmp_path)
    bare = final(run_of(replace(RESULT, timeline=None)), tmp_path)
    assert {name for name, each in said.items() if each.type == "gauge"} == set(said) - set(bare)
    for name, family in bare.items():
        for mine, other in zip(family.samples, said[name].samples, strict=True):
            assert (mine.name, mine.labels) == (other.name, other.labels)
            assert mine.value == pytest.approx(other.value)


def test_a_run_on_disk_says_the_same(tmp_path):
    RESULT.save(tmp_path / "run.parquet")
    for name in ("run.prom", "run.om"):
        write_metrics(RUN, tmp_path / f"a-{name}")
        write_metrics(read_run(tmp_path / "run.parquet"), tmp_path / f"b-{name}")
        assert (tmp_path / f"a-{name}").read_bytes() == (tmp_path / f"b-{name}").read_bytes()


def series(family, name, **labels):
    """Return the instants and values of one series."""
    mine = [
        each
        for each in family.samples
        if each.name == name and labels.items() <= each.labels.items()
    ]
    return np.array([float(each.timestamp) for each in mine]), np.array([s.value for s in mine])


def test_a_series_is_the_run_at_that_instant(tmp_path):
    said, frame = over_time(RUN, tmp_path), RUN.requests
    mine = frame[frame["replica"] == 1]
    for family, name, instants, labels in (
        ("vllm:request_success", "_total", mine["finished_s"] - 0.05, {}),
        ("vllm:time_to_first_token_seconds", "_count", mine["first_token_s"] - 0.05, {}),
        ("saber:requests_submitted", "_total", mine["arrival_s"], {}),
    ):
        at_s, values = series(said[family], family + name, engine="1", **labels)
        assert at_s[0] == pytest.approx(RUN.timeline.start_s)
        assert len(at_s) > 100
        # One digit's worth off the instants of a scrape is nobody's business.
        assert (values >= [(instants <= at - 1e-6).sum() for at in at_s]).all()
        assert (values <= [(instants <= at + 1e-6).sum() for at in at_s]).all()
    at_s, running = series(
        said["vllm:num_requests_running"], "vllm:num_requests_running", engine="1"
    )
    samples = np.rint((at_s - RUN.timeline.start_s) / RUN.timeline.interval_s).astype(int)
    assert np.array_equal(running, RUN.timeline.running[1, samples])


def test_counters_never_fall_and_end_at_the_final_scrape(tmp_path):
    last, said = final(BADLY, tmp_path), over_time(BADLY, tmp_path)
    assert set(last) - set(said) == {
        "vllm:num_preemptions",
        "vllm:prefix_cache_queries",
        "vllm:prefix_cache_hits",
    }
    for name, family in said.items():
        if family.type == "gauge":
            continue
        ends = {}
        for each in family.samples:
            key = each.name, tuple(sorted(each.labels.items()))
            before = ends.get(key)
            assert before is None or (
                before.value <= each.value and float(before.timestamp) < float(each.timestamp)
            )
            ends[key] = each
        final_scrape = {
            (each.name, tuple(sorted(each.labels.items()))): each.value
            for each in last[name].samples
        }
        assert {key: each.value for key, each in ends.items()} == pytest.approx(final_scrape)


def test_a_base_time_moves_every_instant(tmp_path):
    at_s, values = series(
        over_time(RUN, tmp_path)["vllm:prompt_tokens"], "vllm:prompt_tokens_total", engine="0"
    )
    later = over_time(RUN, tmp_path, start_s=1.7e9)["vllm:prompt_tokens"]
    moved_s, same = series(later, "vllm:prompt_tokens_total", engine="0")
    assert moved_s == pytest.approx(at_s + 1.7e9, abs=1e-3)
    assert np.array_equal(values, same)


def test_promtool_takes_both(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here: it comes with Prometheus")
    write_metrics(BADLY, tmp_path / "run.om", start_s=1.7e9)
    words = [promtool, "tsdb", "create-blocks-from", "openmetrics", "run.om", "blocks"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    assert list((tmp_path / "blocks").iterdir())


def test_edges_of_token_histograms():
    assert token_edges(100) == (1, 2, 5, 10, 20, 50, 100)
    assert token_edges(99) == (1, 2, 5, 10, 20, 50)


@pytest.mark.parametrize(
    ("name", "start_s", "message"),
    [
        ("run.txt", 0.0, r"run.txt: expected a name that ends in .prom, .* or .om"),
        ("run.om", -1.0, r"start_s=-1.0: expected a Unix time"),
    ],
)
def test_what_cannot_be_meant_is_refused(name, start_s, message, tmp_path):
    with pytest.raises(OptionError, match=message):
        write_metrics(RUN, tmp_path / name, start_s)


def test_a_series_needs_a_timeline(tmp_path):
    with pytest.raises(OptionError, match="need a run with a timeline"):
        write_metrics(replace(RUN, timeline=None), tmp_path / "run.om")
    assert not list(tmp_path.iterdir())


def test_an_edge_is_within_its_bucket(tmp_path):
    # Instants whose difference is 0.3 s but for rounding.
    began_s = RUN.requests["admitted_s"] + 1000.0
    frame = RUN.requests.assign(prompt_tokens=500, admitted_s=began_s, finished_s=began_s + 0.35)
    assert (frame["finished_s"] - 0.05 - began_s > 0.3).any()
    said = final(replace(RUN, requests=frame), tmp_path)
    assert total(said["vllm:request_prompt_tokens"], "_bucket", le="200.0") == 0
    assert total(said["vllm:request_prompt_tokens"], "_bucket", le="500.0") == len(frame)
    assert total(said["vllm:e2e_request_latency_seconds"], "_bucket", le="0.3") == len(frame)
