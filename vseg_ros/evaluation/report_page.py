"""The page of the report: its skeleton, the frame of a section, and its style; no content."""

from __future__ import annotations

from string import Template

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f6f4; --card: #ffffff; --ink: #16181d; --soft: #5b606b; --line: #e2e3e0;
  --shade: #e9eaf0; --good: #0a7a33; --bad: #c02929;
  --series-1: #2a78d6; --series-2: #eb6834; --series-3: #1baf7a; --series-4: #c98500;
  --series-5: #d55181; --series-6: #008300; --series-7: #4a3aa7; --series-8: #e34948;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #121316; --card: #1b1d21; --ink: #eceef2; --soft: #a3a9b5; --line: #33363d;
    --shade: #2a2d36; --good: #4fc878; --bad: #ff7b72;
    --series-1: #4c95ee; --series-2: #ec7443; --series-3: #24b583; --series-4: #d69a1e;
    --series-5: #e26a96; --series-6: #3fa34d; --series-7: #9085e9; --series-8: #e66767;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 8px 0 16px; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 40px 0 12px; }
h3 { font-size: 1.05rem; margin: 0 0 4px; }
p.note { color: var(--soft); margin: 0 0 14px; font-size: 0.9rem; max-width: 96ch; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 18px 20px; margin: 0 0 16px;
}
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0 0 24px; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
code { font: 0.88em ui-monospace, 'DejaVu Sans Mono', monospace; }
.scroll { overflow-x: auto; }
.scroll + .note { margin-top: 14px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td {
  text-align: right; padding: 8px 0 8px 20px; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap;
}
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr:last-child > * { border-bottom: 0; }
thead th { color: var(--soft); font-weight: 500; font-size: 0.88rem; }
td.best { font-weight: 700; }
td.best small { font-weight: 400; }
table.ratios tbody th { text-align: left; font-weight: 600; border-bottom: 0; }
table.ratios tbody + tbody { border-top: 1px solid var(--line); }
table.ratios .name, table.ratios th:nth-child(2) {
  text-align: left; white-space: normal; padding-left: 20px;
}
tr.run th { text-align: left; padding-top: 18px; font-weight: 600; }
a { color: inherit; }
td small { display: block; font-size: 0.8rem; color: var(--soft); }
td small.good { color: var(--good); }
td small.bad { color: var(--bad); }
.swatch, .legend i {
  display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 8px;
  box-shadow: inset 0 0 0 1px rgb(128 128 128 / 55%); flex: none;
}
.legend {
  list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 12px; padding: 0;
  font-size: 0.9rem;
}
.legend li { display: flex; align-items: center; }
.classes { display: grid; grid-template-columns: max-content 1fr; gap: 0 16px; }
.classes > div { padding: 6px 0; border-top: 1px solid var(--line); }
.classes > .name { display: flex; align-items: center; }
.classes > div:nth-child(-n + 2) { border-top: 0; }
.bar { display: block; width: 100%; height: 14px; margin: 2px 0; overflow: visible; }
.bar text { fill: var(--ink); font-size: 12px; }
.plot { position: relative; padding: 10px 12px 44px 54px; }
.plot svg { display: block; width: 100%; height: 220px; overflow: visible; }
.plot line { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; }
.plot rect { fill: var(--shade); }
.plot polyline {
  fill: none; stroke-width: 1.75; stroke-linejoin: round; stroke-linecap: round;
  vector-effect: non-scaling-stroke;
}
.ticks-y, .ticks-x { position: absolute; color: var(--soft); font-size: 12px; }
.ticks-y { top: 10px; bottom: 44px; left: 0; width: 46px; }
.ticks-y span { position: absolute; right: 0; transform: translateY(50%); white-space: nowrap; }
.ticks-x { left: 54px; right: 12px; bottom: 24px; height: 16px; }
.ticks-x span { position: absolute; transform: translateX(-50%); }
.axis {
  position: absolute; left: 54px; right: 12px; bottom: 4px; text-align: center;
  color: var(--soft); font-size: 12px;
}
.small { display: grid; gap: 20px; }
.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); }
.small .plot svg { height: 130px; }
.frame { border-top: 1px solid var(--line); padding-top: 14px; margin-top: 14px; }
.frame > div { display: grid; gap: 14px; }
.frame > div { grid-template-columns: repeat(auto-fit, minmax(min(100%, 240px), 1fr)); }
figure { margin: 0 0 12px; }
figure img { display: block; width: 100%; height: auto; border-radius: 6px; }
figcaption { font-size: 0.84rem; color: var(--soft); padding-top: 4px; }
@media (max-width: 560px) {
  section { padding: 14px; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 8px; }
}
"""

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$content
</main>
</body>
</html>
""")


def section(title: str, note: str, body: str) -> str:
    """Frame one section."""
    return f'<section><h3>{title}</h3><p class="note">{note}</p>{body}</section>'
