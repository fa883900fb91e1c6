// Filters and sorts the table of runs. The page is whole without it.
"use strict";

const filters = document.getElementById("filters");
const rows = [...document.querySelectorAll("tbody tr")];
const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

function filter() {
  const [text, study, state] = ["text", "study", "state"].map((id) => document.getElementById(id).value);
  const wanted = text.toLowerCase().split(/\s+/);
  for (const row of rows) {
    const chosen = (!study || row.dataset.study === study) && (!state || row.dataset.state === state);
    row.hidden = !(chosen && wanted.every((word) => words.get(row).includes(word)));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  const all = `${rows.length} ${rows.length === 1 ? "run" : "runs"}`;
  document.getElementById("count").textContent = shown === rows.length ? all : `${shown} of ${all}`;
}

function value(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
}

function sort(header) {
  const column = header.cellIndex;
  const turn = header.ariaSort === "ascending" ? -1 : 1;
  for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
  header.ariaSort = turn === 1 ? "ascending" : "descending";
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
  rows.sort((a, b) => turn * compare(value(a, column), value(b, column)));
  document.querySelector("tbody").append(...rows);
}

for (const header of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...header.childNodes);
  button.addEventListener("click", () => sort(header));
  header.append(button);
}
filters.hidden = false;
filters.addEventListener("input", filter);
filters.addEventListener("submit", (event) => event.preventDefault());
filter();
