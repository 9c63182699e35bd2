// Grey values of the images: what a voxel is worth in the file's units, slices of them, and windows.
// An image is a block (blocks.js), the difference of two, {minuend, subtrahend, factor, header}, or one
// of an earlier examination on the case's grid (prior.js).
// Pure: no DOM, no state.

import { PLANES, extractSlice } from "./geometry.js";
import { movedSlice, movedVoxel } from "./prior.js";

/** The grey value of the voxel [i, j, k], or null while only a preview has come. */
export function valueAt(image, voxel, shape) {
  if (image.minuend) {
    const [a, b] = [valueAt(image.minuend, voxel, shape), valueAt(image.subtrahend, voxel, shape)];
    return a === null || b === null ? null : a - image.factor * b;
  }
  const { header, data } = image;
  if (image.into) {
    const raw = movedVoxel(image, voxel);
    return raw !== null && header.kind === "u16" ? header.low + header.step * raw : raw;
  }
  if (header.shape.some((n, axis) => n !== shape[axis])) return null;
  const raw = data[voxel[0] + shape[0] * (voxel[1] + shape[1] * voxel[2])];
  return header.kind === "u16" ? header.low + header.step * raw : raw;
}

/** A grey value in plain digits, as many after the point as the image is worth. */
export function valueInWords(value, { decimals }) {
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? text.replace("-", "") : text;
}

/** A window's width or level: three significant digits say enough. */
export function windowInWords(value) {
  return String(Number(value.toPrecision(3)));
}

/** Numbers a, b: pixel = a * raw + b shows a raw voxel of the image in a window, 0 to 255. */
export function scaleOf({ header }, { level, width }) {
  const a = 255 / width;
  const b = -(level - width / 2) * a;
  return header.kind === "u16" ? [a * header.step, a * header.low + b] : [a, b];
}

/** {slice, columns, rows}: raw voxels of one slice, or the greatest of `slab` slices about it. */
export function greySlice(image, plane, share, slab = 1) {
  const { shape } = image.header;
  const { across, down, through } = PLANES[plane];
  const [columns, rows, count] = [shape[across], shape[down], shape[through]];
  const index = Math.min(count - 1, Math.floor(share * count));
  const first = Math.max(0, index - Math.floor((slab - 1) / 2));
  const last = Math.min(count - 1, index + Math.ceil((slab - 1) / 2));
  const slice = oneSlice(image, plane, index, columns * rows);
  for (let n = first; n <= last; n++) {
    if (n === index) continue;
    const other = oneSlice(image, plane, n, columns * rows);
    for (let p = 0; p < slice.length; p++) if (other[p] > slice[p]) slice[p] = other[p];
  }
  return { slice, columns, rows };
}

function oneSlice(image, plane, index, size) {
  if (image.into) {
    const labels = image.header.kind === "u8";
    return movedSlice(image, plane, index, labels ? new Uint8Array(size) : new Float32Array(size), blackOf(image));
  }
  if (!image.minuend) {
    const { data, header } = image;
    return extractSlice(data, header.shape, plane, index, new data.constructor(size));
  }
  const { minuend, subtrahend, factor } = image;
  const [a, b] = [minuend, subtrahend].map((one) => [oneSlice(one, plane, index, size), unitsOf(one)]);
  return Float32Array.from(a[0], (raw, n) => raw * a[1].step + a[1].low - factor * (b[0][n] * b[1].step + b[1].low));
}

/** The raw voxel that stands for the darkest there is. */
function blackOf({ header }) {
  return header.kind === "f32" ? header.low : 0;
}

function unitsOf({ header }) {
  return header.kind === "u16" ? header : { low: 0, step: 1 };
}

/** A preset {low, high} as {level, width}. */
export function presetWindow({ low, high }) {
  return { level: (low + high) / 2, width: high - low };
}

/** How much a window changes for one pixel of the pointer or one press of a key. */
export function windowStep(header) {
  const { width } = presetWindow(header.presets[0]);
  return width / 256;
}

/** A window within what makes sense for the image. */
export function boundWindow({ level, width }, header) {
  const range = Math.max(header.high - header.low, 1e-6);
  const least = Math.min(presetWindow(header.presets[0]).width, range) / 200;
  return {
    level: Math.min(header.high, Math.max(header.low, level)),
    width: Math.min(4 * range, Math.max(least, width)),
  };
}
