// Small conveniences on top of a page that works without them: cross-highlighting, links to cards, keys, the theme
// switch, cards that glide to their new place, and opened details that stay open when the server redraws a panel.
(() => {
  if (window.__dear) return;
  window.__dear = true;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const opened = new Map(); // data-keep -> what the reader chose
  let sought = 0; // D-number of the card whose sentences are being left out
  let atRun = false; // the focus was last on Rank or Stop, which take each other's place
  let tops = new Map(); // D-number -> distance of its card from the list's top

  const RUN = "button.dear-go, button.dear-stop";
  const GOES = ".lab-ballot button, .lab-controls button, .lab-walk button, [data-lesson]"; // may be gone once they are pressed
  const BROUGHT = ".chosen, .walk-head h2, .walk-bar"; // what they bring, to go on from
  const target = (event, selector) => (event.target instanceof Element ? event.target.closest(selector) : null);

  const shown = (selector) => [...document.querySelectorAll(selector)].find((element) => element.offsetParent); // in the open tab

  function hot(number) {
    for (const element of document.querySelectorAll(".hot")) element.classList.remove("hot");
    if (number) for (const element of document.querySelectorAll(`[data-d="${number}"]`)) element.classList.add("hot");
  }

  function show(number) {
    const card = document.getElementById(`card-${number}`);
    if (!card) return;
    const fold = card.closest("details.rest");
    if (fold) { fold.open = true; opened.set("rest", true); }
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "center", behavior: still.matches ? "auto" : "smooth" });
    hot(number);
  }

  // A button that goes takes the focus with it: who pressed it by key goes on at what it brought.
  let going = 0;
  const there = (element) => Boolean(element?.isConnected && element.getClientRects().length);
  function goOn() {
    clearInterval(going);
    const from = document.activeElement;
    let looks = 40;
    going = setInterval(() => {
      looks -= 1;
      const at = document.activeElement;
      const lost = !at || at === document.body || !there(at);
      const next = lost && !there(from) ? shown(BROUGHT) : null;
      if (next) { next.tabIndex = -1; next.focus({ preventScroll: true }); }
      if (next || looks === 0 || !lost && at !== from) clearInterval(going);
    }, 100);
  }

  function theme(dark) {
    document.body.classList.toggle("dark", dark);
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
  }

  document.addEventListener("click", (event) => {
    const summary = target(event, "summary");
    const keep = summary?.parentElement?.dataset.keep;
    if (keep) opened.set(keep, !summary.parentElement.open);
    const link = target(event, "a[data-d], .slope .track");
    if (link) { event.preventDefault(); show(link.dataset.d); }
    const jump = target(event, "[data-jump]");
    if (jump) document.getElementById(jump.dataset.jump)?.scrollIntoView({ behavior: still.matches ? "auto" : "smooth" });
    const which = target(event, "[data-sentences]");
    if (which) { sought = window.dearSentences = Number(which.dataset.sentences); document.getElementById("dear-sentences")?.click(); }
    const lesson = target(event, "[data-lesson]");
    if (lesson) { window.dearLesson = lesson.dataset.lesson; document.getElementById("dear-lesson")?.click(); }
    if (target(event, "[data-action=theme]")) {
      const dark = !document.body.classList.contains("dark");
      theme(dark);
      try { localStorage.setItem("dear-theme", dark ? "dark" : "light"); } catch { /* storage may be closed */ }
    }
  });
  document.addEventListener("mouseover", (event) => hot(target(event, "[data-d]")?.dataset.d));
  document.addEventListener("pointerdown", () => { atRun = false; clearInterval(going); }, true);
  document.addEventListener("focusin", (event) => { atRun = target(event, RUN) !== null; });
  document.addEventListener("focusin", (event) => { const to = target(event, "[data-d]"); if (to) hot(to.dataset.d); });
  document.addEventListener("keydown", (event) => {
    const field = event.target instanceof Element && event.target.matches("input, textarea, select, [contenteditable]");
    if ((event.key === "Enter" || event.key === " ") && target(event, GOES)) goOn();
    if (event.key === "/" && !field && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const query = shown(".dear-query textarea, .dear-query input");
      if (query) { event.preventDefault(); query.focus(); query.select(); }
    } else if (event.key === "Escape" && !event.isComposing && !document.querySelector(":popover-open") && !target(event, "[aria-expanded=true]")) {
      shown("button.dear-stop")?.click();
    } else if ((event.key === "Enter" || event.key === " ") && target(event, ".slope .track")) {
      event.preventDefault();
      show(target(event, ".slope .track").dataset.d);
    }
  });

  function redrawn() {
    for (const details of document.querySelectorAll("details[data-keep]")) {
      const wanted = opened.get(details.dataset.keep);
      if (wanted !== undefined && details.open !== wanted) details.open = wanted;
    }
    const list = document.querySelectorAll(".cards:not(.ghost) > .card");
    const first = list[0]?.offsetTop ?? 0;
    const now = new Map();
    for (const card of list) now.set(card.dataset.d, card.offsetTop - first);
    if (!still.matches && tops.size === now.size) {
      for (const card of list) {
        const moved = (tops.get(card.dataset.d) ?? NaN) - now.get(card.dataset.d);
        if (Math.abs(moved) > 40) card.animate([{ transform: `translateY(${moved}px)` }, { transform: "none" }], { duration: 450, easing: "cubic-bezier(.2,.7,.2,1)" });
      }
    }
    tops = now;
    // The button gave way to what was found: so does the focus, unless the reader has moved it.
    const found = sought && document.querySelector(`#card-${sought} .found`);
    if (found) {
      if (document.activeElement === document.body) found.focus({ preventScroll: true });
      sought = 0;
    }
  }
  new MutationObserver((changes) => {
    const inside = (node) => (node instanceof Element ? node : node.parentElement)?.closest(".dear-redrawn");
    if (changes.some((change) => inside(change.target))) redrawn();
    if (atRun && document.activeElement === document.body) shown(RUN)?.focus({ preventScroll: true });
  }).observe(document.documentElement, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-d", "data-keep", "open"] });

  let saved = null;
  try { saved = localStorage.getItem("dear-theme"); } catch { /* storage may be closed */ }
  const asked = new URLSearchParams(location.search).get("__theme");
  if (saved && !asked) {
    const apply = () => theme(saved === "dark");
    apply();
    setTimeout(apply, 400); // Gradio sets its own once it has mounted
  }
})();
