// Keeps the parts of a page up to date: an element with data-live names the stream of its parts.
// The server sends whole elements, escaped by it; only those that differ are swapped.

const RETRY_MS = 1000;
const connection = document.getElementById("connection");
let source = null; // one for all views of the page: browsers open six connections to a server at most
let watched = ""; // the views that it is for
let retry = 0;

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

function tell(lost) {
  connection.hidden = !lost;
  connection.textContent = lost ? "⚠ The connection to the head is lost; trying again. What stands here may be old." : "";
}

function open(roots) {
  const query = new URLSearchParams();
  for (const root of roots) {
    query.append("view", root.dataset.live);
    query.append("version", root.dataset.liveVersion);
  }
  source = new EventSource(`/ui/live?${query}`);
  source.addEventListener("open", () => tell(false));
  source.addEventListener("parts", (event) => {
    const found = JSON.parse(event.data);
    for (const root of document.querySelectorAll("[data-live]")) {
      if (root.dataset.live === found.view) root.dataset.liveVersion = found.version;
    }
    apply(found);
  });
  source.addEventListener("again", () => {
    close();
    again();
  });
  source.addEventListener("error", () => {
    // It would ask again by itself, but for the versions that the page had first.
    tell(true);
    close();
    retry = setTimeout(again, RETRY_MS);
  });
}

// A stream lasts a minute, and a browser does not say why it got none: the head may be down, or the
// session over.
async function again() {
  if (document.hidden) return; // it watches when it is seen again
  const answer = await fetch("/ui/live", { method: "HEAD" }).catch(() => null);
  if (answer?.status === 401) {
    location.assign(`/ui/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  } else if (answer) watch();
  else if (!source) {
    tell(true);
    retry = setTimeout(again, RETRY_MS);
  }
}

function close() {
  clearTimeout(retry);
  source?.close();
  source = null;
  watched = "";
}

// Watches what is on the page now: the page's own views, and what a drawer has brought.
export function watch() {
  if (document.hidden) return;
  const roots = [...document.querySelectorAll("[data-live]")];
  const wanted = roots.map((root) => root.dataset.live).join("\n");
  if (source && wanted === watched) return;
  close();
  watched = wanted;
  if (roots.length) open(roots);
}

// A page that nobody sees costs the head nothing; seen again it gets what it has missed.
document.addEventListener("visibilitychange", () => (document.hidden ? close() : watch()));
addEventListener("pagehide", close);
addEventListener("pageshow", watch);
watch();
