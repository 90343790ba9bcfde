// Asks the question of the form; how it goes comes by the live stream.
import { call, tell } from "./actions.js";

const form = document.getElementById("whatif-form");

// A queue has no span: what does not count cannot be chosen.
function fit() {
  form.span.disabled = form.of.value === "queue";
}

async function ask() {
  const count = Number(form.count.value);
  const boards = count ? `${form.like.value}:${count}` : "";
  await call("POST", "/whatif", {
    of: form.of.value,
    span: form.span.value,
    policy: form.policy.value,
    boards,
  });
}

form.addEventListener("change", fit);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await ask();
    tell("It is being worked out.");
  } catch (error) {
    tell(error.message, "bad");
  } finally {
    button.disabled = false;
  }
});
fit();
