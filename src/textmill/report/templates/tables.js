"use strict";
// Tables that a click or the keyboard sorts, with a box that filters their rows.
(function () {
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

  function value(row, column) {
    const cell = row.cells[column];
    return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent.trim();
  }

  function compare(first, second) {
    const numbers = typeof first === "number" && typeof second === "number";
    return numbers ? first - second : collator.compare(String(first), String(second));
  }

  // Rows without a value come last in either direction.
  function sort(body, column, direction) {
    const rows = Array.from(body.rows, (row) => ({ row, key: value(row, column) }));
    const empty = (entry) => entry.key === "" || Number.isNaN(entry.key);
    rows.sort((first, second) => {
      if (empty(first) || empty(second)) return empty(first) - empty(second);
      return direction * compare(first.key, second.key);
    });
    body.append(...rows.map((entry) => entry.row));
  }

  function makeSortable(table) {
    const headers = Array.from(table.tHead.rows[0].cells);
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const ascending = header.getAttribute("aria-sort") !== "ascending";
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        sort(table.tBodies[0], column, ascending ? 1 : -1);
      });
    });
  }

  function makeFilterable(table) {
    const rows = Array.from(table.tBodies[0].rows);
    if (rows.length < 6) return;
    const label = document.createElement("label");
    const input = document.createElement("input");
    const output = document.createElement("output");
    input.type = "search";
    label.append("Filter ", input);
    const bar = document.createElement("div");
    bar.className = "filter";
    bar.append(label, output);
    table.closest(".scroll").before(bar);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      output.value = words.length ? shown + " of " + rows.length + " rows" : "";
    });
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    makeSortable(table);
    makeFilterable(table);
  }
})();
