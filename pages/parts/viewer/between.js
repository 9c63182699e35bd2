// Slices between two painted ones: the outline is carried from one to the other by the distance to
// it (shape-based interpolation, Raya and Udupa, IEEE Trans. Med. Imaging 1990). Pure.

import { PLANES } from "./geometry.js";

/** Offsets of voxels of `label` in one slice that hang together with `seeds` (offsets in the slice). */
function shapeOf(data, shape, plane, label, seeds) {
  const { across, down } = PLANES[plane];
  const stride = [1, shape[0], shape[0] * shape[1]];
  const found = new Set();
  const stack = [...seeds].filter((offset) => data[offset] === label);
  while (stack.length) {
    const offset = stack.pop();
    if (found.has(offset)) continue;
    found.add(offset);
    for (const axis of [across, down]) {
      const at = Math.floor(offset / stride[axis]) % shape[axis];
      if (at > 0 && data[offset - stride[axis]] === label) stack.push(offset - stride[axis]);
      if (at < shape[axis] - 1 && data[offset + stride[axis]] === label) stack.push(offset + stride[axis]);
    }
  }
  return found;
}

/** Signed distance in mm to the edge of a shape, negative outside, on the pixels of a box. */
function distances(inside, columns, rows, sizes) {
  const edge = [];
  const at = (x, y) => x >= 0 && y >= 0 && x < columns && y < rows && inside[x + y * columns];
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < columns; x++)
      for (const [dx, dy] of [[1, 0], [0, 1], [-1, 0], [0, -1]])
        if (at(x, y) && !at(x + dx, y + dy)) edge.push([x + dx / 2, y + dy / 2]);
  return Float64Array.from(inside, (is, n) => {
    const [x, y] = [n % columns, Math.floor(n / columns)];
    let least = Infinity;
    for (const [u, v] of edge) least = Math.min(least, Math.hypot((x - u) * sizes[0], (y - v) * sizes[1]));
    return is ? least : -least;
  });
}

/**
 * Offsets to paint between two strokes {plane, index, label, offsets}; [] where they do not fit: another
 * plane or label, neighbouring slices, nothing of the label there any more.
 */
export function between(data, shape, sizesMm, first, second) {
  const { plane, label } = first;
  const gap = Math.abs(first.index - second.index);
  if (plane !== second.plane || label !== second.label || label === 0 || gap < 2) return [];
  const { across, down, through } = PLANES[plane];
  const stride = [1, shape[0], shape[0] * shape[1]];
  const place = (offset) => [across, down].map((axis) => Math.floor(offset / stride[axis]) % shape[axis]);
  const shapes = [first, second].map((stroke) => [...shapeOf(data, shape, plane, label, stroke.offsets)].map(place));
  if (shapes.some((points) => !points.length)) return [];
  const all = shapes.flat();
  const low = [0, 1].map((side) => Math.min(...all.map((p) => p[side])) - 1);
  const [columns, rows] = [0, 1].map((side) => Math.max(...all.map((p) => p[side])) + 1 - low[side] + 1);
  const fields = shapes.map((points) => {
    const inside = new Uint8Array(columns * rows);
    for (const [x, y] of points) inside[x - low[0] + (y - low[1]) * columns] = 1;
    return distances(inside, columns, rows, [sizesMm[across], sizesMm[down]]);
  });
  const painted = [];
  const step = Math.sign(second.index - first.index);
  for (let n = 1; n < gap; n++) {
    const share = n / gap;
    for (let p = 0; p < columns * rows; p++) {
      if (fields[0][p] * (1 - share) + fields[1][p] * share <= 0) continue;
      const [x, y] = [low[0] + (p % columns), low[1] + Math.floor(p / columns)];
      if (x < 0 || y < 0 || x >= shape[across] || y >= shape[down]) continue;
      painted.push(x * stride[across] + y * stride[down] + (first.index + n * step) * stride[through]);
    }
  }
  return painted;
}
