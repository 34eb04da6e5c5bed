// The slopegraph: an axis a stage, a line a passage; what rises is solid, what falls dashed, what stays dotted. And its table.
const WIDTH = 364, LEFT = 128, RIGHT = 336, TOP = 44, NODE = 9.5;

function tracks(state) {
  const partial = state.by === "listwise" && state.hits.some((hit) => !("listwise" in hit.ranks));
  return state.hits
    .map((hit) => {
      const ranks = Object.fromEntries(STAGES.filter((stage) => stage in hit.ranks).map((stage) => [stage, hit.ranks[stage]]));
      if (partial) ranks.listwise = hit.rank;
      const passed = STAGES.filter((stage) => stage in ranks);
      return { p: hit.p, d: number(state, hit.p), ranks, passed, last: ranks[passed.at(-1)] ?? hit.rank, title: title(hit.p) };
    })
    .sort((a, b) => a.d - b.d);
}

const spoken = (line) => `D${line.d}: ${line.passed.map((stage) => `${NAMES[stage]} rank ${line.ranks[stage]}`).join(", ")}. ${line.title}`;

function graph(state, lines) {
  const step = lines.length <= 24 ? 27 : 22;
  const height = TOP + step * lines.length + 6;
  const axes = STAGES.filter((stage) => state.stages[stage] !== "off");
  const x = Object.fromEntries(axes.map((stage, i) => [stage, LEFT + ((RIGHT - LEFT) * i) / Math.max(1, axes.length - 1)]));
  const y = (rank) => TOP + step * (rank - 0.5);
  const head = (way) => svg("marker", { id: `head-${way}`, class: way, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, markerUnits: "userSpaceOnUse", orient: "auto" }, svg("path", { d: "M0 .8 7.4 4 0 7.2z" }));
  const axis = (stage) => svg("g", { class: `axis ${stage} ${state.stages[stage]}` },
    svg("text", { x: x[stage] >= RIGHT ? x[stage] + NODE + 8 : x[stage], y: 20, "text-anchor": x[stage] >= RIGHT ? "end" : "middle" }, NAMES[stage]),
    svg("line", { x1: x[stage], y1: 32, x2: x[stage], y2: height - 4 }));
  const row = (_, i) => svg("text", { class: "row", x: RIGHT + 20, y: y(i + 1) + 3.5, "text-anchor": "middle" }, String(i + 1));
  return svg("svg", { class: "slope", viewBox: `0 0 ${WIDTH} ${height}`, role: "group", "aria-labelledby": "slope-title" },
    svg("title", { id: "slope-title" }, "Rank of each passage after each stage"),
    svg("defs", {}, head("up"), head("down")), axes.map(axis), lines.map(row),
    [...lines].sort((a, b) => b.last - a.last).map((line) => track(line, axes.filter((stage) => stage in line.ranks).map((stage) => [x[stage], y(line.ranks[stage]), line.ranks[stage]]))));
}

function track(line, places) {
  const segments = places.slice(1).map((to, i) => segment(places[i], to));
  const nodes = places.map(([x, y]) => [svg("circle", { cx: x, cy: y, r: NODE }), svg("text", { class: "num", x, y: y + 3.4, "text-anchor": "middle" }, String(line.d))]);
  const name = places.length ? svg("text", { class: "name", x: LEFT - NODE - 7, y: places[0][1] + 3.8, "text-anchor": "end" }, shorten(line.title, 19)) : null;
  return svg("g", { class: `track${line.last <= 3 ? " lead" : ""}`, "data-d": line.d, tabindex: 0, role: "img", "aria-label": spoken(line) }, svg("title", {}, spoken(line)), segments, nodes, name);
}

function segment([ax, ay, from], [bx, by, to]) {
  const way = to < from ? "up" : to > from ? "down" : "same";
  const [x1, x2] = [ax + NODE + 2, bx - NODE - 2];
  const bend = (x2 - x1) * 0.45;
  return svg("path", { class: `seg ${way}`, d: `M${x1} ${ay}C${x1 + bend} ${ay} ${x2 - bend} ${by} ${x2} ${by}`, "marker-end": way === "same" ? null : `url(#head-${way})` });
}

function table(state, lines) {
  const axes = STAGES.filter((stage) => lines.some((line) => stage in line.ranks));
  const cell = (line, stage, i) => {
    const before = i ? line.ranks[axes[i - 1]] : undefined;
    const rank = line.ranks[stage];
    return el("td", {}, rank === undefined ? "–" : [String(rank), " ", before !== undefined && before !== rank ? move(before, rank, axes[i - 1]) : null]);
  };
  const row = (line) => el("tr", { "data-d": line.d },
    el("th", { scope: "row" }, el("a", { class: "ref", href: `#card-${line.d}`, "data-d": line.d }, `D${line.d}`), " ", dot(passages[line.p].id), " ", bdi(shorten(line.title, 48))),
    axes.map((stage, i) => cell(line, stage, i)));
  return el("table", { class: "ranks" }, el("caption", { class: "sr" }, "Rank of each passage after each stage"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Passage"), axes.map((stage) => el("th", { scope: "col", class: stage }, NAMES[stage])))),
    el("tbody", {}, [...lines].sort((a, b) => a.last - b.last).map(row)));
}

function legendOfMoves() {
  const item = (way, words, line, head) => el("li", { class: way }, svg("svg", { viewBox: "0 0 26 10" }, svg("path", { d: line }), head ? svg("path", { class: "head", d: head }) : null), words);
  return el("ul", { class: "key", "aria-hidden": "true" }, item("up", "rises", "M1 8 20 3", "M25 2l-6-1 1 5z"), item("down", "falls", "M1 2 20 7", "M25 8l-6 1 1-5z"), item("same", "stays", "M1 5h24"));
}
