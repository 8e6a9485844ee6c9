"""The page in a real browser: drawn, operated, timed; nothing leaves the machine."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from report_cases import frame, run_with, simulated, timeline

from sim.report.page import report_page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to open pages with")

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
BIG = 100_000
PAGE_BYTES = 5_000_000
OPENS_LOOPS = 10.0
"""What opening may cost, in loops of `LOOP`: a machine's own speed is no fault of the page."""
OPENINGS = 3
"""The quickest of so many counts: other work of the machine only makes openings slower."""
LOOP = "() => { let x = 0; for (let i = 0; i < 1e7; i++) x = (x + i * i) % 1000003; return x; }"

INKED = """name => {
  const inked = new Set();
  const look = (node) => {
    if (node.tagName === "CANVAS" && node.width && node.height) {
      const { data } = node.getContext("2d").getImageData(0, 0, node.width, node.height);
      for (let k = 0; k < data.length; k += 4) {
        if (data[k + 3] > 200) inked.add(`${data[k]},${data[k + 1]},${data[k + 2]}`);
      }
    }
    if (node.shadowRoot) node.shadowRoot.childNodes.forEach(look);
    node.childNodes.forEach(look);
  };
  look(document.getElementById(`chart-${name}`));
  return [...inked];
}"""
"""The colours that a chart's canvases show."""

RGB = """name => {
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color.match(/\\d+/g).join(",");
  probe.remove();
  return found;
}"""


DATA = """async () => {
  const letters = atob(document.getElementById("data").textContent);
  const deflated = new Blob([Uint8Array.from(letters, (one) => one.charCodeAt(0))]);
  return new Response(deflated.stream().pipeThrough(new DecompressionStream("deflate"))).json();
}"""
"""What the page was given."""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return where a page of one run, of two and of three are written."""
    folder = tmp_path_factory.mktemp("pages")
    options = {"n": 120, "rps": 30, "replicas": 2}
    runs = [
        simulated("saber", **options, timeline=True, name="one"),
        simulated("static(8)", **options, timeline=True, name="two"),
        simulated("static(64)", n=40, name="other"),
    ]
    for count in (1, 2, 3):
        (folder / f"{count}.html").write_text(report_page(runs[:count]), encoding="utf-8")
    return folder


@pytest.fixture
def opened(browser, request):
    """Return a function that opens a page; whatever goes wrong in it fails the test."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, **getattr(request, "param", {})
    )
    wrong, asked = [], []

    def open_page(path):
        page = context.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda sent: asked.append(sent.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", timeout=30_000)
        return page

    yield open_page
    context.close()
    assert wrong == []
    outside = [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
    assert outside == []


def settled(page):
    """Wait until what was asked for is painted."""
    page.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 150))")


def names(page):
    return page.eval_on_selector_all(".canvas", "all => all.map(one => one.id.slice(6))")


def told(page, name):
    return page.inner_text(f"#told-{name}")


def rows(page):
    return page.eval_on_selector_all("#misses tbody tr", "all => all.map(row => row.innerText)")


@pytest.mark.parametrize("count", [1, 2])
def test_every_chart_is_drawn(opened, written, count):
    page = opened(written / f"{count}.html")
    lines = {"phases": "phase-decode"}
    found = names(page)
    assert {"goodput", "ttft", "e2e", "ratio", "queue", "kv", "phases"} <= set(found)
    for name in found:
        inked = page.evaluate(INKED, name)
        if count == 2 and name != "phases":
            assert page.evaluate(RGB, "run-b") in inked, name
        wanted = lines.get(
            name,
            "run-a" if count == 2 or name not in ("ttft", "tpot", "e2e", "ratio") else "task-1",
        )
        assert page.evaluate(RGB, wanted) in inked, name


def test_filters_change_curves_captions_and_misses(opened, written):
    page = opened(written / "1.html")
    whole, before = told(page, "ttft"), rows(page)
    assert "of 120 requests" in whole
    page.select_option("#task", label="code_qna")
    assert "of 30 requests" in told(page, "ttft")
    assert page.is_visible("#whole-note")
    assert all("code_qna" in row for row in rows(page))
    settled(page)
    inked = page.evaluate(INKED, "ttft")
    chosen = page.evaluate("data => data.tasks.indexOf('code_qna') + 1", page.evaluate(DATA))
    assert page.evaluate(RGB, f"task-{chosen}") in inked
    assert page.evaluate(RGB, f"task-{chosen % 4 + 1}") not in inked
    page.select_option("#replica", label="replica 1")
    some = int(re.search(r"of (\d+) requests", told(page, "ttft"))[1])
    assert 0 < some < 30
    page.select_option("#replica", label="replica 0")
    assert f"of {30 - some} requests" in told(page, "ttft")
    page.select_option("#replica", label="replica 1")
    assert "replica 1" in page.inner_text("#reasons caption")
    page.select_option("#task", "")
    page.select_option("#replica", "")
    assert told(page, "ttft") == whole
    assert page.is_hidden("#whole-note")
    assert rows(page) == before


def test_more_misses_are_shown_and_reasons_choose_them(opened, written):
    page = opened(written / "2.html")
    page.check("#misses-b")
    assert len(rows(page)) == 12
    page.click("#more")
    assert len(rows(page)) > 12
    reasons = page.eval_on_selector_all(
        "#reasons tbody tr", "all => all.map(row => [...row.cells].map(cell => cell.innerText))"
    )
    reason, _, count = next(row for row in reasons if int(row[2]) > 0)
    page.select_option("#reason", label=reason)
    assert rows(page)
    assert all(f"\t{reason}\t" in row for row in rows(page))
    assert f"of {count} miss" in page.inner_text("#misses-told")
    page.select_option("#reason", label="refused")
    assert rows(page) == []
    assert "No miss" in page.inner_text("#misses-told")


def test_runs_are_compared_swapped_and_looked_at_alone(opened, written):
    page = opened(written / "2.html")
    change = page.inner_text("#summary tr[data-row='0'] td.change >> nth=0")
    assert page.inner_text("#cards .chip >> nth=0").endswith(change)
    assert re.fullmatch(r"[+\N{MINUS SIGN}].* points", change)
    assert page.inner_text("#summary tr[data-row='0'] td.change >> nth=2") in (
        "▲ better",
        "▼ worse",
    )
    caption = told(page, "goodput")
    page.click("#swap")
    swapped = page.inner_text("#summary tr[data-row='0'] td.change >> nth=0")
    assert swapped[1:] == change[1:]
    assert swapped[0] != change[0]
    assert told(page, "goodput") != caption
    assert page.input_value("#run-a") == "1"
    assert "the same requests" in page.inner_text("#pairs")
    page.select_option("#run-b", "")  # one alone
    assert "A:" not in told(page, "goodput")
    assert page.is_disabled("#swap")
    assert "all tasks" in page.inner_text("#legend-latency")


def test_any_two_of_three_runs_can_be_chosen(opened, written):
    page = opened(written / "3.html")
    page.select_option("#run-b", "2")
    assert "different requests" in page.inner_text("#pairs")
    assert "nothing recorded" in told(page, "queue")
    page.select_option("#run-a", "2")
    assert (page.input_value("#run-a"), page.input_value("#run-b")) == ("2", "0")
    assert "different requests" in page.inner_text("#pairs")
    page.select_option("#run-b", "2")
    assert page.input_value("#run-a") != "2"


def test_a_part_of_the_time_is_shown_when_given_or_dragged_over(opened, written):
    page = opened(written / "1.html")
    page.fill("#from", "1")
    page.fill("#to", "2")
    page.press("#to", "Enter")
    page.dispatch_event("#to", "change")
    span = (
        "() => { const t = Bokeh.documents[0].get_model_by_name('time'); return [t.start, t.end]; }"
    )
    assert page.evaluate(span) == [1, 2]
    page.click("#whole")
    assert page.evaluate(span) != [1, 2]
    assert float(page.input_value("#from")) == page.evaluate(span)[0]
    # A drag over one chart shows that part in all.
    page.locator("#chart-goodput").scroll_into_view_if_needed()
    box = page.locator("#chart-goodput").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.4, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=5)
    page.mouse.up()
    settled(page)
    assert float(page.input_value("#from")) > 0


def test_the_theme_follows_the_system_and_the_button(opened, written):
    page = opened(written / "1.html")
    light = page.evaluate(RGB, "run-a")
    assert light in page.evaluate(INKED, "goodput")
    page.click("#theme")
    assert page.get_attribute("#theme", "aria-pressed") == "true"
    settled(page)
    dark = page.evaluate(RGB, "run-a")
    assert dark != light
    inked = page.evaluate(INKED, "goodput")
    assert dark in inked
    assert light not in inked
    assert page.evaluate(RGB, "task-1") in page.evaluate(INKED, "ttft")
    page.click("#theme")
    assert page.get_attribute("html", "data-theme") == "light"


@pytest.mark.parametrize("opened", [{"color_scheme": "dark"}], indirect=True)
def test_a_dark_system_has_a_dark_page(opened, written):
    page = opened(written / "1.html")
    assert page.get_attribute("html", "data-theme") == "dark"
    assert page.evaluate(RGB, "run-a") in page.evaluate(INKED, "running")


def test_the_keyboard_reaches_everything_and_sees_where_it_is(opened, written):
    page = opened(written / "2.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    wanted = set(page.eval_on_selector_all(
        "button, select, input, summary",
        "all => all.filter(one => one.checkVisibility() && !one.disabled)"
        ".filter(one => one.type !== 'radio' || one.checked)"
        ".map((one, k) => (one.dataset.stop = String(k)))",
    ))  # fmt: skip
    reached, unseen = set(), []
    here = """() => {
      const { activeElement: now } = document;
      return [now.dataset.stop, getComputedStyle(now).outlineStyle];
    }"""
    for _ in range(2 * len(wanted)):
        page.keyboard.press("Tab")
        stop, outline = page.evaluate(here)
        if stop is not None:
            reached.add(stop)
            if outline == "none":
                unseen.append(stop)
        if wanted <= reached:
            break
    assert wanted <= reached
    assert unseen == []


def test_the_keyboard_operates_the_controls(opened, written):
    page = opened(written / "2.html")
    page.focus("#task")
    page.keyboard.press("ArrowDown")
    assert "requests within" in told(page, "ttft")
    assert page.input_value("#task") == "0"
    page.focus("#misses-a")
    page.keyboard.press("ArrowRight")
    assert "of B" in page.inner_text("#misses-told")
    page.focus("#theme")
    page.keyboard.press("Space")
    assert page.get_attribute("html", "data-theme") == "dark"
    page.focus("#table-goodput summary")
    page.keyboard.press("Enter")
    page.wait_for_selector("#table-goodput table")
    assert page.locator("#table-goodput tbody tr").count() > 5
    page.focus("#from")
    page.keyboard.press("Control+A")
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    assert page.evaluate("Bokeh.documents[0].get_model_by_name('time').start") == 1


def test_values_under_the_pointer_have_the_pages_colours_and_units(opened, written):
    page = opened(written / "2.html")
    page.click("#theme")
    chart = page.locator("#chart-goodput")
    chart.scroll_into_view_if_needed()
    settled(page)
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2)
    tip = page.locator(".bk-Tooltip").first
    tip.wait_for()
    shown = page.evaluate("one => getComputedStyle(one).backgroundColor", tip.element_handle())
    assert re.findall(r"\d+", shown) == page.evaluate(RGB, "panel").split(",")
    # What it says comes a moment after it is there.
    said = page.locator(".bk-Tooltip .bk-tooltip-content").first
    playwright.expect(said).to_contain_text(re.compile(r"time\s*[\d.]+ s\s*goodput\s*[\d.]+ %"))


def test_regions_have_names_of_their_own(opened, written):
    page = opened(written / "2.html")
    names = page.eval_on_selector_all(
        "nav, section, [role=region]",
        "all => all.filter(one => one.checkVisibility()).map(one => one.ariaLabel"
        " || document.getElementById(one.getAttribute('aria-labelledby')).textContent)",
    )
    assert len(names) > 8
    assert sorted(set(names)) == sorted(names)


def test_controls_have_names_and_charts_have_words_at_any_width(opened, written):
    page = opened(written / "2.html")
    unnamed = page.eval_on_selector_all(
        "button, select, input",
        "all => all.filter(one => !(one.labels && one.labels.length) && !one.ariaLabel"
        " && !one.textContent.trim()).map(one => one.id)",
    )
    assert unnamed == []
    for name in set(names(page)) - {"phases"}:
        assert len(told(page, name)) > 10
    charts = page.eval_on_selector_all(".canvas", "all => all.map(one => one.getAttribute('role'))")
    assert set(charts) == {"img"}
    for width in (400, 1600):  # and nothing sticks out sideways
        page.set_viewport_size({"width": width, "height": 900})
        settled(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_paper_nothing_is_cut_off_and_charts_do_not_overlap(opened, written):
    page = opened(written / "2.html")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700, "height": 1000})
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    lefts = page.eval_on_selector_all(".chart", "all => all.map(one => one.offsetLeft)")
    assert len(set(lefts)) == 1
    assert page.eval_on_selector("#misses", "one => one.getBoundingClientRect().right") <= 700
    assert page.is_hidden(".controls")


def test_the_settings_of_one_run_fit_a_phone(opened, written):
    page = opened(written / "1.html")
    page.set_viewport_size({"width": 320, "height": 800})
    rights = page.eval_on_selector_all(
        ".settings", "all => all.map(one => one.getBoundingClientRect().right)"
    )
    assert len(rights) == 2
    assert max(rights) <= 320


def test_names_do_no_harm_in_a_browser(opened, tmp_path):
    evil = "</script><img src=x onerror='window.harmed = 1'><script>window.harmed = 1</script>"
    requests = frame(task=[evil, "b"], met=[False, False], status=["refused", "finished"])
    run = replace(run_with(requests), name=evil, policy=evil, reasons={0: evil})
    (tmp_path / "evil.html").write_text(report_page([run, run], evil), encoding="utf-8")
    page = opened(tmp_path / "evil.html")
    page.select_option("#task", "0")
    assert page.evaluate("window.harmed") is None
    assert any(evil in row for row in rows(page))


def big_run():
    """Return a run of as many requests as a page has to stand, in as many groups as it keeps."""
    rng = np.random.default_rng(0)
    arrival = np.sort(rng.uniform(0, 3600, BIG))
    first = arrival + rng.lognormal(-1, 1, BIG)
    finished = first + rng.lognormal(1, 1, BIG)
    requests = frame(
        arrival_s=arrival,
        admitted_s=arrival,
        first_token_s=first,
        finished_s=finished,
        output_tokens=rng.integers(1, 900, BIG),
        sla_s=rng.uniform(1, 10, BIG),
        met=finished - arrival < 5,
        task=rng.choice([f"task {k}" for k in range(20)], BIG).tolist(),
        replica=rng.integers(0, 24, BIG).astype(np.int16),
    )
    gauges = np.abs(rng.integers(-3, 4, (4, 24, 3600)).cumsum(axis=2)).tolist()
    recorded = timeline(*gauges, up_s=[[(0.0, 3600.0)]] * 24)
    return replace(run_with(requests), timeline=recorded)


def test_runs_of_a_hundred_thousand_requests_open_at_once(browser, tmp_path, record_property):
    path = tmp_path / "big.html"
    path.write_text(report_page([big_run()] * 4), encoding="utf-8")
    assert path.stat().st_size < PAGE_BYTES
    costs = []
    for _ in range(OPENINGS):
        busy_s, loop_s = opening(browser, path)
        assert busy_s > 0.1
        costs.append(busy_s / loop_s)
        if costs[-1] < OPENS_LOOPS:
            break
    record_property("opening_loops", costs)
    assert min(costs) < OPENS_LOOPS


def opening(browser, path):
    """Open a page; return the time of the thread that does it, and of a loop right after it [s].

    The processor's time: the clock on the wall counts other work of the machine, too, which is no
    fault of the page.
    """
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    measured = page.context.new_cdp_session(page)
    measured.send("Performance.enable")
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=30_000)

    def thread_s():
        metrics = measured.send("Performance.getMetrics")["metrics"]
        return next(each["value"] for each in metrics if each["name"] == "ThreadTime")

    busy_s = thread_s()
    page.evaluate(LOOP)
    loop_s = thread_s() - busy_s
    assert page.evaluate(RGB, "run-a") in page.evaluate(INKED, "goodput")
    page.close()
    return busy_s, loop_s
