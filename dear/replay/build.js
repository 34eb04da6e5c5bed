// Elements. Whatever comes from the run goes in as text; there is no other way in.
const still = matchMedia("(prefers-reduced-motion: reduce)");
const byId = (id) => document.getElementById(id);

function fill(element, options, children) {
  for (const [name, value] of Object.entries(options)) {
    if (value === null || value === false || value === undefined) continue;
    if (name === "style") for (const [property, setting] of Object.entries(value)) element.style.setProperty(property, setting);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return element;
}
const el = (tag, options = {}, ...children) => fill(document.createElement(tag), options, children);
const svg = (tag, options = {}, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), options, children);
const sr = (words) => el("span", { class: "sr" }, words);
const bdi = (...content) => el("bdi", {}, ...content);
const signed = (value, digits = 2) => value.toFixed(digits).replace("-", "−");

function seconds(value) {
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  return value < 60 ? `${value.toFixed(1)} s` : `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
}

function shorten(text, limit) {
  const words = text.split(/\s+/).filter(Boolean).join(" ");
  if (words.length <= limit) return words;
  const head = words.slice(0, limit - 1);
  const cut = head.lastIndexOf(" ");
  return (cut > limit / 2 ? head.slice(0, cut) : head).replace(/[ ,.;:]+$/, "") + "…";
}

const title = (place) => passages[place].title || shorten(passages[place].text, 60);

// [n], or D n where the passage was in no window; following it focuses the passage.
function link(state, place, name) {
  const d = number(state, place);
  if (!d) return el("span", { class: "ref" }, bdi(shorten(name, 40)));
  return el("a", { class: "ref", href: `#card-${d}`, "data-d": d, "aria-label": `${name.startsWith("[") ? `passage ${name.slice(1, -1)}, ` : ""}D${d}` }, name);
}

// Text in which every [n] of the window is a link.
function linked(state, window, text) {
  return text.split(/(\[\d{1,3}\])/).map((piece, i) => {
    const place = i % 2 ? placeOf.get(window.ids[Number(piece.slice(1, -1)) - 1]) : undefined;
    return place === undefined ? piece : link(state, place, piece);
  });
}

// The passage's text with grounded evidence marked, a quote around words; offsets count code points, as Python does.
function marked(text, evidence = []) {
  const chars = Array.from(text);
  const known = evidence.filter((e) => e.grounded && e.start >= 0 && e.start < e.end && e.end <= chars.length).sort((a, b) => a.start - b.start || b.end - a.end);
  const layers = ["occlusion", "quoted", "lexical"].map((kind) => [kind, known.filter((e) => e.kind === kind)]).filter(([, spans]) => spans.length);
  return nested(chars, 0, chars.length, layers);
}

function nested(chars, start, end, [layer, ...inner]) {
  if (!layer) return [chars.slice(start, end).join("")];
  const out = [];
  let at = start;
  for (const span of layer[1]) {
    const left = Math.max(at, span.start);
    const right = Math.min(end, span.end);
    if (left >= right) continue;
    out.push(...nested(chars, at, left, inner), el("mark", { class: `ev ${layer[0]}` }, nested(chars, left, right, inner)));
    at = right;
  }
  return [...out, ...nested(chars, at, end, inner)];
}

// What the retriever weighted, as evidence.
const lexical = (passage) => passage.terms.flatMap(([, , places]) => places.map(([start, end]) => ({ kind: "lexical", grounded: true, start, end })));

function dot(id) {
  if (!judgments.size) return null;
  if (!judgments.has(id)) return el("span", { class: "dot none", title: "not judged" }, sr("not judged"));
  const top = Math.max(1, ...judgments.values());
  const words = `judged ${judgments.get(id)} of ${top}`;
  return el("span", { class: "dot", title: words, style: { "--fill": `${Math.round((100 * Math.max(0, judgments.get(id))) / top)}%` } }, sr(words));
}

function move(from, to, where) {
  if (from === undefined) return el("span", { class: "move none" });
  if (from === to) return el("span", { class: "move same", title: `same place as in ${where}` }, el("span", { "aria-hidden": "true" }, "="), sr("unmoved"));
  const way = to < from ? "up" : "down";
  const words = `${way} ${Math.abs(from - to)} from ${where} rank ${from}`;
  return el("span", { class: `move ${way}`, title: words }, el("span", { "aria-hidden": "true" }, `${way === "up" ? "▲" : "▼"}${Math.abs(from - to)}`), sr(words));
}

const heading = (words, right) => el("div", { class: "col-head" }, el("h2", {}, words), right ?? null);
