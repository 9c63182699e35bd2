// Hanging protocols: which planes of which sequences are side by side. Pure: no DOM, no state.
//
// A reader's settings, kept for the reader by Python:
// "prior" (an earlier examination beside) is for the case at hand and is never kept.
//   {layout, main, pair: [key, key], four: [key, …], drag: "cross" | "scroll", presets: {key: name}}
// Sequences are named by their keys (t1n, t1c, t2w, t2f), because cases differ in what they hold.

import { PLANES } from "./geometry.js";

export const LAYOUTS = {
  three: "Three planes",
  two: "Two sequences",
  four: "Four sequences",
  one: "One plane",
  prior: "Earlier beside",
};
const ORDER = ["t1n", "t1c", "t2w", "t2f"]; // from left to right
const PAIRS = ["t1c", "t2f", "t2w", "t1n"]; // the likeliest partners first
export const SLABS_MM = [0, 5, 10, 20];
export const MINUS = "t1c-t1n"; // key of the subtraction

/** Sequence numbers of a new case: {sequence, second, four}, as `settings` asks for where they exist. */
export function hang(sequences, settings = {}) {
  const keys = sequences.map((s) => s.key);
  const at = (key) => keys.indexOf(key);
  const first = Math.max(0, at("t1c"));
  const [left, right] = settings.pair ?? [];
  const sequence = at(left) >= 0 ? at(left) : first;
  const second = at(right) >= 0 && at(right) !== sequence ? at(right) : partner(keys, sequence);
  const usual = ORDER.filter((key) => at(key) >= 0);
  const asked = (settings.four ?? []).filter((key) => at(key) >= 0);
  const four = (asked.length === usual.length ? asked : usual).map(at);
  return { sequence, second, four: four.length ? four : [first] };
}

/** The sequence to show beside `number`: another one where there is one. */
export function partner(keys, number) {
  const found = PAIRS.map((key) => keys.indexOf(key)).find((n) => n >= 0 && n !== number);
  return found ?? Math.max(0, keys.findIndex((_, n) => n !== number));
}

/** The settings in a state, for the next case. */
export function settingsOf(state, sequences, presets) {
  const key = (n) => sequences[n]?.key;
  return {
    layout: state.layout === "prior" ? state.layoutBefore : state.layout,
    main: state.main,
    pair: [key(state.sequence), key(state.second)],
    four: state.four.map(key),
    drag: state.tool === "scroll" ? "scroll" : state.tool === "cross" ? "cross" : state.drag,
    presets,
  };
}

/** What of a reader's settings a case begins with. */
export function beginWith(sequences, settings) {
  const { layout, main, drag } = settings ?? {};
  const scroll = drag === "scroll";
  return {
    ...hang(sequences, settings ?? {}),
    layout: layout in LAYOUTS && layout !== "prior" ? layout : "three",
    main: main in PLANES ? main : "axial",
    drag: scroll ? "scroll" : "cross",
    tool: scroll ? "scroll" : "cross",
  };
}

/** The sequences of a case and, where both images are there, the subtraction T1 Gd − T1. */
export function withSubtraction(sequences) {
  const [minuend, subtrahend] = ["t1c", "t1n"].map((key) => sequences.find((s) => s.key === key));
  if (!minuend || !subtrahend) return sequences;
  const id = `${minuend.id} − ${subtrahend.id}`;
  const words = "T1 Gd − T1: what takes up contrast";
  return [...sequences, { id, key: MINUS, name: "T1 Gd − T1", words, parts: [minuend.id, subtrahend.id] }];
}

/** How many slices of this thickness make a slab. */
export function slabSlices(slabMm, sizeMm) {
  return Math.max(1, Math.round(slabMm / sizeMm));
}

/** Where the slice of a plane stands on the bar of a pane this high: the top slice above. */
export function barPosition(index, count, height, margin = 14) {
  return margin + (1 - index / Math.max(1, count - 1)) * (height - 2 * margin);
}

export function barSlice(y, count, height, margin = 14) {
  const share = 1 - (y - margin) / Math.max(1, height - 2 * margin);
  return Math.round(Math.min(1, Math.max(0, share)) * (count - 1));
}

/**
 * Slices that a wheel event asks for, {steps, left}: `left` is what the next event adds to. A mouse's
 * notch is one slice; a trackpad's small steps are summed. Sideways scrolling counts nothing.
 */
export function wheelSteps({ deltaX = 0, deltaY, deltaMode = 0, wheelDeltaY }, left = 0) {
  if (Math.abs(deltaX) > Math.abs(deltaY) || !deltaY) return { steps: 0, left };
  const notches = deltaX === 0 && wheelDeltaY ? wheelDeltaY / 120 : NaN;
  const way = Number.isInteger(notches) ? notches : -deltaY * [1 / 100, 1 / 3, 1][deltaMode];
  const sum = Math.sign(left) === -Math.sign(way) ? way : left + way;
  const steps = Math.trunc(sum + Math.sign(sum) * 1e-9) || 0;
  return { steps, left: sum - steps };
}
