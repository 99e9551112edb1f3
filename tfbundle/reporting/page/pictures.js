// Draws what the details of a tensor show: its histogram, and a picture of its elements.
const LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

function histogram(counts, low, high) {
  const most = Math.max(...counts), width = 320, height = 90, step = width / counts.length;
  const image = draw("svg", { viewBox: "0 0 " + width + " " + height, role: "img" });
  image.append(draw("title", {}, "Histogram from " + number(low) + " to " + number(high)));
  counts.forEach((value, k) => {
    const tall = value ? Math.max(1, value / most * (height - 4)) : 0;
    const bar = draw("rect", { x: k * step + 0.5, y: height - tall, width: step - 1, height: tall, fill: "var(--hist)" });
    bar.append(draw("title", {}, number(low + (high - low) * k / counts.length) + " to " + number(low + (high - low) * (k + 1) / counts.length) + ": " + number(value)));
    image.append(bar);
  });
  image.append(draw("line", { x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5, stroke: "var(--soft)" }));
  const ends = make("div", "ends");
  ends.append(make("span", "", number(low)), make("span", "", number(high)));
  return [make("h3", "", "Histogram"), image, ends];
}
function picture([rows, columns, low, high, levels, isSampled]) {
  const canvas = make("canvas");
  canvas.width = columns; canvas.height = rows;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Picture of " + rows + " rows and " + columns + " columns");
  const context = canvas.getContext("2d"), pixels = context.createImageData(columns, rows);
  for (let k = 0; k < rows * columns; k++) {
    const level = LEVELS.indexOf(levels[k]);
    pixels.data.set(level < 0 ? [200, 30, 160, 255] : colour(level / 63, low < 0 && high > 0), 4 * k);
  }
  context.putImageData(pixels, 0, 0);
  canvas.style.aspectRatio = columns + " / " + Math.max(rows, columns / 3);
  const ends = make("div", "ends");
  ends.append(make("span", "", number(low)), make("span", "", number(high)));
  const hint = isSampled ? "Evenly spaced rows and columns; elements between them are not drawn." : "Every element; the last dimension runs across.";
  return [make("h3", "", "Picture"), canvas, ends, make("p", "hint", hint)];
}
function colour(part, isDiverging) {
  const mix = (a, b, t) => [...a.map((value, k) => Math.round(value + (b[k] - value) * t)), 255];
  if (!isDiverging) return part < 0.5 ? mix([250, 250, 245], [110, 170, 190], part * 2) : mix([110, 170, 190], [16, 52, 96], part * 2 - 1);
  return part < 0.5 ? mix([20, 78, 140], [247, 247, 245], part * 2) : mix([247, 247, 245], [170, 50, 38], part * 2 - 1);
}
