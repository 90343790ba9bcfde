// Forms that do something with a reason (data-post is a path of the API): a board is drained, a job
// is held. Without this script the button beside them does it without one.
import { call, tell } from "./actions.js";

// A form is for what can be done now: data-beside selects the button that offers the same.
function show() {
  for (const form of document.querySelectorAll("form.because")) {
    form.hidden = !form.closest("[data-live]")?.querySelector(form.dataset.beside);
  }
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form.because");
  if (!form) return;
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await call("POST", form.dataset.post, { text: form.elements.text.value });
    form.reset();
    tell(form.dataset.done);
  } catch (error) {
    tell(error.message, "bad");
  } finally {
    button.disabled = false;
  }
});

document.addEventListener("jetsched:drawer", show);
document.addEventListener("jetsched:parts", show);
show();
