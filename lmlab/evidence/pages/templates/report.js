// Draws the figures in the page's own colours, and opens a record when a number links to it.
"use strict";

const plots = JSON.parse(document.getElementById("plots").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(own) {
  return {
    automargin: true, gridcolor: colour("--line"), linecolor: colour("--line"), zeroline: false,
    tickfont: { color: colour("--quiet") }, ...own,
    title: { ...own.title, standoff: 10, font: { color: colour("--quiet"), size: 12 } },
  };
}

function layout(own) {
  return {
    margin: { l: 8, r: 12, t: 8, b: 8 }, height: 280, hovermode: "x unified",
    ...own, xaxis: axis(own.xaxis), yaxis: axis(own.yaxis),
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: colour("--sans"), size: 12, color: colour("--ink") },
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line") },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
  };
}

function painted(trace) {
  if (trace.type === "heatmap") {
    const quiet = { color: colour("--quiet"), size: 11 };
    const bar = { ...trace.colorbar, tickfont: quiet, outlinewidth: 0 };
    return { ...trace, colorbar: { ...bar, title: { ...bar.title, font: quiet } } };
  }
  const own = colour(`--c${1 + (trace.meta.colour % 8)}`);
  if (trace.meta.edge) {
    return { ...trace, line: { width: 0, color: own }, fillcolor: `${own}2e` };
  }
  return { ...trace, line: { width: 1.8, color: own }, marker: { ...trace.marker, size: 6, color: own } };
}

function draw() {
  for (const place of document.querySelectorAll("[data-figure]")) {
    const plot = plots[place.dataset.figure];
    Plotly.react(place, plot.data.map(painted), layout(plot.layout), { responsive: true, displayModeBar: false });
  }
}

// A link to a record leads into whatever is folded around it.
function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target) return;
  for (let place = target; place; place = place.parentElement) {
    if (place instanceof HTMLDetailsElement) place.open = true;
  }
  target.scrollIntoView();
}

draw();
dark.addEventListener("change", draw);
openTarget();
window.addEventListener("hashchange", openTarget);
