// The charts: their colours, their lines, and the same in words and tables.

const figures = read("figures");
const model = (name) => Bokeh.documents[0].get_model_by_name(name);
const has = (name) => figures.elements.includes(`chart-${name}`);
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const TASK_COLOURS = 8;
const WIDTHS = { a: 3, b: 1.75 }; // where they coincide, both are seen
const DASHES = [[], [7, 3], [2, 2]];

/** By chart: its caption, and rows for whoever reads them rather than the picture. */
const words = {};

const runName = (key, run) => (state.b === null ? data.labels[run] : `${key.toUpperCase()}: ${data.labels[run]}`);

/** The same at the start of a caption, where the legend has said which run is which. */
const about = (key) => (state.b === null ? "" : `${key.toUpperCase()}: `);

/** Colour everything in the palette of the moment: the tag of a glyph names its colour. */
function paint() {
  const [text, line, faint] = [ink("muted"), ink("line"), ink("grid")];
  for (const id of figures.elements) {
    for (const part of model(id.slice("chart-".length)).references()) {
      if (part.type.endsWith("Axis")) {
        part.setv({ axis_label_text_color: text, major_label_text_color: text, axis_line_color: line });
      } else if (part.type === "Grid") {
        part.setv({ grid_line_color: faint });
      } else if (part.tags.length && part.properties.line_color) {
        part.setv({ line_color: { value: ink(part.tags[0]) } });
      } else if (part.tags.length && part.properties.fill_color) {
        part.setv({ fill_color: ink(part.tags[0]) });
      }
    }
  }
}

const fill = (name, columns) => { model(name).data = columns; };
const empty = (name) =>
  fill(name, Object.fromEntries([...model(name).columns()].map((column) => [column, []])));

/** Each value twice: the corners of steps. */
const twice = (column) => column.flatMap((value) => [value, value]);

/** Goodput, rates and tokens by bin of time. */
function drawLoad() {
  const bins = data.edges.length - 1;
  for (const name of ["goodput", "rates", "tokens"]) words[name] = { told: [], tables: [] };
  empty("load-b");
  for (const [key, run] of shownRuns()) {
    const { load, cells: counts } = data.runs[run];
    const cells = cellsOf(run, state.task);
    const [offered, promised, met, tokens] = ["offered", "promised", "met", "tokens"].map((part) =>
      summed(load[part], cells, bins),
    );
    const goodput = met.map((count, bin) => (promised[bin] ? (100 * count) / promised[bin] : NaN));
    const rate = (column) => column.map((count) => count / data.binS);
    const judged = promised.some(Boolean);
    const columns = { goodput, offered: rate(offered), met: rate(judged ? met : met.map(() => NaN)), tokens: rate(tokens) };
    fill(`load-${key}`, {
      x: twice(data.edges).slice(1, -1),
      ...Object.fromEntries(Object.entries(columns).map(([part, column]) => [part, twice(column)])),
    });
    const known = goodput.filter(Number.isFinite);
    const [of, done] = [total(counts.promised, cells), total(counts.met, cells)];
    words.goodput.told.push(
      known.length
        ? `${about(key)}${short((100 * done) / of)} % of ${plural(of, "request")} met their objective; ` +
          `by bin from ${short(Math.min(...known))} % to ${short(Math.max(...known))} %.`
        : `${about(key)}no request has an objective.`,
    );
    const most = (column) => short(Math.max(...column));
    words.rates.told.push(
      `${about(key)}at most ${most(columns.offered)} requests/s offered${judged ? ` and ${most(columns.met)} met` : ""}.`,
    );
    words.tokens.told.push(`${about(key)}at most ${most(columns.tokens)} output tokens/s.`);
    const rows = (...parts) =>
      [...Array(bins).keys()].map((bin) => [instant(data.edges[bin]), ...parts.map((part) => short(columns[part][bin]))]);
    const from = `from [${data.unit}]`;
    words.goodput.tables.push([runName(key, run), [from, "goodput [%]"], rows("goodput")]);
    words.rates.tables.push([runName(key, run), [from, "offered [1/s]", "met [1/s]"], rows("offered", "met")]);
    words.tokens.tables.push([runName(key, run), [from, "output [tokens/s]"], rows("tokens")]);
  }
}

/** The lines of the distributions: two runs, or the tasks of one. */
function distributionLines() {
  if (state.b !== null) {
    return shownRuns().map(([key, run]) => ({
      run, task: state.task, name: runName(key, run), key: about(key), colour: `run-${key}`, dash: [], width: WIDTHS[key],
    }));
  }
  const there = [...data.tasks.keys()].filter((task) => cellsOf(state.a, task).length);
  const tasks = (state.task === null ? there : [state.task]).map((task) => ({
    run: state.a, task, key: "", name: data.tasks[task], colour: `task-${(task % TASK_COLOURS) + 1}`,
    dash: DASHES[Math.floor(task / TASK_COLOURS)], width: 2,
  }));
  const all = { run: state.a, task: null, all: true, key: "All tasks: ", name: "all tasks", colour: "ink", dash: [], width: 1.25 };
  return tasks.length > 1 ? [...tasks, all] : tasks;
}

/** Where a line's promise lies: a limit, the SLA, or the SLAs' own distribution. */
function promise(line, metric) {
  const limit = data.runs[line.run].limits[metric];
  if (limit !== undefined) return { xs: [limit, limit], ys: [0, 100], name: "the limit", colour: "ink" };
  if (metric === "ratio") return { xs: [1, 1], ys: [0, 100], name: "the SLA", colour: "ink" };
  if (metric !== "e2e" || Object.keys(data.runs[line.run].limits).length) return null;
  const slas = distribution(data.runs[line.run].sla, data.slaEdges, cellsOf(line.run, line.task));
  return slas.all ? { ...slas, name: `SLA of ${line.name}` } : null;
}

function drawCurves() {
  const lines = distributionLines();
  for (const [metric, edges] of Object.entries(data.curves)) {
    const columns = { xs: [], ys: [], name: [], color: [], dash: [], width: [] };
    const add = (curve, name, colour, dash, width) => {
      columns.xs.push(curve.xs); columns.ys.push(curve.ys); columns.name.push(name);
      columns.color.push(ink(colour)); columns.dash.push(dash); columns.width.push(width);
    };
    const told = [], rows = [], promises = new Set();
    const dues = lines.map((line) =>
      line.task === null && state.b === null && lines.length > 1 ? null : promise(line, metric));
    const one = new Set(dues.filter(Boolean).map(({ xs, ys }) => JSON.stringify([xs, ys]))).size === 1;
    const unit = metric === "ratio" ? "of the SLA" : data.units[metric];
    for (const [place, line] of lines.entries()) {
      const curve = distribution(data.runs[line.run].curves[metric], edges, cellsOf(line.run, line.task));
      const shares = [50, 90, 95, 99, 100].map((share) => (curve.all ? measured(quantile(curve, share)) : "–"));
      rows.push([line.name, curve.all.toLocaleString("en"), ...shares]);
      if (!curve.all) { told.push(`${line.name}: nothing finished.`); continue; }
      add(curve, line.name, line.colour, line.dash, line.width);
      if (lines.length < 3 || line.all) told.push(`${line.key}half of ${plural(curve.all, "request")} within ${shares[0]} ${unit}, 99 % within ${shares[3]} ${unit}.`);
      const due = dues[place];
      if (!due || promises.has(JSON.stringify(due.xs))) continue;
      promises.add(JSON.stringify(due.xs));
      const everyones = one && !due.colour;
      add(due, everyones ? "the SLA" : due.name, due.colour || (everyones ? "ink" : line.colour), [3, 3], 1.5);
    }
    fill(`curves-${metric}`, columns);
    words[metric] = {
      told,
      tables: [["Distribution", [`[${data.units[metric]}]`, "requests", "p50", "p90", "p95", "p99", "most"], rows]],
    };
  }
  const swatches = lines.map(({ name, colour, dash }) => [name, colour, dash.length > 0]);
  const promised = Object.keys(data.curves).some((metric) => lines.some((line) => promise(line, metric)));
  if (!Object.keys(data.curves).length) return;
  legend("legend-latency", promised ? [...swatches, ["SLA or limit", "muted", true]] : swatches);
}

/** Queue, running set and KV cache: of the chosen replica, or of all together. */
function drawStates() {
  if (!has("queue")) return;
  const names = { queue: "queued", running: "running", kv: "of the KV blocks in use" };
  for (const name of Object.keys(names)) words[name] = { told: [], tables: [] };
  empty("state-b");
  for (const [key, run] of shownRuns()) {
    const { states } = data.runs[run];
    const found = states && (state.replica === null ? states.all : states.each[state.replica]);
    if (!found) empty(`state-${key}`);
    else fill(`state-${key}`, { x: states.x, ...found });
    for (const [name, noun] of Object.entries(names)) {
      if (!found) {
        words[name].told.push(`${about(key)}nothing recorded here.`);
        continue;
      }
      const highest = Math.max(...found[`${name}_high`].filter((value) => value !== null));
      const unit = name === "kv" ? " %" : "";
      words[name].told.push(`${about(key)}at most ${short(highest)}${unit} ${noun}.`);
      const parts = name === "queue" ? ["queue", "held"] : [name];
      const every = Math.ceil(states.x.length / 60);
      words[name].tables.push([
        runName(key, run),
        [`from [${data.unit}]`, ...parts.map((part) => `${part}, mean`), "least", "most"],
        [...states.x.keys()].filter((k) => k % every === 0).map((k) => [
          instant(states.x[k]),
          ...parts.map((part) => short(found[part][k])),
          short(found[`${name}_low`][k]), short(found[`${name}_high`][k]),
        ]),
      ]);
    }
  }
  if (!has("up")) return;
  words.up = { told: [], tables: [] };
  empty("up-b");
  for (const [key, run] of shownRuns()) {
    const { up } = data.runs[run];
    if (!up) { empty(`up-${key}`); continue; }
    fill(`up-${key}`, { x: twice(up.x).slice(1), up: twice(up.up).slice(0, -1) });
    words.up.told.push(`${about(key)}between ${Math.min(...up.up)} and ${Math.max(...up.up)} replicas up.`);
    words.up.tables.push([runName(key, run), [`from [${data.unit}]`, "replicas up"], up.x.map((x, k) => [instant(x), short(up.up[k])])]);
  }
}

/** Names and colours of lines, in words beside the charts. */
function legend(id, entries) {
  byId(id)?.replaceChildren(
    ...entries.map(([name, colour, dashed]) =>
      element("li", {}, element("span", { className: dashed ? "swatch dashed" : "swatch", style: `--swatch: var(--${colour})` }), name),
    ),
  );
}

/** Captions, and those tables that are open. */
function tell() {
  for (const [name, { told, tables }] of Object.entries(words)) {
    const caption = byId(`told-${name}`);
    if (!caption) continue;
    caption.textContent = told.map((text) => text[0].toUpperCase() + text.slice(1)).join(" ");
    const details = byId(`table-${name}`);
    const place = details.querySelector(".scroll");
    place.replaceChildren(...(details.open ? tables.map((one) => table(...one)) : []));
  }
}
