// Chooses which nodes around a node are drawn, and in which order in each layer.
//
//     distance     -2      -1       0       1
//     layers       x  ──>  w  ──>  node ──> y
//
// A layer has the nodes at one distance. In it, a node is next to those that it is connected with in the layer nearer
// to the middle, so that few edges cross (the barycenter heuristic); layers on both sides are ordered from the middle.
const MOST_IN_LAYER = 12;

function layOut(body, start, depth) {
  const distances = new Map([[start, 0]]);
  const left = reach(-1, (node) => body.inputs(node).map((input) => input.node));
  const right = reach(1, body.users);
  function reach(sign, neighbours) {
    const found = [];
    let nearest = [start];
    for (let step = 1; step <= depth && nearest.length; step++) {
      const reached = [];
      for (const node of nearest) for (const next of neighbours(node)) if (!distances.has(next)) { distances.set(next, sign * step); reached.push(next); }
      if (reached.length) found.push({ nodes: reached, more: 0 });
      nearest = reached;
    }
    return found;
  }
  const middle = { nodes: [start], more: 0 };
  const leftOut = shrink(left, (node) => body.users(node)) + shrink(right, (node) => body.inputs(node).map((input) => input.node));
  // A layer keeps what is connected with the nodes that are kept in the layer before it.
  function shrink(layers, towards) {
    let before = new Map([[start, 0]]), count = 0;
    for (const layer of layers) {
      const keyed = [];
      layer.nodes.forEach((node, found) => {
        const rows = towards(node).filter((other) => before.has(other)).map((other) => before.get(other));
        if (rows.length) keyed.push([rows.reduce((sum, row) => sum + row, 0) / rows.length, found, node]);
      });
      keyed.sort(([a, x], [b, y]) => a - b || x - y);
      const kept = keyed.slice(0, MOST_IN_LAYER).map(([, , node]) => node);
      layer.more = layer.nodes.length - kept.length;
      count += layer.more;
      layer.nodes = kept;
      before = new Map(kept.map((node, row) => [node, row]));
    }
    return count;
  }
  const layers = [...left.reverse(), middle, ...right].filter(({ nodes, more }) => nodes.length || more);
  const drawn = new Set(layers.flatMap(({ nodes }) => nodes)), edges = new Map();
  for (const target of drawn) for (const { node, waits, output } of body.inputs(target)) {
    // Several edges between two nodes are one, which waits only if all of them do.
    const key = node + " " + target, known = edges.get(key);
    if (!drawn.has(node)) continue;
    if (!known) edges.set(key, { source: node, target, waits, output });
    else { known.waits &&= waits; known.output = ""; }
  }
  return { layers, edges: [...edges.values()], leftOut };
}
