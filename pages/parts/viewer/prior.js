// An earlier examination beside the case: its voxels, looked up on the case's own grid, so that both
// show the same place. Pure: no DOM, no state.
//
// data.prior: {case, linked, matrix, shape, stamp, mask: id | null,
//              sequences: [{id, of: key of the case's own, name, words}],
//              lesions: [{number, world, radiusMm, pair: number of the lesion now | null}]}
// matrix leads from a voxel of the case to one of the earlier examination (RAS voxel order both);
// world is where a lesion lies in the case. stamp changes with the matrix.

import { PLANES, transform } from "./geometry.js";

export const PRIOR = "prior-"; // before the key of a sequence

/** The sequences of a case, and behind them those of its earlier examination. */
export function withPrior(sequences, prior) {
  const more = (prior?.sequences ?? []).map((s) => ({ ...s, key: PRIOR + s.of, prior: true }));
  return [...sequences, ...more];
}

/** Number of the sequence of the earlier examination that stands beside `number`: the same one, else
 * T1 post-gadolinium, else the first; -1 where there is none. */
export function besideOf(sequences, number) {
  const { key } = sequences[number];
  const find = (wanted) => sequences.findIndex((s) => s.prior && s.of === wanted);
  const found = [find(key), find("t1c"), sequences.findIndex((s) => s.prior)];
  return found.find((n) => n >= 0) ?? -1;
}

/** A block of the earlier examination as an image on the case's grid (`shape`). */
export function movedImage(block, { matrix, shape: full, stamp }, shape) {
  const { header, data } = block;
  const step = full.map((n, axis) => Math.max(1, Math.round(n / header.shape[axis]))); // of a preview
  const into = matrix.slice(0, 3).map((row, axis) => row.map((v) => v / step[axis]));
  return { header: { ...header, id: `${header.id} ${stamp}`, shape, box: null }, data, own: header.shape, into };
}

/** The raw voxel nearest to a voxel of the case, or null outside the earlier examination. */
export function movedVoxel({ data, own, into }, voxel) {
  const at = transform(into, voxel).map(Math.round);
  if (at.some((v, axis) => v < 0 || v >= own[axis])) return null;
  return data[at[0] + own[0] * (at[1] + own[1] * at[2])];
}

/** One slice of the case's grid, row by row as geometry.extractSlice: labels nearest, grey values
 * linear between voxel centres; `outside` where the earlier examination has no voxels. */
export function movedSlice(image, plane, index, out, outside = 0) {
  const { across, down, through } = PLANES[plane];
  const { data, own, into, header } = image;
  const { shape } = header;
  const nearest = header.kind === "u8";
  const start = [0, 0, 0];
  start[across] = shape[across] - 1;
  start[through] = index;
  const step = [0, 1, 2].map((axis) => -into[axis][across]);
  let n = 0;
  for (let row = shape[down] - 1; row >= 0; row--) {
    start[down] = row;
    let [x, y, z] = transform(into, start);
    for (let column = 0; column < shape[across]; column++, n++) {
      out[n] = nearest ? closest(data, own, x, y, z, outside) : between3(data, own, x, y, z, outside);
      x += step[0];
      y += step[1];
      z += step[2];
    }
  }
  return out;
}

function closest(data, [nx, ny, nz], x, y, z, outside) {
  const [i, j, k] = [Math.round(x), Math.round(y), Math.round(z)];
  if (i < 0 || j < 0 || k < 0 || i >= nx || j >= ny || k >= nz) return outside;
  return data[i + nx * (j + ny * k)];
}

/** Linear between the eight voxels about a place; the last half voxel at the border is the border's. */
function between3(data, [nx, ny, nz], x, y, z, outside) {
  if (x < -0.5 || y < -0.5 || z < -0.5 || x > nx - 0.5 || y > ny - 0.5 || z > nz - 0.5) return outside;
  const [a, b, c] = [Math.min(Math.max(x, 0), nx - 1), Math.min(Math.max(y, 0), ny - 1), Math.min(Math.max(z, 0), nz - 1)];
  const i = Math.min(Math.floor(a), Math.max(0, nx - 2));
  const j = Math.min(Math.floor(b), Math.max(0, ny - 2));
  const k = Math.min(Math.floor(c), Math.max(0, nz - 2));
  const [u, v, w] = [a - i, b - j, c - k];
  const [di, dj, dk] = [nx > 1 ? 1 : 0, ny > 1 ? nx : 0, nz > 1 ? nx * ny : 0];
  const o = i + nx * (j + ny * k);
  const low = (data[o] * (1 - u) + data[o + di] * u) * (1 - v) + (data[o + dj] * (1 - u) + data[o + dj + di] * u) * v;
  const p = o + dk;
  const high = (data[p] * (1 - u) + data[p + di] * u) * (1 - v) + (data[p + dj] * (1 - u) + data[p + dj + di] * u) * v;
  return low * (1 - w) + high * w;
}
