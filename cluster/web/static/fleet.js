// A board is drained with a reason: without this script the button drains it without one.
import { call, tell } from "./actions.js";

function show() {
  for (const form of document.querySelectorAll("form.drain[hidden]")) form.hidden = false;
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form.drain");
  if (!form) return;
  event.preventDefault();
  const id = form.dataset.device;
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await call("POST", `/devices/${encodeURIComponent(id)}/drain`, { text: form.elements.text.value });
    form.reset();
    tell(`${id} gets no new jobs`);
  } catch (error) {
    tell(error.message, "bad");
  } finally {
    button.disabled = false;
  }
});

document.addEventListener("jetsched:drawer", show);
show();
