// How a case was left: slice, sequence, zoom, windows and layout, kept for this browser window, so
// that a reload or another page brings back the same view. Nothing of it goes to the server.

import { clampVoxel } from "./geometry.js";
import { LAYOUTS } from "./layouts.js";

const VIEW_PREFIX = "bmcore view 2";

/** Name of the entry of a reader and case. */
export function viewName({ owner, case: name, reader }) {
  return [VIEW_PREFIX, owner, name, reader].map(encodeURIComponent).join("|");
}

/** Keep `state` under `name`; a window without storage forgets it at a reload. */
export function keepView(storage, name, state) {
  try {
    const { box, ...rest } = state; // the box follows from the image
    storage.setItem(name, JSON.stringify(rest));
  } catch {
    return false;
  }
  return true;
}

/** `fresh` with what was kept under `name`; null where nothing was, or where it does not fit. */
export function loadView(storage, name, fresh, { shape, sequences, mask, prior }) {
  let kept;
  try {
    kept = JSON.parse(storage.getItem(name));
  } catch {
    return null;
  }
  if (!kept || typeof kept !== "object") return null;
  const fits = Object.entries(kept).filter(([key, value]) => key in fresh && sameKind(value, fresh[key]));
  const state = { ...fresh, ...Object.fromEntries(fits), box: null };
  state.cross = clampVoxel(state.cross, shape);
  if (state.apart) state.apart = clampVoxel(state.apart, shape);
  if (!state.four.every((n) => sequences[n])) state.four = fresh.four;
  for (const key of ["sequence", "second"]) if (!sequences[state[key]]) state[key] = fresh[key];
  if (!(state.layout in LAYOUTS)) state.layout = fresh.layout;
  if (state.layout === "prior" && !prior) state.layout = state.layoutBefore;
  if (state.tool === "brush" && !mask) state.tool = "cross";
  return state;
}

function sameKind(value, model) {
  if (Array.isArray(model)) {
    return Array.isArray(value) && value.length === model.length && value.every(Number.isFinite);
  }
  return value !== null && typeof value === typeof model && (typeof value !== "number" || Number.isFinite(value));
}
