// What stands where: layouts, sequences, windows, slabs and the reader's settings. The viewer builds
// on this class; `data`, `state`, `store`, `panes`, `link`, `say` and `draw` are its own.

import { PLANES } from "./geometry.js";
import { boundWindow, presetWindow, windowStep } from "./grey.js";
import { LAYOUTS, SLABS_MM, partner, settingsOf, slabSlices } from "./layouts.js";
import { besideOf, movedImage } from "./prior.js";
import { Pictures } from "./picture.js";

const SETTINGS_MS = 1200;

export class Arrangement extends Pictures {
  // ---- panes ---------------------------------------------------------------------------------

  /** Panes that are shown, from left to right and down. */
  visiblePanes() {
    const { layout, main, four } = this.state;
    if (layout === "three") return Object.keys(PLANES).map((plane) => this.panes[plane]);
    const more = { two: ["compare"], prior: ["compare"], four: ["compare", "third", "fourth"].slice(0, four.length - 1) };
    return [main, ...(more[layout] ?? [])].map((key) => this.panes[key]);
  }

  planeOf(pane) {
    return pane.key in PLANES ? pane.key : this.state.main;
  }

  /** Number of the sequence that a pane shows. */
  sequenceOf(pane) {
    const { layout, second, sequence, four } = this.state;
    if (this.isPrior(pane)) return Math.max(0, besideOf(this.data.sequences, sequence));
    if (layout === "four") return four[Math.max(0, this.visiblePanes().indexOf(pane))] ?? sequence;
    return layout === "two" && pane.key === "compare" ? second : sequence;
  }

  // ---- the earlier examination -------------------------------------------------------------------

  /** Whether a pane shows the earlier examination. */
  isPrior(pane) {
    return Boolean(this.data.prior) && this.state.layout === "prior" && pane.key === "compare";
  }

  /** Whether a pane moves by itself: the two examinations could not be laid on each other. */
  isApart(pane) {
    return this.isPrior(pane) && !this.data.prior.linked;
  }

  /** The crosshair of a pane. */
  crossOf(pane) {
    return this.isApart(pane) ? this.state.apart : this.state.cross;
  }

  /** The voxel that is spoken of in a pane: under the pointer, else under its crosshair. */
  voxelOf(pane) {
    const { hover } = this;
    return hover && this.isApart(hover.pane) === this.isApart(pane) ? hover.voxel : this.crossOf(pane);
  }

  /** Sequences of the case itself; those of the earlier examination come behind them. */
  get ownSequences() {
    return this.data.sequences.filter((s) => !s.prior);
  }

  /** The sequence of the case that a sequence stands beside: itself, but for the earlier one's. */
  ownOf(number) {
    const { prior, of } = this.data.sequences[number];
    return prior ? this.data.sequences.findIndex((s) => s.key === of) : number;
  }

  /** A block of the earlier examination on the grid of the case. */
  moved(block) {
    const { prior, shape } = this.data;
    if (!block || !prior) return undefined;
    const known = (this.movedKept ??= new Map());
    const key = `${block.header.id} ${prior.stamp}`;
    if (!known.has(key)) known.set(key, movedImage(block, prior, shape));
    return known.get(key);
  }

  /** The segmentation of the earlier examination, where it may be seen and has come. */
  get priorMask() {
    const { prior } = this.data;
    return prior?.mask ? this.moved(this.store.ready.get(prior.mask)) : undefined;
  }

  /** Put the earlier examination beside, or take it away, as the page asks. */
  followPrior(before) {
    const { state, data } = this;
    if (!data.prior || data.prior.stamp !== before?.prior?.stamp) this.movedKept = new Map();
    if (data.prior && !before?.prior) this.setLayout("prior");
    else if (!data.prior && state.layout === "prior") this.setLayout(state.layoutBefore);
  }

  // ---- panes again -------------------------------------------------------------------------------

  focusedPane() {
    const visible = this.visiblePanes();
    return visible.includes(this.focused) ? this.focused : this.panes[this.state.main];
  }

  /** Number of the sequence that buttons and keys mean: of the pane that was used last. */
  get active() {
    return this.sequenceOf(this.focusedPane());
  }

  setSequence(number, pane = this.focusedPane()) {
    const { state } = this;
    const place = this.visiblePanes().indexOf(pane);
    const where = { two: place === 1 ? ", on the right" : ", on the left", four: `, image ${place + 1}`, prior: this.besideWords(number) }[state.layout] ?? "";
    if (state.layout === "four") state.four[Math.max(0, place)] = number;
    else if (state.layout === "two" && place === 1) state.second = number;
    else state.sequence = number;
    this.say(`${this.data.sequences[number].words}${where}`);
    this.changed();
  }

  /** What stands beside a sequence then, in words. */
  besideWords(number) {
    const own = this.data.sequences[number];
    const beside = this.data.sequences[besideOf(this.data.sequences, number)];
    if (!beside) return "";
    return beside.of === own.key ? ", now and then" : `; the earlier examination shows ${beside.name}`;
  }

  setMain(plane) {
    if (this.state.layout === "three" || plane !== this.state.main) this.state.main = plane;
    this.changed();
  }

  nextPlane() {
    const planes = Object.keys(PLANES);
    this.state.main = planes[(planes.indexOf(this.state.main) + 1) % planes.length];
    this.say(`${this.state.main} plane`);
    this.changed();
  }

  setLayout(layout) {
    const { state } = this;
    if (layout === "prior" && state.layout !== "prior") state.layoutBefore = state.layout;
    state.layout = layout;
    if (layout === "two" && state.second === state.sequence) {
      state.second = partner(this.data.sequences.map((s) => s.key), state.sequence);
    }
    this.say(LAYOUTS[layout]);
    this.changed();
  }

  setSlab(mm) {
    this.state.slabMm = mm;
    this.say(mm ? `Slab of ${mm} mm, brightest values` : "Single slices");
    this.draw();
  }

  nextSlab() {
    this.setSlab(SLABS_MM[(SLABS_MM.indexOf(this.state.slabMm) + 1) % SLABS_MM.length]);
  }

  /** Slices that are laid over one another in a plane. */
  slabOf(plane) {
    return slabSlices(this.state.slabMm, this.data.sizesMm[PLANES[plane].through]);
  }

  // ---- images and windows ----------------------------------------------------------------------

  /** The block of a sequence, of a large one its preview until all has come; or a subtraction. */
  imageOf(number) {
    const { id, parts, prior } = this.data.sequences[number];
    if (parts) return this.difference(id, parts);
    const block = this.store.ready.get(id) ?? this.store.ready.get(`${id}/preview`);
    return prior ? this.moved(block) : block;
  }

  /** T1 Gd less T1, where T1 counts so often that both have the same median inside the brain. */
  difference(id, parts) {
    const [minuend, subtrahend] = parts.map((part) => this.store.ready.get(part));
    if (!minuend || !subtrahend) return undefined;
    if (this.kept?.header.id === id) return this.kept;
    const [a, b] = [minuend.header, subtrahend.header];
    const factor = a.median > 0 && b.median > 0 ? Number((a.median / b.median).toPrecision(3)) : 1;
    const bright = a.median || a.high / 3;
    const presets = [
      { name: "Enhancement", low: 0, high: 0.8 * bright },
      { name: "Both signs", low: -bright / 2, high: bright / 2 },
      { name: "All values", low: a.low - factor * b.high, high: a.high - factor * b.low },
    ];
    const decimals = Math.max(a.decimals, b.decimals, Number.isInteger(factor) ? 0 : 1);
    const header = { ...a, id, kind: "f32", low: presets[2].low, high: presets[2].high, decimals, presets };
    this.kept = { minuend, subtrahend, factor, header };
    return this.kept;
  }

  /** Name of a sequence in words; of a subtraction with the factor. */
  nameOf(number) {
    const { name } = this.data.sequences[number];
    const factor = this.data.sequences[number].parts && this.imageOf(number)?.factor;
    return factor && factor !== 1 ? name.replace("− T1", `− ${factor} × T1`) : name;
  }

  /** {level, width} in the units of the file. */
  windowOf(number) {
    const { id, key, of } = this.data.sequences[number];
    const image = this.imageOf(number);
    if (!image) return { level: 0.5, width: 1 };
    const { presets } = image.header;
    const wanted = presets.find((p) => p.name === this.presets[of ?? key]) ?? presets[0];
    return (this.state.windows[id] ??= presetWindow(wanted));
  }

  /** Name of the preset that the window is, or null. */
  presetName(number) {
    const { level, width } = this.windowOf(number);
    const same = (a, b) => Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(a), Math.abs(b));
    const found = this.imageOf(number)?.header.presets.find((p) => {
      const window = presetWindow(p);
      return same(window.level, level) && same(window.width, width);
    });
    return found?.name ?? null;
  }

  choosePreset(name, number = this.active) {
    const own = this.ownOf(number);
    const beside = this.state.layout === "prior" ? [besideOf(this.data.sequences, own)] : [];
    for (const n of new Set([number, own, ...beside])) {
      const preset = n >= 0 && this.imageOf(n)?.header.presets.find((p) => p.name === name);
      if (preset) this.state.windows[this.data.sequences[n].id] = presetWindow(preset);
    }
    const { key, of, name: sequence } = this.data.sequences[number];
    this.presets[of ?? key] = name;
    this.say(`${sequence}: window ${name}`);
    this.changed();
  }

  nextPreset() {
    const names = (this.imageOf(this.active)?.header.presets ?? []).map((p) => p.name);
    const at = names.indexOf(this.presetName(this.active));
    if (names.length) this.choosePreset(names[(at + 1) % names.length]);
  }

  setWindow(number, window) {
    const image = this.imageOf(number);
    if (!image) return;
    this.state.windows[this.data.sequences[number].id] = boundWindow(window, image.header);
    this.draw();
  }

  /** Change a window by so many pixels of the pointer. */
  moveWindow(widthBy, levelBy, pane = this.focusedPane()) {
    const number = this.sequenceOf(pane);
    const image = this.imageOf(number);
    if (!image) return;
    const { level, width } = this.windowOf(number);
    const step = windowStep(image.header);
    this.setWindow(number, { level: level + levelBy * step, width: width + widthBy * step });
  }

  // ---- settings --------------------------------------------------------------------------------

  /** The arrangement was changed: draw, and keep it for the reader's next case. */
  changed() {
    this.draw();
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.tellSettings(), SETTINGS_MS);
  }

  tellSettings() {
    clearTimeout(this.settling);
    if (!this.state || !this.data.keepsSettings) return;
    const settings = settingsOf(this.state, this.data.sequences, this.presets);
    const text = JSON.stringify(settings);
    if (text === this.told) return;
    this.told = text;
    this.link.tell("settings", { kind: "settings", case: this.data.case, settings });
  }
}
