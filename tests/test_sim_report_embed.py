"""Charts as text: the same every time, and a library that stays inside its script element."""

import base64
import json
import re
import zlib

import pytest

from sim.report.charts import Panels, charts
from sim.report.embed import embedded, library, packed

PANELS = Panels("s", 0.0, 10.0, {"ttft": ("TTFT [s]", [0.1, 1.0])}, True, True, True)


def test_the_same_charts_have_the_same_text():
    assert json.dumps(embedded(charts(PANELS))) == json.dumps(embedded(charts(PANELS)))


def test_data_comes_back_from_letters_that_are_safe_in_a_page():
    data = {"tasks": ["</script>", "\u65e5\u672c"], "counts": [0, 1.5, None] * 500}
    text = packed(data)
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", text)
    assert json.loads(zlib.decompress(base64.b64decode(text))) == data
    assert len(text) < len(json.dumps(data)) / 10


def test_every_figure_has_an_element_and_a_root():
    found = embedded(charts(PANELS))
    assert set(found["elements"]) == {
        f"chart-{name}"
        for name in ("goodput", "rates", "tokens", "ttft", "queue", "running", "kv", "up", "phases")
    }
    assert [root["id"] for root in found["doc"]["roots"]] == found["roots"]
    assert list(found["places"].values()) == found["elements"]


@pytest.mark.parametrize(
    ("part", "gone"),
    [
        ("states", {"chart-queue", "chart-running", "chart-kv"}),
        ("replicas_up", {"chart-up"}),
        ("misses", {"chart-phases"}),
    ],
)
def test_there_is_no_chart_of_nothing(part, gone):
    from dataclasses import replace

    every = set(embedded(charts(PANELS))["elements"])
    assert every - set(embedded(charts(replace(PANELS, **{part: False})))["elements"]) == gone


def test_every_axis_has_a_label():
    text = json.dumps(embedded(charts(PANELS)))
    labels = re.findall(r'"axis_label": "([^"]*)"', text)
    assert len(labels) == 18
    assert all(labels)


def test_the_library_does_not_end_its_script_element():
    assert "</script" not in library().lower()
    assert len(library()) < 2_000_000
