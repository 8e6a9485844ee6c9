"""The page as text: complete, the same every time, harmless, and in need of nothing else."""

import base64
import html
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from report_cases import frame, run_with, simulated

from sim.console import plain
from sim.options import OptionError
from sim.report.page import MOST_RUNS, report_page, settings, spreads, warnings_of

LOADING = {"src", "srcset", "poster", "action", "formaction", "background", "data", "cite"}


class Reader(HTMLParser):
    """Collects elements, and what they would load."""

    def __init__(self):
        super().__init__()
        self.elements, self.loads, self.ids, self.texts = [], [], [], []
        self.targets = []

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        for name, value in attrs:
            if name in LOADING or (name == "href" and not value.startswith("#")):
                self.loads.append((tag, name, value))
            if name == "href":
                self.targets.append(value[1:])
            if name == "id":
                self.ids.append(value)
            assert not name.startswith("on")
            if name in ("aria-labelledby", "aria-describedby"):
                self.targets += value.split()

    def handle_data(self, data):
        self.texts.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    return reader


@pytest.fixture(scope="module")
def pages():
    one, two = simulated(timeline=True, name="one"), simulated("static(4)", name="two")
    return report_page([one]), report_page([one, two])


def test_the_page_loads_nothing(pages):
    for page in pages:
        reader = read(page)
        assert reader.loads == []
        assert not {"link", "img", "iframe", "object", "embed", "base"} & set(reader.elements)
        style = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
        assert "url(" not in style
        assert "@import" not in style
        assert "default-src 'none'" in page


def test_every_reference_within_the_page_has_its_element(pages):
    for page in pages:
        reader = read(page)
        assert len(reader.ids) == len(set(reader.ids))
        assert set(reader.targets) <= set(reader.ids)


def test_the_same_runs_give_the_same_page(pages):
    again = simulated(timeline=True, name="one"), simulated("static(4)", name="two")
    assert report_page([again[0]]) == pages[0]
    assert report_page(again) == pages[1]


def test_warnings_come_before_the_numbers(pages):
    warning = simulated().summary["warnings"][0]
    assert 0 < pages[0].index(warning) < pages[0].index('id="summary-section"')


def test_a_run_without_a_timeline_says_how_to_record_one(pages):
    assert "--timeline" not in pages[0]
    assert "two (static(max_num_seqs=4)): The replicas were not recorded" in pages[1]
    assert "saber run --timeline" in pages[1]


def test_configuration_and_provenance_are_in_full(pages):
    run = simulated()
    for name in (
        *run.provenance,
        *(f"options.{option}" for option in run.configuration["options"]),
    ):
        assert name in pages[0]
    profile = html.unescape(re.search(r"<pre[^>]*>(.*?)</pre>", pages[0], re.DOTALL)[1])
    assert json.loads(profile) == plain(run.fleet[0][0].to_dict())
    assert pages[1].count('class="differs"') > 0


def test_names_do_no_harm():
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    requests = frame(task=[evil, "b"], met=[False, False], status=["refused", "finished"])
    run = replace(
        run_with(requests), name=evil, policy=evil, reasons={0: evil},
        configuration={**run_with(requests).configuration, evil: evil},
    )  # fmt: skip
    page = report_page([run, run], title=evil)
    assert "alert(1)</script>" not in page
    assert "<img" not in page
    reader = read(page)
    assert reader.elements.count("script") == 4
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1]
    assert json.loads(zlib.decompress(base64.b64decode(data)))["tasks"] == [evil, "b"]


def contrast(one, other):
    """Return the contrast ratio of two colours, as WCAG 2.2 defines it."""

    def luminance(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_colours_stand_out_in_light_and_dark(pages):
    style = re.search(r"<style>(.*?)</style>", pages[0], re.DOTALL)[1]
    themes = re.findall(r":root[^{]*\{([^}]*)\}", style)
    assert len(themes) == 2
    for theme in themes:
        colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", theme))
        text = {"ink", "muted", "accent", "better", "worse", "run-a", "run-b"}
        for name in text:
            assert contrast(colour[name], colour["panel"]) >= 4.5, name
        for name in ("ink", "muted", "accent"):
            assert contrast(colour[name], colour["page"]) >= 4.5, name
        assert contrast(colour["ink"], colour["warn"]) >= 4.5
        lines = {name for name in colour if name.startswith(("task-", "phase-"))}
        for name in lines | {"edge", "focus"}:
            assert contrast(colour[name], colour["panel"]) >= 3, name


def test_only_the_pages_own_scripts_may_run(pages):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', pages[0])[1]
    scripts = policy.split("script-src")[1].replace("&#39;", "'").split()
    assert len(scripts) == 2
    assert all(script.startswith("'sha256-") for script in scripts)


def test_too_many_runs_and_none_and_empty_ones_are_refused():
    run = run_with(frame(met=[True]))
    with pytest.raises(OptionError, match="9 runs: expected 1 to 8"):
        report_page([run] * (MOST_RUNS + 1))
    with pytest.raises(OptionError, match="0 runs"):
        report_page([])
    with pytest.raises(OptionError, match="no requests"):
        report_page([replace(run, requests=run.requests.iloc[:0])])


def test_settings_are_flat_and_say_where_runs_differ():
    rows = settings([{"a": {"b": 1, "c": None}}, {"a": {"b": 2, "c": None}, "d": ["x"]}])
    assert rows == [
        ("a.b", ["1", "2"], True), ("a.c", ["none", "none"], False), ("d", ["", '["x"]'], True)
    ]  # fmt: skip


def test_a_warning_of_several_runs_is_said_once():
    first, second = run_with(frame(met=[True])), run_with(frame(met=[True]))
    first = replace(first, summary={**first.summary, "warnings": ["x", "y"]})
    second = replace(second, summary={**second.summary, "warnings": ["y"]})
    assert warnings_of([first, second], ["A", "B"]) == [("x", ["A"]), ("y", ["A", "B"])]


def test_spreads_are_those_of_the_summary():
    run = simulated()
    name, unit, values = spreads(run.summary)[1]
    assert (name, unit, len(values)) == ("TPOT", "ms", 5)
    assert float(values[0]) == pytest.approx(1e3 * run.summary["tpot_s"]["mean"], rel=0.01)


def test_a_run_without_objectives_says_so():
    run = run_with(frame(met=[None], sla_s=[float("nan")]))
    page = report_page([replace(run, summary={**run.summary, "goodput_pct": None})])
    assert "No request has an SLA, so goodput is not defined." in page
    assert "No request has an objective, so none missed it." in page


def test_a_run_of_which_nothing_finished_says_so():
    nothing = frame(met=[False], status=["refused"], finished_s=[float("nan")])
    assert "No request finished, so none has a latency." in report_page([run_with(nothing)])


def test_bins_are_told_in_the_unit_of_the_axis():
    days = frame(arrival_s=[3600.0 * hour for hour in range(72)])
    assert re.search(r"in bins of \d+ h\.", report_page([run_with(days)]))


def test_a_run_that_met_everything_says_so():
    page = report_page([run_with(frame(met=[True, True]))])
    assert "No request missed its objective." in page
    assert "chart-phases" not in page
