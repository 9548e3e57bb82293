"""Pages as Chromium lays them out and colours them, measured without changing them."""

import html
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.programs import needs

_MEASURE = r"""
const channel = c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
const parts = text => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return { rgb: [r, g, b], a }; };
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const contrast = (one, other) => { const [a, b] = [luminance(one), luminance(other)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05); };

function measure(frame) {
  const view = frame.contentWindow, page = frame.contentDocument, root = page.documentElement;
  page.querySelectorAll('details').forEach(d => d.open = true);
  const style = e => view.getComputedStyle(e), box = e => e.getBoundingClientRect();
  const behind = e => { for (let at = e; at; at = at.parentElement) {
    const { rgb, a } = parts(style(at).backgroundColor); if (a === 1) return rgb; } return [255, 255, 255]; };
  const shown = e => { const b = box(e); return b.width > 0 && b.height > 0; };
  const texts = [], walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
    if (!text || !shown(element)) continue;
    const drawn = element.ownerSVGElement, color = parts(drawn ? style(element).fill : style(element).color);
    const scale = drawn ? element.getScreenCTM().a : 1;
    texts.push({ text: text.slice(0, 60), size: parseFloat(style(element).fontSize) * scale, alpha: color.a,
      contrast: contrast(color.rgb, behind(element)) });
  }
  const inside = (b, f) =>
    b.left >= f.left - 1 && b.right <= f.right + 1 && b.top >= f.top - 1 && b.bottom <= f.bottom + 1;
  const apart = (a, b) =>
    a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 3 || b.bottom <= a.top + 3;
  const charts = [...page.querySelectorAll('figure')].map(figure => {
    const edge = box(figure);
    const shapes = [...figure.querySelectorAll('path.line, rect.bar, .fill, line.limit, line.before')];
    const kind = e => e.matches('.fill') ? 'backgroundColor' : e.matches('rect') ? 'fill' : 'stroke';
    const color = e => parts(style(e)[kind(e)]);
    const labels = [...figure.querySelectorAll('text')].filter(shown);
    const axis = labels.filter(t => !t.classList.length || t.matches('.minor, .mark'));
    return { name: figure.querySelector('figcaption').textContent, width: edge.width, height: edge.height,
      shapes: shapes.length, weakest: Math.min(...shapes.map(s => contrast(color(s).rgb, behind(figure)))),
      drawn: shapes.every(s => s.getBoundingClientRect().width > 0 || s.matches('.limit, .before')),
      limits: [...figure.querySelectorAll('text.limit, text.before')].map(t => t.textContent),
      shapes_inside: shapes.every(s => inside(box(s), edge)), texts: labels.map(t => t.textContent),
      names: [...figure.querySelectorAll('.name, .count')].map(e => e.textContent),
      legend: [...figure.querySelectorAll('.legend span')].map(e => e.textContent),
      texts_inside: labels.every(t => inside(box(t), edge)),
      texts_apart: axis.every((a, i) => axis.slice(i + 1).every(b => apart(box(a), box(b)))),
      values: [...figure.querySelectorAll('.values b')].map(b => b.innerHTML) };
  });
  const sheet = page.createElement('style');
  const before = root.scrollWidth;
  sheet.textContent = '.values b { display: block !important; }';
  page.head.append(sheet);
  const values = [...page.querySelectorAll('.values b')].map(box);
  const values_inside = values.every(b => b.left >= 0 && b.right <= view.innerWidth);
  return { charts, texts, values_inside, fits: before <= view.innerWidth,
    fetched: view.performance.getEntriesByType('resource').length,
    dark: view.matchMedia('(prefers-color-scheme: dark)').matches };
}
addEventListener('load', () => {
  document.title = JSON.stringify([...document.querySelectorAll('iframe')].map(measure)); });
"""

WIDTHS = (400, 1600)


def chromium(directory: Path, *options: str) -> list[str]:
    """Return the command line of a headless Chromium that has its files in the directory."""
    return [
        needs("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={directory}", *options,
    ]  # fmt: skip


def look_at(pages: Mapping[str, str], directory: Path, *, dark: bool) -> dict[tuple[str, int], dict[str, Any]]:
    """Return what Chromium makes of each page at each of WIDTHS, by (name, width)."""
    keys = [(name, width) for name in pages for width in WIDTHS]
    frames = "".join(
        f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{html.escape(pages[name])}"></iframe>'
        for name, width in keys
    )
    file = directory / "frames.html"
    file.write_text(f"<!doctype html><meta charset=utf-8><title>-</title>{frames}<script>{_MEASURE}</script>")
    measured = json.loads(_title(file, directory, dark=dark))
    return dict(zip(keys, measured, strict=True))


def _title(file: Path, directory: Path, *, dark: bool) -> str:
    colors = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    argv = chromium(directory / "browser", colors, "--window-size=1700,1000", "--dump-dom", file.as_uri())
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title, done.stdout[:500]
    return html.unescape(title[1])
