"""How the page of a comparison looks: on a screen, in the dark, on a phone, on paper."""

CSS = """
:root { color-scheme: light dark; --ink: #1c1c1c; --soft: #5a5a5a; --line: #d9d9d9;
  --paper: #ffffff; --shade: #f5f6f8; --good: #0b6e4f; --bad: #a3001b; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --soft: #a8a8a8; --line: #3d4148; --paper: #16181c; --shade: #1f2227;
    --good: #5fd3a6; --bad: #ff8090; }
  img { filter: invert(0.92) hue-rotate(180deg); } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem clamp(0.9rem, 3vw, 2.5rem) 3rem; max-width: 76rem;
  background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 0.4rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 0.5rem; border-top: 1px solid var(--line);
  padding-top: 1.1rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 0.3rem; }
p, ul { margin: 0.4rem 0; max-width: 50rem; }
ul { padding-left: 1.2rem; }
.soft, figcaption { color: var(--soft); font-size: 0.88rem; }
.bad { color: var(--bad); }
pre { background: var(--shade); padding: 0.6rem 0.8rem; border-radius: 4px; white-space: pre-wrap;
  font-size: 0.85rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.86rem;
  font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: 0.32rem 0.55rem; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: baseline; }
thead th { font-weight: 600; color: var(--soft); vertical-align: bottom; line-height: 1.2; }
th:first-child, td.words { text-align: left; }
tbody th { font-weight: 600; overflow-wrap: anywhere; min-width: 9.5em; }
td strong { color: var(--good); }
td small { color: var(--soft); display: block; white-space: nowrap; font-size: 0.8em; }
td span { white-space: nowrap; }
td.words span { white-space: normal; }
figure { margin: 1rem 0; }
img { display: block; width: 100%; height: auto; }
@media screen and (max-width: 640px) {
  thead { display: none; }
  table, tbody, tr, th, td { display: block; }
  tr { border: 1px solid var(--line); border-radius: 6px; margin: 0.6rem 0;
    padding: 0.4rem 0.7rem; }
  tbody th { border: 0; padding: 0.1rem 0 0.2rem; font-size: 1rem; }
  td, td.words { display: flex; justify-content: space-between; gap: 1rem; border: 0;
    padding: 0.08rem 0; text-align: right; }
  td::before { content: attr(data-label); color: var(--soft); text-align: left; }
  td:empty { display: none; }
  td small { display: inline; margin-left: 0.4em; } }
@media print {
  body { font-size: 10pt; max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; } tr, figure { break-inside: avoid; }
  table { font-size: 7.5pt; } th, td { padding: 1.5pt 3pt; }
  img { max-height: 22cm; object-fit: contain; object-position: left top; } }
@page { margin: 14mm; }
"""
