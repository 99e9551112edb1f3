// Draws the curves of runs.
function curves(charts) {
  const COLOURS = ["#3b78c2", "#d1702c", "#2f9158", "#b8466b", "#7c62c4", "#8a7020", "#2a939e", "#a2553f", "#5e7b32", "#6c7a89"];
  const runs = [...new Set(charts.flatMap((chart) => chart.curves.map((curve) => curve.run)))];
  const colour = new Map(runs.map((run, k) => [run, COLOURS[k % COLOURS.length]])), hidden = new Set();
  const horizontal = byId("horizontal"), vertical = byId("vertical"), smoothing = byId("smoothing");
  const legend = byId("legend");
  for (const run of runs) {
    const item = make("li"), label = make("label"), box = make("input"), swatch = make("span", "swatch");
    box.type = "checkbox"; box.checked = true;
    swatch.style.background = colour.get(run);
    label.append(box, " ", swatch, " ", make("span", "name", run));
    box.addEventListener("change", () => { box.checked ? hidden.delete(run) : hidden.add(run); redraw(); });
    item.append(label);
    legend.append(item);
  }
  const figures = charts.map((chart) => {
    const figure = make("figure", "chart"), image = draw("svg", { viewBox: "0 0 400 200", role: "img", "aria-label": chart.tag, preserveAspectRatio: "none" });
    const readout = make("output");
    figure.append(make("figcaption", "name", chart.tag), image, readout);
    byId("charts").append(figure);
    return { chart, figure, image, readout, isNear: false, isStale: true };
  });
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const item = figures.find(({ figure }) => figure === entry.target);
      item.isNear = entry.isIntersecting;
      if (item.isNear && item.isStale) drawChart(item);
    }
  }, { rootMargin: "400px" });
  for (const item of figures) observer.observe(item.figure);
  function redraw() {
    byId("smoothed").textContent = Number(smoothing.value).toFixed(2);
    for (const item of figures) { item.isStale = true; if (item.isNear) drawChart(item); }
  }
  for (const control of [horizontal, vertical, smoothing]) control.addEventListener("input", redraw);
  addEventListener("resize", redraw);
  addEventListener("beforeprint", () => figures.forEach(drawChart));

  function smooth(values, weight) {
    // The moving average of TensorBoard, which is divided by the weights so far.
    let last = 0, total = 0;
    return values.map((value) => {
      if (value === null || !weight) return value;
      last = last * weight + (1 - weight) * value;
      total = total * weight + 1 - weight;
      return last / total;
    });
  }
  function ticks(low, high, most) {
    const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
    const found = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-9 && found.length < 20; tick += step) found.push(Math.abs(tick) < step * 1e-9 ? 0 : tick);
    return found;
  }
  const short = (value) => Math.abs(value) >= 1e4 || (value && Math.abs(value) < 1e-3) ? value.toExponential(1).replace("e+", "e") : String(Number(value.toPrecision(4)));
  function lapse(seconds) {
    if (Math.abs(seconds) < 120) return short(seconds) + " s";
    return Math.abs(seconds) < 7200 ? short(seconds / 60) + " min" : short(seconds / 3600) + " h";
  }
  const moment = (seconds) => Math.abs(seconds) < 8e12 ? new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ") : short(seconds);

  function drawChart(item) {
    const { chart, image, readout, figure } = item;
    item.isStale = false;
    const width = Math.max(200, Math.round(figure.clientWidth - 26)), height = 200, left = 52, right = 8, top = 8, bottom = 24;
    image.setAttribute("viewBox", "0 0 " + width + " " + height);
    const isLog = vertical.value === "log", mode = horizontal.value;
    const lines = chart.curves.filter((curve) => !hidden.has(curve.run)).map((curve) => {
      const xs = mode === "step" ? curve.steps : mode === "time" ? curve.times : curve.times.map((time) => time - curve.times[0]);
      const smoothed = smooth(curve.values, Number(smoothing.value));
      const points = [];
      smoothed.forEach((value, k) => { if (value !== null && Number.isFinite(xs[k]) && !(isLog && value <= 0)) points.push([xs[k], isLog ? Math.log10(value) : value, k]); });
      return { curve, points };
    });
    const all = lines.flatMap(({ points }) => points);
    image.replaceChildren();
    readout.textContent = "";
    if (!all.length) { image.append(draw("text", { x: 10, y: 24 }, isLog ? "no positive values" : "no values")); return; }
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const [x, y] of all) { x0 = Math.min(x0, x); x1 = Math.max(x1, x); y0 = Math.min(y0, y); y1 = Math.max(y1, y); }
    if (x0 === x1) { x0 -= 1; x1 += 1; }
    if (y0 === y1) { const gap = Math.abs(y0) / 10 || 1; y0 -= gap; y1 += gap; }
    const margin = (y1 - y0) * 0.05; y0 -= margin; y1 += margin;
    const toX = (x) => left + (x - x0) / (x1 - x0) * (width - left - right), toY = (y) => height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom);
    const label = { step: short, relative: lapse, time: moment }[mode];
    for (const tick of ticks(y0, y1, 5)) {
      image.append(draw("line", { class: "grid-line", x1: left, x2: width - right, y1: toY(tick), y2: toY(tick) }));
      image.append(draw("text", { x: left - 6, y: toY(tick) + 4, "text-anchor": "end" }, short(isLog ? 10 ** tick : tick)));
    }
    for (const tick of mode === "time" ? [x0, x1] : ticks(x0, x1, 4)) {
      const anchor = mode === "time" ? (tick === x0 ? "start" : "end") : toX(tick) > width - 30 ? "end" : "middle";
      image.append(draw("text", { x: toX(tick), y: height - 6, "text-anchor": anchor }, label(tick)));
    }
    for (const { curve, points } of lines) {
      if (points.length === 1) image.append(draw("circle", { cx: toX(points[0][0]), cy: toY(points[0][1]), r: 3, fill: colour.get(curve.run) }));
      const path = points.map(([x, y], k) => (k && points[k - 1][2] === points[k][2] - 1 ? "L" : "M") + toX(x).toFixed(1) + " " + toY(y).toFixed(1)).join("");
      image.append(draw("path", { d: path, fill: "none", stroke: colour.get(curve.run), "stroke-width": 1.6, "stroke-linejoin": "round" }));
    }
    const thinned = chart.curves.filter((curve) => curve.total > curve.steps.length);
    const gaps = chart.curves.some((curve) => curve.values.includes(null)) ? "; NaN and infinities are not drawn" : "";
    const rest = (thinned.length ? "thinned out from " + number(Math.max(...thinned.map((curve) => curve.total))) + " points" : number(Math.max(...chart.curves.map((curve) => curve.total))) + " points") + gaps;
    readout.textContent = rest;
    const marker = draw("line", { class: "grid-line", x1: 0, x2: 0, y1: top, y2: height - bottom, visibility: "hidden" });
    image.append(marker);
    image.onpointermove = (event) => {
      const box = image.getBoundingClientRect(), x = x0 + ((event.clientX - box.left) / box.width * width - left) / (width - left - right) * (x1 - x0);
      const near = lines.filter(({ points }) => points.length).map(({ curve, points }) => {
        let low = 0, high = points.length - 1;
        while (low < high) { const middle = (low + high) >> 1; if (points[middle][0] < x) low = middle + 1; else high = middle; }
        if (low && Math.abs(points[low - 1][0] - x) < Math.abs(points[low][0] - x)) low -= 1;
        return [curve, points[low]];
      });
      if (!near.length) return;
      const at = near[0][1][0];
      marker.setAttribute("x1", toX(at)); marker.setAttribute("x2", toX(at)); marker.setAttribute("visibility", "visible");
      readout.textContent = label(at) + ": " + near.slice(0, 4).map(([curve, point]) => (near.length > 1 ? curve.run + " " : "") + number(isLog ? 10 ** point[1] : point[1])).join(", ");
    };
    image.onpointerleave = () => { marker.setAttribute("visibility", "hidden"); readout.textContent = rest; };
  }
}
if (data.charts) curves(data.charts);
