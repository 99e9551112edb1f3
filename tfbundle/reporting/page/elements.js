// Makes elements and numbers for the other scripts, switches colours and sorts tables.
// Texts from files are only ever assigned to textContent.
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}
function draw(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}
const whole = new Intl.NumberFormat("en-US");
function number(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value;
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return whole.format(value);
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-4 || size >= 1e6) ? value.toExponential(4) : String(Number(value.toPrecision(6)));
}
function bytes(size) {
  if (size < 1024) return size + " B";
  let place = -1;
  do { size /= 1024; place += 1; } while (size >= 1023.95 && place < 7);
  return size.toFixed(1) + " " + ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"][place];
}
const percent = (part, all) => all ? (100 * part / all).toFixed(part && part / all < 0.001 ? 4 : 1) + " %" : "–";

// The switch of light and dark.
const themeButton = byId("theme");
const isDark = () => document.documentElement.dataset.theme
  ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
function labelTheme() { themeButton.textContent = isDark() ? "Light" : "Dark"; themeButton.setAttribute("aria-label", (isDark() ? "Light" : "Dark") + " colours"); }
themeButton.hidden = false;
labelTheme();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", labelTheme);
themeButton.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  labelTheme();
});

// Small tables are sorted by a click on a heading.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = make("button", "", heading.textContent);
    button.type = "button";
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const isDown = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", isDown ? "descending" : "ascending");
      const isNumber = heading.classList.contains("number");
      const keyed = [...table.tBodies[0].rows].map((row) => {
        const text = row.cells[column].textContent;
        const value = isNumber ? parseFloat(text.replaceAll(",", "")) : text;
        return [isNumber && Number.isNaN(value) ? -Infinity : value, row];
      });
      keyed.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0) * (isDown ? -1 : 1));
      table.tBodies[0].replaceChildren(...keyed.map(([, row]) => row));
    });
  });
}
