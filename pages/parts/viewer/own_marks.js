// The list of the reader's own marks: each leads to its place, can be deleted and brought back.

import { worldToVoxel } from "./geometry.js";
import { isMeasure } from "./measures.js";
import { markWords } from "./marks.js";
import { element } from "./controls.js";

const KINDS = { accept: "Accepted", reject: "Rejected", missed: "Marked" };

export class OwnMarks {
  constructor(viewer) {
    this.viewer = viewer;
    this.shown = false;
    this.box = element("div", { class: "own-marks", role: "dialog", "aria-label": "Your marks", hidden: true });
    this.key = "";
  }

  toggle(shown = !this.shown) {
    this.shown = shown;
    this.sync();
    if (shown) this.box.querySelector("button")?.focus();
    else this.viewer.root.querySelector(".marks-button:not([hidden])")?.focus();
  }

  sync() {
    this.box.hidden = !this.shown;
    const { marks, removed } = this.viewer;
    const key = JSON.stringify([marks, removed].map((list) => list.map((m) => [m.id, m.version])));
    if (!this.shown || key === this.key) return;
    this.key = key;
    const close = element("button", { type: "button", onclick: () => this.toggle(false) }, "Close");
    const rows = marks.map((mark) => this.row(mark));
    const gone = [...removed].reverse().map((mark) => this.goneRow(mark));
    const none = rows.length ? [] : [element("p", {}, "No marks. Measure with D, mark a lesion with M.")];
    const head = gone.length ? [element("h4", {}, "Deleted")] : [];
    const away = rows.length ? [element("p", {}, "They can be downloaded as a table below the viewer.")] : [];
    this.box.replaceChildren(element("h4", {}, "Your marks"), ...none, ...rows, ...away, ...head, ...gone, close);
  }

  words(mark) {
    const number = this.viewer.marks.filter((m) => m.kind === mark.kind).findIndex((m) => m.id === mark.id) + 1;
    if (isMeasure(mark.kind)) return `Measured ${markWords(mark)}, ${mark.plane}`;
    if (mark.kind === "missed") return number ? `${KINDS.missed} lesion ${number} of yours` : "Marked lesion of yours";
    return `${KINDS[mark.kind]} lesion ${mark.lesion}`;
  }

  row(mark) {
    const { viewer } = this;
    const words = this.words(mark);
    const go = () => viewer.goTo(worldToVoxel(viewer.affine, mark.points[0]));
    const remove = () => viewer.removeMark(mark);
    return element(
      "div",
      { class: "own-mark" },
      element("button", { type: "button", class: "place", title: "Show it", onclick: go }, words),
      element("button", { type: "button", "aria-label": `Delete: ${words}`, onclick: remove }, "Delete"),
    );
  }

  goneRow(mark) {
    const words = this.words(mark);
    const restore = () => this.viewer.restoreMark(mark);
    return element(
      "div",
      { class: "own-mark gone" },
      element("span", { class: "place" }, words),
      element("button", { type: "button", "aria-label": `Bring back: ${words}`, onclick: restore }, "Bring back"),
    );
  }
}
