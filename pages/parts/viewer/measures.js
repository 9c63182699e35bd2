// Measurements of a reader on one slice, as points in world RAS mm. Pure: no DOM, no state.
//   length: 2 points. diameters: 4, the longest diameter and the longest one across it (RANO-BM).
//   angle: 3, the second is the corner. area: the corners of an outline, closed by itself.

import { distanceMm } from "./geometry.js";

export const MEASURES = {
  length: { points: 2, name: "Length", key: "D", title: "Drag from end to end; length in mm" },
  diameters: { points: 4, name: "Two diameters", key: "R", title: "Drag the longest diameter, then the longest one across it (RANO-BM)" },
  angle: { points: 3, name: "Angle", key: "E", title: "Drag from an end to the corner, then drag the other leg" },
  area: { points: Infinity, name: "Area", key: "K", title: "Drag around it; area in cm²" },
};
export const MOST_POINTS = 200;
const LEAST_MM = 0.05;

export const isMeasure = (kind) => kind in MEASURES;

const minus = (a, b) => a.map((v, n) => v - b[n]);
const plus = (a, b) => a.map((v, n) => v + b[n]);
const times = (a, by) => a.map((v) => v * by);
const dot = (a, b) => a.reduce((sum, v, n) => sum + v * b[n], 0);
const length = (a) => Math.sqrt(dot(a, a));

/** Where the second end of the crossing diameter lies: at a right angle to the first diameter. */
export function acrossFrom(start, end, along) {
  const axis = minus(along[1], along[0]);
  const way = minus(end, start);
  const share = dot(way, axis) / dot(axis, axis);
  return plus(start, minus(way, times(axis, share)));
}

export function angleDegrees([a, corner, b]) {
  const [u, v] = [minus(a, corner), minus(b, corner)];
  return (Math.acos(Math.min(1, Math.max(-1, dot(u, v) / (length(u) * length(v))))) * 180) / Math.PI;
}

/** Area of a flat outline in mm². */
export function areaMm2(points) {
  let sum = [0, 0, 0];
  for (let n = 1; n + 1 < points.length; n++) {
    const [u, v] = [minus(points[n], points[0]), minus(points[n + 1], points[0])];
    sum = plus(sum, [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]);
  }
  return length(sum) / 2;
}

/** At most MOST_POINTS corners, evenly chosen. */
export function thinned(points) {
  if (points.length <= MOST_POINTS) return points;
  return Array.from({ length: MOST_POINTS }, (_, n) => points[Math.floor((n * points.length) / MOST_POINTS)]);
}

/** True where the points say something: no leg is a single place. */
export function complete({ kind, points }) {
  if (!isMeasure(kind)) return false;
  if (kind === "area") return points.length >= 3 && areaMm2(points) > LEAST_MM;
  if (points.length !== MEASURES[kind].points) return false;
  const legs = kind === "angle" ? [[0, 1], [1, 2]] : kind === "length" ? [[0, 1]] : [[0, 1], [2, 3]];
  return legs.every(([a, b]) => distanceMm(points[a], points[b]) > LEAST_MM);
}

export function measureWords({ kind, points }) {
  const mm = (a, b) => distanceMm(points[a], points[b]).toFixed(1);
  if (points.length < 2) return "";
  if (kind === "length") return `${mm(0, 1)} mm`;
  if (kind === "diameters") return points.length < 4 ? `${mm(0, 1)} mm` : `${mm(0, 1)} × ${mm(2, 3)} mm`;
  if (kind === "angle") return points.length < 3 ? "" : `${angleDegrees(points).toFixed(0)}°`;
  if (points.length < 3) return "";
  const area = areaMm2(points);
  return area < 100 ? `${area.toFixed(1)} mm²` : `${(area / 100).toFixed(2)} cm²`;
}
