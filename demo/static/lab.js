// Learn: the windows' player. The frames are all in the page; this shows one of them at a time.
(() => {
  if (window.__dearLab) return;
  window.__dearLab = true;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const BEAT = 1400; // ms a frame while playing
  let timer = 0;

  const player = (event) => (event.target instanceof Element ? event.target.closest("[data-player]") : null);
  const range = (root) => root.querySelector("input[type=range]");

  function show(root, index) {
    const field = range(root);
    const at = Math.min(Math.max(index, 0), Number(field.max));
    const old = new Map([...root.querySelectorAll(".frame:not([hidden]) li")].map((row) => [row.querySelector(".letter").textContent, row.offsetTop]));
    for (const frame of root.querySelectorAll(".frame")) frame.hidden = Number(frame.dataset.frame) !== at;
    const caption = root.querySelector(".frame:not([hidden]) .caption").textContent;
    field.value = String(at);
    field.setAttribute("aria-valuetext", caption);
    if (still.matches) return;
    for (const row of root.querySelectorAll(".frame:not([hidden]) li")) {
      const moved = (old.get(row.querySelector(".letter").textContent) ?? row.offsetTop) - row.offsetTop;
      if (moved) row.animate([{ transform: `translateY(${moved}px)` }, { transform: "none" }], { duration: 500, easing: "cubic-bezier(.2,.7,.2,1)" });
    }
  }

  function play(root, on) {
    clearInterval(timer);
    const button = root.querySelector("[data-play]");
    button.textContent = on ? "Pause" : "Play";
    button.setAttribute("aria-pressed", String(on));
    if (!on) return;
    const field = range(root);
    if (field.value === field.max) show(root, 0);
    timer = setInterval(() => {
      if (!root.isConnected) return clearInterval(timer);
      show(root, Number(field.value) + 1);
      if (field.value === field.max) play(root, false);
    }, BEAT);
  }

  document.addEventListener("input", (event) => {
    const root = player(event);
    if (root && event.target.matches("input[type=range]")) { play(root, false); show(root, Number(event.target.value)); }
  });
  document.addEventListener("click", (event) => {
    const root = player(event);
    const button = root && event.target.closest("button");
    if (!button) return;
    if (button.matches("[data-play]")) play(root, button.getAttribute("aria-pressed") !== "true");
    else if (button.dataset.by) { play(root, false); show(root, Number(range(root).value) + Number(button.dataset.by)); }
  });
})();
