// Mouse, touch and keyboard of the viewer. Each function takes the viewer and changes its state.

import { PLANES, clamp, panForZoom, placeSlice, planeView } from "./geometry.js";
import { barSlice, wheelSteps } from "./layouts.js";
import { MEASURES, isMeasure } from "./measures.js";

const DRAG_STEP = 7; // pixels of the way of a finger or a mouse for one slice
const STILL = 5; // a pointer that moved less than this has clicked
const PAUSE_MS = 300; // after which a wheel begins anew
export const BAR_PIXELS = 16; // width of the slice bar at the right of a plane
const FINGER_BAR_PIXELS = 44;
const LOOKING = ["cross", "scroll", "window", "pan", "bar"]; // what can be done with an earlier examination
const NO_MARKS = "Marks belong to the case; open the earlier examination itself to mark it";

// ---- pointer ---------------------------------------------------------------------------------

export function listen(viewer, pane) {
  const { canvas } = pane;
  canvas.addEventListener("wheel", (event) => onWheel(viewer, pane, event), { passive: false });
  canvas.addEventListener("pointerdown", (event) => onDown(viewer, pane, event));
  canvas.addEventListener("pointermove", (event) => onMove(viewer, pane, event));
  canvas.addEventListener("pointerleave", () => viewer.setHover(null));
  canvas.addEventListener("pointerup", (event) => onUp(viewer, pane, event));
  canvas.addEventListener("pointercancel", (event) => onUp(viewer, pane, event, true));
  canvas.addEventListener("dblclick", () => viewer.setMain(viewer.planeOf(pane)));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("focus", () => (viewer.focused = pane));
}

function onWheel(viewer, pane, event) {
  event.preventDefault();
  if (!viewer.state) return;
  if (event.ctrlKey) return zoomAt(viewer, pane, event.deltaY < 0 ? 1.15 : 1 / 1.15, event.offsetX, event.offsetY);
  const fresh = event.timeStamp - (pane.wheeledAt ?? 0) > PAUSE_MS;
  pane.wheeledAt = event.timeStamp;
  const { steps, left } = wheelSteps(event, fresh ? 0 : pane.wheeled);
  pane.wheeled = left;
  if (steps) viewer.step(viewer.planeOf(pane), steps, pane);
}

/** Zoom so that what lies under pane pixel (x, y) stays there. */
export function zoomAt(viewer, pane, factor, x, y) {
  const { state, data } = viewer;
  const plane = viewer.planeOf(pane);
  const zoom = clamp(state.zoom * factor, 0.5, 16);
  const size = { width: pane.box.clientWidth, height: pane.box.clientHeight };
  const scaleAt = (z) =>
    placeSlice(data.shape, data.sizesMm, plane, size, planeView({ ...state, zoom: z }, plane)).scale;
  const [before, after] = [scaleAt(state.zoom), scaleAt(zoom)];
  const { across, down } = PLANES[plane];
  const pan = [...state.pan];
  pan[across] = panForZoom(pan[across], x ?? size.width / 2, size.width, before, after);
  pan[down] = panForZoom(pan[down], y ?? size.height / 2, size.height, before, after);
  Object.assign(state, { zoom, pan });
  viewer.draw();
}

function movePan(viewer, pane, dx, dy) {
  const { across, down } = PLANES[viewer.planeOf(pane)];
  const pan = [...viewer.state.pan];
  pan[across] += dx / pane.place.scale;
  pan[down] += dy / pane.place.scale;
  viewer.state.pan = pan;
  viewer.draw();
}

function kindOf(viewer, pane, event) {
  if (event.button === 2) return "window";
  const wide = event.pointerType === "touch" ? FINGER_BAR_PIXELS : BAR_PIXELS;
  if (event.button === 0 && event.offsetX > pane.size.width - wide) return "bar";
  if (event.button === 1 || event.shiftKey) return "pan";
  if (viewer.line && viewer.state.tool === "cross") return viewer.line.kind; // begun by a key
  if (event.pointerType === "touch" && viewer.state.tool === "cross") return "scroll";
  return viewer.state.tool;
}

/** What a pointer does in a pane: nothing is marked on an earlier examination. */
function allowed(viewer, pane, kind) {
  if (!viewer.isPrior(pane) || LOOKING.includes(kind)) return kind;
  viewer.say(NO_MARKS);
  return "cross";
}

function onDown(viewer, pane, event) {
  if (!pane.place || !viewer.state) return;
  event.preventDefault();
  pane.canvas.focus({ preventScroll: true });
  pane.canvas.setPointerCapture(event.pointerId);
  viewer.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
  if (viewer.pointers.size === 2) {
    viewer.cancelStroke();
    viewer.drag = { kind: "pinch" };
    return;
  }
  const kind = allowed(viewer, pane, kindOf(viewer, pane, event));
  viewer.drag = { kind, x: event.clientX, y: event.clientY, moved: 0, left: 0 };
  const voxel = viewer.locate(event, pane);
  if (kind === "cross") viewer.moveCross(voxel, pane);
  else if (kind === "bar") dragBar(viewer, pane, event);
  else if (isMeasure(kind)) viewer.startLine(viewer.planeOf(pane), voxel, kind);
  else if (kind === "brush") viewer.startStroke(viewer.planeOf(pane), voxel, pane);
}

function onMove(viewer, pane, event) {
  if (!pane.place || !viewer.state) return;
  const { drag } = viewer;
  const voxel = viewer.locate(event, pane);
  if (!drag) return viewer.setHover(voxel, pane);
  if (drag.kind === "pinch") return onPinch(viewer, pane, event);
  const dx = event.clientX - drag.x;
  const dy = event.clientY - drag.y;
  drag.moved += Math.abs(dx) + Math.abs(dy);
  Object.assign(drag, { x: event.clientX, y: event.clientY });
  if (drag.kind === "cross") viewer.moveCross(voxel, pane);
  else if (drag.kind === "window") viewer.moveWindow(dx, -dy, pane);
  else if (drag.kind === "bar") dragBar(viewer, pane, event);
  else if (isMeasure(drag.kind)) viewer.moveLine(voxel);
  else if (drag.kind === "brush") viewer.moveStroke(voxel);
  else if (drag.kind === "scroll") scrollByDrag(viewer, pane, dy);
  else if (drag.kind === "pan") movePan(viewer, pane, dx, dy);
}

function scrollByDrag(viewer, pane, dy) {
  const way = viewer.drag.left + dy;
  const slices = Math.trunc(way / DRAG_STEP);
  viewer.drag.left = way - slices * DRAG_STEP;
  if (slices) viewer.step(viewer.planeOf(pane), -slices, pane);
}

/** The slice bar: its top is the last slice. */
function dragBar(viewer, pane, event) {
  const plane = viewer.planeOf(pane);
  const { through } = PLANES[plane];
  const index = barSlice(event.offsetY, viewer.data.shape[through], pane.size.height);
  viewer.step(plane, index - viewer.crossOf(pane)[through], pane);
}

function onPinch(viewer, pane, event) {
  const old = [...viewer.pointers.values()];
  viewer.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
  const now = [...viewer.pointers.values()];
  if (now.length !== 2) return;
  const apart = ([[a, b], [c, d]]) => Math.max(1, Math.hypot(a - c, b - d));
  const middle = ([[a, b], [c, d]]) => [(a + c) / 2, (b + d) / 2];
  const [x, y] = middle(now);
  const [u, v] = middle(old);
  movePan(viewer, pane, x - u, y - v);
  zoomAt(viewer, pane, apart(now) / apart(old), x, y);
}

function onUp(viewer, pane, event, cancelled = false) {
  viewer.pointers.delete(event.pointerId);
  const { drag } = viewer;
  if (!drag || !viewer.state) return;
  if (drag.kind === "pinch") {
    if (!viewer.pointers.size) viewer.drag = null;
    return;
  }
  viewer.drag = null;
  const clicked = !cancelled && drag.moved < STILL;
  if (isMeasure(drag.kind)) viewer.endLine(cancelled);
  else if (drag.kind === "brush") viewer.endStroke(cancelled);
  else if (drag.kind === "missed" && clicked) viewer.markMissed(viewer.locate(event, pane));
  else if (drag.kind === "scroll" && clicked) viewer.moveCross(viewer.locate(event, pane), pane);
  if (clicked && (drag.kind === "cross" || drag.kind === "scroll") && !viewer.isPrior(pane)) viewer.pickLesion();
}

// ---- keyboard --------------------------------------------------------------------------------

const STEPS = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10, Home: -1e6, End: 1e6 };
const TOOLS = { v: "cross", s: "scroll", w: "window", p: "pan", b: "brush" };
const LAYOUT_KEYS = { f: "one", c: "two", q: "four" };
const MEASURE_KEYS = Object.fromEntries(Object.entries(MEASURES).map(([kind, { key }]) => [key.toLowerCase(), kind]));

/** Shift and an arrow key: one voxel along the screen, whatever the plane. */
function nudge(viewer, pane, plane, key) {
  const { across, down } = PLANES[plane];
  const cross = [...viewer.crossOf(pane)];
  if (key === "ArrowLeft") cross[across] += 1; // the left edge holds the highest index
  else if (key === "ArrowRight") cross[across] -= 1;
  else if (key === "ArrowUp") cross[down] += 1;
  else cross[down] -= 1;
  viewer.moveCross(cross, pane);
}

export function onKey(viewer, event) {
  if (!viewer.state || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select, textarea") && event.key !== "Escape") return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.target.matches("button") && (key === "Home" || key === "End" || key === " " || key === "Enter" || key === "Tab")) return;
  if (!act(viewer, key, event)) return;
  event.preventDefault();
  event.stopPropagation(); // Streamlit has keys of its own
  viewer.draw();
}

/** Do what a key stands for; false if it stands for nothing. */
function act(viewer, key, event) {
  const { state } = viewer;
  const pane = viewer.focusedPane();
  const plane = viewer.planeOf(pane);
  const number = Number.parseInt(key, 10);
  if (key in STEPS && event.shiftKey && key.startsWith("Arrow")) nudge(viewer, pane, plane, key);
  else if (key in STEPS) viewer.step(plane, STEPS[key], pane);
  else if (viewer.isPrior(pane) && (key === "m" || key in MEASURE_KEYS)) viewer.say(NO_MARKS);
  else if (number >= 1 && number <= viewer.ownSequences.length) viewer.setSequence(number - 1, pane);
  else if (key === "0") viewer.resetView();
  else if (key === "+" || key === "=") zoomAt(viewer, pane, 1.15);
  else if (key === "-") zoomAt(viewer, pane, 1 / 1.15);
  else if (key === "o") viewer.flip("showMask", "Segmentation");
  else if (key === "g") viewer.flip("showHeat", "Evidence map");
  else if (key === " ") viewer.flip("shown", "All overlays");
  else if (key === "c" && event.shiftKey) viewer.data.prior && viewer.setLayout(state.layout === "prior" ? "three" : "prior");
  else if (key in LAYOUT_KEYS) viewer.setLayout(state.layout === LAYOUT_KEYS[key] ? "three" : LAYOUT_KEYS[key]);
  else if (key === "n") viewer.nextPlane();
  else if (key === "t") viewer.nextSlab();
  else if (key === "i") viewer.nextPreset();
  else if (key === "l") viewer.nextLesion(event.shiftKey ? -1 : 1);
  else if (key === "Enter") viewer.setMain(plane);
  else if (key === "a") viewer.judge("accept");
  else if (key === "x") viewer.judge("reject");
  else if (key === "m") viewer.markMissed(state.cross);
  else if (key in MEASURE_KEYS) viewer.measureByKey(plane, MEASURE_KEYS[key], event.shiftKey && key === "k");
  else if (key === "j") viewer.flipBrushRange();
  else if (key === "z") viewer.fillBetween();
  else if (key === "y") viewer.ownMarks.toggle();
  else if (key === ".") viewer.toolbar.showMenu(viewer.toolbar.menu.hidden);
  else if (key === "u") event.shiftKey ? viewer.redo() : viewer.undo();
  else if (key === "[" || key === "]") viewer.setBrush(state.brushMm + (key === "]" ? 1 : -1));
  else if (key in TOOLS) viewer.setTool(state.tool === TOOLS[key] ? "cross" : TOOLS[key]);
  else if (key === "?" || key === "h") viewer.showHelp(viewer.help.hidden);
  else if (key === "Escape") viewer.escape();
  else return false;
  return true;
}
