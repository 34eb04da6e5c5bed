// The panels: each says what it depends on, and is drawn again only when that changed.
const ORDERS = { retrieval: "as retrieved", pointwise: "by pointwise score", listwise: "by the listwise ranking" };
const STATUS = {
  complete: "the answer named every passage once",
  repaired: "the answer left the form asked for, and its ranking was completed for it",
  failed: "no ranking could be read from the answer; the order before it stands",
};
const STATES = { off: "not run", waiting: "waiting", running: "running", done: "done", failed: "failed" };
const FIRST = 10, MAX_TERMS = 8;
const opened = new Map(); // details that the reader has opened or closed, by name
const drawn = new Map();

function draw(element, key, content) {
  if (drawn.get(element) === key) return;
  drawn.set(element, key);
  element.replaceChildren(...[content()].flat(Infinity).filter(Boolean));
}

function fold(name, options, summary, ...content) {
  return el("details", { ...options, open: opened.get(name) ?? options.open ?? false, ontoggle: (event) => opened.set(name, event.target.open) }, el("summary", {}, summary), content);
}

function render(state) {
  const ranks = state.hits.map((hit) => hit.p).join() + state.by + JSON.stringify(state.stages);
  const windows = state.windows.map((window) => window.status).join();
  draw(byId("chips"), JSON.stringify(state.config), () => chips(state.config));
  draw(byId("about"), JSON.stringify(state.config), () => about(state));
  draw(byId("rail"), [JSON.stringify(state.stages), state.scores.size, state.windows.length, state.windows.at(-1)?.tokens, Boolean(state.timing)].join(), () => STAGES.map((stage, i) => railItem(state, stage, i + 1)));
  draw(byId("notes"), `${state.failures.length} ${state.notices.length}`, () => notes(state));
  draw(byId("moved"), ranks + state.final, () => moved(state));
  reasoning(state, windows);
  cards(state, windows);
  draw(byId("report"), `${state.final} ${Boolean(state.metrics)}`, () => report(state));
  byId("report").hidden = !state.final;
  byId("notes").hidden = !state.failures.length && !state.notices.length;
  if (byId("status").textContent !== state.message) byId("status").textContent = state.message;
}

function chips(config) {
  const models = [...new Set([config.pointwise, config.listwise].filter(Boolean))];
  const chip = (label, stage) => {
    const [name, ...rest] = label.split("·").map((part) => part.trim());
    return el("span", { class: "chip", title: label }, stage ? [el("span", { class: `hue ${stage}`, "aria-hidden": "true" }), sr(`${stage}: `)] : null, el("b", {}, name), rest.map((part) => el("span", { class: part === "zero-shot" ? "zero" : "bit" }, part)));
  };
  const all = models.length === 1 ? [chip(models[0])] : ["pointwise", "listwise"].filter((stage) => config[stage]).map((stage) => chip(config[stage], stage));
  return [el("span", { class: "chip recorded" }, el("b", {}, "recorded")), ...all];
}

function about(state) {
  const { corpus, retriever, candidates, depth, window, reasoning } = state.config;
  const names = { bm25: "BM25", "bm25+rm3": "BM25 + RM3", dense: "Dense", hybrid: "Hybrid" };
  const found = state.order.length || events.find((event) => event.type === "Retrieved")?.hits.length || candidates;
  const parts = [corpus, names[retriever] ?? retriever, found ? plural(Number(found), "candidate") : "", depth && window ? `the best ${Math.min(depth, found || depth)} read in windows of ${window}` : "", reasoning === "fast" ? "fast mode" : ""];
  return bdi(parts.filter(Boolean).join(" · "));
}

function railItem(state, stage, index) {
  const is = state.stages[stage];
  const last = state.windows.at(-1);
  const share = is === "done" ? 100 : is !== "running" ? 0 : stage === "pointwise" ? (100 * state.scores.size) / (state.total || 1) : stage === "listwise" && last ? (100 * (last.index - (last.status ? 0 : 1) + (last.status ? 0 : Math.min(0.95, last.tokens / (Number(state.config.max_tokens) || 320))))) / last.of : 30;
  return el("li", { class: `${stage} ${is}` },
    el("span", { class: "step", "aria-hidden": "true" }, { done: "✓", failed: "!" }[is] ?? String(index)),
    el("span", { class: "what" }, el("button", { type: "button", class: "chapter", "data-stage": stage, title: `to the end of ${NAMES[stage].toLowerCase()}`, disabled: is === "off" }, el("b", {}, NAMES[stage])), sr(` ${STATES[is]}: `), el("span", { class: "detail" }, detail(state, stage))),
    el("span", { class: "meter", "aria-hidden": "true" }, el("span", { style: { width: `${Math.round(share)}%` } })));
}

function detail(state, stage) {
  const is = state.stages[stage];
  if (["off", "failed", "waiting"].includes(is)) return STATES[is];
  const cost = state.timing?.[stage] ? ` · ${seconds(state.timing[stage].seconds)}` : "";
  if (stage === "retrieval") return (is === "done" ? plural(state.order.length, "candidate") : "searching") + cost;
  if (stage === "pointwise") return is === "done" ? `${plural(state.total, "passage")} scored${cost}` : `${state.scores.size} of ${state.total} scored`;
  const last = state.windows.at(-1);
  if (is === "done" || !last) return `${plural(state.windows.length, "window")} ranked${cost}`;
  return `window ${last.index} of ${last.of}, ${last.tokens ? `${last.tokens} tokens written` : `reading ${plural(last.ids.length, "passage")}`}`;
}

function notes(state) {
  const kept = (stage) => (state.hits.length && stage in NAMES ? " The ranking below is the one of the stage before." : "");
  return [
    ...state.failures.map((failure) => el("li", { class: "failure" }, el("b", {}, `${NAMES[failure.stage] ?? failure.stage} failed.`), " ", bdi(failure.error), kept(failure.stage))),
    ...state.notices.map((notice) => el("li", {}, bdi(notice.message))),
  ];
}

function moved(state) {
  if (!state.hits.length) return heading("What moved");
  const lines = tracks(state);
  return [heading("What moved", legendOfMoves()), el("div", { class: "graph" }, graph(state, lines)), fold("twin", { class: "twin" }, "The same as a table", table(state, lines)), el("div", { class: "twin-narrow" }, table(state, lines))];
}

const items = new Map(); // place -> its card

function cards(state, windows) {
  const column = byId("candidates");
  const doneWindows = state.windows.filter((window) => window.status).length;
  const order = state.by === "listwise" && !state.final && state.windows.length ? `listwise, ${doneWindows} of ${state.windows.at(-1).of} windows` : ORDERS[state.by];
  for (const hit of state.hits) card(state, hit, windows);
  draw(column, [state.hits.map((hit) => hit.p).join(), order, judgments.size, state.scores.size > 0, state.windows.length > 0, state.by, state.final].join("|"), () => {
    if (!state.hits.length) return [heading("Candidates"), el("p", { class: "empty-col" }, state.message)];
    const from = new Map([...items].map(([place, item]) => [place, item.isConnected ? item.offsetTop : null]));
    const list = state.hits.map((hit) => items.get(hit.p));
    const rest = list.length > FIRST ? fold("rest", { class: "rest" }, `${list.length - FIRST} more, from rank ${FIRST + 1}`, el("ol", { class: "cards", start: FIRST + 1 }, list.slice(FIRST))) : null;
    if (!still.matches) requestAnimationFrame(() => glide(list, from));
    return [heading("Candidates", el("span", { class: `tag ${state.by}` }, order)), el("ol", { class: "cards" }, list.slice(0, FIRST)), rest, legend(state)];
  });
}

function glide(list, from) {
  for (const item of list) {
    const moved = (from.get(Number(item.dataset.place)) ?? NaN) - item.offsetTop;
    if (Math.abs(moved) > 40) item.animate([{ transform: `translateY(${moved}px)` }, { transform: "none" }], { duration: 450, easing: "cubic-bezier(.2,.7,.2,1)" });
  }
}

function card(state, hit, windows) {
  const d = number(state, hit.p);
  if (!items.has(hit.p)) items.set(hit.p, el("li", { class: "card", tabindex: -1, "data-place": hit.p }));
  const item = items.get(hit.p);
  const passage = passages[hit.p];
  const passed = STAGES.slice(0, STAGES.indexOf(state.by)).findLast((stage) => stage in hit.ranks);
  const window = state.windows.findLast((one) => one.ids.includes(passage.id));
  const values = [...state.scores.values()];
  const scale = [Math.min(...values), Math.max(...values)];
  const key = [d, hit.rank, state.by, windows, window?.index, state.scores.get(hit.p), ...scale, state.stages.pointwise, JSON.stringify(hit.evidence ?? null), hit.rationale].join("|");
  item.id = `card-${d}`;
  item.dataset.d = d;
  draw(item, key, () => {
    item.setAttribute("aria-label", `Rank ${hit.rank}: D${d}, ${shorten(title(hit.p), 80)}; ${Object.entries(hit.ranks).map(([stage, rank]) => `${stage} rank ${rank}`).join(", ")}`);
    const missing = (hit.evidence ?? []).filter((piece) => piece.kind === "quoted" && !piece.grounded);
    const name = window ? `[${window.ids.indexOf(passage.id) + 1}]` : null;
    return [
      el("div", { class: "place" }, el("span", { class: "rank" }, String(hit.rank)), move(passed && hit.ranks[passed], hit.rank, passed)),
      el("div", { class: "body" },
        el("div", { class: "title" }, el("h3", {}, bdi(title(hit.p))), el("span", { class: "names" }, name ? el("span", { class: "ident", title: `in the prompt as ${name}` }, name) : null, el("span", { class: "doc", title: passage.id }, `D${d}`), dot(passage.id))),
        passageText(hit), hit.rationale ? el("p", { class: "said" }, bdi(shorten(hit.rationale, 240))) : null,
        missing.map((piece) => unsupported(piece)), bar(state, hit.p, scale), terms(hit, passage)),
    ];
  });
}

function passageText(hit) {
  const { text } = passages[hit.p];
  const marks = [...(hit.evidence ?? []), ...lexical(passages[hit.p])];
  const whole = () => bdi(marked(text, marks));
  if (Array.from(text).length <= 180) return el("p", { class: "text" }, whole());
  const spans = (hit.evidence ?? []).filter((piece) => piece.kind === "quoted" && piece.grounded && piece.start >= 0 && piece.start < piece.end);
  const first = spans.length ? Math.min(...spans.map((piece) => piece.start)) : 0;
  const chars = Array.from(text);
  let start = first > 110 ? chars.lastIndexOf(" ", first - 40) + 1 : 0;
  let end = chars.indexOf(" ", start + 150);
  if (end < 0) end = chars.length;
  const shifted = marks.filter((piece) => piece.grounded && piece.end > start && piece.start < end).map((piece) => ({ ...piece, start: Math.max(0, piece.start - start), end: Math.min(end, piece.end) - start }));
  const brief = el("span", { class: "brief" }, bdi(start ? "… " : "", marked(chars.slice(start, end).join(""), shifted), end < chars.length ? " …" : ""));
  return fold(`p-${hit.p}`, { class: "passage" }, [brief, " ", el("span", { class: "more" }, "Whole passage")], el("p", { class: "text whole" }, whole()));
}

const unsupported = (piece) => el("p", { class: "quote missing" }, el("q", { class: "unsupported" }, bdi(shorten(piece.quote, 160))), " ", el("span", { class: "why" }, "not in the passage"));

function bar(state, place, [low, high]) {
  if (state.stages.pointwise === "off" || state.stages.pointwise === "waiting") return null;
  const score = state.scores.get(place);
  const line = (kind, inner, words) => el("div", { class: `bar ${kind}` }, el("span", { class: "label" }, "pointwise"), el("span", { class: "track" }, inner), el("span", { class: "value" }, words));
  if (score === undefined) return line("pending gone", null, "not scored yet");
  return line("", el("span", { class: "fill", style: { width: `${high <= low ? 100 : 3 + (97 * (score - low)) / (high - low)}%` } }), signed(score));
}

function terms(hit, passage) {
  const score = hit.scores?.retrieval;
  if (score === undefined) return null;
  const ordered = [...passage.terms].sort((a, b) => b[1] - a[1]);
  const top = Math.max(...ordered.map(([, weight]) => Math.abs(weight)), 0) || 1;
  const pill = ([term, weight]) => el("li", { class: "term", style: { "--w": Math.max(0.12, Math.abs(weight) / top).toFixed(2) } }, bdi(shorten(term, 24)), " ", el("b", {}, signed(weight)));
  return el("div", { class: "terms" }, el("span", { class: "label" }, "retrieval"), el("span", { class: "sum" }, signed(score)), ordered.length ? el("ul", { "aria-label": "what each query term adds" }, ordered.slice(0, MAX_TERMS).map(pill)) : null);
}

function legend(state) {
  const cited = events.some((event) => event.type === "WindowEnd" && event.rationale.evidence.some((piece) => piece.grounded));
  return el("ul", { class: "legend" }, el("li", {}, el("b", {}, "D3"), " third as retrieved"),
    state.windows.length ? el("li", {}, el("span", { class: "ident" }, "[3]"), " third in the model’s prompt") : null,
    judgments.size ? el("li", {}, el("span", { class: "dot", style: { "--fill": "100%" }, "aria-hidden": "true" }), " how relevant people judged it") : null,
    state.scores.size ? el("li", {}, "bars run from this list’s lowest to its highest score") : null,
    passages.some((passage) => passage.terms.some(([, , places]) => places.length)) ? el("li", {}, el("mark", { class: "ev lexical" }, "word"), " the search weighted") : null,
    cited ? el("li", {}, el("mark", { class: "ev quoted" }, "quoted"), " by the listwise stage and found in the passage") : null,
    state.hits.some((hit) => hit.evidence?.some((piece) => piece.kind === "occlusion")) ? el("li", {}, el("mark", { class: "ev occlusion" }, "sentence"), " that the pointwise score needs most, found by leaving each out") : null);
}
