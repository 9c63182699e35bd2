// What a reader adds: marks, measurements and a corrected segmentation, with undo. The viewer builds
// on this class; `data`, `state`, `store`, `link`, `affine`, `say` and `draw` are its own.
//
// Every change goes to Python as it is made. What is drawn is what Python has stored with what is
// still on its way; so a mark never goes because a window did not know of it.

import { PLANES, clampVoxel, transform } from "./geometry.js";
import { paintDisc, paintRuns, strokeRuns } from "./masks.js";
import { applyChanges, isVerdict, markWords, onSlice } from "./marks.js";

export class Annotator {
  constructor() {
    this.marks = [];
    this.removed = []; // marks that were taken away, last one last
    this.history = []; // {steps: [[action, id]]} or {stroke: Map offset -> label}: what undo does
    this.redone = []; // the same for redo
    this.edit = null; // {data, header, base, revision}: the segmentation with strokes on their way
    this.revisions = 0;
    this.line = null; // the measurement that is being drawn
    this.stroke = null; // {plane, undo, last}: the brush stroke that is being painted
  }

  /** The segmentation in force: the block that Python sent, with the strokes that are on their way. */
  get mask() {
    const { mask: id } = this.data;
    if (!id) return undefined;
    const sent = this.store.ready.get(id);
    if (this.stroke || !sent) return this.edit ?? undefined; // the next block is on its way
    const strokes = this.link.items("mask");
    if (!strokes.length) this.edit = null;
    else if (this.edit?.base !== id) {
      this.edit = this.copyOf(sent);
      for (const { runs } of strokes) paintRuns(this.edit.data, runs);
    }
    return this.edit ?? sent;
  }

  copyOf(mask) {
    const revision = ++this.revisions;
    return { header: mask.header, data: Uint8Array.from(mask.data), base: this.data.mask, revision };
  }

  // ---- marks ---------------------------------------------------------------------------------

  get canUndo() {
    return this.history.length > 0 || this.marks.length > 0;
  }

  /** What is stored, with what is on its way. */
  gatherMarks() {
    const { marks = [], removed = [] } = this.data;
    Object.assign(this, applyChanges(marks, removed, this.link.items("marks")));
  }

  /** Do steps [[action, id or new mark]] and give back the steps that undo them. */
  perform(steps) {
    const back = [];
    for (const [action, what] of steps) {
      const id = what.id ?? what;
      const known = [...this.marks, ...this.removed].find((mark) => mark.id === id);
      const after = known?.version ?? 0;
      const value = { mark: id, action, after };
      if (action === "set") {
        const { kind, points, lesion, plane } = what;
        value.content = { kind, points, lesion, plane };
      } else if (!known || (action === "removed") !== this.marks.includes(known)) continue;
      this.link.deliver("marks", `${id}/${after}`, value);
      this.gatherMarks();
      back.unshift([action === "removed" ? "restored" : "removed", id]);
    }
    return back;
  }

  changeMarks(steps, words) {
    const back = this.perform(steps);
    if (back.length) this.history.push({ steps: back });
    this.redone = [];
    this.say(words);
    this.draw();
  }

  newMark(kind, points, more = {}) {
    const id = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`;
    return { id, kind, points, lesion: null, plane: null, ...more };
  }

  /** Judge the chosen lesion; a new verdict takes the place of the old one, the same goes. */
  judge(kind) {
    const lesion = this.data.lesions[this.state.lesion];
    if (!this.data.canMark) return;
    if (!lesion) return this.say("Choose a lesion first: key L");
    const old = this.marks.filter((mark) => mark.lesion === lesion.number && isVerdict(mark));
    const steps = old.map((mark) => ["removed", mark.id]);
    if (old.some((mark) => mark.kind === kind)) return this.changeMarks(steps, `lesion ${lesion.number}: no verdict`);
    const mark = this.newMark(kind, [lesion.world], { lesion: lesion.number });
    this.changeMarks([...steps, ["set", mark]], markWords(mark));
  }

  markMissed(voxel) {
    if (!this.data.canMark) return;
    const world = transform(this.affine, clampVoxel(voxel, this.data.shape));
    this.changeMarks([["set", this.newMark("missed", [world])]], "Lesion marked");
  }

  removeMark(mark) {
    this.changeMarks([["removed", mark.id]], `Deleted: ${markWords(mark)}`);
  }

  restoreMark(mark) {
    this.changeMarks([["restored", mark.id]], `Brought back: ${markWords(mark)}`);
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
    this.changeMarks([["set", line]], markWords(line));
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

  // ---- undo ----------------------------------------------------------------------------------

  /** Take the last change back; after a reload the newest mark. */
  undo() {
    const newest = this.marks.at(-1);
    const last = this.history.pop() ?? (newest && { steps: [["removed", newest.id]] });
    this.reverse(last, this.redone, "Taken back. Shift U brings it back.");
  }

  redo() {
    this.reverse(this.redone.pop(), this.history, "Brought back");
  }

  reverse(entry, other, words) {
    if (!entry || this.stroke) return;
    const back = entry.stroke ? this.reverseStroke(entry.stroke) : this.perform(entry.steps);
    if (back.size) other.push({ stroke: back });
    else if (back.length) other.push({ steps: back });
    this.say(words);
    this.draw();
  }

  reverseStroke(labels) {
    if (!this.beginEdit()) return [];
    const back = new Map();
    for (const [offset, label] of labels) {
      back.set(offset, this.edit.data[offset]);
      this.edit.data[offset] = label;
    }
    this.sendStroke(back);
    return back;
  }

  // ---- brush ---------------------------------------------------------------------------------

  /** A copy of the segmentation that can be painted on; false where there is none. */
  beginEdit() {
    const { mask } = this;
    if (!mask) return false;
    if (mask !== this.edit) this.edit = this.copyOf(mask);
    return true;
  }

  startStroke(plane, voxel) {
    if (!this.data.reader || !this.beginEdit()) return;
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
    this.edit.revision = ++this.revisions;
    this.hover = { voxel, pane: this.hover?.pane ?? this.panes[stroke.plane] };
    this.draw();
  }

  /** The pointer is up: the stroke is sent at once. */
  endStroke(cancelled) {
    const { stroke } = this;
    this.stroke = null;
    if (!stroke || !this.edit) return;
    if (cancelled) {
      for (const [offset, label] of stroke.undo) this.edit.data[offset] = label;
      this.edit.revision = ++this.revisions;
    } else if (this.sendStroke(stroke.undo)) {
      this.history.push({ stroke: stroke.undo });
      this.redone = [];
    }
    this.draw();
  }

  /** Send what the voxels of `labels` (offset -> what was there) are now; false where it is the same. */
  sendStroke(labels) {
    const changed = [...labels].filter(([offset, label]) => this.edit.data[offset] !== label);
    this.edit.revision = ++this.revisions;
    if (!changed.length) return false;
    const { id } = this.newMark("stroke", []);
    this.link.deliver("mask", id, { id, runs: strokeRuns(changed.map(([offset]) => offset), this.edit.data) });
    return true;
  }

  /** A second finger turns the beginning of a stroke or line into zooming. */
  cancelStroke() {
    if (this.stroke) this.endStroke(true);
    this.line = null;
  }
}
