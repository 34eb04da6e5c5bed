// Column 3: windows, tokens as they come, then requirements, evidence, ranking, the raw answer and the prompt.
function reasoning(state, windows) {
  const column = byId("reasoning");
  const live = state.windows.find((window) => window.status === null);
  draw(column, [windows, state.windows.length, state.stages.listwise, state.final].join("|"), () => {
    const done = state.windows.filter((window) => window.status !== null);
    return [
      heading("Reasoning", badge(state)), state.windows.length ? map(state) : el("p", { class: "empty-col" }, nothing(state)),
      live ? el("div", { class: "live", "aria-live": "off", tabindex: 0, role: "log", "aria-label": "answer as it is written" }, el("div", {}, el("p", { id: "answer" }))) : null,
      live ? prompt(live) : null, [...done].reverse().map((window) => written(state, window, window === done.at(-1))),
      done.length ? el("p", { class: "caveat" }, "Written by the model. It says why it ranked so; it need not be what caused the ranking.") : null,
    ];
  });
  const answer = byId("answer");
  if (answer && live) {
    if (live.text) answer.replaceChildren(...linked(state, live, live.text), el("span", { class: "caret" }));
    else answer.replaceChildren(el("span", { class: "reading" }, `Reading ${plural(live.ids.length, "passage")}…`));
  }
}

function badge(state) {
  if (state.stages.listwise === "failed") return el("span", { class: "badge failed" }, "failed");
  const worst = ["failed", "repaired", "complete"].find((status) => state.windows.some((window) => window.status === status));
  if (worst) return el("span", { class: `badge ${worst}`, title: STATUS[worst] }, worst);
  return state.windows.length ? el("span", { class: "badge running" }, "writing") : null;
}

function nothing(state) {
  if (state.stages.listwise === "waiting") return "The model reads the best passages side by side once they are scored.";
  return state.stages.listwise === "off" ? "The listwise stage did not run." : "The listwise stage wrote nothing.";
}

function map(state) {
  const last = state.windows.at(-1);
  const covers = (window, place) => window.span[0] <= place && place < window.span[1];
  const kind = (place) => (covers(last, place) ? (last.status === null ? "now" : "done") : state.windows.some((window) => covers(window, place)) ? "done" : "");
  const ticks = Array.from({ length: state.order.length || last.span[1] }, (_, place) => el("i", { class: kind(place) }));
  return el("div", { class: "windows" }, el("p", {}, `Window ${last.index} of ${last.of} · places ${last.span[0] + 1}–${last.span[1]}`), el("div", { class: "map", "aria-hidden": "true" }, ticks));
}

function written(state, window, latest) {
  const content = [needs(state, window), others(state, window), chain(state, window), source(window)];
  if (window.of === 1) return el("section", { class: "window" }, content);
  const summary = [`Window ${window.index} · places ${window.span[0] + 1}–${window.span[1]} `, el("span", { class: `badge ${window.status}` }, window.status)];
  return fold(`w-${window.index}`, { class: "window", open: latest }, summary, content);
}

function needs(state, window) {
  const { requirements, evidence } = window.rationale;
  if (!requirements.length) return null;
  const saidOf = new Set();
  const item = (need, i) => {
    const quotes = evidence.filter((piece) => piece.meets.includes(i + 1));
    const rows = quotes.map((piece) => quote(state, window, piece, !saidOf.has(piece.passage_id)));
    for (const piece of quotes) saidOf.add(piece.passage_id);
    return el("li", {}, el("p", { class: "need" }, bdi(linked(state, window, need))), el("ul", { class: "quotes" }, rows.length ? rows : el("li", { class: "none" }, "no passage was quoted for it")));
  };
  return [el("h3", { class: "part" }, "What the query needs, and who has it"), el("ol", { class: "needs" }, requirements.map(item))];
}

function others(state, window) {
  const { requirements, evidence, reasons } = window.rationale;
  const loose = evidence.filter((piece) => !piece.meets.some((need) => need >= 1 && need <= requirements.length));
  const quoted = new Set(evidence.map((piece) => piece.passage_id));
  const left = Object.entries(reasons).filter(([id]) => window.ids.includes(id) && !quoted.has(id));
  return [
    loose.length ? [el("h3", { class: "part" }, "Quotes"), el("ul", { class: "quotes" }, loose.map((piece) => quote(state, window, piece, true)))] : null,
    left.length ? [el("h3", { class: "part" }, "Left behind"), el("ul", { class: "said-of" }, left.map(([id, why]) => el("li", {}, named(state, window, id), " ", bdi(shorten(why, 240)))))] : null,
  ];
}

function quote(state, window, piece, withReason) {
  const why = withReason && Object.hasOwn(window.rationale.reasons, piece.passage_id) ? window.rationale.reasons[piece.passage_id] : "";
  const because = why ? [" ", el("span", { class: "because" }, bdi(shorten(why, 200)))] : null;
  const check = (way, sign) => el("span", { class: `check ${way}`, "aria-hidden": "true" }, sign);
  if (!piece.grounded) return el("li", { class: "missing" }, check("no", "✗"), named(state, window, piece.passage_id), " ", unsupported(piece), because);
  return el("li", {}, check("yes", "✓"), named(state, window, piece.passage_id), " ", el("q", { class: "found" }, bdi(shorten(piece.quote, 240))), sr(" found in the passage"), because);
}

function named(state, window, id) {
  const place = placeOf.get(id);
  const at = window.ids.indexOf(id);
  return place === undefined || at < 0 ? el("span", { class: "ref" }, bdi(shorten(id, 40))) : link(state, place, `[${at + 1}]`);
}

function chain(state, window) {
  const links = window.permutation.map((id, i) => [i ? [" ", el("span", { class: "gt" }, ">"), " "] : null, named(state, window, id)]);
  const words = STATUS[window.status] ?? "";
  return [el("h3", { class: "part" }, "Ranking"), el("p", { class: "chain" }, links), el("p", { class: "hint" }, `${words.charAt(0).toUpperCase()}${words.slice(1)}.`)];
}

function source(window) {
  const bare = !window.rationale.requirements.length && !window.rationale.evidence.length && window.text.trim().includes("\n");
  return [
    bare ? el("p", { class: "hint" }, "The model gave no needs and no quotes in the form asked for. This is what it wrote.") : null,
    fold(`raw-${window.index}`, { class: "raw", open: bare }, "The answer as written", el("pre", { tabindex: 0 }, window.text)), prompt(window),
  ];
}

function prompt(window) {
  const size = window.prompt.length.toLocaleString("en");
  return fold(`prompt-${window.index}`, { class: "raw" }, window.cut ? `The prompt, its first ${size} characters` : `The exact prompt, ${size} characters`, el("pre", { tabindex: 0 }, window.prompt));
}
