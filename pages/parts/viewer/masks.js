// Pure work on label volumes: outlines, lesions, the brush, brush strokes as runs. No DOM, no state.
// Volumes are in RAS voxel order, i fastest (see geometry.js); a lesion is enhancing tumour (3) and
// necrosis (1) that touch, corners included.

import { PLANES } from "./geometry.js";

/**
 * The border of every shown label in one slice as line segments, in columns and rows:
 * {label: [x0, y0, x1, y1, …]}. Straight borders are one segment each.
 */
export function outlines(slice, columns, rows, shown) {
  let [left, right, top, bottom] = [columns, -1, rows, -1];
  for (let n = 0; n < slice.length; n++) {
    if (!slice[n]) continue;
    const x = n % columns;
    const y = (n / columns) | 0;
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < top) top = y;
    if (y > bottom) bottom = y;
  }
  const found = {};
  if (right < 0) return found;
  const at = (x, y) => (x < 0 || y < 0 || x >= columns || y >= rows ? 0 : slice[x + y * columns]);
  for (const label of [1, 2, 3]) {
    if (!shown[label]) continue;
    const lines = [];
    const scan = (start, end, from, to, differs, add) => {
      for (let line = start; line <= end + 1; line++) {
        let open = -1;
        for (let n = from; n <= to + 1; n++) {
          const border = n <= to && differs(line, n);
          if (border && open < 0) open = n;
          else if (!border && open >= 0) {
            add(line, open, n);
            open = -1;
          }
        }
      }
    };
    const is = (x, y) => at(x, y) === label;
    scan(top, bottom, left, right, (y, x) => is(x, y) !== is(x, y - 1), (y, a, b) => lines.push(a, y, b, y));
    scan(left, right, top, bottom, (x, y) => is(x, y) !== is(x - 1, y), (x, a, b) => lines.push(x, a, x, b));
    if (lines.length) found[label] = lines;
  }
  return found;
}

/** The lesion that holds a voxel: {count, centre: [i, j, k]}, or null where there is no tumour core. */
export function lesionAt(data, shape, voxel) {
  const core = (offset) => data[offset] === 1 || data[offset] === 3;
  const [ni, nj, nk] = shape;
  const first = voxel[0] + ni * (voxel[1] + nj * voxel[2]);
  if (!core(first)) return null;
  const seen = new Set([first]);
  const stack = [first];
  const sum = [0, 0, 0];
  while (stack.length) {
    const offset = stack.pop();
    const i = offset % ni;
    const j = ((offset / ni) | 0) % nj;
    const k = (offset / (ni * nj)) | 0;
    sum[0] += i;
    sum[1] += j;
    sum[2] += k;
    for (let z = Math.max(0, k - 1); z <= Math.min(nk - 1, k + 1); z++)
      for (let y = Math.max(0, j - 1); y <= Math.min(nj - 1, j + 1); y++)
        for (let x = Math.max(0, i - 1); x <= Math.min(ni - 1, i + 1); x++) {
          const next = x + ni * (y + nj * z);
          if (!core(next) || seen.has(next)) continue;
          seen.add(next);
          stack.push(next);
        }
  }
  return { count: seen.size, centre: sum.map((v) => v / seen.size) };
}

/** Index of the listed lesion whose centre is within `toleranceMm` of a voxel, nearest first; -1 if none. */
export function nearestLesion(centres, voxel, sizesMm, toleranceMm) {
  let best = -1;
  let least = toleranceMm;
  centres.forEach((centre, n) => {
    const away = Math.hypot(...centre.map((v, axis) => (v - voxel[axis]) * sizesMm[axis]));
    if (away <= least) [best, least] = [n, away];
  });
  return best;
}

/**
 * Paint a disc on the slice through `voxel`; the voxel itself always counts. brush: {plane, radiusMm,
 * label, takes: null or a test that a voxel must pass}. Old values go to `undo` (offset -> label)
 * unless they are there already. Returns how many changed.
 */
export function paintDisc(data, shape, sizesMm, voxel, { plane, radiusMm, label, takes }, undo) {
  const { across, down } = PLANES[plane];
  const stride = [1, shape[0], shape[0] * shape[1]];
  const centre = voxel.map(Math.round);
  const reach = (axis) => Math.ceil(radiusMm / sizesMm[axis]);
  let changed = 0;
  for (let a = -reach(across); a <= reach(across); a++) {
    for (let d = -reach(down); d <= reach(down); d++) {
      if ((a || d) && Math.hypot(a * sizesMm[across], d * sizesMm[down]) > radiusMm) continue;
      const at = [...centre];
      at[across] += a;
      at[down] += d;
      if (at.some((v, axis) => v < 0 || v >= shape[axis])) continue;
      const offset = at[0] * stride[0] + at[1] * stride[1] + at[2] * stride[2];
      if (data[offset] === label || (takes && !takes(at))) continue;
      if (!undo.has(offset)) undo.set(offset, data[offset]);
      data[offset] = label;
      changed++;
    }
  }
  return changed;
}

/** What `data` holds at these offsets as [first, count, label, …], in rising order. */
export function strokeRuns(offsets, data) {
  const runs = [];
  for (const offset of [...offsets].sort((a, b) => a - b)) {
    const label = data[offset];
    const last = runs.length - 3;
    if (last >= 0 && runs[last] + runs[last + 1] === offset && runs[last + 2] === label) runs[last + 1]++;
    else runs.push(offset, 1, label);
  }
  return runs;
}

/** Paint such runs. */
export function paintRuns(data, runs) {
  for (let n = 0; n + 2 < runs.length; n += 3) data.fill(runs[n + 2], runs[n], runs[n] + runs[n + 1]);
}
