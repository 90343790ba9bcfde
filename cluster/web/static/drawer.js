// Links with data-drawer open beside the page, in a dialog; without this script they are pages.
import { tell } from "./actions.js";
import { watch } from "./live.js";

const drawer = document.getElementById("drawer");
const content = document.getElementById("drawer-content");
let opener = null;

// A link of a picture (SVG) has no text as its `href`.
const address = (link) => new URL(link.getAttribute("href"), location.href).href;

export async function load(url) {
  const answer = await fetch(url, { headers: { "X-Jetsched-Part": "1" } });
  if (answer.status === 401) return location.assign(url);
  const text = await answer.text();
  if (answer.headers.get("Content-Type")?.startsWith("application/json")) {
    const { error, hint } = JSON.parse(text); // a page that could not be made
    throw new Error([error, hint].filter(Boolean).join(" – "));
  }
  const template = document.createElement("template");
  template.innerHTML = text; // a block of the server's template, which escapes
  content.replaceChildren(template.content);
  const title = content.querySelector("h1,h2");
  if (title) drawer.setAttribute("aria-label", title.textContent.trim());
  drawer.dataset.url = url;
  watch();
  document.dispatchEvent(new CustomEvent("jetsched:drawer", { detail: { url, content } }));
}

async function open(link) {
  try {
    await load(address(link));
  } catch (error) {
    return tell(error.message, "bad");
  }
  if (drawer.open) return;
  opener = link.id || address(link);
  drawer.showModal();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-drawer]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  open(link);
});

drawer.addEventListener("click", (event) => {
  if (event.target === drawer) drawer.close(); // beside it
});

drawer.addEventListener("close", () => {
  content.replaceChildren();
  watch();
  document.dispatchEvent(new CustomEvent("jetsched:drawer-closed"));
  // The row that it was opened from may have been drawn anew.
  const links = [...document.querySelectorAll("a[data-drawer]")];
  const back = document.getElementById(opener) ?? links.find((link) => address(link) === opener);
  (back ?? document.getElementById("content")).focus(); // a job that has ended may have left the list
});
