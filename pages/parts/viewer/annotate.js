// What a reader adds: marks, measurements and a corrected segmentation, with undo. The viewer builds
// on this class; `data`, `state`, `store`, `link`, `affine`, `say` and `draw` are its own.

import { PLANES, clampVoxel, transform } from "./geometry.js";
import { encodeRuns, paintDisc } from "./masks.js";
import { addMark, markWords, onSlice } from "./marks.js";

export class Annotator {
  constructor() {
    this.marks = [];
    this.history = []; // {marks} or {stroke}: what undo brings back
    this.edit = null; // {data, header, base, sent, revision}: the segmentation while it is painted on
    this.line = null; // the measurement that is being drawn
    this.stroke = null; // {plane, undo, last}: the brush stroke that is being painted
  }

  /** The segmentation in force: what is being painted, else the block that Python sent. */
  get mask() {
    if (this.edit) {
      // Python's answer to a stored correction is there: the copy is no longer needed.
      if (this.edit.sent && this.data.mask !== this.edit.base && this.store.ready.has(this.data.mask)) {
        this.edit = null;
        this.history = this.history.filter((h) => !h.stroke);
      } else return this.edit;
    }
    return this.data.mask ? this.store.ready.get(this.data.mask) : undefined;
  }

  // ---- marks ---------------------------------------------------------------------------------

  get canUndo() {
    return this.history.length > 0 || this.marks.length > 0;
  }

  changeMarks(next, words) {
    this.history.push({ marks: this.marks });
    this.setMarks(next, words);
  }

  setMarks(next, words) {
    this.marks = next;
    if (words) this.say(words);
    if (this.data.canMark) this.link.deliver("marks", { kind: "marks", case: this.data.case, reader: this.data.reader, marks: next });
    this.draw();
  }

  newMark(kind, points, more = {}) {
    const id = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`;
    return { id, kind, points, lesion: null, plane: null, ...more };
  }

  judge(kind) {
    const lesion = this.data.lesions[this.state.lesion];
    if (!this.data.canMark) return this.say("Say who is reading first");
    if (!lesion) return this.say("Choose a lesion first: key L");
    const mark = this.newMark(kind, [lesion.world], { lesion: lesion.number });
    const next = addMark(this.marks, mark);
    this.changeMarks(next, next.includes(mark) ? markWords(mark) : `lesion ${lesion.number}: no verdict`);
  }

  markMissed(voxel) {
    if (!this.data.canMark) return this.say("Say who is reading first");
    const world = transform(this.affine, clampVoxel(voxel, this.data.shape));
    this.changeMarks(addMark(this.marks, this.newMark("missed", [world])), "Lesion marked");
  }

  startLine(plane, voxel) {
    const { through } = PLANES[plane];
    const at = voxel.map((v, axis) => (axis === through ? this.state.cross[through] : v));
    this.line = this.newMark("length", [transform(this.affine, at), transform(this.affine, at)], { plane });
    this.draw();
  }

  moveLine(voxel) {
    if (!this.line) return;
    this.line = { ...this.line, points: [this.line.points[0], transform(this.affine, voxel)] };
    this.draw();
  }

  endLine(cancelled) {
    const { line } = this;
    this.line = null;
    if (!line || cancelled || line.points[0].every((v, n) => v === line.points[1][n])) return this.draw();
    this.changeMarks(addMark(this.marks, line), markWords(line));
  }

  /** D at the start, D at the end; both at the crosshair. */
  measureByKey(plane) {
    const at = [...this.state.cross];
    if (!this.line || this.line.plane !== plane) {
      this.startLine(plane, at);
      return this.say("Start of the measurement. Move with Shift and the arrow keys, then D.");
    }
    this.moveLine(at);
    this.endLine(!onSlice(this.line, this.affine, this.data.sizesMm, plane, at[PLANES[plane].through]));
  }

  undo() {
    if (this.stroke) return;
    const last = this.history.pop();
    if (last?.stroke && this.edit) {
      for (const [offset, label] of last.stroke) this.edit.data[offset] = label;
      this.edit.revision++;
      this.say("Brush stroke taken back");
      return this.draw();
    }
    if (last?.marks || this.marks.length) this.setMarks(last?.marks ?? this.marks.slice(0, -1), "Mark taken back");
  }

  // ---- brush ---------------------------------------------------------------------------------

  startStroke(plane, voxel) {
    const { mask } = this;
    if (!mask) return;
    if (!this.edit || this.edit.sent) {
      this.edit = { header: mask.header, data: Uint8Array.from(mask.data), base: this.data.mask, sent: false, revision: 0 };
    }
    this.stroke = { plane, undo: new Map(), last: voxel };
    this.moveStroke(voxel);
  }

  /** Paint from the last place to this one, in steps of half a voxel. */
  moveStroke(voxel) {
    const { stroke, state, data } = this;
    if (!stroke || !this.edit) return;
    const { through } = PLANES[stroke.plane];
    const steps = Math.max(1, Math.ceil(2 * Math.max(...voxel.map((v, a) => Math.abs(v - stroke.last[a])))));
    for (let n = 1; n <= steps; n++) {
      const at = voxel.map((v, a) =>
        a === through ? state.cross[a] : stroke.last[a] + ((v - stroke.last[a]) * n) / steps,
      );
      paintDisc(this.edit.data, data.shape, data.sizesMm, stroke.plane, at, state.brushMm / 2, state.brushLabel, stroke.undo);
    }
    stroke.last = voxel;
    this.edit.revision++;
    this.hover = { voxel, pane: this.hover?.pane ?? this.panes[stroke.plane] };
    this.draw();
  }

  endStroke(cancelled) {
    const { stroke } = this;
    this.stroke = null;
    if (!stroke || !this.edit) return;
    this.edit.revision++;
    if (cancelled) for (const [offset, label] of stroke.undo) this.edit.data[offset] = label;
    else if (stroke.undo.size) this.history.push({ stroke: stroke.undo });
    this.draw();
  }

  /** A second finger turns the beginning of a stroke or line into zooming. */
  cancelStroke() {
    if (this.stroke) this.endStroke(true);
    this.line = null;
  }

  storeEdit() {
    if (!this.edit) return;
    this.edit.sent = true;
    this.link.deliver("mask", {
      kind: "mask",
      case: this.data.case,
      reader: this.data.reader,
      shape: this.data.shape,
      runs: encodeRuns(this.edit.data),
    });
    this.say("Correction sent");
  }

  dropEdit() {
    this.edit = null;
    this.history = this.history.filter((h) => !h.stroke);
    this.say("Correction given up");
    this.draw();
  }
}
