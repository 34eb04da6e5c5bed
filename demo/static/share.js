// Taking a run away: a file that the server made, the graph drawn as PNG, the address of this question.
window.dearShare ??= (() => {
  function download(url, name) {
    const link = document.createElement("a");
    link.href = url;
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
  }

  async function png(text) {
    const picture = new Image();
    picture.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
    await picture.decode();
    const canvas = document.createElement("canvas");
    canvas.width = 2 * picture.naturalWidth;
    canvas.height = 2 * picture.naturalHeight;
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  async function save(file, kind) {
    if (!file?.url) return;
    const name = file.orig_name;
    if (kind !== "png") return download(file.url, name);
    const url = URL.createObjectURL(await png(await (await fetch(file.url)).text()));
    download(url, name.replace(/\.svg$/, ".png"));
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  // The clipboard is closed to pages served without TLS from elsewhere than this machine.
  function write(text) {
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done ? Promise.resolve() : Promise.reject(new Error("copying is not allowed here"));
  }

  // `own`: the visitor's passages are what is asked now; they are nobody else's, so the link asks the usual corpus.
  async function copy(own) {
    const done = own ? "Link copied, without your passages: it asks the usual corpus" : "Link copied";
    const said = await write(location.href).then(() => done, () => "The link could not be copied: it is in the address bar");
    const status = document.querySelector(".dear-page [role=status]");
    if (status) status.textContent = said;
    const button = document.querySelector("button.dear-copy");
    button?.classList.toggle("copied", said === done);
    button?.classList.toggle("own", said === done && own);
    setTimeout(() => button?.classList.remove("copied", "own"), own ? 5_000 : 2_000);
  }

  // A press is answered on the button and, for a screen reader, in the panel's status; a refusal stays until the next press.
  const backs = new WeakMap(); // button -> its way back to "Copy"
  document.addEventListener("click", async (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-copy]") : null;
    const text = button?.closest("section").querySelector("pre").textContent;
    if (!text) return;
    const copied = await write(text).then(() => true, () => false);
    const status = button.closest(".api").querySelector("[role=status]");
    const name = button.dataset.copy;
    button.textContent = copied ? "Copied" : "Select it by hand";
    status.textContent = copied ? `${name} code copied` : `The browser did not let the ${name} code be copied: select it by hand`;
    clearTimeout(backs.get(button));
    if (copied) backs.set(button, setTimeout(() => { button.textContent = "Copy"; }, 2_000));
  });

  return { save, copy };
})();
