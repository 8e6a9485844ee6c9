// Controls: what they change, and everything drawn once.

const root = document.documentElement;
const dark = window.matchMedia("(prefers-color-scheme: dark)");

/** Cards and differences of the runs that are compared. */
function drawSummary() {
  const pair = state.b === null ? null : `${state.a}-${state.b}`;
  const marks = { better: "▲ better", worse: "▼ worse", same: "= same", other: "≠ differs", "": "" };
  document.querySelectorAll("#summary tbody tr[data-row]").forEach((row) => {
    const { changes } = data.summary[Number(row.dataset.row)];
    const change = pair && changes[pair];
    const [absolute, relative, verdict] = row.querySelectorAll("td.change");
    if (!absolute) return;
    absolute.textContent = change ? change.absolute : "";
    relative.textContent = change ? change.relative : "";
    verdict.textContent = change ? marks[change.verdict] : "";
    for (const cell of [absolute, relative, verdict]) cell.className = `change ${change ? change.verdict : ""}`;
  });
  byId("cards").replaceChildren(...data.headlines.map((path) => {
    const row = data.summary.find((each) => each.path === path);
    if (!row) return "";
    const change = pair && row.changes[pair];
    return element("div", { className: "card" },
      element("dt", {}, row.label),
      ...shownRuns().map(([key, run]) => element("dd", {},
        ...(pair ? [element("span", { className: "swatch", style: `--swatch: var(--run-${key})` }), element("span", { className: "key" }, key.toUpperCase())] : []),
        element("strong", {}, row.values[run]), ` ${row.values[run] === "-" ? "" : row.unit}`)),
      ...(change && change.verdict ? [element("dd", { className: `chip ${change.verdict}` }, [marks[change.verdict], row.unit.startsWith("%") ? change.absolute : change.relative].filter(Boolean).join(" "))] : []));
  }));
  document.querySelectorAll("[data-run]").forEach((cell) => {
    const run = Number(cell.dataset.run);
    const key = (shownRuns().find(([, each]) => each === run) || [""])[0];
    cell.dataset.key = state.b === null ? "" : key.toUpperCase();
  });
  drawPairs(pair);
}

function drawPairs(pair) {
  const place = byId("pairs");
  if (!place) return;
  const found = pair && data.pairs[pair];
  if (!found) {
    place.replaceChildren(element("p", { className: pair ? "hint" : "" }, pair
      ? "A and B replayed different requests. Their numbers differ for that reason too, so better and worse say " +
        "little of what ran them, and they cannot be compared request by request."
      : "Choose a run B to compare request by request."));
    return;
  }
  const change = (seconds) => `${seconds > 0 ? "+" : seconds < 0 ? "−" : "±"}${short(Math.abs(seconds))} s`;
  place.replaceChildren(
    element("p", {}, `A and B replayed the same requests. Of ${plural(found.requests, "request")} with an objective in both:`),
    ...(found.same_objectives ? [] : [element("p", { className: "hint" },
      "Their objectives differ (SLAs or goodput limits), so what is met differs for that reason too.")]),
    element("ul", { className: "tally" },
      ...[["became_met", "▲ became met", "better"], ["became_missed", "▼ became missed", "worse"],
        ["both_met", "met in both", ""], ["both_missed", "missed in both", ""]].map(([name, text, verdict]) =>
        element("li", { className: verdict }, element("strong", {}, found[name].toLocaleString("en")), ` ${text}`))),
    element("p", {}, found.finished
      ? `Of ${plural(found.finished, "request")} that finished in both, ${found.faster.toLocaleString("en")} were faster in B and ` +
        `${found.slower.toLocaleString("en")} slower: E2E of a request changed by ${change(found.e2e_median_s)} in the median ` +
        `and by ${change(found.e2e_mean_s)} on average (B − A).`
      : "No request finished in both."));
}

/** Draw all that depends on what is chosen. */
function draw() {
  drawSummary();
  drawLoad();
  drawCurves();
  drawStates();
  drawMisses();
  const runs = shownRuns().map(([key, run]) => [runName(key, run), `run-${key}`, false]);
  document.querySelectorAll(".legend-runs").forEach(({ id }) => legend(id, runs.length > 1 ? runs : []));
  document.querySelectorAll(".task-note").forEach((note) => { note.hidden = state.task === null; });
  byId("whole-note").hidden = !where();
  tell();
  const chosen = where();
  byId("status").textContent = `Showing ${shownRuns().map(([key, run]) => runName(key, run)).join(" against ")}${chosen ? `, ${chosen}` : ""}.`;
}

const numberOrNull = (text) => (text === "" ? null : Number(text));

/** Bind a select to a part of the state. */
function bind(id, part) {
  byId(id)?.addEventListener("change", ({ target }) => {
    state[part] = numberOrNull(target.value);
    if (part === "reason") { state.rows = 12; drawMisses(); } else { draw(); }
  });
}

function bindRuns() {
  if (!several) return;
  const [a, b] = [byId("run-a"), byId("run-b")];
  const choose = (first, second) => {
    [state.a, state.b] = [first, second];
    [a.value, b.value] = [String(first), second === null ? "" : String(second)];
    byId("misses-b").disabled = byId("swap").disabled = second === null;
    draw();
  };
  a.addEventListener("change", () => choose(Number(a.value), Number(a.value) === state.b ? state.a : state.b));
  b.addEventListener("change", () => {
    const second = numberOrNull(b.value);
    choose(second === state.a && state.b !== null ? state.b : state.a === second ? (second + 1) % data.runs.length : state.a, second);
  });
  byId("swap").addEventListener("click", () => choose(state.b, state.a));
  for (const key of ["a", "b"]) {
    byId(`misses-${key}`)?.addEventListener("change", () => { state.misses = key; state.rows = 12; drawMisses(); });
  }
}

function bindTime() {
  const time = model("time");
  const [from, to] = [byId("from"), byId("to")];
  const whole = [data.edges[0], data.edges[data.edges.length - 1]];
  const say = () => { from.value = Number(time.start.toPrecision(12)); to.value = Number(time.end.toPrecision(12)); };
  const choose = () => {
    const [start, end] = [Math.max(Number(from.value), whole[0]), Math.min(Number(to.value), whole[1])];
    if (end > start) time.setv({ start, end });
    say();
  };
  from.addEventListener("change", choose);
  to.addEventListener("change", choose);
  byId("whole").addEventListener("click", () => { time.setv({ start: whole[0], end: whole[1] }); say(); });
  for (const property of ["start", "end"]) time.properties[property].change.connect(say);
  say();
}

function theme(name) {
  root.dataset.theme = name;
  byId("theme").setAttribute("aria-pressed", String(name === "dark"));
  paint();
  if (byId("status").textContent) { drawCurves(); drawMisses(); tell(); }
}

function bindTheme() {
  byId("theme").addEventListener("click", () => theme(root.dataset.theme === "dark" ? "light" : "dark"));
  dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));
  let before = null;
  window.addEventListener("beforeprint", () => { before = root.dataset.theme; theme("light"); });
  window.addEventListener("afterprint", () => theme(before));
}

async function open() {
  root.dataset.theme = dark.matches ? "dark" : "light";
  const item = { docid: "charts", root_ids: figures.roots, roots: figures.places };
  Bokeh.set_log_level("error"); // charts are empty until the next step, which it would remark on
  await Bokeh.embed.embed_items({ charts: figures.doc }, [item]);
  theme(root.dataset.theme);
  draw();
  bind("task", "task");
  bind("replica", "replica");
  bind("reason", "reason");
  bindRuns();
  bindTime();
  bindTheme();
  byId("more")?.addEventListener("click", () => { state.rows += 12; drawMisses(); });
  document.querySelectorAll("details.values").forEach((details) => details.addEventListener("toggle", tell));
  if (window.matchMedia("(pointer: coarse)").matches) {
    // A drag scrolls the page there.
    for (const id of figures.elements) model(id.slice("chart-".length)).toolbar.active_drag = null;
  }
  await new Promise((painted) => requestAnimationFrame(() => requestAnimationFrame(painted)));
  root.dataset.ready = String(Math.round(performance.now()));
}

void open();
