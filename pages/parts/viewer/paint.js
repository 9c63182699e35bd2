// Turn slices into pixels. Everything here works on plain arrays and a 2D canvas context.

import { PLANES, scaleBarMm, voxelToPane } from "./geometry.js";
import { outlines } from "./masks.js";

// Colours of the mask labels, told apart by readers with red-green colour blindness too.
export const LABELS = {
  1: { name: "necrosis", colour: [241, 91, 181] },
  2: { name: "oedema", colour: [76, 201, 240] },
  3: { name: "enhancing tumour", colour: [255, 183, 3] },
};

/** RGBA of a grey slice: a pixel is a * raw + b, see `scaleOf`. */
export function paintGrey(slice, [a, b], out) {
  for (let n = 0, p = 0; n < slice.length; n++, p += 4) {
    out[p] = out[p + 1] = out[p + 2] = a * slice[n] + b;
    out[p + 3] = 255;
  }
  return out;
}

/** RGBA of a label slice: every shown label filled with `opacity`. */
export function paintMask(slice, opacity, shown, out) {
  out.fill(0);
  const fill = Math.round(opacity * 255);
  for (let n = 0, p = 0; n < slice.length; n++, p += 4) {
    const label = slice[n];
    if (!label || !shown[label]) continue;
    const [r, g, b] = LABELS[label].colour;
    out[p] = r;
    out[p + 1] = g;
    out[p + 2] = b;
    out[p + 3] = fill;
  }
  return out;
}

/** The border of every shown label as a thin line at screen resolution, whatever the zoom. */
export function drawOutlines(target, slice, columns, rows, place, shown) {
  const sx = place.width / columns;
  const sy = place.height / rows;
  for (const [label, lines] of Object.entries(outlines(slice, columns, rows, shown))) {
    target.strokeStyle = `rgb(${LABELS[label].colour.join(",")})`;
    target.lineWidth = 1.6;
    target.beginPath();
    for (let n = 0; n < lines.length; n += 4) {
      target.moveTo(place.left + lines[n] * sx, place.top + lines[n + 1] * sy);
      target.lineTo(place.left + lines[n + 2] * sx, place.top + lines[n + 3] * sy);
    }
    target.stroke();
  }
}

/** Colour of a heat value 0-1: dark violet, red, yellow. */
export function heatColour(value) {
  const stops = [
    [0, [60, 15, 110]],
    [0.5, [225, 65, 75]],
    [1, [252, 240, 120]],
  ];
  const upper = value < 0.5 ? 1 : 2;
  const [a, low] = stops[upper - 1];
  const [b, high] = stops[upper];
  const t = (value - a) / (b - a);
  return low.map((v, c) => Math.round(v + (high[c] - v) * t));
}

const HEAT = Array.from({ length: 256 }, (_, v) => heatColour(v / 255));

/** RGBA of a heat slice: low values fade out, so that the anatomy stays visible. */
export function paintHeat(slice, opacity, out) {
  for (let n = 0, p = 0; n < slice.length; n++, p += 4) {
    const value = slice[n];
    const [r, g, b] = HEAT[value];
    out[p] = r;
    out[p + 1] = g;
    out[p + 2] = b;
    out[p + 3] = value < 38 ? 0 : Math.round(opacity * Math.min(255, value * 1.2));
  }
  return out;
}

/** One pane's drawing surfaces, kept between draws. */
export class PanePainter {
  constructor() {
    this.layers = new Map();
  }

  layer(name, columns, rows) {
    let layer = this.layers.get(name);
    if (!layer || layer.canvas.width !== columns || layer.canvas.height !== rows) {
      const canvas = document.createElement("canvas");
      canvas.width = columns;
      canvas.height = rows;
      const context = canvas.getContext("2d");
      layer = { canvas, context, pixels: context.createImageData(columns, rows) };
      this.layers.set(name, layer);
    }
    return layer;
  }

  /** Draw a slice {slice, columns, rows} through `paint(slice, rgba)` onto `target` at `place`.
   * smooth: false, "low" or "high". */
  stamp(target, name, { slice, columns, rows }, place, smooth, paint) {
    const layer = this.layer(name, columns, rows);
    paint(slice, layer.pixels.data);
    layer.context.putImageData(layer.pixels, 0, 0);
    target.imageSmoothingEnabled = Boolean(smooth);
    if (smooth) target.imageSmoothingQuality = smooth;
    target.drawImage(layer.canvas, place.left, place.top, place.width, place.height);
  }
}

/** Text with a dark edge, readable on any grey. */
function label(target, text, x, y, align, baseline, colour = "#e8edf2") {
  target.textAlign = align;
  target.textBaseline = baseline;
  target.lineWidth = 3;
  target.strokeStyle = "rgba(0,0,0,0.75)";
  target.strokeText(text, x, y);
  target.fillStyle = colour;
  target.fillText(text, x, y);
}

/** Crosshair with a gap in the middle, so that it does not hide what it points at. */
export function drawCrosshair(target, cross, place, shape, plane, pane) {
  const [x, y] = voxelToPane(cross, place, shape, plane);
  const gap = 9;
  target.strokeStyle = "rgba(120, 200, 255, 0.7)";
  target.lineWidth = 1;
  target.beginPath();
  target.moveTo(0, y);
  target.lineTo(x - gap, y);
  target.moveTo(x + gap, y);
  target.lineTo(pane.width, y);
  target.moveTo(x, 0);
  target.lineTo(x, y - gap);
  target.moveTo(x, y + gap);
  target.lineTo(x, pane.height);
  target.stroke();
}

/** Which of the titles (widest first) fits beside the letter in the middle of the top edge, and the
 * lines of title and window: 0 beside the letter, the next ones below it. */
export function notesPlace(titleWidths, windowWidth, paneWidth) {
  const beside = paneWidth / 2 - 14; // half a letter and a gap
  const fitting = titleWidths.findIndex((width) => 8 + width <= beside);
  const title = fitting < 0 ? titleWidths.length - 1 : fitting;
  const titleLine = fitting < 0 ? 1 : 0;
  return { title, titleLine, windowLine: 18 + windowWidth <= beside ? 0 : titleLine + 1 };
}

/** Side letters [left, right, top, bottom], title (the widest that fits), window and scale bar. */
export function drawNotes(target, edges, [titles, window], place, pane) {
  const [left, right, top, bottom] = edges;
  target.font = "600 14px system-ui, sans-serif";
  label(target, left, 8, pane.height / 2, "left", "middle");
  label(target, right, pane.width - 18, pane.height / 2, "right", "middle");
  label(target, top, pane.width / 2, 8, "center", "top");
  label(target, bottom, pane.width / 2, pane.height - 8, "center", "bottom");
  target.font = "12px system-ui, sans-serif";
  const wide = (text) => target.measureText(text).width;
  const { title, titleLine, windowLine } = notesPlace(titles.map(wide), wide(window), pane.width);
  label(target, titles[title], 8, 8 + 18 * titleLine, "left", "top", "#d3dde6");
  if (wide(window) < pane.width - 26) label(target, window, pane.width - 18, 8 + 18 * windowLine, "right", "top", "#b9c6d2");
  const mm = scaleBarMm(place.scale, Math.min(140, pane.width / 3));
  const length = mm * place.scale;
  const y = pane.height - 12;
  target.strokeStyle = "#e8edf2";
  target.lineWidth = 2;
  target.beginPath();
  target.moveTo(10, y - 5);
  target.lineTo(10, y);
  target.lineTo(10 + length, y);
  target.lineTo(10 + length, y - 5);
  target.stroke();
  label(target, mm >= 10 ? `${mm / 10} cm` : `${mm} mm`, 10, y - 8, "left", "bottom", "#b9c6d2");
}

/** The longest axial diameter of a lesion and the longest across it, as dashed lines. */
export function drawDiameters(target, ends, words) {
  for (const [colour, width] of [["rgba(0,0,0,0.7)", 3.5], ["#ffffff", 1.5]]) {
    target.strokeStyle = colour;
    target.lineWidth = width;
    target.setLineDash(width > 2 ? [] : [6, 4]);
    target.beginPath();
    for (let n = 0; n + 1 < ends.length; n += 2) {
      target.moveTo(...ends[n]);
      target.lineTo(...ends[n + 1]);
    }
    target.stroke();
  }
  target.setLineDash([]);
  const [x, y] = ends.reduce((low, p) => (p[1] > low[1] ? p : low));
  target.font = "600 12px system-ui, sans-serif";
  label(target, words, x + 6, y + 6, "left", "top", "#ffffff");
}

/** True where a lesion is on this slice: from its first to its last voxel along the axis. */
export function lesionOnSlice(lesion, through, index, sizeMm) {
  if (lesion.box) return lesion.box[through][0] <= index && index <= lesion.box[through][1];
  return Math.abs(lesion.voxel[through] - index) * sizeMm <= lesion.radiusMm;
}

/** Numbers beside the lesions that this slice cuts; the chosen one is framed. */
export function drawNumbers(target, lesions, chosen, place, shape, plane, index, sizesMm) {
  const { across, down, through } = PLANES[plane];
  target.font = "600 12px system-ui, sans-serif";
  lesions.forEach((lesion, n) => {
    if (!lesionOnSlice(lesion, through, index, sizesMm[through])) return;
    const middle = lesion.box ? lesion.box.map(([low, high]) => (low + high) / 2) : lesion.voxel;
    const reach = (axis) => (lesion.box ? ((lesion.box[axis][1] - lesion.box[axis][0] + 1) * sizesMm[axis]) / 2 : lesion.radiusMm);
    const radius = Math.max(reach(across), reach(down)) * place.scale;
    const [x, y] = voxelToPane(middle, place, shape, plane);
    if (n === chosen) {
      target.strokeStyle = "#ffffff";
      target.lineWidth = 1.5;
      target.setLineDash([5, 4]);
      target.beginPath();
      target.arc(x, y, Math.max(12, radius * 1.35), 0, 2 * Math.PI);
      target.stroke();
      target.setLineDash([]);
    }
    const off = radius * 0.75 + 7;
    label(target, String(lesion.number), x + off, y - off, "left", "bottom", n === chosen ? "#ffffff" : "#cfd9e2");
  });
}

/** The bar at the right: where the slice stands, and where lesions are. ys: {now, ticks}. */
export function drawSliceBar(target, { now, ticks }, pane) {
  const x = pane.width - 6;
  target.fillStyle = "rgba(200, 215, 228, 0.28)";
  target.fillRect(x - 1, 14, 2, pane.height - 28);
  target.fillStyle = "rgb(140, 205, 245)";
  for (const y of ticks) target.fillRect(x - 4, y - 1, 8, 2);
  target.fillStyle = "#d3dde6";
  target.fillRect(x - 3, now - 9, 6, 18);
}

/** The scale of a map of evidence: a ramp from 0 to 1 at the lower right. */
export function drawHeatScale(target, pane) {
  const width = Math.min(120, pane.width / 4);
  const [x, y] = [pane.width - width - 36, pane.height - 26];
  for (let n = 0; n < width; n++) {
    target.fillStyle = `rgb(${HEAT[Math.round((n / width) * 255)].join(",")})`;
    target.fillRect(x + n, y, 1.5, 8);
  }
  target.font = "12px system-ui, sans-serif";
  label(target, "0", x, y + 10, "center", "top");
  label(target, "1", x + width, y + 10, "center", "top");
  label(target, "Evidence, this lesion", x + width, y - 4, "right", "bottom", "#d3dde6");
}
