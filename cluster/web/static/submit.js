// Job files become drafts; drafts are checked and planned by the server; then they are sent.
import { call, tell } from "./actions.js";
import { addDraft, drafts, fromFiles, jump, values } from "./drafts.js";
import { watch } from "./live.js";

const looked = document.getElementById("looked");
const words = document.getElementById("looked-words");
const sending = document.getElementById("sending");
const send = document.getElementById("send");
const hold = document.getElementById("hold");
const sent = document.getElementById("sent");
const form = document.getElementById("submit-form");
const ids = []; // of all jobs that this page has sent
let key = ""; // of the submission: asked again, it submits nothing again
let turn = 0; // another one after each change and each check: an answer to an older one is void
let latest = 0; // the turn of the last check

// randomUUID is there on secure origins only, and a head may be spoken to without TLS.
function fresh() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function insert(place, html) {
  const template = document.createElement("template");
  template.innerHTML = html; // drawn by the server's templates, which escape
  place.replaceChildren(template.content);
}

// What was found holds for what was there then.
function outdate() {
  turn += 1;
  sending.hidden = true;
  looked.classList.add("stale");
}

async function look() {
  const button = document.getElementById("check");
  const mine = (latest = turn += 1);
  button.disabled = true;
  try {
    const found = await call("POST", "/ui/submit/look", { drafts: values() });
    if (mine !== turn) {
      if (mine === latest) tell("it was changed while it was checked: check it again", "bad");
      return;
    }
    insert(looked, found.html);
    words.textContent = looked.querySelector("h2").textContent; // read out: the tables are too long for that
    looked.classList.remove("stale");
    key = fresh();
    sending.hidden = found.jobs === 0;
    send.textContent = `Submit ${found.jobs} job${found.jobs === 1 ? "" : "s"}`;
    document.getElementById("hold-choice").hidden = found.hopeless === 0;
    hold.checked = false;
    (found.jobs ? send : looked.querySelector("a") ?? looked).focus();
  } catch (error) {
    if (mine !== turn) return;
    outdate();
    tell(error.message, "bad");
  } finally {
    if (mine === latest) button.disabled = false;
  }
}

async function submit() {
  const user = document.getElementById("as-user").value.trim();
  const jobs = values().map(({ file, text }) => ({ file, text }));
  send.disabled = form.inert = true; // what is written meanwhile would be lost
  try {
    const rows = await call("POST", "/jobs", { jobs, user, hold: hold.checked, key });
    ids.unshift(...rows.map((row) => row.id));
    tell(rows.length === 1 ? `job ${rows[0].id} was submitted` : `${rows.length} jobs were submitted`);
    looked.replaceChildren();
    sending.hidden = true;
    drafts().forEach((draft) => draft.remove());
    addDraft();
    await show();
  } catch (error) {
    tell(error.message, "bad");
    if (error.answer?.problems) await look(); // the cluster has changed since
  } finally {
    send.disabled = form.inert = false;
  }
}

// What was sent goes on before one's eyes, the last hundred of it.
async function show() {
  const answer = await fetch(`/ui/submit/sent?ids=${encodeURIComponent(ids.slice(0, 100).join(","))}`);
  if (!answer.ok) return;
  insert(sent, await answer.text());
  watch();
  sent.querySelector("a")?.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  look();
});
form.addEventListener("input", (event) => {
  if (event.target.closest(".draft")) outdate();
});
document.getElementById("drafts").addEventListener("click", (event) => {
  const button = event.target.closest(".draft-remove");
  if (!button) return;
  button.closest(".draft").remove();
  if (!drafts().length) addDraft();
  drafts().at(-1).querySelector("textarea").focus();
  outdate();
});
send.addEventListener("click", submit);
looked.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-line]");
  if (!link) return;
  event.preventDefault();
  jump(link.dataset);
});
document.getElementById("add-draft").addEventListener("click", () => addDraft().querySelector("textarea").focus());
document.getElementById("examples").addEventListener("change", (event) => {
  const chosen = document.querySelectorAll("template.example")[event.target.value];
  if (event.target.value === "") return;
  addDraft(chosen.dataset.name, chosen.content.textContent).querySelector("textarea").focus();
  event.target.value = "";
  outdate();
});

async function take(files) {
  if (form.inert) return tell("jobs are being sent: drop it again then", "bad");
  const count = await fromFiles(files);
  if (!count) return;
  outdate();
  await look();
}

document.getElementById("draft-files").addEventListener("change", async (event) => {
  await take(event.target.files);
  event.target.value = "";
});

const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault(); // or the browser opens the file
    document.body.classList.add("dropping");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  document.body.classList.remove("dropping");
  if (!hasFiles(event)) return;
  event.preventDefault();
  take(event.dataTransfer.files);
});

addDraft();
