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
    ...own, xaxis: axis(own.xaxis), yaxis: axis(own.yaxis),
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: colour("--sans"), size: 12, color: colour("--ink") },
    colorway: ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6"].map(colour),
    margin: { l: 8, r: 12, t: 8, b: 8 }, height: 260, hovermode: "x unified",
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line") },
    legend: { x: 1, xanchor: "right", y: 1, bgcolor: "rgba(0,0,0,0)" },
  };
}

function draw() {
  for (const place of document.querySelectorAll("[data-figure]")) {
    const plot = plots[place.dataset.figure];
    const data = plot.data.map((trace) => ({ ...trace, line: { width: 1.8 }, marker: { size: 7 } }));
    Plotly.react(place, data, layout(plot.layout), { responsive: true, displayModeBar: false });
  }
}

function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

draw();
dark.addEventListener("change", draw);
openTarget();
window.addEventListener("hashchange", openTarget);
