// The row above the images. What does not fit into it goes into the menu "More", in the order in which
// it is needed least; nothing is ever out of reach.

import { Controls, element, group } from "./controls.js";
import { valueInWords } from "./grey.js";
import { LAYOUTS, SLABS_MM } from "./layouts.js";
import { verdictOf } from "./marks.js";
import { MEASURES } from "./measures.js";
import { LABELS } from "./paint.js";
import { PLANES } from "./geometry.js";

export class Toolbar extends Controls {
  constructor(viewer) {
    super(viewer);
    const { data } = viewer;
    const lesions = data.lesions.length > 0;
    this.groups = [
      this.sequences(),
      this.layouts(),
      lesions && this.lesions(),
      this.tools(),
      this.general(),
      lesions && data.canMark && this.verdicts(),
      this.changes(),
      data.canMark && this.marks(),
      this.window(),
      data.mask && this.mask(),
      data.heat && this.heat(),
      this.measures(),
      this.view(),
    ].filter(Boolean);
    this.row = element("div", { class: "row" });
    this.menu = element("div", { class: "menu", role: "group", "aria-label": "More tools", hidden: true });
    this.more = this.button("More", "Windows, overlays, measurements, settings (key .)", () => this.showMenu(this.menu.hidden));
    this.more.setAttribute("aria-expanded", "false");
    this.helpButton = this.button("?", "Keys, mouse and touch (key ?)", () => viewer.showHelp(viewer.help.hidden));
    this.helpButton.setAttribute("aria-label", "Help");
    this.end = element("div", { class: "group end" }, this.more, this.helpButton);
    this.line = element("div", { class: "line" }, this.row, this.end);
    this.rows = [this.line];
    if (data.mask && data.canMark && data.reader) this.rows.push(this.brush());
  }

  showMenu(shown) {
    this.menu.hidden = !shown;
    this.more.setAttribute("aria-expanded", String(shown));
    if (shown) this.menu.querySelector("button, input, select")?.focus();
    else this.more.focus();
  }

  /** Put into the row what fits, the rest into the menu; called when the width has changed. */
  fit() {
    const focused = this.row.getRootNode().activeElement;
    this.row.replaceChildren(...this.groups);
    const rest = [];
    while (this.row.scrollWidth > this.row.clientWidth + 1 && this.row.childElementCount > 1) {
      rest.unshift(this.row.lastElementChild);
      this.row.lastElementChild.remove();
    }
    this.menu.replaceChildren(...rest);
    this.more.hidden = !rest.length;
    if (!rest.length) this.menu.hidden = true;
    if (focused && this.row.getRootNode().activeElement !== focused) focused.focus?.();
  }

  // ---- groups --------------------------------------------------------------------------------

  sequences() {
    const { viewer } = this;
    const buttons = viewer.ownSequences.map((s, n) => {
      const node = this.button(s.name, `${s.words} (key ${n + 1})`, () => viewer.setSequence(n), {
        pressed: () => viewer.ownOf(viewer.active) === n,
      });
      this.syncers.push(() => node.setAttribute("aria-busy", String(!viewer.imageOf(n))));
      return node;
    });
    return group("Sequence", ...buttons);
  }

  layouts() {
    const { viewer } = this;
    const there = { four: viewer.state.four.length > 1, prior: Boolean(viewer.data.prior) };
    const names = Object.fromEntries(Object.entries(LAYOUTS).filter(([key]) => there[key] ?? true));
    const planes = Object.fromEntries(Object.keys(PLANES).map((plane) => [plane, plane[0].toUpperCase() + plane.slice(1)]));
    const plane = this.choice("Plane (key N)", () => planes, () => viewer.state.main, (main) => viewer.setMain(main));
    this.shownWhen(plane, () => viewer.state.layout !== "three");
    return group(
      "Layout",
      this.choice("Layout (keys F, C, Q)", () => names, () => viewer.state.layout, (layout) => viewer.setLayout(layout)),
      plane,
    );
  }

  lesions() {
    const { viewer } = this;
    const step = (text, title, by) => {
      const node = this.button(text, title, () => viewer.nextLesion(by));
      node.setAttribute("aria-label", title.split(" (")[0]);
      return node;
    };
    return group(
      "Lesions",
      step("◀", "Previous lesion (Shift L)", -1),
      this.words(() => viewer.lesionWords()),
      step("▶", "Next lesion (key L)", 1),
    );
  }

  verdicts() {
    const { viewer } = this;
    const judge = (kind, text, key) => {
      const node = this.button(text, `${text} the chosen lesion (key ${key}); once more takes it back`, () => viewer.judge(kind), {
        pressed: () => verdictOf(viewer.marks, viewer.lesionNumber) === kind,
        disabled: () => viewer.state.lesion < 0,
      });
      node.classList.add(kind);
      return node;
    };
    return group("Verdict on the lesion", judge("accept", "Accept", "A"), judge("reject", "Reject", "X"));
  }

  tool(name, text, title) {
    const { viewer } = this;
    return this.button(text, title, () => this.choose(name), { pressed: () => viewer.state.tool === name });
  }

  /** Choosing a tool closes the menu, which would lie over the images that it is for. */
  choose(name) {
    this.viewer.setTool(name);
    if (!this.menu.hidden) this.showMenu(false);
  }

  tools() {
    const nodes = [
      this.tool("cross", "Crosshair", "Move the crosshair; a click on a lesion chooses it (key V)"),
      this.tool("window", "Window", "Drag: across for width, up and down for level (key W, or right button)"),
      this.tool("length", "Length", MEASURES.length.title + " (key D)"),
    ];
    return group("Tool", ...nodes);
  }

  /** The rarer tools and measurements. */
  measures() {
    const { viewer } = this;
    const nodes = ["diameters", "angle", "area"].map((kind) => {
      const { name, title, key } = MEASURES[kind];
      return this.tool(kind, name, `${title} (key ${key})`);
    });
    nodes.unshift(this.tool("scroll", "Scroll", "Drag up and down through the slices (key S); kept for your next cases"));
    nodes.push(this.tool("pan", "Pan", "Drag the image (key P, or Shift drag)"));
    if (viewer.data.canMark) {
      nodes.push(this.tool("missed", "Mark lesion", "Click on a lesion that you see and the models do not show (key M: at the crosshair)"));
      if (viewer.data.mask && viewer.data.reader) nodes.push(this.tool("brush", "Brush", "Correct the segmentation (key B)"));
    }
    return group("Measure and mark", ...nodes);
  }

  general() {
    const { viewer } = this;
    return group(
      "Overlays",
      this.button("Hide overlays", "Hide everything but the images (Space)", () => viewer.flip("shown", "All overlays"), {
        pressed: () => !viewer.state.shown,
      }),
    );
  }

  changes() {
    const { viewer } = this;
    return group(
      "Changes",
      this.button("Undo", "Take back the last change (key U)", () => viewer.undo(), { disabled: () => !viewer.canUndo }),
      this.button("Redo", "Bring it back (Shift U)", () => viewer.redo(), { disabled: () => !viewer.redone.length }),
    );
  }

  marks() {
    const { viewer } = this;
    const node = this.button("Your marks", "List of your marks: show, delete, bring back (key Y)", () => viewer.ownMarks.toggle());
    node.classList.add("marks-button");
    this.syncers.push(() => (node.textContent = `Your marks ${viewer.marks.length}`));
    this.syncers.push(() => node.setAttribute("aria-expanded", String(viewer.ownMarks.shown)));
    return group("Marks", node);
  }

  /** Presets, and level and width as numbers in the units of the file. */
  window() {
    const { viewer } = this;
    const header = () => viewer.imageOf(viewer.active)?.header;
    const inWords = (get) => () => (header() ? valueInWords(get(), header()) : "");
    const window = () => viewer.windowOf(viewer.active);
    const set = (change) => viewer.setWindow(viewer.active, { ...window(), ...change });
    const names = () => Object.fromEntries((header()?.presets ?? []).map((p) => [p.name, p.name]));
    return group(
      "Window",
      this.choice("Window preset (key I)", names, () => viewer.presetName(viewer.active), (name) => viewer.choosePreset(name), "Custom window"),
      this.number("Level", "Window level", inWords(() => window().level), (level) => set({ level })),
      this.number("Width", "Window width", inWords(() => window().width), (width) => set({ width })),
    );
  }

  mask() {
    const { viewer } = this;
    const { state } = viewer;
    const labels = [3, 1, 2].map((n) => {
      const { name, colour } = LABELS[n];
      const flip = () => (state.labels[n] = !state.labels[n]);
      const node = this.button(name, `Show ${name}`, flip, { pressed: () => state.labels[n] });
      const swatch = element("span", { class: "swatch" });
      swatch.style.background = `rgb(${colour.join(",")})`;
      node.prepend(swatch);
      return node;
    });
    return group(
      "Segmentation",
      this.button("Segmentation", "Segmentation on or off (key O)", () => viewer.flip("showMask", "Segmentation"), {
        pressed: () => state.showMask,
      }),
      ...labels,
      this.slider("Opacity", "Opacity of the segmentation; 0 leaves the outline, as the evidence map does", [0, 1, 0.05], () => state.maskOpacity, (v) => (state.maskOpacity = v)),
    );
  }

  heat() {
    const { viewer } = this;
    const { state } = viewer;
    return group(
      "Evidence map",
      this.button(viewer.data.heat.name, "Evidence map on or off (key G)", () => viewer.flip("showHeat", "Evidence map"), {
        pressed: () => state.showHeat,
      }),
      this.slider("Strength", "Opacity of the evidence map", [0, 1, 0.05], () => state.heatOpacity, (v) => (state.heatOpacity = v)),
    );
  }

  view() {
    const { viewer } = this;
    const slabs = Object.fromEntries(SLABS_MM.map((mm) => [mm, mm ? `MIP slab ${mm} mm` : "Single slices"]));
    return group(
      "View",
      this.choice("Slab, brightest values (key T)", () => slabs, () => String(viewer.state.slabMm), (mm) => viewer.setSlab(Number(mm))),
      this.button("Reset view", "Reset zoom, position and windows (key 0)", () => viewer.resetView()),
    );
  }

  brush() {
    const { viewer } = this;
    const { state } = viewer;
    const paint = (label, text) =>
      this.button(text, `The brush paints: ${text}`, () => (state.brushLabel = label), {
        pressed: () => state.brushLabel === label,
      });
    const header = () => viewer.imageOf(viewer.active)?.header;
    const limit = (name, title) =>
      this.shownWhen(
        this.number(name === "brushLow" ? "from" : "to", title, () => (header() ? valueInWords(state[name], header()) : ""), (v) => (state[name] = v)),
        () => state.brushRange,
      );
    const row = element(
      "div",
      { class: "row wraps" },
      group(
        "Brush",
        ...[3, 1, 2].map((n) => paint(n, LABELS[n].name)),
        paint(0, "erase"),
        this.slider("Size", "Diameter of the brush in mm (keys [ and ])", [1, 30, 1], () => state.brushMm, (v) => viewer.setBrush(v)),
        this.words(() => `${state.brushMm} mm`),
      ),
      group(
        "Which voxels the brush takes",
        this.button("Only grey values", "The brush takes only voxels in this range of the image that you paint on (key J)", () => viewer.flipBrushRange(), {
          pressed: () => state.brushRange,
        }),
        limit("brushLow", "Lowest grey value that the brush takes"),
        limit("brushHigh", "Highest grey value that the brush takes"),
      ),
      this.button("Fill between", "Paint the slices between your last two strokes of one label (key Z)", () => viewer.fillBetween(), {
        disabled: () => !viewer.lastStrokes,
      }),
    );
    return this.shownWhen(row, () => state.tool === "brush");
  }
}
