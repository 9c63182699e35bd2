// The buttons and sliders above the images. `syncers` bring every control up to date with the state.

import { LABELS } from "./paint.js";
import { HELP } from "./input.js";
import { valueInWords } from "./grey.js";
import { verdictOf } from "./marks.js";

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const group = (name, ...nodes) =>
  element("div", { class: "group", role: "group", "aria-label": name }, ...nodes);

export class Toolbar {
  constructor(viewer) {
    this.viewer = viewer;
    this.syncers = [];
    const { data } = viewer;
    const rows = [[this.sequences(), this.layouts(), this.general()], [this.tools(), this.window()]];
    if (data.lesions.length) rows[1].push(this.lesions());
    if (data.mask) rows[1].push(this.mask());
    if (data.heat) rows[1].push(this.heat());
    if (data.mask) rows.push([this.brush()]);
    this.rows = rows.map((groups) => element("div", { class: "row" }, ...groups));
    if (data.mask) this.shownWhen(this.rows.at(-1), () => viewer.state.tool === "brush" || viewer.edit);
  }

  sync() {
    for (const sync of this.syncers) sync();
  }

  // ---- kinds of controls ---------------------------------------------------------------------

  button(text, title, click, { pressed, disabled } = {}) {
    const node = element("button", { type: "button", title }, text);
    node.addEventListener("click", () => {
      click();
      this.viewer.draw();
    });
    if (pressed) this.syncers.push(() => node.setAttribute("aria-pressed", String(Boolean(pressed()))));
    if (disabled) this.syncers.push(() => (node.disabled = Boolean(disabled())));
    return node;
  }

  slider(text, title, [min, max, step], get, set) {
    const input = element("input", { type: "range", min, max, step, "aria-label": title });
    input.addEventListener("input", () => {
      set(Number(input.value));
      this.viewer.draw();
    });
    this.syncers.push(() => (input.value = String(get())));
    return element("label", { title }, text, input);
  }

  shownWhen(node, when) {
    this.syncers.push(() => (node.hidden = !when()));
    return node;
  }

  // ---- groups --------------------------------------------------------------------------------

  sequences() {
    const { viewer } = this;
    const buttons = viewer.data.sequences.map((s, n) => {
      const node = this.button(s.name, `${s.words} (key ${n + 1})`, () => viewer.setSequence(n), {
        pressed: () => viewer.state.sequence === n,
      });
      this.syncers.push(() => node.setAttribute("aria-busy", String(!viewer.store.ready.has(s.id))));
      return node;
    });
    return group("Sequence", ...buttons);
  }

  layouts() {
    const { viewer } = this;
    const choose = (layout, text, title) =>
      this.button(text, title, () => viewer.setLayout(layout), {
        pressed: () => viewer.state.layout === layout,
      });
    const second = element("select", { "aria-label": "Sequence on the right", title: "Sequence on the right" });
    viewer.data.sequences.forEach((s, n) => second.append(element("option", { value: n }, s.name)));
    second.addEventListener("change", () => viewer.setSequence(Number(second.value), viewer.panes.compare));
    this.syncers.push(() => (second.value = String(viewer.state.second)));
    this.shownWhen(second, () => viewer.state.layout === "two");
    return group(
      "Layout",
      choose("three", "3 planes", "Three planes, linked"),
      choose("one", "1", "The large plane alone (key F)"),
      choose("two", "Compare", "Two sequences side by side, linked (key C)"),
      second,
    );
  }

  general() {
    const { viewer } = this;
    const help = this.button("?", "Keys, mouse and touch (key ?)", () => viewer.showHelp(viewer.help.hidden));
    help.setAttribute("aria-label", "Help");
    this.helpButton = help;
    const marks = this.button("Your marks", "List of your marks: show, delete, bring back", () => viewer.ownMarks.toggle());
    this.syncers.push(() => (marks.textContent = `Your marks ${viewer.marks.length}`));
    this.syncers.push(() => marks.setAttribute("aria-expanded", String(viewer.ownMarks.shown)));
    return group(
      "View",
      viewer.saved,
      ...(viewer.data.canMark ? [marks] : []),
      this.button("Hide marks", "Hold everything back: images only (Space)", () => viewer.flip("shown", "All marks"), {
        pressed: () => !viewer.state.shown,
      }),
      this.button("Reset", "Reset zoom, position and window (key 0)", () => viewer.resetView()),
      help,
    );
  }

  tools() {
    const { viewer } = this;
    const tool = (name, text, title) =>
      this.button(text, title, () => viewer.setTool(name), { pressed: () => viewer.state.tool === name });
    const nodes = [
      tool("cross", "Point", "Move the crosshair; a click on a lesion chooses it (key V)"),
      tool("window", "Window", "Drag: across for width, up and down for level (key W, or right button)"),
      tool("pan", "Move", "Drag the image (key P, or Shift drag)"),
      tool("measure", "Measure", "Drag from end to end; length in mm (key D)"),
    ];
    if (viewer.data.canMark) {
      nodes.push(tool("missed", "Mark lesion", "Click on a lesion that you see and the models do not show (key M: at the crosshair)"));
      if (viewer.data.mask && viewer.data.reader) nodes.push(tool("brush", "Brush", "Correct the segmentation (key B)"));
    }
    nodes.push(
      this.button("Undo", "Take the last change back (key U; Shift U brings it back)", () => viewer.undo(), {
        disabled: () => !viewer.canUndo,
      }),
    );
    return group("Tool", ...nodes);
  }

  /** Presets, and level and width as numbers in the units of the file. */
  window() {
    const { viewer } = this;
    const header = () => viewer.imageOf(viewer.state.sequence)?.header;
    const presets = element("select", { "aria-label": "Window preset" });
    presets.addEventListener("change", () => viewer.choosePreset(presets.value));
    let listed = null;
    this.syncers.push(() => {
      const names = (header()?.presets ?? []).map((p) => p.name);
      if (String(names) !== listed) {
        listed = String(names);
        presets.replaceChildren(...[...names, "Own window"].map((name) => element("option", {}, name)));
        presets.lastChild.disabled = true;
      }
      presets.value = viewer.presetName(viewer.state.sequence) ?? "Own window";
    });
    const number = (text, title, get, set) => {
      const input = element("input", { type: "number", class: "number", "aria-label": title, title, step: "any" });
      input.addEventListener("change", () => {
        if (input.value.trim() !== "" && Number.isFinite(Number(input.value))) set(Number(input.value));
        viewer.draw();
      });
      this.syncers.push(() => {
        const shown = header() ? valueInWords(get(), header()) : "";
        if (input.getRootNode().activeElement !== input && input.value !== shown) input.value = shown;
      });
      return element("label", { title }, text, input);
    };
    const set = (change) => viewer.setWindow(viewer.state.sequence, { ...viewer.window, ...change });
    return group(
      "Window",
      presets,
      number("Level", "Window level", () => viewer.window.level, (level) => set({ level })),
      number("Width", "Window width", () => viewer.window.width, (width) => set({ width })),
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
      this.slider("Fill", "Opacity of the segmentation; 0 leaves the outline", [0, 1, 0.05], () => state.maskOpacity, (v) => (state.maskOpacity = v)),
    );
  }

  heat() {
    const { viewer } = this;
    const { state } = viewer;
    return group(
      "Grad-CAM",
      this.button(viewer.data.heat.name, "Grad-CAM on or off (key G)", () => viewer.flip("showHeat", "Grad-CAM"), {
        pressed: () => state.showHeat,
      }),
      this.slider("Strength", "Opacity of Grad-CAM", [0, 1, 0.05], () => state.heatOpacity, (v) => (state.heatOpacity = v)),
    );
  }

  lesions() {
    const { viewer } = this;
    const words = element("span", { class: "words" });
    this.syncers.push(() => (words.textContent = viewer.lesionWords()));
    const judge = (kind, text, key) => {
      const node = this.button(text, `${text} the chosen lesion (key ${key}); once more takes it back`, () => viewer.judge(kind), {
        pressed: () => verdictOf(viewer.marks, viewer.lesionNumber) === kind,
        disabled: () => viewer.state.lesion < 0,
      });
      node.classList.add(kind);
      return node;
    };
    return group(
      "Lesions",
      this.button("◀", "Previous lesion (Shift L)", () => viewer.nextLesion(-1)),
      words,
      this.button("▶", "Next lesion (key L)", () => viewer.nextLesion(1)),
      ...(viewer.data.canMark ? [judge("accept", "Accept", "A"), judge("reject", "Reject", "X")] : []),
    );
  }

  brush() {
    const { viewer } = this;
    const { state } = viewer;
    const paint = (label, text) =>
      this.button(text, `The brush paints: ${text}`, () => (state.brushLabel = label), {
        pressed: () => state.brushLabel === label,
      });
    const size = element("span", { class: "words" });
    this.syncers.push(() => (size.textContent = `${state.brushMm} mm`));
    return group(
      "Brush",
      ...[3, 1, 2].map((n) => paint(n, LABELS[n].name)),
      paint(0, "erase"),
      this.slider("Size", "Diameter of the brush in mm (keys [ and ])", [1, 30, 1], () => state.brushMm, (v) => viewer.setBrush(v)),
      size,
      element("span", { class: "words" }, "Each stroke is saved."),
    );
  }
}

/** The sheet of keys; a dialog that takes the focus and gives it back. */
export function buildHelp(close) {
  const rows = HELP.map(([keys, text]) =>
    element("tr", {}, element("th", { scope: "row" }, keys), element("td", {}, text)),
  );
  return element(
    "div",
    { class: "help", role: "dialog", "aria-modal": "true", "aria-label": "Keys, mouse and touch", hidden: true },
    element("table", {}, ...rows),
    element("button", { type: "button", onclick: close }, "Close"),
  );
}
