// Draws the nodes around a node of a graph or function, in layers: inputs to the left, users to the right.
// Which nodes are drawn, and in which order, is chosen in layers.js.
function graphs(drawings) {
  const bodies = drawings.flatMap((drawing, graph) => drawing.bodies.map((packed) => ({ packed, graph, nodes: null })));
  const left = byId("graph-left-out");
  for (const { title, command, nodesLeftOut, functionsLeftOut } of drawings) {
    if (!nodesLeftOut && !functionsLeftOut) continue;
    const parts = [];
    if (nodesLeftOut) parts.push("the graph itself (" + whole.format(nodesLeftOut) + (nodesLeftOut === 1 ? " node)" : " nodes)"));
    if (functionsLeftOut) parts.push(whole.format(functionsLeftOut) + (functionsLeftOut === 1 ? " function" : " functions"));
    const line = make("p", "hint");
    line.append(make("span", "name", title), ": " + parts.join(" and ") + " cannot be drawn in a page of this size; use ", make("code", "", command));
    left.append(line);
  }
  if (!bodies.length) return;
  byId("graph-tools").hidden = byId("graph-view").hidden = false;
  const chosen = byId("graph-body"), depth = byId("graph-depth"), back = byId("graph-back"), search = byId("graph-search");
  const list = byId("graph-found"), status = byId("graph-status"), canvas = byId("graph-canvas"), detail = byId("graph-detail");
  const MOST_FOUND = 50, MOST_LINKS = 30;
  let body = null, current = 0, walked = [], found = [], marked = -1;

  bodies.forEach((item, k) => {
    const { function: name, rest } = item.packed, option = make("option", "", name ? "function " + name : "graph" + (drawings.length > 1 ? " " + drawings[item.graph].title : ""));
    option.value = k;
    option.textContent += " (" + whole.format(rest.length) + ")";
    chosen.append(option);
  });

  // Columns of numbers for the inputs of all nodes, and the same for their users.
  function unpack({ packed }) {
    const count = packed.rest.length, names = [], first = new Int32Array(count + 1), userFirst = new Int32Array(count + 1);
    for (let i = 0, before = ""; i < count; i++) {
      names.push(before = before.slice(0, packed.shared[i]) + packed.rest[i]);
      first[i + 1] = first[i] + packed.counts[i];
    }
    const real = (source) => source < 0 ? ~source : source, users = new Int32Array(packed.sources.length);
    for (const source of packed.sources) userFirst[real(source) + 1] += 1;
    for (let i = 0; i < count; i++) userFirst[i + 1] += userFirst[i];
    const place = userFirst.slice();
    for (let i = 0; i < count; i++) for (let k = first[i]; k < first[i + 1]; k++) users[place[real(packed.sources[k])]++] = i;
    return {
      count, names, packed, op: (i) => packed.ops[packed.op[i]], calls: (i) => packed.calls[i] || [],
      inputs: (i) => packed.sources.slice(first[i], first[i + 1]).map((source, k) => ({ node: real(source), waits: source < 0, output: packed.outputs[packed.output[first[i] + k]] })),
      users: (i) => [...new Set(users.subarray(userFirst[i], userFirst[i + 1]))],
    };
  }
  function choose(number, node) {
    chosen.value = number;
    body = bodies[number].nodes ?? (bodies[number].nodes = unpack(bodies[number]));
    search.value = "";
    find();
    show(node ?? body.packed.start);
  }
  function walk(number, node, keepsFocus) {
    walked.push([Number(chosen.value), current]);
    if (number === Number(chosen.value)) show(node); else choose(number, node);
    if (keepsFocus) canvas.querySelector("g[tabindex='0']")?.focus();
  }
  function show(node) {
    current = node;
    back.disabled = !walked.length;
    if (!body.count) { canvas.replaceChildren(make("p", "hint", "There are no nodes.")); detail.replaceChildren(); return; }
    paint();
    showDetail();
  }

  // Which nodes are found: those whose names or ops contain all words.
  function find() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = [];
    marked = -1;
    let total = 0;
    if (words.length) for (let i = 0; i < body.count; i++) {
      const text = (body.names[i] + " " + body.op(i)).toLowerCase();
      if (!words.every((word) => text.includes(word))) continue;
      total += 1;
      if (body.names[i].toLowerCase() === search.value.trim().toLowerCase()) found.unshift(i);
      else if (found.length < MOST_FOUND) found.push(i);
    }
    status.textContent = words.length ? whole.format(total) + (total === 1 ? " node found" : " nodes found") + (total > found.length ? ", the first " + found.length + " are listed" : "") : "";
    list.replaceChildren(...found.map((i, k) => {
      const item = make("li");
      item.id = "graph-found-" + k;
      item.setAttribute("role", "option");
      item.append(make("span", "name", body.names[i]), make("span", "dim", " " + body.op(i)));
      item.addEventListener("pointerdown", (event) => { event.preventDefault(); take(k); });
      return item;
    }));
    mark(-1);
    list.hidden = !found.length;
    search.setAttribute("aria-expanded", String(!list.hidden));
  }
  function mark(k) {
    marked = k;
    [...list.children].forEach((item, other) => item.setAttribute("aria-selected", String(other === k)));
    if (k < 0) search.removeAttribute("aria-activedescendant");
    else { search.setAttribute("aria-activedescendant", "graph-found-" + k); list.children[k].scrollIntoView({ block: "nearest" }); }
  }
  function take(k) {
    const node = found[k];
    search.value = "";
    find();
    walk(Number(chosen.value), node);
  }

  // The drawing.
  const WIDE = 176, TALL = 40, ACROSS = 250, DOWN = 52, MARGIN = 12;
  const cut = (text, most, fromEnd) => { const letters = [...text]; return letters.length <= most ? text : fromEnd ? "…" + letters.slice(1 - most).join("") : letters.slice(0, most - 1).join("") + "…"; };
  function paint() {
    const { layers, edges, leftOut } = layOut(body, current, Number(depth.value));
    const rows = Math.max(...layers.map(({ nodes, more }) => nodes.length + (more ? 1 : 0)));
    const width = 2 * MARGIN + (layers.length - 1) * ACROSS + WIDE, height = 2 * MARGIN + (rows - 1) * DOWN + TALL;
    const image = draw("svg", { viewBox: "0 0 " + width + " " + height, width, height, role: "group", "aria-label": "Nodes around " + cut(body.names[current], 100, true) });
    const at = new Map(), drawn = new Map();
    layers.forEach(({ nodes, more }, x) => nodes.concat(more ? [-1 - x] : []).forEach((node, y, all) => {
      at.set(node, { x: MARGIN + x * ACROSS, y: MARGIN + ((rows - all.length) / 2 + y) * DOWN, layer: x, row: y });
    }));
    for (const { source, target, waits, output } of edges) {
      const from = at.get(source), to = at.get(target), x1 = from.x + WIDE, y1 = from.y + TALL / 2, x2 = to.x, y2 = to.y + TALL / 2;
      // An edge within a layer stays to the left of it; one that leads back bends around the nodes.
      const bend = x2 > x1 ? (x2 - x1) / 2 : 60;
      const curve = from.x === to.x ? [from.x, y1, from.x - 40, y1, x2 - 40, y2] : [x1, y1, x1 + bend, y1, x2 - bend, y2];
      const line = draw("path", { class: waits ? "edge waits" : "edge", d: "M" + curve.slice(0, 2).join(" ") + "C" + curve.slice(2).join(" ") + " " + (x2 - 5) + " " + y2 });
      const tip = draw("path", { class: "tip", d: "M" + x2 + " " + y2 + "l-7 -3.5v7z" });
      image.append(line, tip);
      if (output && !output.endsWith(":0")) image.append(draw("text", { class: "output", x: x2 - 9, y: y2 - 4, "text-anchor": "end" }, cut(output, 12)));
    }
    for (const [node, { x, y, layer }] of at) {
      if (node < 0) { image.append(draw("text", { class: "more", x: x + 4, y: y + 24 }, "and " + whole.format(layers[layer].more) + " more")); continue; }
      const group = draw("g", { class: node === current ? "node current" : "node", role: "button", tabindex: node === current ? 0 : -1, "aria-label": body.names[node] + ", " + body.op(node) + place(layer) });
      if (node === current) group.setAttribute("aria-current", "true");
      group.append(draw("title", {}, body.names[node] + "\n" + body.op(node)), draw("rect", { x, y, width: WIDE, height: TALL, rx: 6 }),
        draw("text", { class: "mono", x: x + 9, y: y + 17 }, cut(body.names[node], 22, true)), draw("text", { class: "op", x: x + 9, y: y + 32 }, cut(body.op(node), 26)));
      group.addEventListener("click", () => { if (node !== current) walk(Number(chosen.value), node, true); });
      drawn.set(node, group);
      image.append(group);
    }
    function place(layer) {
      const steps = layer - layers.findIndex(({ nodes }) => nodes.includes(current));
      return steps === 0 ? "" : steps < 0 ? ", input, " + -steps + (steps === -1 ? " step" : " steps") : ", user, " + steps + (steps === 1 ? " step" : " steps");
    }
    image.addEventListener("keydown", (event) => {
      const group = event.target.closest("g.node"), node = [...drawn].find(([, other]) => other === group)?.[0];
      if (node === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      const { layer, row } = at.get(node), near = (x, y) => layers[x] && layers[x].nodes[Math.max(0, Math.min(layers[x].nodes.length - 1, y))];
      // A step to the left or right follows an edge where there is one.
      const along = (step) => layers[layer + step] && (layers[layer + step].nodes.find((other) => edges.some(({ source, target }) => step < 0 ? source === other && target === node : source === node && target === other)) ?? near(layer + step, row));
      let next;
      if (event.key === "Enter" || event.key === " ") { if (node !== current) walk(Number(chosen.value), node, true); }
      else if (event.key === "ArrowUp") next = near(layer, row - 1);
      else if (event.key === "ArrowDown") next = near(layer, row + 1);
      else if (event.key === "ArrowLeft") next = along(-1);
      else if (event.key === "ArrowRight") next = along(1);
      else if (event.key === "Home") next = current;
      else if (event.key === "Backspace") { back.click(); canvas.querySelector("g[tabindex='0']")?.focus(); }
      else return;
      event.preventDefault();
      if (next !== undefined && next !== node) {
        drawn.forEach((other) => other.setAttribute("tabindex", -1));
        drawn.get(next).setAttribute("tabindex", 0);
        drawn.get(next).focus();
        drawn.get(next).scrollIntoView({ block: "nearest", inline: "nearest" });
      }
    });
    canvas.replaceChildren(image);
    const middle = at.get(current);
    canvas.scrollLeft = middle.x + WIDE / 2 - canvas.clientWidth / 2;
    canvas.scrollTop = middle.y + TALL / 2 - canvas.clientHeight / 2;
    byId("graph-hint").textContent = leftOut ? "The drawing has the nearest nodes; " + whole.format(leftOut) + " more are within this depth." : "";
  }

  // The same as text: the node, and links to what it uses and what uses it.
  function showDetail() {
    const facts = make("dl"), inputs = body.inputs(current), users = body.users(current);
    facts.append(make("dt", "", "Op"), make("dd", "name", body.op(current)));
    detail.replaceChildren(make("h3", "name", body.names[current]), facts);
    const calls = body.calls(current);
    if (calls.length) {
      const graph = bodies[Number(chosen.value)].graph;
      facts.append(make("dt", "", "Calls"), make("dd", "name", calls.join(", ")));
      for (const name of calls) {
        const number = bodies.findIndex((other) => other.graph === graph && other.packed.function === name);
        if (number >= 0) detail.append(button("Open " + name, () => walk(number)));
      }
    }
    links("Inputs", inputs.map(({ node, waits, output }) => [node, waits ? "waits for it" : output && !output.endsWith(":0") ? "output " + output : ""]));
    links("Used by", users.map((node) => [node, ""]));
    function links(title, targets) {
      detail.append(make("h3", "", title + " (" + whole.format(targets.length) + ")"));
      const items = make("ul", "slots");
      for (const [node, remark] of targets.slice(0, MOST_LINKS)) {
        const item = make("li");
        item.append(button(body.names[node], () => walk(Number(chosen.value), node)), make("span", "dim", " " + body.op(node) + (remark ? ", " + remark : "")));
        items.append(item);
      }
      detail.append(targets.length ? items : make("p", "hint", "None."));
      if (targets.length > MOST_LINKS) detail.append(make("p", "hint", "and " + whole.format(targets.length - MOST_LINKS) + " more"));
    }
    detail.scrollTop = 0;
  }
  function button(text, run) {
    const element = make("button", "name", text);
    element.type = "button";
    element.addEventListener("click", run);
    return element;
  }

  chosen.addEventListener("change", () => { walked = []; choose(Number(chosen.value)); });
  depth.addEventListener("change", () => show(current));
  back.addEventListener("click", () => {
    if (!walked.length) return;
    const [number, node] = walked.pop();
    if (number === Number(chosen.value)) show(node); else choose(number, node);
  });
  search.addEventListener("input", find);
  search.addEventListener("blur", () => { list.hidden = true; search.setAttribute("aria-expanded", "false"); });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { search.value = ""; find(); }
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!found.length) return;
      if (list.hidden) { list.hidden = false; search.setAttribute("aria-expanded", "true"); }
      mark((marked + (event.key === "ArrowDown" ? 1 : marked < 0 ? 0 : -1) + found.length) % found.length);
    } else if (event.key === "Enter" && found.length) {
      take(Math.max(0, marked));
      canvas.querySelector("g[tabindex='0']")?.focus();
    } else return;
    event.preventDefault();
  });
  choose(0);
}
if (byId("graph-data")) graphs(JSON.parse(byId("graph-data").textContent));
