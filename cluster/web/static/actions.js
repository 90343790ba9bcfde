// Buttons that do something: data-post is a path of the API, data-body its JSON.

const told = document.getElementById("told");
const ask = document.getElementById("ask");

export function tell(text, kind = "good") {
  place();
  const line = document.createElement("p");
  line.className = kind;
  line.textContent = `${kind === "bad" ? "✗" : "✓"} ${text}`;
  told.replaceChildren(line);
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => line.remove(), kind === "bad" ? 20000 : 5000);
}

// What lies under an open dialog is neither seen nor read out.
function place() {
  (document.querySelector("dialog[open]:not(#ask)") ?? document.body).append(told);
}
document.addEventListener("close", (event) => event.target.contains(told) && document.body.append(told), true);

// Whether a person wants it done. The buttons name the act, so that nobody has to read the question
// to know what they do. Esc is a no.
export function confirmed(text, yes, no = "Keep it") {
  return new Promise((resolve) => {
    document.getElementById("ask-text").textContent = text;
    ask.querySelector("[value=yes]").textContent = yes;
    ask.querySelector("[value=no]").textContent = no;
    ask.returnValue = "no";
    ask.addEventListener("close", () => resolve(ask.returnValue === "yes"), { once: true });
    ask.showModal();
  });
}

// A request to the API; throws an Error with the server's own words, and its answer as `answer`.
export async function call(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: { "Content-Type": "application/json", "X-Jetsched-Page": "1" },
    body: body === undefined ? undefined : JSON.stringify(body),
  }).catch(() => {
    throw new Error("the head does not answer: is it up?");
  });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const error = new Error([found.error ?? `the head said ${answer.status}`, found.hint].filter(Boolean).join(" – "));
    error.answer = found;
    throw error;
  }
  return found;
}

async function act(button) {
  const { confirm, yes = button.textContent.trim(), no } = button.dataset;
  if (confirm && !(await confirmed(confirm, yes, no))) return;
  button.disabled = true;
  try {
    const body = button.dataset.body ? JSON.parse(button.dataset.body) : undefined;
    const found = await call(button.dataset.method ?? "POST", button.dataset.post, body);
    tell(button.dataset.done ?? `${button.textContent.trim()}: done`);
    if (found.next) location.assign(found.next);
    document.dispatchEvent(new CustomEvent("jetsched:acted", { detail: { path: button.dataset.post, found } }));
  } catch (error) {
    tell(error.message, "bad");
  } finally {
    button.disabled = false;
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-post]");
  if (button) act(button);
});
