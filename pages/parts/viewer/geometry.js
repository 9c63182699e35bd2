// Pure geometry of the viewer: no DOM, no state. Tested by tests/js/viewer.test.mjs.
//
// Volumes are in RAS voxel order: i grows to the patient's Right, j to Anterior, k to Superior,
// and i is the fastest axis in memory. Images follow the radiological convention: the patient's
// right is on the left of axial and coronal images, anterior is on the left of sagittal ones.
// So in every plane the first column and the first row hold the highest index.

export const PLANES = {
  axial: { across: 0, down: 1, through: 2, edges: ["R", "L", "A", "P"] },
  coronal: { across: 0, down: 2, through: 1, edges: ["R", "L", "S", "I"] },
  sagittal: { across: 1, down: 2, through: 0, edges: ["A", "P", "S", "I"] },
};
/** Name of a plane, and its short form where there is little room. */
export const PLANE_NAMES = { axial: ["Axial", "Ax"], coronal: ["Coronal", "Cor"], sagittal: ["Sagittal", "Sag"] };

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** Columns and rows of a slice of this plane, in voxels. */
export function sliceSize(shape, plane) {
  const { across, down } = PLANES[plane];
  return [shape[across], shape[down]];
}

/**
 * Letters at the edges of a plane [left, right, top, bottom], read from the affine. An axis that
 * leans more than 15 degrees out of its direction carries a second letter ("RA"), largest first.
 */
export function edgeLabels(affine, plane) {
  const { across, down } = PLANES[plane];
  const letters = [
    ["R", "L"],
    ["A", "P"],
    ["S", "I"],
  ];
  const towards = (axis, sign) => {
    const column = [0, 1, 2].map((row) => affine[row][axis] * sign);
    const length = Math.hypot(...column);
    return column
      .map((v, row) => ({ share: Math.abs(v) / length, letter: letters[row][v >= 0 ? 0 : 1] }))
      .filter(({ share }) => share > 0.26)
      .sort((a, b) => b.share - a.share)
      .map(({ letter }) => letter)
      .join("");
  };
  return [towards(across, 1), towards(across, -1), towards(down, 1), towards(down, -1)];
}

/** Copy one slice out of a volume into `out` (row by row, radiological convention). */
export function extractSlice(data, shape, plane, index, out) {
  const { across, down, through } = PLANES[plane];
  const stride = [1, shape[0], shape[0] * shape[1]];
  const columns = shape[across];
  const rows = shape[down];
  const start = index * stride[through];
  let n = 0;
  for (let row = rows - 1; row >= 0; row--) {
    const line = start + row * stride[down];
    for (let column = columns - 1; column >= 0; column--) {
      out[n++] = data[line + column * stride[across]];
    }
  }
  return out;
}

/**
 * Where a slice lies inside a pane: {left, top, width, height, scale}, in pane pixels.
 * `scale` is pixels per mm and the same in both directions, so anisotropic voxels look right.
 * view: `zoom` 1 fits `box` into the pane, `panMm` [across, down] moves the image; `box` holds the
 * first and last voxel along each axis that must be seen (all of the volume if null).
 */
export function placeSlice(shape, sizesMm, plane, pane, view = {}) {
  const { zoom = 1, panMm = [0, 0] } = view;
  const box = view.box ?? shape.map((n) => [0, n - 1]);
  const fit = (axis, pixels) => pixels / ((box[axis][1] - box[axis][0] + 1) * sizesMm[axis]);
  const { across, down } = PLANES[plane];
  const scale = Math.min(fit(across, pane.width), fit(down, pane.height)) * zoom;
  const start = (axis, pixels, pan) => {
    const middle = shape[axis] - (box[axis][0] + box[axis][1] + 1) / 2; // from the first column
    return pixels / 2 - (middle * sizesMm[axis] - pan) * scale;
  };
  return {
    left: start(across, pane.width, panMm[0]),
    top: start(down, pane.height, panMm[1]),
    width: shape[across] * sizesMm[across] * scale,
    height: shape[down] * sizesMm[down] * scale,
    scale,
  };
}

/** The part of a view that belongs to one plane; `view.pan` [i, j, k] in mm moves the image. */
export function planeView(view, plane) {
  const { across, down } = PLANES[plane];
  return { zoom: view.zoom, panMm: [view.pan[across], view.pan[down]], box: view.box };
}

/** Movement in mm along one direction that keeps what lies at `pixel` still when the scale changes. */
export function panForZoom(panMm, pixel, paneLength, scale, nextScale) {
  return panMm + (pixel - paneLength / 2) * (1 / nextScale - 1 / scale);
}

/** The pan [i, j, k] in mm that brings a voxel into the middle of every pane. */
export function panTo(voxel, shape, sizesMm, box) {
  const seen = box ?? shape.map((n) => [0, n - 1]);
  return shape.map((n, axis) => {
    const middle = n - (seen[axis][0] + seen[axis][1] + 1) / 2;
    return (middle - (n - 0.5 - voxel[axis])) * sizesMm[axis];
  });
}

/** A box (first and last voxel along each axis) with a margin, or null. */
export function withMargin(box, marginShare = 0.04) {
  if (!box) return null;
  return box.map(([low, high]) => {
    const margin = (high - low + 1) * marginShare;
    return [low - margin, high + margin];
  });
}

/** Pane pixel -> voxel [i, j, k] (fractional; a voxel's centre is its whole number). */
export function paneToVoxel(x, y, place, shape, plane, cross) {
  const { across, down } = PLANES[plane];
  const voxel = [...cross];
  voxel[across] = shape[across] - 0.5 - ((x - place.left) / place.width) * shape[across];
  voxel[down] = shape[down] - 0.5 - ((y - place.top) / place.height) * shape[down];
  return voxel;
}

/** Voxel -> pane pixel [x, y] of its centre. */
export function voxelToPane(voxel, place, shape, plane) {
  const { across, down } = PLANES[plane];
  return [
    place.left + ((shape[across] - 0.5 - voxel[across]) / shape[across]) * place.width,
    place.top + ((shape[down] - 0.5 - voxel[down]) / shape[down]) * place.height,
  ];
}

export function clampVoxel(voxel, shape) {
  return voxel.map((value, axis) => clamp(Math.round(value), 0, shape[axis] - 1));
}

/** Apply a 4x4 matrix (rows of numbers) to a point. */
export function transform(matrix, point) {
  return [0, 1, 2].map(
    (r) =>
      matrix[r][0] * point[0] + matrix[r][1] * point[1] + matrix[r][2] * point[2] + matrix[r][3],
  );
}

function inverse3(matrix) {
  const [[a, b, c, x], [d, e, f, y], [g, h, i, z]] = matrix;
  const det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  const m = [
    [e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d],
  ].map((row) => row.map((v) => v / det));
  return m.map((row) => [...row, -(row[0] * x + row[1] * y + row[2] * z)]);
}

/** World RAS mm -> voxel, for an affine given as rows. */
export function worldToVoxel(affine, world) {
  return transform(inverse3(affine), world);
}

/** Distance in mm between two world points. */
export function distanceMm(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

/**
 * World RAS mm in words: "34.2 L  12.0 P  22.1 S" where the world's origin lies well inside of the
 * head, so that the letters name the patient's sides; else plain numbers, because a left lesion with
 * an R beside its number would mislead.
 */
export function worldInWords(world, originInside = true) {
  if (!originInside) return `x ${world[0].toFixed(1)}  y ${world[1].toFixed(1)}  z ${world[2].toFixed(1)}`;
  const letters = [
    ["R", "L"],
    ["A", "P"],
    ["S", "I"],
  ];
  return world
    .map((v, axis) => `${Math.abs(v).toFixed(1)} ${letters[axis][v >= 0 ? 0 : 1]}`)
    .join("  ");
}

/** True where the world's origin lies in the middle third of the volume from left to right. */
export function originInside(affine, shape) {
  const origin = worldToVoxel(affine, [0, 0, 0]);
  const share = origin.map((v, axis) => v / (shape[axis] - 1));
  return share[0] > 1 / 3 && share[0] < 2 / 3 && share.every((v) => v > 0 && v < 1);
}

/** Length of a scale bar: the longest of 1, 2, 5, 10, 20, 50, 100 mm within `maxPixels`. */
export function scaleBarMm(pixelsPerMm, maxPixels) {
  const choices = [100, 50, 20, 10, 5, 2, 1];
  return choices.find((mm) => mm * pixelsPerMm <= maxPixels) ?? 1;
}
