// Play, step, scrub. `at` counts the events that have happened; what is shown is a function of it.
let at = Math.max(1, events.findIndex((event) => event.type === "Retrieved") + 1);
let state = after(at);
let timer = 0;

function show(next) {
  next = Math.min(events.length, Math.max(0, next));
  state = next >= at ? after(next, state, at) : after(next);
  at = next;
  render(state);
  const scrub = byId("scrub");
  scrub.value = at;
  scrub.setAttribute("aria-valuetext", `event ${at} of ${events.length}: ${state.message}`);
  byId("now").textContent = `${at} of ${events.length} · ${state.message}`;
  for (const id of ["first", "back"]) byId(id).disabled = at === 0;
  for (const id of ["forward", "last"]) byId(id).disabled = at === events.length;
}

function pause() {
  clearTimeout(timer);
  timer = 0;
  byId("play").setAttribute("aria-label", "play");
  document.body.classList.remove("playing");
}

function play() {
  if (at === events.length) show(0);
  byId("play").setAttribute("aria-label", "pause");
  document.body.classList.add("playing");
  tick();
}

// Events too short to be seen one by one are shown together, at most thirty times a second.
function tick() {
  const speed = Number(byId("speed").value);
  let next = at;
  let wait = 0;
  do wait += dwell(events[next++] ?? {}) / speed; while (wait < 33 && next < events.length);
  show(next);
  if (at === events.length) return pause();
  timer = setTimeout(tick, wait);
}

const endOf = (stage) => events.findLastIndex((event) => stageOf(event) === stage) + 1;
const seek = (next) => { pause(); show(next); };
const toggle = () => (timer ? pause() : play());

function focusCard(d) {
  const item = byId(`card-${d}`);
  if (!item) return;
  const rest = item.closest("details.rest");
  if (rest) rest.open = true;
  item.focus({ preventScroll: true });
  item.scrollIntoView({ block: "center", behavior: still.matches ? "auto" : "smooth" });
  hot(d);
}

function hot(d) {
  for (const element of document.querySelectorAll(".hot")) element.classList.remove("hot");
  if (d) for (const element of document.querySelectorAll(`[data-d="${Number(d)}"]`)) element.classList.add("hot");
}

function dark(on) {
  document.body.classList.toggle("dark", on);
  document.documentElement.style.colorScheme = on ? "dark" : "light";
}

const target = (event, selector) => (event.target instanceof Element ? event.target.closest(selector) : null);

document.addEventListener("click", (event) => {
  const way = target(event, "a[data-d], .slope .track");
  const chapter = target(event, ".chapter");
  if (way) { event.preventDefault(); focusCard(way.dataset.d); }
  if (chapter) {
    seek(endOf(chapter.dataset.stage));
    document.querySelector(`.chapter[data-stage=${CSS.escape(chapter.dataset.stage)}]`)?.focus();
  }
});
document.addEventListener("mouseover", (event) => hot(target(event, "[data-d]")?.dataset.d));
document.addEventListener("focusin", (event) => { const to = target(event, "[data-d]"); if (to) hot(to.dataset.d); });
document.addEventListener("keydown", (event) => {
  const control = target(event, "input, select, summary, button, a, pre");
  const free = !event.ctrlKey && !event.metaKey && !event.altKey;
  if ((event.key === "Enter" || event.key === " ") && target(event, ".slope .track")) { event.preventDefault(); focusCard(target(event, ".slope .track").dataset.d); return; }
  if (!free || target(event, "select, input, pre")) return;
  if (event.key === " " && !control) { event.preventDefault(); toggle(); }
  const step = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: events.length }[event.key];
  if (step !== undefined) { event.preventDefault(); seek(step); }
});

byId("first").onclick = () => seek(0);
byId("back").onclick = () => seek(at - 1);
byId("forward").onclick = () => seek(at + 1);
byId("last").onclick = () => seek(events.length);
byId("play").onclick = toggle;
byId("scrub").oninput = (event) => seek(Number(event.target.value));
byId("theme").onclick = () => dark(!document.body.classList.contains("dark"));

dark(matchMedia("(prefers-color-scheme: dark)").matches);
byId("scrub").max = events.length;
for (const stage of STAGES) if (counts[stage]) byId("band").append(el("i", { class: stage, style: { "flex-grow": counts[stage] } }));
byId("fine").textContent = data.cut ? `Passages are cut after ${data.cut.toLocaleString("en")} characters, so that the page stays small.` : "";
for (const id of ["played", "player"]) byId(id).hidden = false;
if (location.hash === "#end") at = 0;
show(location.hash === "#end" ? events.length : at);
