// What was counted, what is chosen, and sums over the cells that are chosen.

const byId = (id) => document.getElementById(id);
const read = (id) => JSON.parse(byId(id).textContent);

/** The counts are many: they come deflated. */
function inflated(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
}
const data = await inflated("data");
const several = data.runs.length > 1;

const state = { a: 0, b: several ? 1 : null, task: null, replica: null, reason: null, misses: "a", rows: 12 };

/** The runs that are shown: [["a", 0], ["b", 1]] or the first alone. */
const shownRuns = () => (state.b === null ? [["a", state.a]] : [["a", state.a], ["b", state.b]]);

/** Places of a run's cells of a task and the chosen replica; null is every task. */
function cellsOf(run, task) {
  const { task: tasks, replica: replicas } = data.runs[run].cells;
  const fits = (cell) =>
    (task === null || tasks[cell] === task) && (state.replica === null || replicas[cell] === state.replica);
  return [...tasks.keys()].filter(fits);
}

const total = (counts, cells) => cells.reduce((sum, cell) => sum + counts[cell], 0);

/** Counts by bin, summed over cells; they come as pairs: places further, count. */
function summed(histograms, cells, length) {
  const sum = new Array(length).fill(0);
  for (const cell of cells) {
    const pairs = histograms[cell];
    for (let k = 0, place = -1; k < pairs.length; k += 2) {
      place += pairs[k];
      sum[place] += pairs[k + 1];
    }
  }
  return sum;
}

/** A cumulative distribution [%] as the corners of its steps, with how many it is of. */
function distribution(histograms, edges, cells) {
  const counts = summed(histograms, cells, edges.length);
  const all = counts.reduce((a, b) => a + b, 0);
  const xs = [], ys = [];
  let below = 0;
  counts.forEach((count, place) => {
    if (!count) return;
    xs.push(edges[place], edges[place]);
    ys.push((100 * below) / all, (100 * (below + count)) / all);
    below += count;
  });
  return { xs, ys, all };
}

/** The value that a share [%] of a distribution does not exceed. */
const quantile = (curve, share) => curve.xs[curve.ys.findIndex((y) => y >= share - 1e-9)];

const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/** An instant of the time axes, with the decimals that a hundredth of a bin has. */
const instant = (time, apart = data.edges[1] - data.edges[0]) =>
  time.toLocaleString("en", { maximumFractionDigits: Math.min(Math.max(0, 2 - Math.floor(Math.log10(apart))), 9) });

/** Three significant digits, never an exponent. */
function short(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en", { minimumFractionDigits: 0, maximumFractionDigits: Math.min(digits, 9) });
}

/** Three significant digits, trailing zeros and all, for columns of a table. */
function measured(value) {
  if (value === null || !value) return value === 0 ? "0" : "–";
  const digits = Math.min(Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)))), 9);
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

const where = () =>
  [
    state.task === null ? null : data.tasks[state.task],
    state.replica === null ? null : data.replicas[state.replica],
  ].filter(Boolean).join(", ");

/** An element with text and children; nothing is ever parsed as HTML. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** A table from a heading row and rows of texts; the first of a row is its heading. */
function table(caption, head, rows) {
  const heading = element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map(([first, ...rest]) =>
    element("tr", {}, element("th", { scope: "row" }, first), ...rest.map((text) => element("td", {}, text))),
  );
  return element(
    "table", {}, element("caption", {}, caption), element("thead", {}, heading), element("tbody", {}, ...body),
  );
}
