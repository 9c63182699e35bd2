// What a reader adds: marks, measurements and a corrected segmentation, with undo. The viewer builds
// on this class; `data`, `state`, `store`, `link`, `affine`, `say` and `draw` are its own.
//
// Every change goes to Python as it is made. What is drawn is what Python has stored with what is
// still on its way; so a mark never goes because a window did not know of it.

import { PLANES, clampVoxel, transform } from "./geometry.js";
import { between } from "./between.js";
import { valueAt } from "./grey.js";
import { paintDisc, paintRuns, strokeRuns } from "./masks.js";
import { MEASURES, acrossFrom, complete, thinned } from "./measures.js";
import { applyChanges, isVerdict, markWords, onSlice } from "./marks.js";

export class Annotator {
  constructor() {
    this.marks = [];
    this.removed = []; // marks that were taken away, last one last
    this.history = []; // {steps: [[action, id]]} or {stroke: Map offset -> label}: what undo does
    this.redone = []; // the same for redo
    this.edit = null; // {data, header, base, revision}: the segmentation with strokes on their way
    this.revisions = 0;
    this.line = null; // the measurement that is being drawn: a mark without some of its points yet
    this.leg = 0; // points of it that stand; the others follow the pointer
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
    const words = this.data.reader ? "Lesion marked" : "Lesion marked. It is stored once you say who is reading.";
    this.changeMarks([["set", this.newMark("missed", [world])]], words);
  }

  removeMark(mark) {
    this.changeMarks([["removed", mark.id]], `Deleted: ${markWords(mark)}`);
  }

  restoreMark(mark) {
    this.changeMarks([["restored", mark.id]], `Brought back: ${markWords(mark)}`);
  }

  /** The pointer is down: begin a measurement, or the second leg of the one that is being drawn. */
  startLine(plane, voxel, kind) {
    const { through } = PLANES[plane];
    const at = transform(this.affine, voxel.map((v, axis) => (axis === through ? this.state.cross[axis] : v)));
    const goesOn = this.line?.kind === kind && this.line.plane === plane && this.leg === 2 && this.line.points.length === 2;
    if (!goesOn) this.line = this.newMark(kind, [], { plane });
    else if (!onSlice(this.line, this.affine, this.data.sizesMm, plane, this.state.cross[through])) {
      this.line = this.newMark(kind, [], { plane });
    }
    const { points } = this.line;
    this.leg = kind === "angle" && points.length ? 2 : points.length + 1;
    this.line = { ...this.line, points: kind === "angle" && points.length ? [points[0], points[1], at] : [...points, at] };
    this.draw();
  }

  /** The pointer moves while it is down. */
  moveLine(voxel) {
    const { line } = this;
    if (!line) return;
    const at = transform(this.affine, voxel);
    const fixed = line.points.slice(0, this.leg);
    if (line.kind === "area") {
      this.line = { ...line, points: [...line.points, at] };
    } else if (line.kind === "diameters" && this.leg === 3) {
      this.line = { ...line, points: [...fixed, acrossFrom(fixed[2], at, fixed)] };
    } else this.line = { ...line, points: [...fixed, at] };
    this.draw();
  }

  /** The pointer is up: the measurement is done, or its first leg. */
  endLine(cancelled) {
    const { line } = this;
    if (!line || cancelled) return this.dropLine();
    const { points, kind } = line;
    if (complete(line)) return this.keepLine();
    const half = MEASURES[kind].points > 2 && kind !== "area" && points.length === 2;
    if (!half || !complete({ kind: "length", points })) return this.dropLine();
    this.leg = 2;
    this.say(kind === "angle" ? "Now drag the other leg" : "Now drag the longest diameter across it");
    this.draw();
  }

  keepLine() {
    const mark = { ...this.line, points: thinned(this.line.points) };
    this.dropLine();
    this.changeMarks([["set", mark]], markWords(mark));
  }

  dropLine() {
    this.line = null;
    this.leg = 0;
    this.draw();
  }

  /** A key sets one point of the measurement at the crosshair; `close` ends an outline. */
  measureByKey(plane, kind, close = false) {
    const at = [...this.state.cross];
    const goesOn = this.line?.kind === kind && this.line.plane === plane;
    if (!goesOn || !onSlice(this.line, this.affine, this.data.sizesMm, plane, at[PLANES[plane].through])) {
      this.line = this.newMark(kind, [], { plane });
    }
    let point = transform(this.affine, at);
    const { points } = this.line;
    if (kind === "diameters" && points.length === 3) point = acrossFrom(points[2], point, points);
    if (!close) this.line = { ...this.line, points: [...points, point] };
    this.leg = this.line.points.length;
    if (complete(this.line) && (kind !== "area" || close)) return this.keepLine();
    if (close || this.leg >= MEASURES[kind].points) {
      this.dropLine();
      return this.say("Nothing to measure: the points coincide");
    }
    const { key } = MEASURES[kind];
    const end = kind === "area" && this.leg > 2 ? ` Shift ${key} closes the outline.` : "";
    this.say(`Point ${this.leg}. Move with Shift and the arrow keys, then ${key}.${end}`);
    this.draw();
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
    const { plane, index, label } = entry;
    if (back.size) other.push({ stroke: back, plane, index, label });
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

  startStroke(plane, voxel, pane) {
    if (!this.data.reader || !this.beginEdit()) return;
    const index = this.state.cross[PLANES[plane].through];
    this.stroke = { plane, index, label: this.state.brushLabel, undo: new Map(), last: voxel, takes: this.rangeOf(pane) };
    this.moveStroke(voxel);
  }

  /** Which voxels the brush takes: those with grey values in the range, where one is set. */
  rangeOf(pane) {
    const { brushRange, brushLow, brushHigh } = this.state;
    if (!brushRange) return null;
    const image = this.imageOf(this.sequenceOf(pane ?? this.focusedPane()));
    return (voxel) => {
      const value = image && valueAt(image, voxel, this.data.shape);
      return value != null && value >= brushLow && value <= brushHigh;
    };
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
      const brush = { plane: stroke.plane, radiusMm: state.brushMm / 2, label: stroke.label, takes: stroke.takes };
      paintDisc(this.edit.data, data.shape, data.sizesMm, at, brush, stroke.undo);
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
      const { plane, index, label, undo } = stroke;
      this.history.push({ stroke: undo, plane, index, label });
      this.redone = [];
    }
    this.draw();
  }

  /** The last two strokes that can be joined: same plane and label, slices between them. */
  get lastStrokes() {
    const strokes = this.history.filter((entry) => entry.stroke && entry.plane).reverse();
    const [last] = strokes;
    const other = strokes.find((s) => s.plane === last.plane && s.label === last.label && Math.abs(s.index - last.index) > 1);
    return last && other ? [other, last] : null;
  }

  /** Paint the slices between the last two strokes of one plane and label. */
  fillBetween() {
    const pair = this.lastStrokes;
    if (!pair || !this.beginEdit()) return this.say("Paint the lesion on two slices first, with others between them");
    const [first, second] = pair.map((s) => ({ ...s, offsets: s.stroke.keys() }));
    const { data } = this;
    const undo = new Map();
    for (const offset of between(this.edit.data, data.shape, data.sizesMm, first, second)) {
      if (this.edit.data[offset] === first.label) continue;
      undo.set(offset, this.edit.data[offset]);
      this.edit.data[offset] = first.label;
    }
    if (this.sendStroke(undo)) {
      this.history.push({ stroke: undo });
      this.redone = [];
    }
    this.say(`${Math.abs(first.index - second.index) - 1} slices between filled: ${undo.size} voxels`);
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
    this.dropLine();
  }
}
