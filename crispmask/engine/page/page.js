"use strict";
const root = document.documentElement;
root.classList.add("scripted");
const all = (selector, start = document) => [...start.querySelectorAll(selector)];

// Light or dark: as the system has it until the button is pressed.
const theme = document.getElementById("theme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme || (prefersDark.matches ? "dark" : "light")) === "dark";
function nameTheme() {
  theme.textContent = isDark() ? "light" : "dark";
  theme.setAttribute("aria-label", `switch to ${theme.textContent} colours`);
}
theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
prefersDark.addEventListener("change", nameTheme);
nameTheme();

// Tables: a press on a heading sorts, numbers from the largest, names from A.
for (const table of all("table.sortable")) {
  const heads = all("thead th", table);
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const body = table.tBodies[0];
    const value = (row) => row.cells[column].dataset.v;
    const text = column === 0;
    const before = head.getAttribute("aria-sort");
    const down = before ? before === "ascending" : !text;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].sort((a, b) =>
      text ? value(a).localeCompare(value(b)) : value(a) - value(b));
    if (down) rows.reverse();
    body.append(...rows);
  }));
}

// Charts: the values at the pointer, or at the place the arrow keys have moved to.
for (const svg of all("svg[data-chart]")) {
  const chart = JSON.parse(svg.dataset.chart);
  const cursor = svg.querySelector(".cursor");
  const output = svg.parentElement.querySelector("output");
  const places = [...new Set(chart.lines.flatMap((line) => line.x))].sort((a, b) => a - b);
  const [low, high] = chart.range;
  let place = -1;
  const show = (index) => {
    if (!places.length) return;
    place = Math.max(0, Math.min(places.length - 1, index));
    const x = places[place];
    const at = chart.left + ((x - low) / (high - low)) * chart.width;
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    cursor.setAttribute("visibility", "visible");
    const told = chart.lines.map((line) => {
      const known = line.x.indexOf(x);
      return known < 0 ? "" : `${line.name} ${line.y[known]}`;
    });
    output.textContent = `${svg.dataset.label} ${x}: ${told.filter(Boolean).join(", ")}`;
  };
  const hide = () => {
    place = -1;
    cursor.setAttribute("visibility", "hidden");
    output.textContent = "";
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const x = low + ((at - chart.left) / chart.width) * (high - low);
    let best = 0;
    places.forEach((value, i) => {
      if (Math.abs(value - x) < Math.abs(places[best] - x)) best = i;
    });
    show(best);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(place < 0 ? (step > 0 ? 0 : places.length - 1) : place + step);
  });
}

// Images: all switches at once, the confidence, and one image as wide as the page.
for (const box of all("input[data-all]")) {
  box.addEventListener("change", () => {
    if (box.dataset.all === "tags") {
      document.getElementById("images").classList.toggle("tagged", box.checked);
      return;
    }
    all(`.show-${box.dataset.all}`).forEach((other) => { other.checked = box.checked; });
  });
}
const conf = document.getElementById("conf");
if (conf) {
  const instances = all("[data-score]");
  conf.addEventListener("input", () => {
    document.querySelector('output[for="conf"]').textContent = Number(conf.value).toFixed(2);
    for (const instance of instances) {
      instance.classList.toggle("low", Number(instance.dataset.score) < Number(conf.value));
    }
  });
}
for (const button of all(".enlarge")) {
  button.addEventListener("click", () => {
    const large = button.closest(".shot").classList.toggle("large");
    button.textContent = large ? "shrink" : "enlarge";
    button.setAttribute("aria-pressed", large);
  });
}

const copy = document.getElementById("copy");
copy.addEventListener("click", async () => {
  const command = document.getElementById("command");
  try {
    await navigator.clipboard.writeText(command.textContent);
    copy.textContent = "copied";
  } catch {  // pages from a folder may not write there: select it for the user
    getSelection().selectAllChildren(command);
    copy.textContent = "selected";
  }
});

addEventListener("beforeprint", () => all("details").forEach((part) => { part.open = true; }));
