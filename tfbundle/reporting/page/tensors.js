// Draws the tree of tensors, and the details of the selected one.
function tensorBrowser(packed) {
  const STATES = { i: "intact", r: "read", d: "damaged", u: "not read" };
  const count = packed.dtype.length;
  const names = [];
  for (let i = 0, before = ""; i < count; i++) names.push(before = before.slice(0, packed.shared[i]) + packed.rest[i]);
  const shapeTexts = packed.shapes.map((shape) => "[" + shape.join(",") + "]");
  const parameters = (i) => packed.dtypes[packed.dtype[i]] === "string" ? 0
    : packed.shapes[packed.shape[i]].reduce((product, length) => product * length, 1);
  const tensors = names.map((name, i) => ({
    i, name, dtype: packed.dtypes[packed.dtype[i]], shape: shapeTexts[packed.shape[i]], parameters: parameters(i),
    bytes: packed.bytes[i], state: STATES[packed.state[i]], owner: packed.owner ? packed.owner[i] : -1,
    variable: packed.variable[i], role: packed.role[i], slots: [],
  }));
  for (const tensor of tensors) if (tensor.owner >= 0) tensors[tensor.owner].slots.push(tensor);

  // The tree: a scope for each part of a name; the slots of a variable are below it.
  const SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE", DEEPEST = 40;
  const root = scope("", null), bare = (name) => name.endsWith(SUFFIX) ? name.slice(0, -SUFFIX.length) : name;
  function scope(label, parent) {
    return { label, parent, children: new Map(), nodes: null, tensor: null, bytes: 0, parameters: 0, count: 0, damaged: 0, open: false, level: 0 };
  }
  function place(tensor) {
    let parts = bare(tensor.name).split("/");
    if (parts.length > DEEPEST) parts = [...parts.slice(0, DEEPEST - 1), parts.slice(DEEPEST - 1).join("/")];
    let node = root;
    for (const part of parts) {
      if (!node.children.has(part)) node.children.set(part, scope(part, node));
      node = node.children.get(part);
    }
    if (node.tensor) {  // Two tensors that differ in the suffix alone.
      const twin = scope(tensor.name, node);
      node.children.set("\0" + tensor.i, twin);
      node = twin;
    }
    node.tensor = tensor;
    tensor.node = node;
  }
  for (const tensor of tensors) if (tensor.owner < 0) place(tensor);
  for (const tensor of tensors) {
    if (tensor.owner < 0) continue;
    const owner = tensors[tensor.owner];
    const home = owner.node || root;
    const own = bare(owner.name), name = bare(tensor.name);
    const node = scope(name.startsWith(own + "/") ? name.slice(own.length + 1) : name, home);
    node.tensor = tensor;
    tensor.node = node;
    home.children.set("\0" + tensor.i, node);
  }
  const natural = (node) => node.sortName ?? (node.sortName = node.label.replace(/\d+/g, (digits) => digits.padStart(12, "0")));
  function byName(a, b) { return natural(a) < natural(b) ? -1 : natural(a) > natural(b) ? 1 : 0; }
  (function total(node, level) {
    // A chain of scopes with one child each is one row.
    while (!node.tensor && node.parent && node.children.size === 1) {
      const [only] = node.children.values();
      if (only.tensor) break;
      node.label += "/" + only.label;
      node.children = only.children;
    }
    node.level = level;
    node.nodes = [...node.children.values()].sort(byName);
    if (node.tensor) {
      node.bytes = node.tensor.bytes; node.parameters = node.tensor.parameters; node.count = 1;
      node.damaged = node.tensor.state === "damaged" ? 1 : 0;
    }
    for (const child of node.nodes) {
      child.parent = node;
      total(child, level + 1);
      node.bytes += child.bytes; node.parameters += child.parameters; node.count += child.count; node.damaged += child.damaged;
    }
  })(root, 0);

  const COLUMNS = [
    ["Name", natural, ""],
    ["Type", (node) => node.tensor ? node.tensor.dtype : "", "wide"],
    ["Shape", (node) => node.tensor ? node.tensor.shape : "", "wide"],
    ["Parameters", (node) => (node.tensor || node).parameters, "wide number"],
    ["Bytes", (node) => (node.tensor || node).bytes, ""],
  ];
  let sorted = -1, isDown = false, visible = [], selected = 0, words = [], isList = false;
  const ROW = 30, HEAD = 34;
  const grid = byId("grid"), status = byId("status"), search = byId("search"), view = byId("view"), detail = byId("detail");
  grid.setAttribute("role", "treegrid");
  grid.setAttribute("aria-label", "Tensors: arrow keys move, left and right fold");
  grid.setAttribute("aria-colcount", COLUMNS.length);
  const head = make("div", "row head"), headGroup = make("div", "heads");
  headGroup.setAttribute("role", "rowgroup");
  head.setAttribute("role", "row");
  const headings = COLUMNS.map(([title, , className], column) => {
    const cell = make("div", className), button = make("button", "", title);
    cell.setAttribute("role", "columnheader");
    button.type = "button";
    button.addEventListener("click", () => sortBy(column));
    cell.append(button);
    head.append(cell);
    return cell;
  });
  headGroup.append(head);
  const rows = make("div", "rows"), space = make("div");
  grid.tabIndex = 0;
  rows.setAttribute("role", "rowgroup");
  space.setAttribute("role", "presentation");
  rows.append(space);
  grid.append(headGroup, rows);

  function compare(a, b) {
    const key = COLUMNS[sorted][1], x = key(a), y = key(b);
    return (x < y ? -1 : x > y ? 1 : 0) * (isDown ? -1 : 1);
  }
  function sortBy(column) {
    const startsDown = column >= 3;
    if (sorted === column) isDown = !isDown; else { sorted = column; isDown = startsDown; }
    headings.forEach((heading, i) => i === column
      ? heading.setAttribute("aria-sort", isDown ? "descending" : "ascending") : heading.removeAttribute("aria-sort"));
    (function order(node) { node.nodes.sort(compare); node.nodes.forEach(order); })(root);
    refresh();
  }
  const text = (tensor) => tensor.text ?? (tensor.text = [tensor.name, tensor.variable ?? "", tensor.dtype, tensor.shape, tensor.state].join(" ").toLowerCase());
  const matches = (tensor) => words.every((word) => text(tensor).includes(word));

  function refresh(keep) {
    const before = keep ?? visible[selected];
    visible = [];
    let found = 0;
    if (words.length) for (const tensor of tensors) tensor.node.isHit = matches(tensor);
    if (isList) {
      for (const tensor of tensors) if (!words.length || tensor.node.isHit) visible.push(tensor.node);
      if (sorted >= 0) visible.sort(sorted === 0
        ? (a, b) => (a.tensor.name < b.tensor.name ? -1 : 1) * (isDown ? -1 : 1) : compare);
      found = visible.length;
    } else {
      if (words.length) (function mark(node) {
        node.hits = node.tensor && node.isHit ? 1 : 0;
        for (const child of node.nodes) { mark(child); node.hits += child.hits; }
        found = node.hits;
      })(root);
      (function walk(node) {
        for (const child of node.nodes) {
          if (words.length && !child.hits) continue;
          visible.push(child);
          if (words.length ? child.hits > (child.isHit && child.tensor ? 1 : 0) : child.open) walk(child);
        }
      })(root);
    }
    selected = Math.max(0, before ? visible.indexOf(before) : 0);
    space.style.height = visible.length * ROW + "px";
    grid.setAttribute("aria-rowcount", visible.length + 1);
    status.textContent = words.length ? whole.format(found) + (found === 1 ? " tensor found" : " tensors found") : "";
    shown.clear();
    space.replaceChildren();
    render();
  }
  const shown = new Map();
  function render() {
    const first = Math.max(0, Math.floor(grid.scrollTop / ROW) - 6);
    const last = Math.min(visible.length, Math.ceil((grid.scrollTop + grid.clientHeight) / ROW) + 6);
    for (const [index, row] of shown) if (index < first || index >= last) { row.remove(); shown.delete(index); }
    for (let index = first; index < last; index++) if (!shown.has(index)) {
      const row = makeRow(visible[index], index);
      shown.set(index, row);
      space.append(row);
    }
    for (const [index, row] of shown) row.setAttribute("aria-selected", String(index === selected));
    if (shown.has(selected)) grid.setAttribute("aria-activedescendant", "row" + selected);
    else grid.removeAttribute("aria-activedescendant");
  }
  function makeRow(node, index) {
    const row = make("div", "row"), tensor = node.tensor;
    row.id = "row" + index;
    row.setAttribute("role", "row");
    row.setAttribute("aria-rowindex", index + 2);
    row.setAttribute("aria-level", isList ? 1 : node.level);
    row.style.transform = "translateY(" + index * ROW + "px)";
    const isOpen = words.length ? true : node.open, hasRows = !isList && node.nodes.length > 0;
    if (hasRows) row.setAttribute("aria-expanded", String(isOpen));
    const name = make("div", "name");
    name.style.paddingLeft = (isList ? 0 : Math.min(node.level - 1, 14) * 1.1) + "em";
    const fold = make("span", "fold", hasRows ? (isOpen ? "▾" : "▸") : "");
    fold.setAttribute("aria-hidden", "true");
    const label = make("span", tensor ? "" : "scope", isList ? tensor.name : node.label + (tensor ? "" : "/"));
    name.title = tensor ? tensor.name : node.label;
    name.append(fold, label);
    if (!tensor || node.count > 1) name.append(make("span", "tag", tensor ? "+" + whole.format(node.count - 1) : whole.format(node.count)));
    if (node.damaged) name.append(make("span", "tag damaged", tensor && node.count === 1 ? "damaged" : whole.format(node.damaged) + " damaged"));
    if (tensor && tensor.variable && !isList) name.append(make("span", "variable dim", tensor.variable));
    const cells = [name, make("div", "wide dim", tensor ? tensor.dtype : ""), make("div", "wide mono", tensor ? tensor.shape : ""),
      make("div", "wide number", number((tensor || node).parameters)), make("div", "size")];
    const bar = make("span", "bar"), fill = make("i");
    const own = (tensor || node).bytes, all = isList || !node.parent ? root.bytes : node.parent.bytes;
    fill.style.width = (all ? Math.min(100, 100 * own / all) : 0) + "%";
    bar.title = percent(own, all) + (isList ? " of all bytes" : " of the bytes of its scope");
    bar.append(fill);
    cells[4].append(make("span", "", bytes(own)), bar);
    for (const cell of cells) { cell.setAttribute("role", "gridcell"); row.append(cell); }
    row.addEventListener("click", (event) => {
      select(index);
      if (hasRows && (!tensor || event.target === fold)) toggle(node);
    });
    return row;
  }
  function toggle(node, open) {
    if (words.length || !node.nodes.length) return;
    node.open = open ?? !node.open;
    refresh(node);
  }
  function select(index) {
    selected = Math.max(0, Math.min(visible.length - 1, index));
    const top = selected * ROW;
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top + ROW > grid.scrollTop + grid.clientHeight - HEAD) grid.scrollTop = top + ROW + HEAD - grid.clientHeight;
    render();
    if (visible[selected]) showDetail(visible[selected]);
  }
  let isWaiting = false;
  grid.addEventListener("scroll", () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => { isWaiting = false; render(); });
  });
  grid.addEventListener("keydown", (event) => {
    const node = visible[selected], page = Math.max(1, Math.floor((grid.clientHeight - HEAD) / ROW) - 1);
    const moves = { ArrowDown: selected + 1, ArrowUp: selected - 1, Home: 0, End: visible.length - 1, PageDown: selected + page, PageUp: selected - page };
    if (!node || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("button")) return;
    if (event.key in moves) select(moves[event.key]);
    else if (event.key === "ArrowRight") { if (node.nodes.length && !node.open && !isList && !words.length) toggle(node, true); else select(selected + 1); }
    else if (event.key === "ArrowLeft") { if (node.open && !words.length && !isList) toggle(node, false); else if (!isList && node.parent !== root) select(visible.indexOf(node.parent)); }
    else if (event.key === "Enter" || event.key === " ") { toggle(node); showDetail(node); }
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !["INPUT", "SELECT", "TEXTAREA"].includes(target.tagName)) {
      event.preventDefault();
      byId("tensors").open = true;
      search.focus();
    }
  });
  let timer = 0;
  function setWords() {
    words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    grid.scrollTop = 0;
    refresh();
  }
  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(setWords, 60); });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { search.value = ""; setWords(); }
    if (event.key === "ArrowDown") { event.preventDefault(); grid.focus(); }
  });
  view.addEventListener("change", () => { isList = view.value === "list"; grid.scrollTop = 0; refresh(); });
  function openAll(open) { (function walk(node) { node.open = open; node.nodes.forEach(walk); })(root); refresh(); }
  byId("expand").addEventListener("click", () => openAll(true));
  byId("collapse").addEventListener("click", () => openAll(false));

  // The selected tensor.
  function pairs(rows) {
    const list = make("dl");
    for (const [label, value, className] of rows) if (value !== undefined && value !== "") list.append(make("dt", "", label), make("dd", className || "", value));
    return list;
  }
  function showDetail(node) {
    const tensor = node.tensor;
    detail.replaceChildren();
    if (!tensor) {
      detail.append(make("h3", "name", node.label + "/"), pairs([
        ["Tensors", number(node.count)], ["Parameters", number(node.parameters)],
        ["Bytes", number(node.bytes) + " (" + percent(node.bytes, root.bytes) + " of all)"], ["Damaged", node.damaged ? number(node.damaged) : ""],
      ]));
      const within = [];
      (function collect(below) { if (below.tensor) within.push(below.tensor); below.nodes.forEach(collect); })(node);
      within.sort((a, b) => b.bytes - a.bytes || a.i - b.i);
      detail.append(make("h3", "", "Largest tensors"), links(within.slice(0, 12)));
      return;
    }
    const i = tensor.i, more = packed.details[i] || {}, statistics = packed.statistics;
    detail.append(make("h3", "name", tensor.name));
    if (packed.problem[i]) {
      const problem = make("p", "verdict is-error");
      problem.append(make("strong", "", "Damaged"), make("span", "text", packed.problem[i]));
      detail.append(problem);
    }
    const places = packed.places[i] || [[packed.file[i], packed.offset[i], tensor.bytes]];
    detail.append(pairs([
      ["Variable", tensor.variable, "name"],
      ["Role", { w: "weight", s: "optimizer slot" }[tensor.role] || ""],
      ["Type", tensor.dtype], ["Shape", tensor.shape, "mono"], ["Parameters", number(tensor.parameters)],
      ["Bytes", number(tensor.bytes)],
      ["Checksum", { intact: "matches", damaged: "damaged", read: "none in this format", "not read": "not read" }[tensor.state]],
      ...places.slice(0, 8).filter(([file]) => file >= 0).map(([file, offset, size]) => ["Stored in", packed.files[file] + ", " + number(size) + " bytes at offset " + number(offset), "text"]),
      ["", places.length > 8 ? "and " + number(places.length - 8) + " more slices" : ""],
    ]));
    if (more.values) detail.append(pairs([["Values", more.values.map((value) => Array.isArray(value) ? value.map(number).join(" + ") + "i" : number(value)).join(", "), "mono"]]));
    if (more.texts) detail.append(pairs(more.texts.map((value, k) => ["String " + k, value, "name"])));
    if (statistics && statistics.zeros[i] !== null) {
      detail.append(pairs([
        ["Min", number(statistics.min[i])], ["Max", number(statistics.max[i])], ["Mean", number(statistics.mean[i])], ["Std", number(statistics.std[i])],
        ["Zeros", number(statistics.zeros[i]) + " (" + percent(statistics.zeros[i], tensor.parameters) + ")"],
        ["NaN", number(statistics.nan[i] || 0)], ["Infinite", number(statistics.infinite[i] || 0)],
      ]));
    }
    if (more.counts) detail.append(...histogram(more.counts, statistics.min[i], statistics.max[i]));
    if (more.quantiles) {
      detail.append(make("h3", "", "Quantiles"), pairs(packed.quantiles.map((quantile, k) => [100 * quantile + " %", number(more.quantiles[k])])));
      if (more.stride > 1) detail.append(make("p", "hint", "Histogram and quantiles are those of a sample: one in " + number(more.stride) + " elements, evenly spaced. All other statistics cover every element."));
    } else if (statistics && statistics.zeros[i] !== null && packed.leftOut && !more.values) detail.append(make("p", "hint", "The histogram was left out to keep the page small."));
    if (more.picture) detail.append(...picture(more.picture));
    if (tensor.slots.length) {
      detail.append(make("h3", "", "Slots"), links(tensor.slots));
    }
    detail.scrollTop = 0;
  }
  function links(targets) {
    const list = make("ul", "slots");
    for (const target of targets) {
      const item = make("li"), button = make("button", "name", target.name);
      button.type = "button";
      button.addEventListener("click", () => reveal(target.node));
      item.append(button, make("span", "dim", (target.variable ? " " + target.variable : "") + " " + bytes(target.bytes)));
      list.append(item);
    }
    return list;
  }
  function reveal(node) {
    search.value = ""; words = [];
    isList = false; view.value = "tree";
    for (let above = node.parent; above; above = above.parent) above.open = true;
    refresh(node);
    select(visible.indexOf(node));
  }

  // Rows that are not drawn do not print, so the printed page has a plain table.
  const MOST_PRINTED = 2000, concise = (value) => typeof value === "number" ? String(Number(value.toPrecision(4))) : number(value);
  addEventListener("beforeprint", () => {
    const table = make("table"), body = make("tbody"), titles = make("tr"), top = make("thead");
    for (const title of ["Name", "Type", "Shape", "Bytes", "Min", "Max", "Mean", "Std"]) titles.append(make("th", titles.children.length > 2 ? "number" : "", title));
    top.append(titles);
    const statistics = packed.statistics;
    for (const tensor of tensors.slice(0, MOST_PRINTED)) {
      const row = make("tr"), i = tensor.i;
      row.append(make("td", "name", bare(tensor.name)), make("td", "brief", tensor.dtype), make("td", "brief", tensor.shape), make("td", "number", bytes(tensor.bytes)));
      for (const key of ["min", "max", "mean", "std"]) row.append(make("td", "number", statistics ? concise(statistics[key][i]) : "–"));
      body.append(row);
    }
    table.append(top, body);
    byId("printed").replaceChildren(table);
    if (tensors.length > MOST_PRINTED) byId("printed").append(make("p", "hint", number(tensors.length - MOST_PRINTED) + " more tensors are not printed."));
  });
  addEventListener("afterprint", () => byId("printed").replaceChildren());

  // Scopes are opened as long as few rows are shown.
  for (let level = root.nodes, rows = level.length; level.length && rows + level.reduce((sum, node) => sum + node.nodes.length, 0) <= 60;) {
    for (const node of level) if (!node.tensor) node.open = true;
    level = level.filter((node) => !node.tensor).flatMap((node) => node.nodes);
    rows += level.length;
  }
  refresh();
  if (visible.length) {
    const largest = visible.reduce((best, node) => node.tensor && node.tensor.dtype !== "string" && !(best && best.tensor.bytes >= node.tensor.bytes) ? node : best, null);
    selected = largest ? visible.indexOf(largest) : 0;
    showDetail(visible[selected]);
    render();
  }
  addEventListener("resize", render);
}
if (data.tensors) tensorBrowser(data.tensors);
