// Reader marks: what a reader says of a place in the images. A mark is
//   {id, version, kind, points: [[x, y, z], …] in world RAS mm, lesion: number | null, plane: name | null}
// "accept" and "reject" judge a lesion of the models, "missed" is a lesion that the reader sees; the
// measurements are those of measures.js. The lists are never changed in place.

import { PLANES, voxelToPane, worldToVoxel } from "./geometry.js";
import { isMeasure, measureWords } from "./measures.js";

const MEASURED = "#f1f5f9";
export const MARK_COLOURS = { accept: "#7be495", reject: "#ff8a80", missed: "#ffe066" };
const NEAR_MM = 3; // a point mark is drawn on slices within this distance

/** Lists {marks, removed} as they are once `changes` ({mark, action, after, content}) have arrived. A
 * change that was made on an older version than the one that is there has arrived already. */
export function applyChanges(marks, removed, changes) {
  let there = [...marks];
  let gone = [...removed];
  for (const { mark: id, action, after, content } of changes) {
    const known = [...there, ...gone].find((mark) => mark.id === id);
    if (after !== (known?.version ?? 0) || (action !== "set" && !known)) continue;
    const next = { ...known, ...content, id, version: after + 1 };
    const at = there.findIndex((mark) => mark.id === id);
    gone = gone.filter((mark) => mark.id !== id);
    if (action === "removed") {
      there = there.filter((mark) => mark.id !== id);
      gone.push(next);
    } else if (at >= 0) there[at] = next;
    else there.push(next);
  }
  return { marks: there, removed: gone };
}

export function isVerdict(mark) {
  return mark.kind === "accept" || mark.kind === "reject";
}

/** "accept", "reject" or null for a lesion number. */
export function verdictOf(marks, lesion) {
  return marks.find((m) => m.lesion === lesion && isVerdict(m))?.kind ?? null;
}

export function markWords(mark) {
  if (isMeasure(mark.kind)) return measureWords(mark);
  if (mark.kind === "missed") return "lesion marked by you";
  return `lesion ${mark.lesion} ${mark.kind}ed`;
}

/** True where a mark is to be drawn on this slice. */
export function onSlice(mark, affine, sizesMm, plane, index) {
  const { through } = PLANES[plane];
  const away = mark.points.map((p) => Math.abs(worldToVoxel(affine, p)[through] - index));
  if (isMeasure(mark.kind)) return mark.plane === plane && away.every((v) => v < 0.51);
  return away[0] * sizesMm[through] <= NEAR_MM;
}

/** Draw the marks of one slice. `scene`: {place, shape, affine, sizesMm, plane, index}. */
export function drawMarks(target, marks, scene) {
  const { place, shape, affine, sizesMm, plane, index } = scene;
  for (const mark of marks) {
    if (!onSlice(mark, affine, sizesMm, plane, index)) continue;
    const at = mark.points.map((p) => voxelToPane(worldToVoxel(affine, p), place, shape, plane));
    // Twice: a wide dark line below, so that the mark is seen on white and on black.
    for (const [colour, width] of [["rgba(0,0,0,0.8)", 4.5], [MARK_COLOURS[mark.kind] ?? MEASURED, 2]]) {
      target.strokeStyle = colour;
      target.lineWidth = width;
      target.beginPath();
      tracePath(target, mark, at);
      target.stroke();
    }
    if (isMeasure(mark.kind)) drawWords(target, markWords(mark), at);
  }
}

function traceLine(target, [[x, y], [u, v]]) {
  target.moveTo(x, y);
  target.lineTo(u, v);
  const angle = Math.atan2(v - y, u - x) + Math.PI / 2;
  const [a, b] = [Math.cos(angle) * 5, Math.sin(angle) * 5];
  for (const [p, q] of [[x, y], [u, v]]) {
    target.moveTo(p - a, q - b);
    target.lineTo(p + a, q + b);
  }
}

function tracePath(target, mark, at) {
  const [x, y] = at[0];
  if (mark.kind === "length" || mark.kind === "diameters") {
    for (let n = 0; n + 1 < at.length; n += 2) traceLine(target, [at[n], at[n + 1]]);
  } else if (isMeasure(mark.kind)) {
    at.forEach(([u, v], n) => (n ? target.lineTo(u, v) : target.moveTo(u, v)));
    if (mark.kind === "area") target.closePath();
  } else if (mark.kind === "missed") {
    target.rect(x - 8, y - 8, 16, 16);
  } else if (mark.kind === "accept") {
    target.moveTo(x - 8, y);
    target.lineTo(x - 2, y + 7);
    target.lineTo(x + 9, y - 7);
  } else {
    target.moveTo(x - 7, y - 7);
    target.lineTo(x + 7, y + 7);
    target.moveTo(x + 7, y - 7);
    target.lineTo(x - 7, y + 7);
  }
}

/** Words beside the rightmost point, with a dark edge. */
function drawWords(target, words, at) {
  const [x, y] = at.reduce((right, p) => (p[0] > right[0] ? p : right));
  target.font = "600 13px system-ui, sans-serif";
  target.textAlign = "left";
  target.textBaseline = "middle";
  target.lineWidth = 3;
  target.strokeStyle = "rgba(0,0,0,0.8)";
  target.strokeText(words, x + 8, y);
  target.fillStyle = MEASURED;
  target.fillText(words, x + 8, y);
}
