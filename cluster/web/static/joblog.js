// Follows what a job writes: an element with data-log names the stream, data-place where to go on.
// The server has drawn what came before that place; data-over: nothing will come behind it.

const MOST = 400000; // characters that stay in the page
const MOST_OF_LINE = 50000; // a bar of progress may never end its line
const CUT = "\u2026 ";
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]+[0-~]|[@-Z\\-_])/g;
const CONTROLS = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g;

// The same as on the server: what only a terminal understands is left out, and of a line that was
// written over, what stands last stays.
function plain(text) {
  const clean = text.replace(ESCAPES, "").replaceAll("\r\n", "\n").replace(CONTROLS, "");
  return clean.split("\n").map((line) => line.replace(/\r+$/, "").split("\r").pop()).join("\n");
}

class Follower {
  constructor(element) {
    this.element = element;
    this.source = null;
    const text = element.textContent;
    const cut = text.lastIndexOf("\n") + 1;
    this.lines = document.createTextNode(text.slice(0, cut));
    this.rest = text.slice(cut); // a line that is not whole yet, as it came
    this.last = document.createTextNode(this.rest);
    element.replaceChildren(this.lines, this.last);
    element.scrollTop = element.scrollHeight;
    this.attempt = element.dataset.place.split("-")[0];
  }

  open() {
    if (this.source) return;
    const url = new URL(this.element.dataset.log, location.href);
    if (this.element.dataset.place) url.searchParams.set("begin", this.element.dataset.place);
    this.source = new EventSource(url);
    this.source.addEventListener("log", (event) => this.take(event));
    this.source.addEventListener("end", () => this.end("That is all of it."));
    this.source.addEventListener("error", (event) => {
      if (event.data) this.end(JSON.parse(event.data).error); // said by the head; else the line is cut
      else if (this.source?.readyState === EventSource.CLOSED) {
        this.close();
        setTimeout(() => this.element.isConnected && !document.hidden && this.open(), 2000);
      }
    });
  }

  take(event) {
    const data = JSON.parse(event.data);
    this.element.dataset.place = event.lastEventId;
    const box = this.element;
    if (box.hidden) {
      box.hidden = false; // its first words
      document.getElementById("job-log-state")?.replaceChildren();
    }
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
    let text = this.rest + data.text;
    if (String(data.attempt) !== this.attempt) {
      if (this.attempt) text = `${this.rest}\n— attempt ${data.attempt} —\n${data.text}`;
      this.attempt = String(data.attempt);
    }
    const cut = text.lastIndexOf("\n") + 1;
    this.lines.appendData(plain(text.slice(0, cut)));
    this.rest = text.slice(cut);
    if (this.rest.length > MOST_OF_LINE) this.rest = CUT + this.rest.slice(-MOST_OF_LINE / 2);
    this.last.data = plain(this.rest);
    if (this.lines.length > MOST) this.lines.data = this.lines.data.slice(-MOST / 2).replace(/^[^\n]*\n/, "");
    if (atEnd) box.scrollTop = box.scrollHeight;
  }

  end(text) {
    this.close();
    this.element.dataset.over = "";
    const state = document.getElementById("job-log-state");
    if (state) state.textContent = this.lines.length + this.rest.length ? text : "It wrote nothing.";
  }

  close() {
    this.source?.close();
    this.source = null;
  }
}

const followers = new Map();

// A browser has six connections to the head for all its tabs: one that nobody sees holds none.
function follow() {
  for (const [element, follower] of followers) {
    if (document.hidden || !element.isConnected) follower.close();
    if (!element.isConnected) followers.delete(element);
  }
  if (document.hidden) return;
  for (const element of document.querySelectorAll("[data-log]:not([data-over])")) {
    if (!followers.has(element)) followers.set(element, new Follower(element));
    followers.get(element).open();
  }
}

// Tried again, a job writes again.
document.addEventListener("jetsched:acted", (event) => {
  if (!event.detail.path.endsWith("/retry")) return;
  for (const element of document.querySelectorAll("[data-log][data-over]")) delete element.dataset.over;
  document.getElementById("job-log-state")?.replaceChildren();
  follow();
});

for (const name of ["visibilitychange", "jetsched:drawer", "jetsched:drawer-closed"]) document.addEventListener(name, follow);
addEventListener("pagehide", () => followers.forEach((follower) => follower.close()));
addEventListener("pageshow", follow);
follow();
