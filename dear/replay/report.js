// The strip below: effectiveness with its working, agreement, time and tokens of each stage.
const MEASURE = "nDCG@10";

function report(state) {
  if (!state.final) return null;
  const shown = STAGES.filter((stage) => state.stages[stage] !== "off");
  const tiles = shown.flatMap((stage, i) => [tile(state, stage, shown[i - 1]), i + 1 < shown.length ? tau(state, stage, shown[i + 1]) : null]);
  const working = shown.filter((stage) => orderAfter(state, stage));
  return [
    el("div", { class: "tiles" }, tiles),
    state.metrics && judgments.size && working.length
      ? fold("working", { class: "working" }, `How ${MEASURE} adds up`, el("p", { class: "hint" }, "Each passage adds its grade divided by log₂(rank + 1). The sum, DCG, is divided by that of the best order there can be."), el("div", { class: "sums" }, working.map((stage) => sum(state, stage))))
      : null,
    state.metrics ? null : el("p", { class: "hint" }, "No judgments were recorded for this query, so there is no nDCG."),
  ];
}

function tile(state, stage, before) {
  const took = state.timing?.[stage];
  const tokens = took && (took.tokens_in || took.tokens_out) ? `${took.tokens_in.toLocaleString("en")} tokens in, ${took.tokens_out.toLocaleString("en")} out` : "no model";
  const cost = state.stages[stage] === "failed" ? "failed" : took ? `${seconds(took.seconds)} · ${tokens}` : "";
  return el("div", { class: `tile ${stage}` }, el("h3", {}, NAMES[stage]), ndcg(state, stage, before), cost ? el("p", { class: "cost" }, cost) : null);
}

function ndcg(state, stage, before) {
  const value = state.metrics?.stages[stage]?.[MEASURE];
  if (value === undefined) return null;
  const earlier = state.metrics.stages[before]?.[MEASURE];
  const way = earlier === undefined ? "" : value - earlier >= 0.0005 ? "up" : value - earlier <= -0.0005 ? "down" : "same";
  const change = { up: "▲", down: "▼", same: "=" }[way];
  const missing = state.metrics.unjudged[stage] ?? 0;
  return [
    el("p", { class: "ndcg" }, el("b", {}, value.toFixed(3)), way ? [" ", el("span", { class: `move ${way}` }, change + (way === "same" ? "" : Math.abs(value - earlier).toFixed(3)))] : null, " ", el("span", { class: "unit" }, MEASURE),
      missing ? el("span", { class: "unjudged" }, `unjudged ${missing} of ${Math.min(10, state.hits.length)}`) : null),
    el("span", { class: "meter", "aria-hidden": "true" }, el("span", { style: { width: `${100 * Math.min(1, Math.max(0, value))}%` } })),
  ];
}

function tau(state, first, second) {
  const [a, b] = [orderAfter(state, first), orderAfter(state, second)];
  const value = a && b ? signed(kendall(a, b)) : "–";
  return el("div", { class: "tau", title: "Kendall’s tau: 1 is the same order, −1 the reverse" }, el("span", { class: "line", "aria-hidden": "true" }), el("b", {}, `τ ${value}`), el("span", {}, "agreement"));
}

const gain = (grade, rank) => grade / Math.log2(rank + 1);

function sum(state, stage) {
  const order = orderAfter(state, stage).slice(0, 10);
  const grade = (place) => judgments.get(passages[place].id);
  const total = order.reduce((dcg, place, i) => dcg + gain(grade(place) ?? 0, i + 1), 0);
  const ideal = [...judgments.values()].sort((a, b) => b - a).slice(0, 10).reduce((dcg, value, i) => dcg + gain(value, i + 1), 0);
  const row = (place, i) => el("tr", {}, el("td", {}, String(i + 1)), el("th", { scope: "row" }, link(state, place, `D${number(state, place)}`)), el("td", {}, grade(place) === undefined ? "–" : String(grade(place))), el("td", {}, gain(grade(place) ?? 0, i + 1).toFixed(3)));
  return el("table", { class: `ranks ${stage}` }, el("caption", {}, NAMES[stage]),
    el("thead", {}, el("tr", {}, ["Rank", "Passage", "Grade", "Adds"].map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, order.map(row)),
    el("tfoot", {}, el("tr", {}, el("td", { colspan: 4 }, `${total.toFixed(3)} ÷ ${ideal.toFixed(3)} = ${ideal ? (total / ideal).toFixed(3) : "–"}`))));
}
