// The viewer: three linked planes on canvas. Python sends a small description (`data`) and, apart
// from it, the volumes as blocks (blocks.js). Every change of slice, window, overlay or zoom happens
// here; nothing goes back to the server.
//
// data: {case, shape, affine, toSource, sizesMm, sequences: [{id, key, name}], mask: id | null,
//        heat: {id, name} | null, lesions: [{number, world}], jump: {nonce, world} | null}
// shape, affine and blocks are in RAS voxel order; toSource leads to the file's own voxel numbers.

import { PLANES, clamp, clampVoxel, contentBox, paneToVoxel, placeSlice, transform, worldInWords } from "./geometry.js";
import { LABELS, PanePainter, drawCrosshair, drawNotes, paintGrey, paintHeat, paintMask } from "./paint.js";
import { blockStore } from "./blocks.js";

const HELP = [
  ["Wheel, arrow keys", "next or previous slice (Page keys: ten)"],
  ["Click or drag", "move the crosshair in all planes"],
  ["Right button drag", "window: across for width, up and down for level"],
  ["Shift drag, middle button", "move the image"],
  ["Ctrl wheel, + and −", "zoom; 0 resets view and window"],
  ["1 to 4", "sequence"],
  ["O, G", "segmentation, Grad-CAM on or off"],
  ["L", "next lesion"],
  ["Space", "hold everything back: images only"],
  ["Double click, Enter", "make this plane the large one; F shows it alone"],
];

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

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export class Viewer {
  constructor(parent) {
    this.store = blockStore();
    this.painters = {};
    this.panes = {};
    this.data = null;
    this.seenJump = null;
    this.frame = 0;
    this.root = element("div", { class: "viewer", role: "group", "aria-label": "Image viewer" });
    this.buildPanes();
    this.bar = element("div", { class: "bar", role: "toolbar", "aria-label": "Viewer settings" });
    this.status = element("div", { class: "status" });
    this.live = element("div", { class: "live", "aria-live": "polite" });
    this.help = this.buildHelp();
    this.root.append(this.bar, this.grid, this.status, this.live, this.help);
    parent.append(this.root);
    this.onBlocks = () => this.draw();
    this.store.addEventListener("change", this.onBlocks);
    this.root.addEventListener("keydown", (event) => this.onKey(event));
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.grid);
  }

  destroy() {
    this.store.removeEventListener("change", this.onBlocks);
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
    this.root.remove();
  }

  // ---- data in -------------------------------------------------------------------------------

  update(data) {
    const sameCase = this.data?.case === data.case;
    const newHeat = data.heat && data.heat.id !== this.data?.heat?.id;
    this.data = data;
    const ids = data.sequences.map((s) => s.id);
    this.store.keep([...ids, data.mask, data.heat?.id].filter(Boolean));
    if (!sameCase) this.resetState();
    if (newHeat) this.state.showHeat = true;
    if (data.jump && data.jump.nonce !== this.seenJump) {
      this.seenJump = data.jump.nonce;
      this.state.cross = clampVoxel(worldToVoxel(data.affine, data.jump.world), data.shape);
    }
    this.buildBar();
    this.draw();
  }

  resetState() {
    const { shape, sequences } = this.data;
    const keys = sequences.map((s) => s.key);
    this.state = {
      cross: shape.map((n) => Math.floor(n / 2)),
      sequence: Math.max(0, keys.indexOf("t1c")),
      windows: {},
      showMask: true,
      showHeat: true,
      hidden: false,
      maskOpacity: 0.2,
      heatOpacity: 0.6,
      labels: { 1: true, 2: true, 3: true },
      zoom: 1,
      panMm: [0, 0],
      box: null, // what must be seen at zoom 1: the head, once an image is there
      main: this.state?.main ?? "axial",
      single: this.state?.single ?? false,
      hover: null,
      lesion: -1,
    };
    this.seenJump = null;
  }

  get image() {
    return this.store.ready.get(this.data.sequences[this.state.sequence].id);
  }

  get window() {
    const { id } = this.data.sequences[this.state.sequence];
    const [low, high] = this.image?.header.window ?? [0, 255];
    return (this.state.windows[id] ??= this.image
      ? { level: (low + high) / 2, width: high - low }
      : undefined) ?? { level: 128, width: 256 };
  }

  // ---- drawing -------------------------------------------------------------------------------

  draw() {
    if (this.frame || !this.data) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      const started = performance.now();
      for (const plane of Object.keys(PLANES)) this.drawPane(plane);
      this.showStatus();
      this.root.dataset.drawMs = (performance.now() - started).toFixed(2);
    });
  }

  drawPane(plane) {
    const { canvas } = this.panes[plane];
    const box = canvas.parentElement;
    const pane = { width: box.clientWidth, height: box.clientHeight };
    if (!pane.width || !pane.height) return;
    const ratio = globalThis.devicePixelRatio || 1;
    if (canvas.width !== Math.round(pane.width * ratio) || canvas.height !== Math.round(pane.height * ratio)) {
      canvas.width = Math.round(pane.width * ratio);
      canvas.height = Math.round(pane.height * ratio);
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, pane.width, pane.height);
    const { shape, sizesMm, sequences } = this.data;
    const { state } = this;
    if (!state.box && this.image) {
      state.box = contentBox(this.image.data, shape, 12);
    }
    const place = placeSlice(shape, sizesMm, plane, pane, state);
    this.panes[plane].place = place;
    const index = state.cross[PLANES[plane].through];
    if (this.image) this.drawLayers(context, plane, index, place);
    else this.drawWaiting(context, pane);
    if (!state.hidden) drawCrosshair(context, state.cross, place, shape, plane, pane);
    const count = shape[PLANES[plane].through];
    const title = `${plane[0].toUpperCase()}${plane.slice(1)} ${index + 1}/${count}`;
    drawNotes(context, plane, pane.width < 260 ? `${index + 1}/${count}` : title, place, pane);
    const name = sequences[state.sequence].name;
    canvas.setAttribute("aria-label", `${title}, ${name}. Arrow keys change the slice.`);
    this.root.dataset[plane] = String(index);
  }

  drawLayers(context, plane, index, place) {
    const { state, store, data } = this;
    const painter = (this.painters[plane] ??= new PanePainter());
    const window = this.window;
    painter.stamp(context, "grey", this.image, plane, index, place, true, (slice, rgba) =>
      paintGrey(slice, window, rgba),
    );
    if (state.hidden) return;
    const heat = data.heat && state.showHeat && store.ready.get(data.heat.id);
    if (heat) {
      painter.stamp(context, "heat", heat, plane, index, place, true, (slice, rgba) =>
        paintHeat(slice, state.heatOpacity, rgba),
      );
    }
    const mask = data.mask && state.showMask && store.ready.get(data.mask);
    if (mask) {
      const columns = mask.header.shape[PLANES[plane].across];
      painter.stamp(context, "mask", mask, plane, index, place, false, (slice, rgba) =>
        paintMask(slice, columns, state.maskOpacity, state.labels, rgba),
      );
    }
  }

  drawWaiting(context, pane) {
    const failed = this.store.failed.get(this.data.sequences[this.state.sequence].id);
    context.font = "14px system-ui, sans-serif";
    context.fillStyle = "#9fb0bf";
    context.textAlign = "center";
    const text = failed ? `This image could not be read: ${failed}` : "Loading the image";
    context.fillText(text, pane.width / 2, pane.height / 2);
  }

  showStatus() {
    const { affine, toSource, sequences, shape, mask, lesions } = this.data;
    const { state } = this;
    const voxel = clampVoxel(state.hover ?? state.cross, shape);
    const offset = voxel[0] + shape[0] * (voxel[1] + shape[1] * voxel[2]);
    const parts = [`${worldInWords(transform(affine, voxel))} mm`];
    parts.push(`voxel ${transform(toSource, voxel).map((v) => Math.round(v)).join(", ")}`);
    if (this.image) {
      const { low, high } = this.image.header;
      const value = low + (this.image.data[offset] / 255) * (high - low);
      parts.push(`${sequences[state.sequence].name} ${value.toPrecision(3)}`);
    }
    const block = mask && !state.hidden && state.showMask && this.store.ready.get(mask);
    const label = block ? LABELS[block.data[offset]]?.name : null;
    if (label) parts.push(label);
    if (state.lesion >= 0 && lesions[state.lesion]) parts.push(`lesion ${lesions[state.lesion].number}`);
    this.status.textContent = parts.join("   ·   ");
    this.root.dataset.ready = this.image ? "1" : "0";
    this.root.dataset.sequence = sequences[state.sequence].key;
    this.root.dataset.mask = mask && this.store.ready.has(mask) ? "1" : "0";
    this.syncBar();
  }

  // ---- panes and pointer ---------------------------------------------------------------------

  buildPanes() {
    this.grid = element("div", { class: "grid" });
    for (const plane of Object.keys(PLANES)) {
      const canvas = element("canvas", { tabindex: "0", role: "img" });
      const box = element("div", { class: "pane", "data-plane": plane }, canvas);
      this.panes[plane] = { canvas, box, place: null };
      canvas.addEventListener("wheel", (event) => this.onWheel(event, plane), { passive: false });
      canvas.addEventListener("pointerdown", (event) => this.onDown(event, plane));
      canvas.addEventListener("pointermove", (event) => this.onMove(event, plane));
      canvas.addEventListener("pointerleave", () => this.setHover(null));
      canvas.addEventListener("pointerup", () => (this.drag = null));
      canvas.addEventListener("pointercancel", () => (this.drag = null));
      canvas.addEventListener("dblclick", () => this.setMain(plane));
      canvas.addEventListener("contextmenu", (event) => event.preventDefault());
      this.grid.append(box);
    }
  }

  locate(event, plane) {
    const { place } = this.panes[plane];
    return paneToVoxel(event.offsetX, event.offsetY, place, this.data.shape, plane, this.state.cross);
  }

  setHover(voxel) {
    if (!this.state) return;
    this.state.hover = voxel;
    this.draw();
  }

  onWheel(event, plane) {
    event.preventDefault();
    if (event.ctrlKey) this.zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15);
    else this.step(plane, event.deltaY < 0 ? 1 : -1);
  }

  onDown(event, plane) {
    if (!this.panes[plane].place) return;
    event.preventDefault();
    const { canvas } = this.panes[plane];
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const kind = event.button === 2 ? "window" : event.button === 1 || event.shiftKey ? "pan" : "cross";
    this.drag = { kind, x: event.clientX, y: event.clientY };
    if (kind === "cross") this.moveCross(this.locate(event, plane));
  }

  onMove(event, plane) {
    if (!this.panes[plane].place) return;
    if (!this.drag) return this.setHover(this.locate(event, plane));
    const dx = event.clientX - this.drag.x;
    const dy = event.clientY - this.drag.y;
    Object.assign(this.drag, { x: event.clientX, y: event.clientY });
    if (this.drag.kind === "cross") this.moveCross(this.locate(event, plane));
    else if (this.drag.kind === "window") this.moveWindow(dx, -dy);
    else {
      const { scale } = this.panes[plane].place;
      this.state.panMm = [this.state.panMm[0] + dx / scale, this.state.panMm[1] + dy / scale];
      this.draw();
    }
  }

  moveCross(voxel) {
    this.state.cross = clampVoxel(voxel, this.data.shape);
    this.state.hover = null;
    this.draw();
  }

  moveWindow(widthBy, levelBy) {
    const window = this.window;
    window.width = clamp(window.width + widthBy, 4, 512);
    window.level = clamp(window.level + levelBy, 0, 255);
    this.draw();
  }

  step(plane, by) {
    const { through } = PLANES[plane];
    const cross = [...this.state.cross];
    cross[through] += by;
    this.moveCross(cross);
  }

  zoomBy(factor) {
    this.state.zoom = clamp(this.state.zoom * factor, 0.5, 12);
    this.draw();
  }

  setMain(plane) {
    this.state.main = plane;
    this.syncBar();
    this.draw();
  }

  nextLesion() {
    const { lesions, affine, shape } = this.data;
    if (!lesions.length) return;
    this.state.lesion = (this.state.lesion + 1) % lesions.length;
    const lesion = lesions[this.state.lesion];
    this.live.textContent = `Lesion ${lesion.number} of ${lesions.length}`;
    this.moveCross(clampVoxel(worldToVoxel(affine, lesion.world), shape));
  }

  // ---- keyboard ------------------------------------------------------------------------------

  onKey(event) {
    if (!this.state || event.target.matches("input, select") || event.ctrlKey || event.metaKey) return;
    const onButton = event.target.matches("button");
    const focused = event.target.closest?.(".pane")?.dataset.plane ?? this.state.main;
    const { state } = this;
    const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 };
    const toggles = { o: "showMask", g: "showHeat", f: "single", " ": "hidden" };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const number = Number.parseInt(key, 10);
    if (onButton && (key === " " || key === "Enter")) return;
    if (key in steps) this.step(focused, steps[key]);
    else if (key in toggles) state[toggles[key]] = !state[toggles[key]];
    else if (number >= 1 && number <= this.data.sequences.length) state.sequence = number - 1;
    else if (key === "0") this.resetView();
    else if (key === "+" || key === "=") this.zoomBy(1.15);
    else if (key === "-") this.zoomBy(1 / 1.15);
    else if (key === "l") this.nextLesion();
    else if (key === "Enter") this.setMain(focused);
    else if (key === "?" || key === "h") this.help.hidden = !this.help.hidden;
    else if (key === "Escape") this.help.hidden = true;
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.draw();
  }

  resetView() {
    const { id } = this.data.sequences[this.state.sequence];
    delete this.state.windows[id];
    Object.assign(this.state, { zoom: 1, panMm: [0, 0] });
    this.draw();
  }

  // ---- toolbar -------------------------------------------------------------------------------

  toggle(text, title, get, set) {
    const button = element("button", { type: "button", title }, text);
    button.addEventListener("click", () => {
      set();
      this.draw();
    });
    this.syncers.push(() => button.setAttribute("aria-pressed", String(Boolean(get()))));
    return button;
  }

  slider(text, title, range, get, set) {
    const [min, max, step] = range;
    const input = element("input", { type: "range", min, max, step, "aria-label": title });
    input.addEventListener("input", () => {
      set(Number(input.value));
      this.draw();
    });
    this.syncers.push(() => (input.value = String(get())));
    return element("label", { title }, text, input);
  }

  buildBar() {
    this.syncers = [];
    const { state } = this;
    const group = (name, ...nodes) => element("div", { class: "group", role: "group", "aria-label": name }, ...nodes);
    const sequences = this.data.sequences.map((s, n) =>
      this.toggle(s.name, `${s.name} (key ${n + 1})`, () => state.sequence === n, () => (state.sequence = n)),
    );
    const overlays = [];
    if (this.data.mask) overlays.push(this.maskGroup(group));
    if (this.data.heat) overlays.push(this.heatGroup(group));
    const layout = [
      this.toggle("Large only", "Show the large plane alone (key F)", () => state.single, () => (state.single = !state.single)),
      element("button", { type: "button", title: "Reset zoom, position and window (key 0)", onclick: () => this.resetView() }, "Reset"),
      element("button", { type: "button", title: "Keys and mouse (key ?)", onclick: () => (this.help.hidden = !this.help.hidden) }, "Help"),
    ];
    const first = [group("Sequence", ...sequences), this.windowGroup(group), group("View", ...layout)];
    const rows = overlays.length ? [first, overlays] : [first];
    this.bar.replaceChildren(...rows.map((row) => element("div", { class: "row" }, ...row)));
    this.syncBar();
  }

  windowGroup(group) {
    return group(
      "Window",
      this.slider("Level", "Window level", [0, 255, 1], () => this.window.level, (v) => (this.window.level = v)),
      this.slider("Width", "Window width", [4, 512, 1], () => this.window.width, (v) => (this.window.width = v)),
    );
  }

  maskGroup(group) {
    const { state } = this;
    const labels = [3, 1, 2].map((n) => {
      const { name, colour } = LABELS[n];
      const button = this.toggle(name, `Show ${name}`, () => state.labels[n], () => (state.labels[n] = !state.labels[n]));
      const swatch = element("span", { class: "swatch" });
      swatch.style.background = `rgb(${colour.join(",")})`;
      button.prepend(swatch);
      return button;
    });
    return group(
      "Segmentation",
      this.toggle("Segmentation", "Segmentation on or off (key O)", () => state.showMask, () => (state.showMask = !state.showMask)),
      ...labels,
      this.slider("Fill", "Opacity of the segmentation", [0, 1, 0.05], () => state.maskOpacity, (v) => (state.maskOpacity = v)),
    );
  }

  heatGroup(group) {
    const { state } = this;
    return group(
      "Grad-CAM",
      this.toggle(this.data.heat.name, "Grad-CAM on or off (key G)", () => state.showHeat, () => (state.showHeat = !state.showHeat)),
      element("span", { class: "ramp", title: "Low to high influence" }),
      this.slider("Strength", "Opacity of Grad-CAM", [0, 1, 0.05], () => state.heatOpacity, (v) => (state.heatOpacity = v)),
    );
  }

  syncBar() {
    for (const sync of this.syncers ?? []) sync();
    const { main, single } = this.state;
    this.root.classList.toggle("single", single);
    for (const [plane, { box }] of Object.entries(this.panes)) box.classList.toggle("main", plane === main);
  }

  buildHelp() {
    const rows = HELP.map(([keys, text]) => element("tr", {}, element("th", {}, keys), element("td", {}, text)));
    const close = element("button", { type: "button", onclick: () => (this.help.hidden = true) }, "Close");
    return element("div", { class: "help", role: "dialog", "aria-label": "Keys and mouse", hidden: true }, element("table", {}, ...rows), close);
  }
}

/** Streamlit calls this at the first mount and again whenever `data` changes. */
export default function ({ data, parentElement }) {
  if (!data) return undefined;
  const viewer = (parentElement.bmcoreViewer ??= new Viewer(parentElement));
  viewer.update(data);
  return () => {
    viewer.destroy();
    delete parentElement.bmcoreViewer;
  };
}
