// The drafts of the form: a name and a text each, pasted, or read from a file of this machine.
import { tell } from "./actions.js";

const LARGEST = 256 * 1024; // of a job file; the server says the same of what is larger
const place = document.getElementById("drafts");
const template = document.getElementById("draft-template");
let made = 0;

export function drafts() {
  return [...place.querySelectorAll(".draft")];
}

// A draft; one that is still empty is used first.
export function addDraft(name = "", text = "") {
  const empty = drafts().find((draft) => !draft.querySelector("textarea").value && !draft.bytes);
  const draft = text && empty ? empty : template.content.cloneNode(true).firstElementChild;
  made += 1;
  draft.id = `draft-${made}`;
  draft.querySelector(".draft-name").value = name || `job${drafts().length ? `-${drafts().length + 1}` : ""}.yaml`;
  draft.querySelector("textarea").value = text;
  if (draft !== empty) place.append(draft);
  return draft;
}

function base64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return btoa(text);
}

// As they go to the server: their texts, or the bytes of a file that is no text.
export function values() {
  const named = (draft) => draft.querySelector(".draft-name").value;
  return drafts().map((draft) =>
    draft.bytes
      ? { file: named(draft), base64: base64(draft.bytes) }
      : { file: named(draft), text: draft.querySelector("textarea").value },
  );
}

// Reads files into drafts; returns how many.
export async function fromFiles(files) {
  let count = 0;
  for (const file of files) {
    if (file.size > LARGEST) {
      tell(`${file.name} is larger than 256 KiB: is it a job file?`, "bad");
      continue;
    }
    let bytes;
    try {
      bytes = new Uint8Array(await file.arrayBuffer());
    } catch {
      tell(`${file.name} cannot be read: is it a folder?`, "bad");
      continue;
    }
    count += 1;
    try {
      addDraft(file.name, new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    } catch {
      const draft = addDraft(file.name, "?");
      draft.bytes = bytes;
      draft.querySelector("textarea").value = "";
      draft.querySelector("textarea").hidden = true;
      draft.querySelector(".draft-odd").hidden = false;
    }
  }
  return count;
}

// Puts the caret where a problem is; lines and columns count from 1, a column is a character.
export function jump({ draft, line, column }) {
  const area = drafts()[Number(draft)]?.querySelector("textarea");
  if (!area || area.hidden) return;
  const lines = area.value.split(/\r\n|[\n\r\u0085\u2028\u2029]/u);
  let at = 0;
  for (const before of lines.slice(0, Number(line) - 1)) at += before.length + 1;
  const within = [...(lines[Number(line) - 1] ?? "")];
  at += within.slice(0, Number(column) - 1).join("").length;
  const word = /^[\w.-]+/u.exec(area.value.slice(at))?.[0].length ?? 1;
  area.focus();
  area.setSelectionRange(at, Math.min(at + word, area.value.length));
  area.scrollTop = (area.scrollHeight / Math.max(lines.length, 1)) * Math.max(Number(line) - 4, 0);
}
