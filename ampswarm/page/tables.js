/* On Locust's own page: lets the tables of our tabs be sorted, and the fleet's be downloaded.
 *
 * The page is React's, which writes new texts into the rows it has. Rows are only moved here, and moved again
 * when their texts change; headers only get attributes.
 */
"use strict";

(() => {
  const { csv } = document.currentScript.dataset;
  /** By the titles of a table, for it is made anew with each change of the tab: which column, and 1 or -1. */
  const chosen = new Map();

  const titles = table => [...(table.tHead?.rows[0]?.cells ?? [])].map(cell => cell.textContent);
  const ours = () => [...document.querySelectorAll("table")].filter(table => titles(table)[0] === "Generator");

  function compare(one, other) {
    const [a, b] = [Number(one), Number(other)];
    return one !== "" && other !== "" && !Number.isNaN(a) && !Number.isNaN(b) ? a - b : one.localeCompare(other, "en", { numeric: true });
  }

  function sort(table) {
    const names = titles(table);
    const [column, direction] = chosen.get(names.join()) ?? [-1, 1];
    [...table.tHead.rows[0].cells].forEach((cell, index) => {
      cell.setAttribute("aria-sort", index !== column ? "none" : direction > 0 ? "ascending" : "descending");
    });
    if (column < 0) return;
    const text = row => row.cells[column]?.textContent ?? "";
    // The sum of all stays below.
    const isSum = row => row.cells[0]?.textContent === "all";
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const sorted = [...rows].sort((one, other) => isSum(one) - isSum(other) || direction * compare(text(one), text(other)));
    if (sorted.some((row, index) => row !== rows[index])) body.append(...sorted);
  }

  function adopt(table) {
    for (const cell of table.tHead.rows[0].cells) cell.tabIndex = 0;
    if (table.caption || !titles(table).includes("In outboxes")) return;
    const link = document.createElement("a");
    link.href = csv;
    link.download = "fleet.csv";
    link.textContent = "Download as CSV";
    table.createCaption().append(link);
  }

  const observer = new MutationObserver(look);
  function look() {
    for (const table of ours()) {
      adopt(table);
      sort(table);
    }
    // What was just done here.
    observer.takeRecords();
  }

  function choose(event) {
    const cell = event.target.closest?.("th");
    const table = cell?.closest("table");
    if (!table || !ours().includes(table)) return;
    if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    const key = titles(table).join();
    const [column, direction] = chosen.get(key) ?? [-1, 1];
    // Of numbers the largest are looked for, of names the first.
    chosen.set(key, [cell.cellIndex, cell.cellIndex === column ? -direction : cell.cellIndex === 0 ? 1 : -1]);
    look();
  }

  const style = document.createElement("style");
  style.textContent = `
    th[aria-sort] { cursor: pointer }
    th[aria-sort="ascending"]::after { content: " \\25B2" }
    th[aria-sort="descending"]::after { content: " \\25BC" }
    caption a { color: inherit }`;
  document.head.append(style);
  document.addEventListener("click", choose);
  document.addEventListener("keydown", choose);
  observer.observe(document.body, { childList: true, subtree: true, characterData: true });
  look();
})();
