// The worst misses: how many for each reason, the phases of some, a row for each.

const PHASES = [["held", "held by the policy", "phase-held"], ["wait", "waiting and prefill", "phase-wait"],
  ["decode", "decode", "phase-decode"]];

const missesRun = () => (state.misses === "b" && state.b !== null ? ["b", state.b] : ["a", state.a]);

function fits(miss) {
  return (state.task === null || miss.task === state.task)
    && (state.replica === null || miss.replica === state.replica)
    && (state.reason === null || miss.reason === state.reason);
}

/** How many misses have each reason, of the runs that are shown. */
function drawReasons() {
  const place = byId("reasons");
  if (!place) return;
  const runs = shownRuns();
  const counts = runs.map(([, run]) => summed(data.runs[run].missed, cellsOf(run, state.task), data.reasons.length));
  const most = Math.max(1, ...counts.flat());
  const rows = [...data.reasons.keys()].filter((reason) => counts.some((column) => column[reason]));
  const cell = (count, key) =>
    element("td", {}, element("span", { className: "bar", style: `--share: ${(100 * count) / most}%; --swatch: var(--run-${key})` }),
      count.toLocaleString("en"));
  const body = rows.map((reason) =>
    element("tr", {}, element("th", { scope: "row" }, data.reasons[reason]),
      ...runs.map(([key], column) => cell(counts[column][reason], key))));
  const head = element("tr", {}, element("th", { scope: "col" }, "reason"),
    ...runs.map(([key]) => element("th", { scope: "col" }, runs.length > 1 ? `misses of ${key.toUpperCase()}` : "misses")));
  place.replaceChildren(
    element("caption", {}, where() ? `All misses by reason: ${where()}` : "All misses by reason"),
    element("thead", {}, head), element("tbody", {}, ...body));
  if (!rows.length) place.tBodies[0].append(element("tr", {}, element("td", { colSpan: 1 + runs.length }, "none")));
}

function drawMisses() {
  drawReasons();
  if (!has("phases")) return;
  const [key, run] = missesRun();
  const { worst, missed } = data.runs[run];
  const found = worst.filter(fits);
  const shown = found.slice(0, state.rows);
  const counts = summed(missed, cellsOf(run, state.task), data.reasons.length);
  const all = state.reason === null ? counts.reduce((a, b) => a + b, 0) : counts[state.reason];
  byId("misses-told").textContent = shown.length
    ? `${shown.length} of ${plural(all, "miss").replace("misss", "misses")} of ${runName(key, run)}, the worst first` +
      `${found.length < all ? `; the page holds ${found.length} of them` : ""}.`
    : `No miss of ${runName(key, run)} fits what is chosen.`;
  byId("more").hidden = found.length <= shown.length;
  drawPhases(shown.filter((miss) => miss.status !== "refused" && (miss.held !== null || miss.gone !== null)));
  byId("misses").tBodies[0].replaceChildren(...shown.map((miss) => element("tr", {},
    element("th", { scope: "row" }, `#${miss.id}`),
    ...[[data.reasons[miss.reason], "word"], [miss.told, "word"], [data.tasks[miss.task], "word"],
      [data.replicas[miss.replica].replace("replica ", ""), ""], [instant(miss.arrival, data.binS), ""],
      [miss.prompt.toLocaleString("en"), ""], [miss.output.toLocaleString("en"), ""],
      [miss.late === null ? "–" : `${measured(miss.late)} (${miss.limit})`, ""],
      ...PHASES.map(([phase]) => [measured(miss[phase]), ""]), [String(miss.preemptions), ""]]
      .map(([text, className]) => element("td", { className }, text)))));
}

/** A row for each miss that was not refused: its phases from its arrival on, when it was due, where it broke off. */
function drawPhases(shown) {
  byId("phases").hidden = !shown.length;
  byId("no-phases").hidden = shown.length > 0;
  const bars = { row: [], left: [], right: [], color: [], phase: [], seconds: [] };
  const due = { row: [], x: [], what: [] }, ended = { row: [], x: [], what: [] };
  for (const miss of shown) {
    const row = `#${miss.id}`;
    let at = 0;
    for (const [phase, name, colour] of PHASES) {
      const whole = miss[phase] !== null;
      if (!whole && miss.gone === null) break;
      const until = whole ? at + miss[phase] : Math.max(miss.gone, at); // the phase it was in when it was over
      bars.row.push(row); bars.left.push(at); bars.right.push(until);
      bars.color.push(ink(colour)); bars.seconds.push(until - at);
      bars.phase.push(phase === "held" && miss.attempts > 1 ? "until its last attempt was admitted" : name);
      at = until;
      if (!whole) break;
    }
    const finished = miss.status === "finished";
    const spent = miss.limit === "TTFT" ? miss.held + miss.wait : at;
    const deadline = finished ? spent - miss.late : miss.sla;
    if (deadline !== null) { due.row.push(row); due.x.push(deadline); due.what.push(`${miss.limit} was due`); }
    if (!finished) { ended.row.push(row); ended.x.push(at); ended.what.push(miss.gone === null ? "not finished; last seen" : miss.status); }
  }
  model("rows").factors = shown.map((miss) => `#${miss.id}`).reverse();
  model("phases").height = 72 + 22 * Math.max(shown.length, 3);
  fill("bars", bars); fill("due", due); fill("ended", ended);
}
