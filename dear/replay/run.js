// The run: events in, what is known after each of them. No element is touched here.
const data = JSON.parse(document.getElementById("run").textContent);
const { passages } = data;
const events = data.events.map((event) => (typeof event === "string" ? { type: "Token", text: event } : event));
const placeOf = new Map(passages.map((passage, place) => [passage.id, place]));
const STAGES = ["retrieval", "pointwise", "listwise"];
const NAMES = { retrieval: "Retrieval", pointwise: "Pointwise", listwise: "Listwise" };
const judgments = new Map(events.filter((event) => event.type === "Metrics").flatMap((event) => Object.entries(event.judgments ?? {})));
const planned = events.find((event) => event.type === "Started")?.config ?? {};

function blank() {
  const waiting = (stage) => events.some((event) => (event.type === "Failed" && event.stage === stage) || stageOf(event) === stage);
  return {
    query: "", config: planned, order: [], hits: [], by: "retrieval", scores: new Map(), total: 0, windows: [], notices: [], failures: [],
    metrics: null, timing: null, final: false, message: "Nothing has happened yet",
    stages: Object.fromEntries(STAGES.map((stage) => [stage, waiting(stage) ? "waiting" : "off"])),
  };
}

function stageOf(event) {
  return { Retrieved: "retrieval", PointScore: "pointwise", Pointwise: "pointwise", WindowStart: "listwise", Token: "listwise", WindowEnd: "listwise" }[event.type] ?? "";
}

const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const number = (state, place) => state.order.indexOf(place) + 1;
const inside = (ids) => ids.map((id) => placeOf.get(id)).filter((place) => place !== undefined);

// Each handler changes the state it is given; the player folds them from a blank one.
const HANDLERS = {
  Started(state, event) { state.query = event.query; state.config = event.config; state.stages.retrieval = "running"; state.message = "Searching"; },
  Retrieved(state, event) {
    state.stages.retrieval = "done";
    state.hits = event.hits.map((hit) => ({ ...hit, ranks: { retrieval: hit.rank, ...hit.ranks } }));
    state.order = state.hits.map((hit) => hit.p);
    state.message = state.order.length ? `${plural(state.order.length, "candidate")} retrieved` : "No passage matches this query";
  },
  PointScore(state, event) {
    state.stages.pointwise = "running";
    const place = placeOf.get(event.passage_id);
    if (place !== undefined) state.scores.set(place, event.score);
    state.total = event.total;
    state.message = "Scoring passages one by one";
  },
  Pointwise(state, event) {
    state.stages.pointwise = "done";
    ranked(state, event.hits, "pointwise");
    for (const hit of event.hits) if ("pointwise" in (hit.scores ?? {})) state.scores.set(hit.p, hit.scores.pointwise);
    state.total = event.hits.length;
    state.message = `${plural(event.hits.length, "passage")} scored one by one` + (event.hits.length ? `, D${number(state, event.hits[0].p)} leads` : "");
  },
  WindowStart(state, event) {
    state.stages.listwise = "running";
    state.windows.push({ ...event, places: inside(event.ids), text: "", tokens: 0, status: null });
    state.message = `Reading window ${event.index} of ${event.of}: ${plural(event.ids.length, "passage")}`;
  },
  Token(state, event) {
    const window = state.windows.at(-1);
    if (window) { window.text += event.text; window.tokens += 1; }
  },
  WindowEnd(state, event) {
    const window = state.windows.at(-1);
    if (!window) return;
    Object.assign(window, { status: event.status, rationale: event.rationale, permutation: event.permutation });
    const order = inside(event.permutation);
    const moving = new Set(order);
    const by = new Map(state.hits.map((hit) => [hit.p, hit]));
    let next = 0;
    state.hits = state.hits.map((hit) => (moving.has(hit.p) ? by.get(order[next++]) ?? hit : hit)).map((hit, place) => ({ ...hit, rank: place + 1, ...said(hit, event.rationale) }));
    state.by = "listwise";
    state.message = `Window ${window.index} of ${window.of} ranked, answer ${event.status}`;
  },
  Notice(state, event) { state.notices.push(event); },
  Metrics(state, event) { state.metrics = event; },
  Timing(state, event) { state.timing = event.stages; },
  Failed(state, event) {
    state.failures.push(event);
    if (event.stage in state.stages) state.stages[event.stage] = "failed";
    state.message = `${NAMES[event.stage] ?? event.stage} failed`;
  },
  Final(state, event) {
    const by = STAGES.findLast((stage) => event.hits.length && event.hits.every((hit) => stage in (hit.ranks ?? {}))) ?? state.by;
    if (!state.order.length) state.order = event.hits.map((hit) => hit.p);
    if (event.hits.length) ranked(state, event.hits, by);
    for (const stage of STAGES) if (state.stages[stage] === "running") state.stages[stage] = "done"; else if (state.stages[stage] === "waiting") state.stages[stage] = "off";
    state.final = true;
    state.message = state.hits.length ? `Ranking complete: ${plural(state.hits.length, "passage")}` : "Nothing was ranked";
  },
};

function ranked(state, hits, by) {
  const before = new Map(state.hits.map((hit) => [hit.p, hit]));
  state.hits = hits.map((hit) => ({ ...before.get(hit.p), ...hit, ranks: { ...before.get(hit.p)?.ranks, ...hit.ranks } }));
  state.by = by;
}

function said(hit, rationale) {
  const id = passages[hit.p].id;
  const evidence = rationale.evidence.filter((piece) => piece.passage_id === id);
  return { evidence: evidence.length ? evidence : hit.evidence, rationale: (Object.hasOwn(rationale.reasons, id) && rationale.reasons[id]) || hit.rationale };
}

function after(count, from = blank(), start = 0) {
  for (let i = start; i < count; i++) HANDLERS[events[i].type]?.(from, events[i]);
  return from;
}

function kendall(first, second) {
  const place = new Map(first.map((value, i) => [value, i]));
  let ahead = 0;
  for (let i = 0; i < second.length; i++) for (let j = i + 1; j < second.length; j++) if (place.get(second[i]) < place.get(second[j])) ahead++;
  return second.length < 2 ? 1 : (4 * ahead) / (second.length * (second.length - 1)) - 1;
}

function orderAfter(state, stage) {
  if (!state.hits.length || !state.hits.every((hit) => stage in hit.ranks)) return null;
  return [...state.hits].sort((a, b) => a.ranks[stage] - b.ranks[stage]).map((hit) => hit.p);
}

// How long an event is dwelt on, in ms: what its stage took, spread evenly, within what an eye can follow.
const times = events.findLast((event) => event.type === "Timing")?.stages ?? {};
const counts = events.reduce((all, event) => ({ ...all, [stageOf(event)]: (all[stageOf(event)] ?? 0) + 1 }), {});
function dwell(event) {
  const stage = stageOf(event);
  const even = times[stage] ? (1000 * times[stage].seconds) / counts[stage] : 60;
  if (event.type === "Token") return Math.min(80, Math.max(15, even));
  if (event.type === "PointScore") return Math.min(250, Math.max(60, even));
  return { Retrieved: 900, Pointwise: 1200, WindowStart: 700, WindowEnd: 1400 }[event.type] ?? 120;
}
