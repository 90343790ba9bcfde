// Keeps the parts of a page up to date: an element with data-live names the stream of its parts.
// The server sends whole elements, escaped by it; only those that differ are swapped.

const RETRY_MS = 2000;
const connection = document.getElementById("connection");
const sources = new Map(); // element with data-live -> EventSource
const lost = new Set();

function element(html) {
  const template = document.createElement("template");
  template.innerHTML = html; // drawn by the server's templates, which escape
  return template.content.firstElementChild;
}

// What a person has done to a part outlives its redrawing: focus, and what was opened.
function carryOver(from, to) {
  const open = new Set([...from.querySelectorAll("details[open]")].map((d) => d.dataset.key ?? d.className));
  for (const details of to.querySelectorAll("details")) {
    if (open.has(details.dataset.key ?? details.className)) details.open = true;
  }
}

function focusPath(root) {
  const active = document.activeElement;
  if (!active || !root.contains(active)) return null;
  const alike = [...root.querySelectorAll("a,button,input,select,summary,[tabindex]")];
  return { place: alike.indexOf(active), id: active.id, text: active.textContent };
}

function refocus(root, path) {
  if (!path) return;
  const alike = [...root.querySelectorAll("a,button,input,select,summary,[tabindex]")];
  const same = alike.find((e) => path.id && e.id === path.id) ?? alike[path.place];
  (same ?? root).focus?.({ preventScroll: true });
}

function swap(id, html) {
  const old = document.getElementById(id);
  const made = element(html);
  if (!made) return null;
  if (old && old.outerHTML !== made.outerHTML) {
    const path = focusPath(old);
    carryOver(old, made);
    old.replaceWith(made);
    refocus(made, path);
  }
  return made;
}

function apply({ parts, lists }) {
  const made = new Map();
  for (const [id, html] of Object.entries(parts)) made.set(id, swap(id, html));
  for (const [listId, ids] of Object.entries(lists)) {
    const list = document.getElementById(listId);
    if (!list) continue;
    const wanted = new Set(ids);
    for (const child of [...list.children]) if (child.id && !wanted.has(child.id)) child.remove();
    let place = list.firstElementChild;
    for (const id of ids) {
      const here = document.getElementById(id) ?? made.get(id);
      if (!here) continue;
      if (here === place) place = place.nextElementSibling;
      else list.insertBefore(here, place);
    }
  }
  document.dispatchEvent(new CustomEvent("jetsched:parts", { detail: { parts, lists } }));
}

function tell() {
  connection.hidden = lost.size === 0;
  connection.textContent = lost.size ? "⚠ The connection to the head is lost; trying again. What stands here may be old." : "";
}

function open(root) {
  if (sources.has(root)) return;
  const url = new URL(root.dataset.live, location.href);
  url.searchParams.set("version", root.dataset.liveVersion);
  const source = new EventSource(url);
  sources.set(root, source);
  source.addEventListener("parts", (event) => {
    root.dataset.liveVersion = event.lastEventId;
    apply(JSON.parse(event.data));
  });
  source.addEventListener("open", () => {
    lost.delete(root);
    tell();
  });
  source.addEventListener("error", () => {
    lost.add(root);
    tell();
    if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself
    sources.delete(root);
    setTimeout(() => root.isConnected && !document.hidden && open(root), RETRY_MS);
  });
}

function close(root) {
  sources.get(root)?.close();
  sources.delete(root);
  lost.delete(root);
}

// Watches what is on the page now: the page itself, and what a drawer has brought.
export function watch() {
  for (const root of [...sources.keys()]) if (!root.isConnected) close(root);
  if (document.hidden) return;
  for (const root of document.querySelectorAll("[data-live]")) open(root);
}

// A page that nobody sees costs the head nothing; seen again it gets what it has missed.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) for (const root of [...sources.keys()]) close(root);
  watch();
  tell();
});
addEventListener("pagehide", () => [...sources.keys()].forEach(close));
addEventListener("pageshow", watch);
watch();
