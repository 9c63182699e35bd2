// The viewer: linked planes on canvas. Python sends a small description (`data`) and, apart from it,
// the volumes as blocks (blocks.js). Every change of slice, window, overlay or zoom happens here.
// Only a chosen lesion, the reader's marks and a corrected segmentation go back (link.js).
//
// data: {case, shape, affine, toSource, sizesMm, sequences: [{id, key, name, words}],
//        mask: id | null, heat: {id, name} | null,
//        lesions: [{number, world, radiusMm, box: [[first, last], …], axial: {slice, ends, mm}}],
//        prior: null | an earlier examination, see prior.js,
//        jump: {nonce, world, lesion} | null, doubt: words on the segmentation | "", canMark, reader, owner, phase, basis, marks: [mark],
//        removed: [mark], saved: {kind: nonce}, refused: {key: words}, problem, note: words | null,
//        savedAt: ISO time | null, keepsSettings, settings: see layouts.js}
// shape, affine and blocks are in RAS voxel order; toSource leads to the file's own voxel numbers.
// Files: geometry, prior, grey, layouts, measures, masks, between and marks are pure; paint and picture draw;
// annotate and own_marks keep marks and the brush, arrangement what stands where; toolbar, controls,
// help, input and link are hands and voice; unsent and memory outlive a reload.

import { PLANES, PLANE_NAMES, clamp, clampVoxel, edgeLabels, originInside, paneToVoxel, panTo, placeSlice, planeView, transform, withMargin, worldInWords, worldToVoxel } from "./geometry.js";
import { blockStore } from "./blocks.js";
import { valueAt, valueInWords, windowInWords } from "./grey.js";
import { beginWith, withSubtraction } from "./layouts.js";
import { lesionAt, nearestLesion } from "./masks.js";
import { MEASURES } from "./measures.js";
import { LABELS, PanePainter, drawNotes } from "./paint.js";
import { movedVoxel, withPrior } from "./prior.js";
import { Arrangement } from "./arrangement.js";
import { Link, savedWords, warning } from "./link.js";
import { listen, onKey } from "./input.js";
import { element } from "./controls.js";
import { Toolbar } from "./toolbar.js";
import { buildHelp } from "./help.js";
import { OwnMarks } from "./own_marks.js";
import { keepView, loadView, viewName } from "./memory.js";

const MEMORY = Symbol.for("bmcore.views"); // what can be undone of each case, while the page lives
const KEEP_MS = 300;
const SPEAK_MS = 700; // after the last step: where one is, for the screen reader
const TOOL_WORDS = {
  ...Object.fromEntries(Object.entries(MEASURES).map(([kind, { name }]) => [kind, name])),
  ...{ cross: "Crosshair", scroll: "Scroll", window: "Window", pan: "Pan", missed: "Mark lesion", brush: "Brush" },
};

export class Viewer extends Arrangement {
  constructor(parent) {
    super();
    this.store = blockStore();
    this.memory = globalThis[MEMORY] ??= new Map();
    this.data = null;
    this.state = null;
    this.seenJump = null;
    this.frame = 0;
    this.pointers = new Map();
    this.root = element("div", { class: "viewer", role: "group", "aria-label": "Image viewer" });
    this.buildPanes();
    this.bar = element("div", { class: "bar", role: "toolbar", "aria-label": "Viewer settings" });
    this.banner = this.buildBanner();
    this.saved = element("span", { class: "saved", role: "status" });
    this.ownMarks = new OwnMarks(this);
    this.touched = false; // since the case was opened
    this.status = element("div", { class: "status" });
    this.doubt = element("span", { class: "doubt", role: "note", hidden: true });
    this.foot = element("div", { class: "foot" }, this.status, this.doubt, this.saved);
    this.live = element("div", { class: "live", "aria-live": "polite" });
    this.where = element("div", { class: "where", "aria-live": "polite" });
    this.presets = {};
    this.help = buildHelp(() => this.showHelp(false));
    this.root.append(this.bar, this.banner, this.grid, this.foot, this.live, this.where, this.help, this.ownMarks.box);
    parent.append(this.root);
    this.onBlocks = () => this.draw();
    this.store.addEventListener("change", this.onBlocks);
    this.root.addEventListener("keydown", (event) => onKey(this, event));
    // Asked for while drawing, a size makes the browser lay the whole page out anew: 3 to 10 ms.
    this.observer = new ResizeObserver((entries) => {
      for (const { target } of entries) {
        const pane = this.panes[target.dataset.plane];
        pane.size = { width: target.clientWidth, height: target.clientHeight };
      }
      this.draw();
    });
    for (const pane of Object.values(this.panes)) this.observer.observe(pane.box);
    this.fitter = new ResizeObserver(() => this.toolbar?.fit());
    this.fitter.observe(this.bar);
    this.link = new Link(() => {
      if (this.data) this.gatherMarks();
      this.draw();
    });
    for (const name of ["pointerdown", "keydown", "wheel"]) {
      this.root.addEventListener(name, () => (this.touched = true), { capture: true, passive: true });
    }
    this.onHide = () => this.remember();
    addEventListener("pagehide", this.onHide);
  }

  destroy() {
    this.remember();
    if (this.settling) this.tellSettings();
    clearTimeout(this.speaking);
    this.fitter.disconnect();
    removeEventListener("pagehide", this.onHide);
    clearTimeout(this.keeping);
    this.link.close();
    this.store.removeEventListener("change", this.onBlocks);
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.rest);
    this.root.remove();
  }

  // ---- data in -------------------------------------------------------------------------------

  update(data) {
    const before = this.data;
    const sameCase = before && before.case === data.case && before.owner === data.owner;
    const named = sameCase && !before.reader && Boolean(data.reader); // nothing else changes by it
    const changed = !sameCase || (before.reader !== data.reader && !named);
    const newHeat = data.heat && data.heat.id !== before?.heat?.id;
    if (changed && before) this.remember();
    this.data = { ...data, sequences: withPrior(withSubtraction(data.sequences), data.prior) };
    this.affine = data.affine;
    data.lesions.forEach((lesion) => (lesion.voxel = worldToVoxel(data.affine, lesion.world)));
    data.prior?.lesions.forEach((lesion) => (lesion.voxel = worldToVoxel(data.affine, lesion.world)));
    const images = [...data.sequences, ...(data.prior?.sequences ?? [])].flatMap((s) => [s.id, `${s.id}/preview`]);
    this.store.keep([...images, data.mask, data.heat?.id, data.prior?.mask].filter(Boolean));
    if (changed) this.open();
    else if (named) this.welcome();
    this.followPrior(sameCase ? before : null);
    if (newHeat) this.state.showHeat = true;
    this.listenTo(data, before);
    if (this.state.lesion >= data.lesions.length) this.state.lesion = -1;
    if (data.jump && data.jump.nonce !== this.seenJump) this.jump(data.jump);
    this.buildBar();
    this.draw();
  }

  /** The toolbar hangs on what there is; a menu that is open stays open. */
  buildBar() {
    const { data } = this;
    const key = JSON.stringify([data.sequences, data.lesions.length, data.mask !== null, data.heat?.name, data.canMark, data.reader, this.state === this.barState]);
    if (key === this.barKey) return;
    const open = this.toolbar && !this.toolbar.menu.hidden;
    this.toolbar = new Toolbar(this);
    this.bar.replaceChildren(...this.toolbar.rows, this.toolbar.menu);
    this.toolbar.sync();
    this.toolbar.fit();
    if (open && this.toolbar.menu.childElementCount) this.toolbar.menu.hidden = false;
    this.barState = this.state;
    this.barKey = JSON.stringify([...JSON.parse(key).slice(0, -1), true]);
  }

  /** Take up what waits for this reader, and what Python has confirmed. */
  listenTo(data, before) {
    const place = { owner: data.owner, case: data.case, reader: data.reader, phase: data.phase };
    const moved = !before || Object.keys(place).some((key) => place[key] !== before[key]);
    this.link.basis = data.basis;
    const taken = moved && this.link.open(place);
    if (!moved) this.link.confirm(data);
    if (moved) ["marks", "mask"].forEach((kind) => this.link.flush(kind));
    this.gatherMarks();
    if (taken) this.say(`What was marked before is now kept under ${data.reader}`);
  }

  jump({ nonce, world, lesion }) {
    this.seenJump = nonce;
    this.state.lesion = this.data.lesions.findIndex((n) => n.number === lesion);
    this.goTo(worldToVoxel(this.affine, world));
  }

  /** Begin with a case, or take it up where this tab left it. */
  open() {
    const { shape, sequences, settings } = this.data;
    this.presets = { ...settings?.presets };
    const fresh = {
      ...beginWith(sequences, settings),
      layoutBefore: "three", // the layout without the earlier examination
      cross: shape.map((n) => Math.floor(n / 2)),
      apart: shape.map((n) => Math.floor(n / 2)), // of an earlier examination that is not linked
      windows: {},
      showMask: true,
      showHeat: true,
      shown: true,
      labels: { 1: true, 2: true, 3: true },
      maskOpacity: 0.2,
      heatOpacity: 0.7,
      slabMm: 0,
      zoom: 1,
      pan: [0, 0, 0],
      box: null,
      lesion: -1,
      brushMm: 6,
      brushLabel: 3,
      brushRange: false,
      brushLow: 0,
      brushHigh: 0,
    };
    const left = this.memory.get(this.memoryKey);
    this.fresh = fresh;
    this.state = this.leftView() ?? { ...fresh };
    this.history = left?.history ?? [];
    this.redone = left?.redone ?? [];
    this.hover = this.drag = this.line = this.stroke = this.focused = this.edit = null;
    this.leg = 0;
    this.told = undefined;
    this.seenJump = left?.seenJump ?? null;
    this.touched = false;
  }

  /** The reader is named: the view stays, unless it was not used and the reader has one of the own. */
  welcome() {
    if (this.touched) return;
    const { sequences, settings } = this.data;
    this.presets = { ...settings?.presets };
    this.state = this.leftView() ?? { ...this.state, ...beginWith(sequences, settings), windows: {} };
  }

  leftView() {
    return loadView(globalThis.sessionStorage, viewName(this.data), this.fresh, this.data);
  }

  get memoryKey() {
    return viewName(this.data);
  }

  remember() {
    if (!this.state) return;
    keepView(globalThis.sessionStorage, viewName(this.data), this.state);
    const { history, redone, seenJump } = this;
    this.memory.set(this.memoryKey, { history, redone, seenJump });
  }

  /** Keep the view a moment after it was changed, also where the page is not closed in order. */
  rememberSoon() {
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => keepView(globalThis.sessionStorage, viewName(this.data), this.state), KEEP_MS);
  }

  // ---- what there is -------------------------------------------------------------------------

  get lesionNumber() {
    return this.data.lesions[this.state.lesion]?.number ?? null;
  }

  lesionWords() {
    const { lesions } = this.data;
    return `Lesion ${this.lesionNumber ?? "–"} of ${lesions.length}`;
  }

  say(text) {
    this.live.textContent = text;
  }

  // ---- drawing -------------------------------------------------------------------------------

  draw() {
    if (this.frame || !this.data) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.render();
    });
  }

  render() {
    const started = performance.now();
    const { state } = this;
    const first = this.imageOf(this.sequenceOf(this.panes[state.main]));
    if (!state.box && first) state.box = withMargin(first.header.box);
    this.root.dataset.layout = state.layout;
    for (const pane of Object.values(this.panes)) {
      pane.box.hidden = !this.visiblePanes().includes(pane);
      pane.box.classList.toggle("main", pane.key === state.main);
      pane.box.classList.toggle("used", state.layout !== "one" && pane === this.focusedPane());
    }
    for (const pane of this.visiblePanes()) this.drawPane(pane);
    this.toolbar.sync();
    this.showStatus();
    this.showSaved();
    this.rememberSoon();
    this.root.dataset.drawMs = (performance.now() - started).toFixed(2);
  }

  drawPane(pane) {
    const { canvas, size } = pane;
    if (!size.width || !size.height) return;
    const ratio = globalThis.devicePixelRatio || 1;
    const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = (pane.context ??= canvas.getContext("2d"));
    const { state, data } = this;
    const plane = this.planeOf(pane);
    const { through } = PLANES[plane];
    const index = this.crossOf(pane)[through];
    const sequence = this.sequenceOf(pane);
    const place = placeSlice(data.shape, data.sizesMm, plane, size, planeView(state, plane));
    pane.place = place;
    const slab = this.slabOf(plane);
    const scene = { plane, index, place, sequence, size, slab };
    const ready = Boolean(this.imageOf(sequence));
    if (ready) context.drawImage(this.picture(pane, scene, ratio), 0, 0);
    else context.clearRect(0, 0, width, height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (ready) this.drawOver(context, pane, scene);
    else this.drawWaiting(context, sequence, size);
    const count = data.shape[through];
    const name = this.nameOf(sequence);
    const [long, short] = PLANE_NAMES[plane].map((words) => `${words} ${index + 1}/${count}`);
    const more = [this.isApart(pane) ? "not linked" : null, slab > 1 ? `MIP ${state.slabMm} mm` : null];
    const named = ["two", "four", "prior"].includes(state.layout); // each plane may show another sequence
    const starts = named ? [[name, long], [name, short]] : [[name, long], [long], [short]];
    const titles = starts.map((parts) => [...parts, ...more].filter(Boolean).join(" · "));
    drawNotes(context, edgeLabels(data.affine, plane), [titles, this.windowWords(sequence)], place, size);
    context.setTransform(1, 0, 0, 1, 0, 0);
    this.describePane(pane, plane, index, count, name);
  }

  windowWords(sequence) {
    const image = this.imageOf(sequence);
    if (!image) return "";
    const { level, width } = this.windowOf(sequence);
    return `W ${windowInWords(width)}  L ${windowInWords(level)}`;
  }

  /** Name and grey value of a sequence at a voxel, in words. */
  valueWords(sequence, voxel, name = this.nameOf(sequence)) {
    const image = this.imageOf(sequence);
    if (!image) return null;
    const value = valueAt(image, voxel, this.data.shape);
    const about = image.header.rounded ? "≈ " : "";
    return `${name} ${value === null ? "…" : about + valueInWords(value, image.header)}`;
  }

  /** A plane is a slider for the screen reader: its value is the slice. */
  describePane(pane, plane, index, count, name) {
    const { canvas } = pane;
    canvas.setAttribute("aria-label", `${plane} plane, ${name}`);
    canvas.setAttribute("aria-valuemax", String(count));
    canvas.setAttribute("aria-valuenow", String(index + 1));
    const cross = this.crossOf(pane);
    const value = this.valueWords(this.sequenceOf(pane), cross, "value");
    const words = `slice ${index + 1} of ${count}${value ? `, ${value}` : ""}${this.labelAt(cross, ", ", pane)}`;
    canvas.setAttribute("aria-valuetext", words);
    if (pane === this.focusedPane()) this.speakSoon(`${name}, ${plane}, ${words}`);
    this.root.dataset[this.isPrior(pane) ? "beside" : plane] = String(index);
  }

  /** Say where one is once the steps have stopped. */
  speakSoon(words) {
    if (words === this.spoken) return;
    this.spoken = words;
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => (this.where.textContent = words), SPEAK_MS);
  }

  labelAt(voxel, before, pane) {
    const { mask } = this.layers(pane);
    if (!mask) return "";
    const { shape } = this.data;
    if (mask.into) return LABELS[movedVoxel(mask, voxel)] ? before + LABELS[movedVoxel(mask, voxel)].name : "";
    const name = LABELS[mask.data[voxel[0] + shape[0] * (voxel[1] + shape[1] * voxel[2])]]?.name;
    return name ? before + name : "";
  }

  showStatus() {
    const { affine, toSource, sequences, shape, mask } = this.data;
    const { state } = this;
    const voxel = clampVoxel(this.voxelOf(this.panes[state.main]), shape);
    const sequence = this.hover ? this.sequenceOf(this.hover.pane) : this.active;
    const image = this.imageOf(sequence);
    const parts = [`${worldInWords(transform(affine, voxel), originInside(affine, shape))} mm`];
    parts.push(`voxel ${transform(toSource, voxel).map((v) => Math.round(v)).join(", ")}`);
    const side = ["two", "four", "prior"].includes(state.layout);
    const shown = side ? this.visiblePanes().map((pane) => [this.sequenceOf(pane), this.voxelOf(pane)]) : [[sequence, voxel]];
    const values = shown.map(([n, at]) => this.valueWords(n, clampVoxel(at, shape)));
    parts.push(...new Set(values.filter(Boolean)));
    const label = this.labelAt(voxel, "");
    if (label) parts.push(label);
    if (state.lesion >= 0) parts.push(this.lesionWords());
    if (state.tool !== "cross") parts.push(`Tool: ${TOOL_WORDS[state.tool]}`);
    this.status.textContent = parts.join("   ·   ");
    this.showDoubt();
    Object.assign(this.root.dataset, {
      ready: image ? "1" : "0",
      loaded: String(this.ownSequences.filter((s) => this.store.ready.has(s.id)).length),
      sequence: sequences[this.sequenceOf(this.visiblePanes()[0])].key,
      second: sequences[state.second].key,
      priorLoaded: String(sequences.filter((s) => s.prior && this.store.ready.has(s.id)).length),
      prior: this.data.prior ? (this.data.prior.linked ? "linked" : "apart") : "",
      priorMask: this.priorMask ? "1" : "0",
      shows: this.visiblePanes().map((pane) => sequences[this.sequenceOf(pane)].key).join(" "),
      slab: String(state.slabMm),
      mask: mask && this.store.ready.has(mask) ? "1" : "0",
      maskId: mask ?? "",
      lesion: String(this.lesionNumber ?? ""),
      tool: state.tool,
      marks: this.marks.map((m) => m.kind).join(" "),
      removed: String(this.removed.length),
      waiting: String(this.link.waiting.length),
      zoom: state.zoom.toFixed(3),
      edited: this.edit ? "1" : "0",
    });
  }

  /** Beside the mask, as long as it is shown: that it is not to be trusted. */
  showDoubt() {
    const words = this.state.shown && this.state.showMask && this.data.mask ? this.data.doubt : "";
    if (this.doubt.textContent !== (words || "")) this.doubt.textContent = words || "";
    this.doubt.hidden = !words;
  }

  /** Whether all is stored, always in sight; in a sentence, with what can be done, where it is not. */
  showSaved() {
    const { standing } = this.link;
    const { state, text } = savedWords(standing, this.data.savedAt);
    if (this.saved.textContent !== text) this.saved.textContent = text;
    this.root.dataset.saved = this.saved.dataset.state = state;
    const hidden = this.state.shown ? "" : "Overlays are hidden. Space shows them again.";
    const words = warning(standing) || this.data.note || hidden;
    if (this.bannerWords.textContent !== words) this.bannerWords.textContent = words;
    this.banner.hidden = !words;
    this.retryButton.hidden = this.discardButton.hidden = state !== "bad" || !standing.connected;
    if (this.discardButton.hidden) this.askedToDiscard = false;
    this.discardButton.textContent = this.askedToDiscard ? "Really discard it?" : "Discard it";
    this.ownMarks.sync();
  }

  buildBanner() {
    this.bannerWords = element("span", { role: "status" });
    this.retryButton = element("button", { type: "button", onclick: () => this.link.retry() }, "Try again");
    const discard = () => {
      if (this.askedToDiscard) this.link.discard();
      this.askedToDiscard = !this.askedToDiscard;
      this.draw();
    };
    this.discardButton = element("button", { type: "button", onclick: discard });
    return element("div", { class: "banner", hidden: true }, this.bannerWords, this.retryButton, this.discardButton);
  }

  // ---- panes ---------------------------------------------------------------------------------

  buildPanes() {
    this.grid = element("div", { class: "grid" });
    this.panes = {};
    for (const key of [...Object.keys(PLANES), "compare", "third", "fourth"]) {
      const canvas = element("canvas", {
        tabindex: "0",
        role: "slider",
        "aria-roledescription": "image plane",
        "aria-orientation": "vertical",
        "aria-valuemin": "1",
      });
      const box = element("div", { class: "pane", "data-plane": key }, canvas);
      const size = { width: 0, height: 0 }; // set by the observer
      const pane = { key, canvas, box, size, place: null, painter: new PanePainter() };
      this.panes[key] = pane;
      listen(this, pane);
      this.grid.append(box);
    }
  }

  locate(event, pane) {
    const plane = this.planeOf(pane);
    return paneToVoxel(event.offsetX, event.offsetY, pane.place, this.data.shape, plane, this.crossOf(pane));
  }

  setHover(voxel, pane) {
    if (!this.state) return;
    this.hover = voxel && { voxel, pane };
    if (this.state.tool === "brush") this.draw();
    else this.showStatus();
  }

  // ---- moving --------------------------------------------------------------------------------

  moveCross(voxel, pane = null) {
    this.state[pane && this.isApart(pane) ? "apart" : "cross"] = clampVoxel(voxel, this.data.shape);
    this.hover = null;
    this.draw();
  }

  /** Move the crosshair, and the image with it where it is zoomed in. */
  goTo(voxel) {
    const { shape, sizesMm } = this.data;
    if (this.state.zoom > 1) this.state.pan = panTo(clampVoxel(voxel, shape), shape, sizesMm, this.state.box);
    this.moveCross(voxel);
  }

  step(plane, by, pane = null) {
    const cross = [...(pane ? this.crossOf(pane) : this.state.cross)];
    cross[PLANES[plane].through] += by;
    this.moveCross(cross, pane);
  }

  resetView() {
    Object.assign(this.state, { zoom: 1, pan: [0, 0, 0], windows: {} });
    this.presets = {};
    this.say("View and windows reset");
    this.changed();
  }

  setTool(tool) {
    if (tool === "brush" && !(this.data.mask && this.data.canMark && this.data.reader)) return;
    this.state.tool = tool;
    this.root.dataset.tool = tool;
    if (tool === "cross" || tool === "scroll") this.state.drag = tool; // kept for the next case
    this.say(`Tool: ${TOOL_WORDS[tool]}`);
    this.changed();
  }

  setBrush(mm) {
    this.state.brushMm = clamp(Math.round(mm), 1, 30);
    this.draw();
  }

  /** The brush takes every voxel, or only grey values in a range: at first the brighter ones. */
  flipBrushRange() {
    const { state } = this;
    const header = this.imageOf(this.active)?.header;
    if (!header) return;
    state.brushRange = !state.brushRange;
    if (state.brushRange && state.brushLow >= state.brushHigh) {
      const { level, width } = this.windowOf(this.active);
      Object.assign(state, { brushLow: level + width / 10, brushHigh: header.high });
    }
    this.say(state.brushRange ? "The brush takes only grey values in the range" : "The brush takes every voxel");
    this.draw();
  }

  flip(name, words) {
    this.state[name] = !this.state[name];
    this.say(`${words} ${this.state[name] ? "shown" : "hidden"}`);
    this.draw();
  }

  escape() {
    if (!this.help.hidden) return this.showHelp(false);
    if (this.ownMarks.shown) return this.ownMarks.toggle(false);
    if (!this.toolbar.menu.hidden) return this.toolbar.showMenu(false);
    this.dropLine();
    this.setTool("cross");
  }

  showHelp(shown) {
    this.help.hidden = !shown;
    if (shown) this.help.focus();
    else this.toolbar.helpButton.focus();
  }

  // ---- lesions -------------------------------------------------------------------------------

  nextLesion(by = 1) {
    const { lesions } = this.data;
    if (!lesions.length) return this.say("No lesions are shown");
    const { lesion } = this.state;
    const next = lesion < 0 ? (by > 0 ? 0 : lesions.length - 1) : (lesion + by + lesions.length) % lesions.length;
    this.state.lesion = next;
    this.say(this.lesionWords());
    this.goTo(lesions[next].voxel);
    this.tellLesion();
  }

  /** Choose the lesion under the crosshair, if there is one. */
  pickLesion() {
    const { state, data, mask } = this;
    if (!mask || !state.shown || !state.showMask) return;
    const part = lesionAt(mask.data, data.shape, state.cross);
    const found = part && nearestLesion(data.lesions.map((n) => n.voxel), part.centre, data.sizesMm, 4);
    if (part === null || found < 0) return;
    state.lesion = found;
    this.say(this.lesionWords());
    this.draw();
    this.tellLesion();
  }

  tellLesion() {
    this.link.tell("lesion", { kind: "lesion", case: this.data.case, number: this.lesionNumber });
  }
}

/** Streamlit calls this at the first mount and again whenever `data` changes. */
export default function ({ data, parentElement, setTriggerValue }) {
  if (!data) return undefined;
  const viewer = (parentElement.bmcoreViewer ??= new Viewer(parentElement));
  viewer.link.send = setTriggerValue;
  viewer.update(data);
  return () => {
    viewer.destroy();
    delete parentElement.bmcoreViewer;
  };
}
