// Links with data-drawer open beside the page, in a dialog; without this script they are pages.
// An open drawer has the address of that page: it can be sent to others, and Back closes it.
import { tell } from "./actions.js";
import { watch } from "./live.js";

const drawer = document.getElementById("drawer");
const content = document.getElementById("drawer-content");
let opener = null;
const title = document.title;
const place = () => location.pathname + location.search;
const below = place(); // the page that the drawer lies on
let back = Promise.resolve(); // when the page has its own address again

// A link of a picture (SVG) has no text as its `href`.
const address = (link) => new URL(link.getAttribute("href"), new URL(below, location.href)).href;

async function load(url) {
  const answer = await fetch(url, { headers: { "X-Jetsched-Part": "1" } });
  if (answer.status === 401) {
    location.assign(url); // which leads to the login
    return false;
  }
  const text = await answer.text();
  if (answer.headers.get("Content-Type")?.startsWith("application/json")) {
    const { error, hint } = JSON.parse(text); // a page that could not be made
    throw new Error([error, hint].filter(Boolean).join(" – "));
  }
  const template = document.createElement("template");
  template.innerHTML = text; // a block of the server's template, which escapes
  content.replaceChildren(template.content);
  const heading = content.querySelector("h1,h2")?.textContent.trim().replace(/\s+/g, " ");
  if (heading) drawer.setAttribute("aria-label", heading);
  drawer.dataset.url = url;
  watch();
  document.dispatchEvent(new CustomEvent("jetsched:drawer", { detail: { url, content } }));
  return true;
}

async function open(url, from) {
  try {
    if (!(await load(url))) return;
  } catch (error) {
    return tell(error.message, "bad");
  }
  await back;
  if (place() === below) history.pushState({ drawer: url }, "", url);
  else history.replaceState({ drawer: url }, "", url); // one step back, however far one went in it
  document.title = `${drawer.getAttribute("aria-label")} \u00b7 jetsched`;
  if (drawer.open) return;
  opener = from;
  drawer.showModal();
}

// Back and Forward. Where the page was loaded anew with the drawer's address, it is that page now,
// and what was below has to be loaded.
addEventListener("popstate", () => {
  if (place() === below) drawer.close();
  else if (history.state?.drawer) open(history.state.drawer, opener);
  else location.reload();
});

// Takes the drawer's address away. What opens next waits for that.
function goBack() {
  back = new Promise((done) => {
    addEventListener("popstate", done, { once: true });
    setTimeout(done, 1000);
  });
  history.back();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-drawer]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  open(address(link), link.id || address(link));
});

drawer.addEventListener("click", (event) => {
  if (event.target === drawer) drawer.close(); // beside it
});

drawer.addEventListener("close", () => {
  if (place() !== below) goBack();
  document.title = title;
  content.replaceChildren();
  watch();
  document.dispatchEvent(new CustomEvent("jetsched:drawer-closed"));
  // The row that it was opened from may have been drawn anew.
  const links = [...document.querySelectorAll("a[data-drawer]")];
  const link = document.getElementById(opener) ?? links.find((link) => address(link) === opener);
  (link ?? document.getElementById("content")).focus(); // a job that has ended may have left the list
});
