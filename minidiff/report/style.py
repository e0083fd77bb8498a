"""How a report looks: one style sheet, for light and dark screens, for narrow ones and for paper."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #fbfbf9; --card: #ffffff; --ink: #1c2430; --soft: #5b6675; --line: #e2e5e9; --accent: #1f5fb4; --bar: #d5e3f6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171c; --card: #1c2027; --ink: #e5e8ed; --soft: #9aa5b4; --line: #2e343e; --accent: #82b1f2; --bar: #27405f;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 17px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial, sans-serif;
}
main { max-width: 72rem; margin: 0 auto; padding: 3.5rem 1.5rem 5rem; }
h1 { font-size: 2.3rem; line-height: 1.15; letter-spacing: -0.02em; margin: 0 0 0.6rem; text-wrap: balance; }
h2 { font-size: 1.35rem; letter-spacing: -0.01em; margin: 3.6rem 0 0.5rem; }
p { max-width: 44rem; margin: 0 0 1rem; }
.lead { font-size: 1.15rem; color: var(--soft); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: 1rem; margin: 2rem 0 0; padding: 0; }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: 0.7rem; padding: 1rem 1.2rem; }
.figures dd { margin: 0; font-size: 1.65rem; line-height: 1.2; font-weight: 600; letter-spacing: -0.02em; white-space: nowrap; }
.figures dt { color: var(--soft); font-size: 0.9rem; line-height: 1.35; margin-top: 0.25rem; }
.figures div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
figure { margin: 1.2rem 0 0; }
figure img {
  display: block; max-width: 100%; height: auto; background: #ffffff;
  border: 1px solid var(--line); border-radius: 0.7rem;
}
figcaption { color: var(--soft); font-size: 0.92rem; line-height: 1.5; margin-top: 0.6rem; max-width: 44rem; }
@media (prefers-color-scheme: dark) { figure img { filter: brightness(0.93); } }
.scroll { overflow-x: auto; margin: 1.2rem 0 0; }
table { border-collapse: collapse; font-size: 0.95rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 0.4rem 1.6rem 0.4rem 0.6rem; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 500; vertical-align: bottom; white-space: nowrap; }
tbody th { font-weight: 500; white-space: nowrap; }
td.share {
  min-width: 11rem;
  background: linear-gradient(to right, var(--bar) var(--share), transparent var(--share)) no-repeat 0 50% / calc(100% - 1rem) 72%;
}
tfoot th, tfoot td { border-bottom: 0; border-top: 2px solid var(--line); font-weight: 600; }
code, pre { font-family: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 0.88em; }
pre {
  background: var(--card); border: 1px solid var(--line); border-radius: 0.7rem;
  padding: 0.9rem 1.2rem; margin: 0.8rem 0 1.4rem; overflow-x: auto;
}
footer { margin-top: 4rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft); font-size: 0.9rem; }
@media (max-width: 40rem) { main { padding: 2rem 1rem 3rem; } h1 { font-size: 1.8rem; } }
@media print { body { background: #ffffff; } figure, tr { break-inside: avoid; } }
"""
