// The page is complete without this script. It counts times on, takes in what has changed, and says when it cannot.
"use strict";
(() => {
  const body = document.body;
  const began = { now: Number(body.dataset.now), at: performance.now() };
  const now = () => began.now + (performance.now() - began.at);

  // The same words as the server's.
  const lasting = (ms) => {
    const s = Math.floor(ms / 1000), m = Math.floor(s / 60), h = Math.floor(m / 60);
    if (s < 1) return `${Math.floor(ms)} ms`;
    if (s < 10) return `${s}.${Math.floor((ms % 1000) / 100)} s`;
    if (s < 60) return `${s} s`;
    if (m < 60) return `${m} min`;
    if (h < 24) return m % 60 ? `${h} h ${m % 60} min` : `${h} h`;
    return `${Math.floor(h / 24)} d`;
  };
  const count = () => {
    for (const time of document.querySelectorAll("time[data-ago], time[data-for]")) {
      const gone = now() - Date.parse(time.dateTime);
      const words = "for" in time.dataset ? `for ${lasting(Math.max(0, gone))}`
        : gone < 0 ? `in ${lasting(-gone)}` : `${lasting(gone)} ago`;
      if (time.textContent !== words) time.textContent = words;
    }
  };
  setInterval(count, 1000);

  // A part stays as it is while a person works in it.
  const isBusy = (part) => part.querySelector("details[open]") || part.contains(document.activeElement);
  const attributes = (old, fresh) => {
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  };
  // A live region must stay in the document, or its change is not announced.
  const replace = (old, fresh) => {
    attributes(old, fresh);
    const said = old.querySelector(":scope > [aria-live]"), says = fresh.querySelector(":scope > [aria-live]");
    if (!said || !says) return old.replaceChildren(...fresh.childNodes);
    if (said.textContent !== says.textContent) said.replaceChildren(...says.childNodes);
    for (const child of [...old.childNodes]) if (child !== said) child.remove();
    for (const child of [...fresh.childNodes]) if (child !== says) old.append(child);
  };
  const waiting = new Map();
  const put = (id, html) => {
    const old = document.getElementById(id);
    if (!old) return;
    if (isBusy(old)) return void waiting.set(id, html);
    waiting.delete(id);
    const template = document.createElement("template");
    template.innerHTML = html;
    if (template.content.firstElementChild) replace(old, template.content.firstElementChild);
  };

  const mark = document.getElementById("live"), notice = document.getElementById("notlive");
  const word = document.getElementById("live-word");
  let source = null, lost = 0;
  const seen = (event) => {
    const fact = JSON.parse(event.data);
    began.now = fact.now;
    began.at = performance.now();
    lost = 0;
    notice.hidden = true;
    mark.classList.add("on");
    body.classList.toggle("stale", fact.stale);
    if (word && !fact.stale) word.textContent = "Live, seen";
    const time = mark.querySelector("time");
    if (time && fact.seen) {
      time.dateTime = fact.seen;
      time.title = fact.title;
    }
    const dead = document.getElementById("dead-count");
    if (dead && fact.dead !== null) {
      dead.textContent = fact.dead;
      dead.hidden = fact.dead === "0";
    }
    for (const [id, html] of [...waiting]) put(id, html);
    count();
  };
  const cut = () => {
    if (!lost) lost = performance.now();
  };
  setInterval(() => {
    if (!lost || performance.now() - lost < 5000) return;
    mark.classList.remove("on");
    if (word) word.textContent = "As of";
    notice.textContent = "Not live: this replica does not answer. What is shown is as of the time above.";
    notice.hidden = false;
  }, 1000);
  const open = () => {
    if (source || !body.dataset.events || document.hidden) return;
    source = new EventSource(body.dataset.events);
    source.addEventListener("seen", seen);
    source.addEventListener("part", (event) => {
      const { id, html } = JSON.parse(event.data);
      put(id, html);
    });
    source.addEventListener("error", cut);
  };
  const close = () => {
    if (source) source.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
})();
