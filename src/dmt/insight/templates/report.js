// What report.html does beyond standing there: theme, copying, reading values off a chart,
// laying masks over images, printing.
"use strict";
(() => {
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const name = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`); };
  // a page opened from a file may have no storage; the choice then lasts as long as the page
  try { const kept = localStorage.getItem("dmt-theme"); if (kept === "dark" || kept === "light") root.dataset.theme = kept; } catch {}
  theme.hidden = false;
  name();
  system.addEventListener("change", name);
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("dmt-theme", root.dataset.theme); } catch {}
    name();
  });

  const copy = document.getElementById("copy");
  if (copy) copy.hidden = false;
  copy?.addEventListener("click", async () => {
    const command = document.getElementById("command");
    try { await navigator.clipboard.writeText(command.textContent); copy.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(command); copy.textContent = "Selected"; }
    setTimeout(() => { copy.textContent = "Copy"; }, 1600);
  });

  const short = (value) => {
    const size = Math.abs(value);
    if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)} M`;
    if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)} k`;
    return `${size && size < 1e-3 ? value.toExponential(1) : +value.toPrecision(3)}`.replace("-", "−");
  };
  for (const lines of document.querySelectorAll("svg.lines")) {
    const chart = lines.parentElement;
    const figure = chart.closest("figure");
    const legend = figure.querySelectorAll(".legend li");
    const { x0, x1, y0, y1 } = Object.fromEntries(Object.entries(lines.dataset).map(([k, v]) => [k, +v]));
    const height = lines.viewBox.baseVal.height;
    const series = [...lines.querySelectorAll("polyline")].map((line) => [...line.points].map((p) => [p.x, p.y]));
    const rule = document.createElementNS("http://www.w3.org/2000/svg", "line");
    rule.setAttribute("class", "rule");
    rule.setAttribute("y1", 0);
    rule.setAttribute("y2", height);
    const at = document.createElement("span");
    at.className = "at";
    figure.querySelector("figcaption").append(at);
    const clear = () => { rule.remove(); at.textContent = ""; legend.forEach((item) => { delete item.dataset.value; }); };
    chart.addEventListener("pointerleave", clear);
    chart.addEventListener("pointermove", (event) => {
      const box = lines.getBoundingClientRect();
      const x = Math.min(1000, Math.max(0, (1000 * (event.clientX - box.left)) / box.width));
      rule.setAttribute("x1", `${x / 10}%`);
      rule.setAttribute("x2", `${x / 10}%`);
      chart.append(rule);
      at.textContent = `at ${short(x0 + (x * (x1 - x0)) / 1000)}`;
      series.forEach((points, i) => {
        const near = points.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a));
        if (legend[i]) legend[i].dataset.value = short(y0 + (1 - near[1] / height) * (y1 - y0));
      });
    });
  }

  const strength = document.getElementById("strength");
  if (strength) {
    const mix = () => { strength.closest("section").style.setProperty("--mix", strength.value / 100); };
    strength.parentElement.hidden = false;
    strength.addEventListener("input", mix);
    mix();
  }

  for (const image of document.querySelectorAll(".stack img:first-child")) {
    const look = () => { if (image.naturalWidth && image.naturalWidth <= 64) image.classList.add("small"); };
    if (image.complete) look(); else image.addEventListener("load", look);
  }

  let opened = [];
  addEventListener("beforeprint", () => { opened = [...document.querySelectorAll("details.settings:not([open])")]; opened.forEach((d) => { d.open = true; }); });
  addEventListener("afterprint", () => { opened.forEach((d) => { d.open = false; }); });
})();
