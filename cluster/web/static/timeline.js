// Moves what moves with the clock, says what a bar is, and lets arrow keys go from bar to bar.
import { now } from "./time.js";

const words = document.getElementById("bar-words");
const usual = words?.textContent;

// The present moment: a line across all lanes, and the bars of what runs grow with it.
function move() {
  const axis = document.getElementById("timeline-axis");
  if (!axis || document.hidden) return;
  const from = Number(axis.dataset.from);
  const to = Number(axis.dataset.to);
  const place = (at) => (100 * Math.min(Math.max(at - from, 0), to - from)) / (to - from);
  const x = place(now());
  const line = axis.querySelector(".now");
  line.setAttribute("x1", `${x}%`);
  line.setAttribute("x2", `${x}%`);
  line.setAttribute("visibility", now() < from || now() > to ? "hidden" : "visible");
  for (const bar of document.querySelectorAll(".so-far[data-from]")) {
    const start = place(Number(bar.dataset.from));
    const width = `${Math.max(x - start, 0)}%`;
    bar.setAttribute("width", width);
    // What takes longer than estimated reaches beyond its own bar, and is to be pointed at there.
    for (const whole of bar.parentElement.querySelectorAll(".tbar, .ring")) {
      if (parseFloat(whole.getAttribute("width")) < parseFloat(width)) whole.setAttribute("width", width);
    }
  }
}

function say(event) {
  if (!words) return;
  const link = event.type === "pointerout" || event.type === "focusout" ? null : event.target.closest?.(".lane-bars a");
  words.textContent = link ? link.getAttribute("aria-label") : usual;
}

function step(event) {
  const link = event.target.closest?.(".lane-bars a");
  if (!link) return;
  const all = [...link.parentElement.querySelectorAll(":scope > a")];
  const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -all.length, End: all.length };
  if (!(event.key in steps)) return;
  event.preventDefault();
  const place = Math.min(Math.max(all.indexOf(link) + steps[event.key], 0), all.length - 1);
  link.setAttribute("tabindex", "-1");
  all[place].setAttribute("tabindex", "0");
  all[place].focus();
}

for (const kind of ["pointerover", "pointerout", "focusin", "focusout"]) document.addEventListener(kind, say);
document.addEventListener("keydown", step);
document.addEventListener("jetsched:parts", move);
document.addEventListener("visibilitychange", move);
setInterval(move, 1000);
move();
