// Run with: node --test tests/js
// The volume is 2 x 3 x 4 voxels whose value says where it lies: 100 k + 10 j + i.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import * as g from "../../pages/parts/viewer/geometry.js";
import { splitBlock, unpack } from "../../pages/parts/viewer/blocks.js";
import { heatColour, lesionOnSlice, notesPlace, paintGrey, paintHeat, paintMask } from "../../pages/parts/viewer/paint.js";
import { applyChanges, markWords, onSlice, verdictOf } from "../../pages/parts/viewer/marks.js";
import { between } from "../../pages/parts/viewer/between.js";
import * as l from "../../pages/parts/viewer/layouts.js";
import * as q from "../../pages/parts/viewer/measures.js";
import * as v from "../../pages/parts/viewer/grey.js";
import { savedWords, warning } from "../../pages/parts/viewer/link.js";
import { keepView, loadView } from "../../pages/parts/viewer/memory.js";
import * as p from "../../pages/parts/viewer/prior.js";
import { Annotator } from "../../pages/parts/viewer/annotate.js";
import { Unsent } from "../../pages/parts/viewer/unsent.js";
import * as m from "../../pages/parts/viewer/masks.js";

const shape = [2, 3, 4];
const volume = [];
for (let k = 0; k < 4; k++)
  for (let j = 0; j < 3; j++) for (let i = 0; i < 2; i++) volume.push(100 * k + 10 * j + i);

test("an axial slice starts at the patient's right and front", () => {
  const slice = g.extractSlice(volume, shape, "axial", 1, new Array(6));
  assert.deepEqual(slice, [121, 120, 111, 110, 101, 100]);
});

test("a coronal slice starts at the patient's right and top", () => {
  const slice = g.extractSlice(volume, shape, "coronal", 2, new Array(8));
  assert.deepEqual(slice, [321, 320, 221, 220, 121, 120, 21, 20]);
});

test("a sagittal slice starts at the front and top", () => {
  const slice = g.extractSlice(volume, shape, "sagittal", 0, new Array(12));
  assert.deepEqual(slice.slice(0, 3), [320, 310, 300]);
});

test("a slice of 1 x 5 mm voxels is drawn five times as tall per voxel", () => {
  const place = g.placeSlice([10, 10, 10], [1, 1, 5], "coronal", { width: 100, height: 100 });
  assert.equal(place.height, 100); // 50 mm fill the pane
  assert.equal(place.width, 20); // 10 mm at the same scale
  assert.equal(place.left, 40);
});

test("the head fills the pane, not the empty air around it", () => {
  const box = g.withMargin([[2, 5], [4, 7], [0, 9]], 0);
  const place = g.placeSlice([10, 10, 10], [1, 1, 1], "axial", { width: 80, height: 80 }, { box });
  assert.equal(place.scale, 20); // 4 voxels fill 80 pixels
  const [x, y] = g.voxelToPane([3.5, 5.5, 0], place, [10, 10, 10], "axial");
  assert.deepEqual([x, y], [40, 40]); // the middle of the box is the middle of the pane
  assert.deepEqual(g.withMargin([[2, 5], [4, 7], [0, 9]], 0.25)[0], [1, 6]);
  assert.equal(g.withMargin(null), null);
});

test("pane pixels and voxels go there and back, zoomed and moved", () => {
  const view = { zoom: 1.7, panMm: [4, -3], box: [[0, 1], [1, 2], [0, 2]] };
  for (const plane of Object.keys(g.PLANES)) {
    const place = g.placeSlice(shape, [1, 2, 3], plane, { width: 300, height: 200 }, view);
    const voxel = [1, 0, 3];
    const [x, y] = g.voxelToPane(voxel, place, shape, plane);
    const back = g.paneToVoxel(x, y, place, shape, plane, voxel);
    back.forEach((v, axis) => assert.ok(Math.abs(v - voxel[axis]) < 1e-9));
  }
});

test("the patient's left (low i) is drawn in the right half of an axial image", () => {
  const place = g.placeSlice([100, 100, 10], [1, 1, 1], "axial", { width: 200, height: 200 });
  const [x] = g.voxelToPane([10, 50, 5], place, [100, 100, 10], "axial");
  assert.ok(x > 150);
});

test("a click outside the volume lands on its border voxel", () => {
  assert.deepEqual(g.clampVoxel([-3, 1.4, 99], shape), [0, 1, 3]);
});

test("world positions are written as a radiologist does", () => {
  assert.equal(g.worldInWords([-34.23, -12, 22.06]), "34.2 L  12.0 P  22.1 S");
});

test("letters stand beside a coordinate only where the origin lies in the middle of the head", () => {
  const grid = (x, y) => [[1, 0, 0, x], [0, 1, 0, y], [0, 0, 1, -20]];
  assert.equal(g.originInside(grid(-120, -100), [240, 240, 155]), true);
  assert.equal(g.originInside(grid(0, 239), [240, 240, 155]), false); // BraTS: a corner
  assert.equal(g.worldInWords([89, 309, 76], false), "x 89.0  y 309.0  z 76.0");
});

test("world to voxel undoes an oblique affine", () => {
  const c = Math.cos(0.3);
  const s = Math.sin(0.3);
  const affine = [
    [2 * c, -s, 0, -10],
    [2 * s, c, 0, 5],
    [0, 0, 3, 7],
  ];
  const voxel = g.worldToVoxel(affine, g.transform(affine, [4, 5, 6]));
  voxel.forEach((v, axis) => assert.ok(Math.abs(v - [4, 5, 6][axis]) < 1e-9));
});

const coded = { header: { kind: "u16", low: 50, high: 2600, step: 10, decimals: 0, shape: [2, 1, 2], presets: [{ name: "Brain", low: 50, high: 306 }] }, data: Uint16Array.of(0, 5, 255, 1) };
const float = { header: { ...coded.header, kind: "f32", low: -1, high: 9, decimals: 2 }, data: Float32Array.of(-1, 0.004, 2.5, 9) };

test("a window of level 100 and width 50 is black at 75, white at 125, grey between", () => {
  const [a, b] = v.scaleOf(coded, { level: 100, width: 50 });
  const shown = [2, 5, 7.5, 9].map((raw) => new Uint8ClampedArray([a * raw + b])[0]); // 70, 100, 125, 140
  assert.deepEqual(shown, [0, 127, 255, 255]);
});

test("window and level have three significant digits at most", () => {
  assert.deepEqual([108.93, 105, 0.12345, 1234.5, -3.456].map(v.windowInWords), ["109", "105", "0.123", "1230", "-3.46"]);
});

test("a plane keeps its name, in the short form where there is little room, and no text lies on a letter", () => {
  const titles = [150, 80, 60]; // T1 Gd · Coronal 29/56, Coronal 29/56, Cor 29/56
  assert.deepEqual(notesPlace(titles, 100, 600), { title: 0, titleLine: 0, windowLine: 0 });
  assert.deepEqual(notesPlace(titles, 100, 240), { title: 1, titleLine: 0, windowLine: 1 });
  assert.deepEqual(notesPlace(titles, 100, 180), { title: 2, titleLine: 0, windowLine: 1 });
  assert.deepEqual(notesPlace(titles, 100, 140), { title: 2, titleLine: 1, windowLine: 2 });
  assert.ok(Object.keys(g.PLANES).every((plane) => g.PLANE_NAMES[plane][1].length <= 3));
});

test("a voxel has the value of the file, and a preview has none", () => {
  assert.equal(v.valueAt(coded, [1, 0, 0], [2, 1, 2]), 100);
  assert.equal(v.valueAt(coded, [0, 0, 1], [2, 1, 2]), 2600);
  assert.equal(v.valueAt(float, [0, 0, 1], [2, 1, 2]), 2.5);
  assert.equal(v.valueAt(coded, [1, 0, 0], [4, 2, 4]), null);
  assert.equal(v.valueInWords(1030, coded.header), "1030");
  assert.equal(v.valueInWords(-0.001, float.header), "0.00");
});

test("a difference takes the second image times its factor away, and a slab shows the greatest", () => {
  const image = { minuend: coded, subtrahend: float, factor: 2, header: { ...coded.header, kind: "f32" } };
  assert.equal(v.valueAt(image, [0, 0, 1], [2, 1, 2]), 2595);
  const found = v.greySlice(image, "axial", 0.1).slice; // slice 0; the patient's right first
  assert.ok(Math.abs(found[0] - (100 - 0.008)) < 1e-4 && found[1] === 52);
  assert.deepEqual([...v.greySlice(coded, "axial", 0.1, 2).slice], [5, 255]);
});

test("a window stays within what the image holds", () => {
  const { level, width } = v.boundWindow({ level: 9999, width: -5 }, coded.header);
  assert.deepEqual([level, width], [2600, 1.28]);
  assert.equal(v.windowStep(coded.header), 1);
});

test("the scale bar is the longest round length that fits", () => {
  assert.equal(g.scaleBarMm(2, 120), 50);
  assert.equal(g.scaleBarMm(10, 120), 10);
});

test("grey pixels are opaque and follow the window", () => {
  const rgba = paintGrey([0, 51], [5, 0], new Uint8ClampedArray(8));
  assert.deepEqual([...rgba], [0, 0, 0, 255, 255, 255, 255, 255]);
});

test("a label that is switched off is transparent, one that is on is filled evenly", () => {
  const slice = new Uint8Array([3, 3, 2, 0]);
  const rgba = paintMask(slice, 0.2, { 1: true, 2: false, 3: true }, new Uint8ClampedArray(16));
  assert.deepEqual([rgba[3], rgba[7], rgba[11], rgba[15]], [51, 51, 0, 0]); // 0.2 of 255
});

test("the outline of a 2 x 1 block is its four sides, each one line", () => {
  const slice = new Uint8Array(5 * 4);
  slice[1 + 5 * 2] = slice[2 + 5 * 2] = 3; // columns 1 and 2 of row 2
  const lines = m.outlines(slice, 5, 4, { 1: true, 2: true, 3: true });
  assert.deepEqual(lines, { 3: [1, 2, 3, 2, 1, 3, 3, 3, 1, 2, 1, 3, 3, 2, 3, 3] });
  assert.deepEqual(m.outlines(slice, 5, 4, { 1: true, 2: true, 3: false }), {});
});

test("a ring of tumour around necrosis has an outer and an inner outline", () => {
  const slice = new Uint8Array(9).fill(3);
  slice[4] = 1;
  const lines = m.outlines(slice, 3, 3, { 1: true, 2: true, 3: true });
  assert.equal(lines[3].length / 4, 8);
  assert.equal(lines[1].length / 4, 4);
});

test("a lesion on the last row and column is outlined too", () => {
  const slice = new Uint8Array(4);
  slice[3] = 2;
  const lines = m.outlines(slice, 2, 2, { 1: true, 2: true, 3: true })[2];
  assert.deepEqual(lines, [1, 1, 2, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 1, 2, 2]);
});

test("the lesion under a voxel is all the tumour core that touches it, corners included", () => {
  const size = [5, 5, 5];
  const data = new Uint8Array(125);
  const set = (i, j, k, label) => (data[i + 5 * (j + 5 * k)] = label);
  set(1, 1, 1, 3);
  set(2, 2, 2, 1); // touches by a corner
  set(3, 2, 2, 2); // oedema is no core
  set(4, 4, 4, 3); // another lesion
  assert.deepEqual(m.lesionAt(data, size, [1, 1, 1]), { count: 2, centre: [1.5, 1.5, 1.5] });
  assert.equal(m.lesionAt(data, size, [3, 2, 2]), null);
  assert.equal(m.nearestLesion([[4, 4, 4], [1.5, 1.5, 1.6]], [1.5, 1.5, 1.5], [1, 1, 5], 4), 1);
  assert.equal(m.nearestLesion([[4, 4, 4]], [0, 0, 0], [1, 1, 1], 4), -1);
});

const brush = (radiusMm, label, takes = null) => ({ plane: "axial", radiusMm, label, takes });

test("a brush with a range of grey values takes only the voxels that are in it", () => {
  const data = new Uint8Array(25);
  const grey = (voxel) => voxel[0] >= 2;
  m.paintDisc(data, [5, 5, 1], [1, 1, 1], [2, 2, 0], brush(2, 3, grey), new Map());
  const painted = [...data.keys()].filter((offset) => data[offset]);
  assert.ok(painted.length > 5 && painted.every((offset) => offset % 5 >= 2));
});

test("the brush paints a disc in mm on one slice, and undo brings the old labels back", () => {
  const size = [9, 9, 9];
  const data = new Uint8Array(729);
  data[4 + 9 * (4 + 9 * 4)] = 2;
  const undo = new Map();
  const changed = m.paintDisc(data, size, [1, 2, 1], [4, 4, 4], brush(2, 3), undo);
  // Within 2 mm of the middle: 5 voxels along i (1 mm), 3 along j (2 mm).
  assert.equal(changed, 7);
  assert.equal(data.filter((v) => v === 3).length, 7);
  assert.equal(data[4 + 9 * (3 + 9 * 4)], 3);
  assert.equal(data[4 + 9 * (4 + 9 * 5)], 0); // the next slice is untouched
  for (const [offset, label] of undo) data[offset] = label;
  assert.equal(data.filter((v) => v).length, 1);
  assert.equal(m.paintDisc(data, size, [1, 1, 1], [0, 0, 0], brush(1, 1), new Map()), 3); // a corner
});

test("a stroke goes as runs of neighbours with one label, and is painted from them", () => {
  const data = Uint8Array.of(0, 3, 3, 1, 0, 3);
  const runs = m.strokeRuns([5, 2, 1, 3], data);
  assert.deepEqual(runs, [1, 2, 3, 3, 1, 1, 5, 1, 3]);
  const other = new Uint8Array(6);
  m.paintRuns(other, runs);
  assert.deepEqual(other, data);
});

const mark = (id, version = 1) => ({ id, version, kind: "missed", points: [[0, 0, 0]] });
const change = (name, action, after) => ({ mark: name, action, after, content: action === "set" ? { kind: "missed" } : undefined });
const ids = (list) => list.map((m) => `${m.id}${m.version}`);

test("what is on its way is drawn with what is stored, and nothing else goes", () => {
  const { marks, removed } = applyChanges([mark("a"), mark("b")], [], [change("c", "set", 0), change("a", "removed", 1)]);
  assert.deepEqual([ids(marks), ids(removed)], [["b1", "c1"], ["a2"]]);
});

test("a change that has arrived already changes nothing more", () => {
  const { marks, removed } = applyChanges([mark("a", 3)], [], [change("a", "set", 0), change("a", "removed", 1)]);
  assert.deepEqual([ids(marks), ids(removed)], [["a3"], []]);
});

test("a mark that was taken away can be brought back, also before either has arrived", () => {
  const changes = [change("a", "removed", 1), change("a", "restored", 2)];
  assert.deepEqual(ids(applyChanges([mark("a")], [], changes).marks), ["a3"]);
});

/** A browser's storage. */
class Storage {
  constructor() {
    this.map = new Map();
  }
  get length() {
    return this.map.size;
  }
  key(n) {
    return [...this.map.keys()][n];
  }
  getItem(name) {
    return this.map.get(name) ?? null;
  }
  setItem(name, text) {
    this.map.set(name, String(text));
  }
  removeItem(name) {
    this.map.delete(name);
  }
}
const place = (more = {}) => ({ owner: "o", case: "C 1", reader: "Ann", phase: "unaided", ...more });
const keysOf = (unsent) => unsent.of("marks").map((item) => item.key);
const item = (key, at) => ({ kind: "marks", key, at });

test("what was not confirmed is there again after a reload, in its order, and goes once it is", () => {
  const [shared, own] = [new Storage(), new Storage()];
  const first = new Unsent(shared, own);
  first.open(place());
  ["b", "a", "c"].forEach((key, n) => first.add(item(key, n + 9)));
  const again = new Unsent(shared, own);
  again.open(place());
  assert.deepEqual(keysOf(again), ["b", "a", "c"]);
  keysOf(again).forEach((key) => again.remove(key));
  assert.equal(shared.length, 0);
});

test("two windows do not write over each other", () => {
  const shared = new Storage();
  const windows = [1, 2].map(() => new Unsent(shared, new Storage()));
  windows.forEach((unsent, n) => {
    unsent.open(place());
    unsent.add(item(`window ${n}`, n));
  });
  windows[0].remove("window 0");
  const again = new Unsent(shared, new Storage());
  again.open(place());
  assert.deepEqual(keysOf(again), ["window 1"]);
});

test("what waits is of one user, case and reader, and an aided mark waits for the aided phase", () => {
  const shared = new Storage();
  const unsent = new Unsent(shared, new Storage());
  unsent.open(place({ phase: "aided" }));
  unsent.add(item("aided", 1));
  const seen = (more) => {
    const other = new Unsent(shared, new Storage());
    other.open(place(more));
    return keysOf(other);
  };
  assert.deepEqual(seen({ phase: "aided" }), ["aided"]);
  for (const more of [{}, { phase: "aided", owner: "x" }, { phase: "aided", case: "C 2" }, { phase: "aided", reader: "Bo" }]) {
    assert.deepEqual(seen(more), []);
  }
});

test("a mark without a reader waits in its window and goes to the one who is named there", () => {
  const [shared, own] = [new Storage(), new Storage()];
  const unsent = new Unsent(shared, own);
  unsent.open(place({ reader: "" }));
  unsent.add(item("nameless", 1));
  assert.equal(shared.length, 0);
  const elsewhere = new Unsent(shared, new Storage());
  elsewhere.open(place());
  assert.deepEqual(keysOf(elsewhere), []);
  assert.equal(unsent.open(place()), true);
  assert.deepEqual([keysOf(unsent), own.length, shared.length], [["nameless"], 0, 1]);
  assert.equal(unsent.open(place({ reader: "Bo" })), false);
  assert.deepEqual(keysOf(unsent), []);
});

test("a browser without storage keeps what waits while the page lives", () => {
  const unsent = new Unsent(undefined, undefined);
  unsent.open(place({ reader: "" }));
  unsent.add(item("a", 1));
  unsent.open(place());
  assert.deepEqual([keysOf(unsent), unsent.failed], [["a"], true]);
});

/** An annotator with two lesions, whose changes never arrive. */
function annotator() {
  const a = new Annotator();
  const items = [];
  const link = { items: () => items, deliver: (kind, key, value) => items.push({ kind, key, ...value }) };
  const lesions = [1, 2].map((number) => ({ number, world: [0, 0, 0] }));
  Object.assign(a, { link, data: { canMark: true, marks: [], removed: [], lesions }, state: { lesion: 0 }, say() {}, draw() {} });
  return a;
}

test("a new verdict takes the place of the old one, the same verdict takes it back, and undo reverses", () => {
  const a = annotator();
  const verdicts = () => [verdictOf(a.marks, 1), verdictOf(a.marks, 2)];
  a.judge("accept");
  a.state.lesion = 1;
  a.judge("accept");
  a.state.lesion = 0;
  a.judge("reject");
  assert.deepEqual([verdicts(), a.marks.length, a.removed.length], [["reject", "accept"], 2, 1]);
  a.undo();
  assert.deepEqual(verdicts(), ["accept", "accept"]);
  a.redo();
  assert.deepEqual(verdicts(), ["reject", "accept"]);
  a.judge("reject");
  assert.deepEqual(verdicts(), [null, "accept"]);
  assert.equal(markWords(a.marks[0]), "lesion 2 accepted");
});

test("after a reload undo takes the newest mark away, and the list brings it back", () => {
  const a = annotator();
  a.data.marks = [mark("a"), mark("b")];
  a.gatherMarks();
  a.undo();
  assert.deepEqual([ids(a.marks), ids(a.removed)], [["a1"], ["b2"]]);
  a.restoreMark(a.removed[0]);
  assert.deepEqual([ids(a.marks), a.removed.length], [["a1", "b3"], 0]);
});

const calm = { unsent: 0, refused: null, problem: null, connected: true, named: true, unkept: false, late: false };

test("the saved mark says when, in the local time, and on which day", () => {
  const at = new Date(2026, 2, 3, 14, 32);
  const words = (standing, now) => savedWords({ ...calm, ...standing }, at.toISOString(), now).text;
  assert.equal(words({}, at), "Saved 14:32");
  assert.equal(words({}, new Date(2026, 2, 4, 8)), "Saved 3 Mar, 14:32");
  assert.equal(words({ unsent: 1 }, at), "Saving…");
  assert.equal(words({ unsent: 1, connected: false }, at), "Not saved");
  assert.equal(words({ unsent: 1, problem: "the disk is full" }, at), "Not saved");
  assert.equal(words({ unsent: 1, named: false }, at), "Not saved yet: say who is reading");
  assert.equal(savedWords(calm, null).text, "Nothing marked yet");
});

test("what is not saved is said with its reason", () => {
  assert.equal(warning(calm), "");
  assert.equal(warning({ ...calm, unsent: 1, problem: "the disk is full" }), "Not saved: the disk is full");
  assert.match(warning({ ...calm, connected: false, unkept: true }), /connection .* is lost.* keeps no copy/);
  assert.match(warning({ ...calm, unsent: 1, late: true }), /sending them again/);
});

test("the view comes back after a reload, and what does not fit the case is left out", () => {
  const storage = new Storage();
  const fresh = { cross: [5, 5, 5], sequence: 0, second: 1, four: [0, 1], zoom: 1, layout: "three", tool: "cross", box: null, windows: {} };
  const scene = { shape: [10, 10, 10], sequences: [{}, {}], mask: null };
  assert.equal(loadView(storage, "v", fresh, scene), null);
  keepView(storage, "v", { ...fresh, cross: [1, 2, 3], sequence: 1, zoom: 2, box: [[0, 1]] });
  const { cross, sequence, zoom, box } = loadView(storage, "v", fresh, scene);
  assert.deepEqual([cross, sequence, zoom, box], [[1, 2, 3], 1, 2, null]);
  const odd = { cross: [99, -5, 3], sequence: 7, four: [0, 9], layout: "none", tool: "brush", zoom: "big", more: 1 };
  storage.setItem("v", JSON.stringify(odd));
  const mended = loadView(storage, "v", fresh, scene);
  assert.deepEqual(mended, { ...fresh, cross: [9, 0, 3] });
  storage.setItem("v", "{");
  assert.equal(loadView(storage, "v", fresh, scene), null);
});

const verdict = (kind, lesion) => ({ id: kind + lesion, kind, lesion, points: [[0, 0, 0]] });

test("a length is measured in mm of the world, through an oblique anisotropic grid too", () => {
  const c = Math.cos(0.4);
  const s = Math.sin(0.4);
  const affine = [
    [0.5 * c, -s, 0, 3],
    [0.5 * s, c, 0, -7],
    [0, 0, 5, 1],
  ];
  const points = [g.transform(affine, [2, 2, 4]), g.transform(affine, [8, 6, 4])];
  const mark = { kind: "length", points, plane: "axial" }; // 6 x 0.5 = 3 mm across, 4 mm down
  assert.equal(markWords(mark), "5.0 mm");
  assert.ok(onSlice(mark, affine, [0.5, 1, 5], "axial", 4));
  assert.ok(!onSlice(mark, affine, [0.5, 1, 5], "axial", 5));
  assert.ok(!onSlice(mark, affine, [0.5, 1, 5], "coronal", 2));
});

test("the letters at the edges come from the affine; a leaning axis has two", () => {
  const straight = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]];
  assert.deepEqual(g.edgeLabels(straight, "axial"), ["R", "L", "A", "P"]);
  assert.deepEqual(g.edgeLabels(straight, "coronal"), ["R", "L", "S", "I"]);
  assert.deepEqual(g.edgeLabels(straight, "sagittal"), ["A", "P", "S", "I"]);
  const c = Math.cos(Math.PI / 6);
  const tilted = [[c, -0.5, 0, 0], [0.5, c, 0, 0], [0, 0, 1, 0]]; // 30 degrees about the long axis
  assert.deepEqual(g.edgeLabels(tilted, "axial"), ["RA", "LP", "AL", "PR"]);
});

test("zooming about a pixel keeps what lies there, and panTo brings a voxel to the middle", () => {
  const pane = { width: 300, height: 200 };
  const size = [40, 50, 30];
  const mm = [1, 1, 3];
  const at = (zoom, pan) => g.placeSlice(size, mm, "axial", pane, g.planeView({ zoom, pan, box: null }, "axial"));
  const before = at(1, [0, 0, 0]);
  const fixed = g.paneToVoxel(220, 60, before, size, "axial", [0, 0, 0]);
  const scale = before.scale * 3;
  const pan = [
    g.panForZoom(0, 220, pane.width, before.scale, scale),
    g.panForZoom(0, 60, pane.height, before.scale, scale),
    0,
  ];
  const [x, y] = g.voxelToPane(fixed, at(3, pan), size, "axial");
  assert.ok(Math.abs(x - 220) < 1e-9 && Math.abs(y - 60) < 1e-9);
  const centred = at(3, g.panTo([3, 44, 2], size, mm, null));
  const [u, v] = g.voxelToPane([3, 44, 2], centred, size, "axial");
  assert.ok(Math.abs(u - 150) < 1e-9 && Math.abs(v - 100) < 1e-9);
});

test("heat rises from violet to yellow and low values do not hide the image", () => {
  assert.deepEqual(heatColour(0), [60, 15, 110]);
  assert.deepEqual(heatColour(1), [252, 240, 120]);
  const rgba = paintHeat([10, 255], 1, new Uint8ClampedArray(8));
  assert.equal(rgba[3], 0);
  assert.equal(rgba[7], 255);
});

/** A block as Python packs it: the planes of the bytes one after the other. */
function packed(header, ...planes) {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const head = new Uint8Array(8);
  head.set([66, 77, 86, 50]);
  new DataView(head.buffer).setUint32(4, text.length, true);
  return Uint8Array.from([...head, ...text, ...gzipSync(Uint8Array.from(planes.flat()))]);
}

test("a block comes apart into its header and its voxels, and a short one is refused", async () => {
  const { header, body } = splitBlock(packed({ id: "a", kind: "u8", shape: [2, 1, 2] }, [1, 2, 3, 4]));
  assert.equal(header.id, "a");
  assert.deepEqual([...(await unpack(body, header))], [1, 2, 3, 4]);
  await assert.rejects(unpack(body, { ...header, shape: [3, 3, 3] }), /4 bytes, expected 27/);
  assert.throws(() => splitBlock(Uint8Array.of(1, 2, 3, 4)), /not an image block/);
});

test("voxels of two and of four bytes are put together from the planes of their bytes", async () => {
  const codes = splitBlock(packed({ kind: "u16", shape: [2, 1, 1] }, [1, 255], [2, 255]));
  assert.deepEqual([...(await unpack(codes.body, codes.header))], [513, 65535]);
  const bytes = new Uint8Array(Float32Array.of(-1.5, 3e5).buffer);
  const planes = [0, 1, 2, 3].map((n) => [bytes[n], bytes[4 + n]]);
  const floats = splitBlock(packed({ kind: "f32", shape: [2, 1, 1] }, ...planes));
  assert.deepEqual([...(await unpack(floats.body, floats.header))], [-1.5, 3e5]);
});

// ---- layouts -----------------------------------------------------------------------------------

const named = (...keys) => keys.map((key) => ({ key, id: key, name: key }));
const all = named("t1n", "t1c", "t2w", "t2f");

test("a case begins with T1 Gd, another sequence beside it, and four from T1 to FLAIR", () => {
  assert.deepEqual(l.hang(all), { sequence: 1, second: 3, four: [0, 1, 2, 3] });
  assert.deepEqual(l.hang(named("t1c", "t2w")), { sequence: 0, second: 1, four: [0, 1] });
  assert.deepEqual(l.hang(named("t1c")), { sequence: 0, second: 0, four: [0] });
  assert.equal(l.partner(["t1n", "t1c", "t2w", "t2f"], 3), 1); // beside FLAIR: T1 Gd, never FLAIR
});

test("a reader's settings come back for the next case, in so far as it has the sequences", () => {
  const state = { ...l.beginWith(all, {}), layout: "four", main: "coronal", sequence: 3, second: 0, four: [3, 2, 1, 0], tool: "scroll" };
  const settings = l.settingsOf(state, all, { t1c: "Enhancement" });
  const next = l.beginWith(all, settings);
  assert.deepEqual([next.layout, next.main, next.sequence, next.second, next.four, next.tool], ["four", "coronal", 3, 0, [3, 2, 1, 0], "scroll"]);
  const fewer = l.beginWith(named("t1c", "t2w"), settings);
  assert.deepEqual([fewer.sequence, fewer.second, fewer.four], [0, 1, [1, 0]]);
  assert.deepEqual(l.beginWith(all, { layout: "none", main: "skew", pair: ["t2f", "t2f"] }).second, 1);
});

test("the subtraction is there where both images are", () => {
  assert.deepEqual(l.withSubtraction(all).at(-1).parts, ["t1c", "t1n"]);
  assert.equal(l.withSubtraction(named("t1c", "t2w")).length, 2);
});

test("a mouse's notch is one slice, a trackpad is summed, and sideways counts nothing", () => {
  assert.deepEqual(l.wheelSteps({ deltaY: -53, wheelDeltaY: 120 }).steps, 1);
  assert.deepEqual(l.wheelSteps({ deltaY: 100 }).steps, -1);
  let [left, steps] = [0, 0];
  for (let n = 0; n < 30; n++) {
    const found = l.wheelSteps({ deltaY: 10, deltaX: 3, wheelDeltaY: -30 }, left);
    [left, steps] = [found.left, steps + found.steps];
  }
  assert.equal(steps, -3); // 300 pixels
  assert.deepEqual(l.wheelSteps({ deltaY: 20, deltaX: -40 }, 0.5), { steps: 0, left: 0.5 });
  assert.equal(l.wheelSteps({ deltaY: 100 }, 0.9).steps, -1); // the other way begins anew
  assert.equal(l.wheelSteps({ deltaY: 3, deltaMode: 1 }).steps, -1);
});

test("the slice bar has the last slice at its top", () => {
  assert.equal(l.barSlice(0, 50, 300), 49);
  assert.equal(l.barSlice(300, 50, 300), 0);
  assert.equal(l.barSlice(l.barPosition(17, 50, 300), 50, 300), 17);
  assert.equal(l.slabSlices(10, 3), 3);
  assert.equal(l.slabSlices(0, 1), 1);
});

test("a lesion's number is only on slices that it reaches", () => {
  const lesion = { box: [[0, 9], [0, 9], [4, 6]], voxel: [5, 5, 5], radiusMm: 40 };
  assert.deepEqual([3, 4, 6, 7].map((k) => lesionOnSlice(lesion, 2, k, 1)), [false, true, true, false]);
});

// ---- measurements ------------------------------------------------------------------------------

test("angle, area and two diameters are measured in the world", () => {
  const words = (kind, ...points) => q.measureWords({ kind, points });
  assert.equal(words("length", [0, 3, 0]), ""); // the first point of a drag
  assert.equal(words("angle", [0, 3, 0], [0, 0, 0], [5, 0, 0]), "90°");
  assert.equal(words("area", [0, 0, 0], [20, 0, 0], [20, 0, 10], [0, 0, 10]), "2.00 cm²"); // a coronal plane
  assert.equal(words("area", [0, 0, 0], [4, 0, 0], [4, 3, 0]), "6.0 mm²");
  assert.equal(words("diameters", [0, 0, 0], [12, 0, 0], [5, -2, 0], [5, 6.04, 0]), "12.0 × 8.0 mm");
});

test("the diameter across stands at a right angle to the first, wherever the pointer goes", () => {
  const end = q.acrossFrom([2, 1, 0], [9, 7, 0], [[0, 0, 0], [10, 0, 0]]);
  assert.deepEqual(end, [2, 7, 0]);
});

test("what is a single place is no measurement", () => {
  const done = (kind, ...points) => q.complete({ kind, points });
  assert.ok(!done("length", [0, 0, 0], [0, 0, 0.01]));
  assert.ok(done("length", [0, 0, 0], [0, 0, 1]));
  assert.ok(!done("diameters", [0, 0, 0], [5, 0, 0]));
  assert.ok(!done("angle", [0, 0, 0], [5, 0, 0], [5, 0, 0]));
  assert.ok(!done("area", [0, 0, 0], [5, 0, 0], [10, 0, 0]));
  assert.equal(q.thinned(Array.from({ length: 999 }, (_, n) => [n, 0, 0])).length, q.MOST_POINTS);
});

/** An annotator on a grid of 1 mm, crosshair at the slice 4. */
function measuring() {
  const a = annotator();
  const identity = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]];
  Object.assign(a, { affine: identity });
  Object.assign(a.data, { sizesMm: [1, 1, 1], shape: [20, 20, 9] });
  Object.assign(a.state, { cross: [5, 5, 4] });
  return a;
}

test("two drags measure two diameters, and a drag elsewhere begins anew", () => {
  const a = measuring();
  a.startLine("axial", [2, 5, 4], "diameters");
  a.moveLine([12, 5, 4]);
  a.endLine();
  assert.equal(a.marks.length, 0); // the second is still to come
  a.startLine("axial", [7, 3, 4], "diameters");
  a.moveLine([9, 9, 4]);
  a.endLine();
  assert.deepEqual([markWords(a.marks[0]), a.marks[0].points.length, a.line], ["10.0 × 6.0 mm", 4, null]);
  a.startLine("axial", [2, 5, 4], "angle");
  a.moveLine([8, 5, 4]);
  a.endLine();
  a.state.cross = [5, 5, 6]; // another slice: another measurement
  a.startLine("axial", [2, 2, 6], "angle");
  assert.equal(a.line.points.length, 1);
  a.endLine(true);
  assert.deepEqual([a.line, a.marks.length], [null, 1]);
});

test("keys alone measure: four points, an angle, an outline that is closed", () => {
  const a = measuring();
  const at = (i, j, kind, close) => {
    a.state.cross = [i, j, 4];
    a.measureByKey("axial", kind, close);
  };
  at(2, 5, "diameters");
  at(12, 5, "diameters");
  at(7, 2, "diameters");
  at(9, 8, "diameters");
  at(2, 2, "angle");
  at(2, 8, "angle");
  at(8, 8, "angle");
  at(0, 0, "area");
  at(10, 0, "area");
  at(10, 10, "area");
  at(0, 10, "area");
  at(0, 10, "area", true);
  assert.deepEqual(a.marks.map(markWords), ["10.0 × 6.0 mm", "90°", "1.00 cm²"]);
  at(1, 1, "length");
  at(1, 1, "length");
  assert.deepEqual([a.marks.length, a.line], [3, null]); // no 0.0 mm
});

test("slices between two painted ones take on the shape between the two", () => {
  const size = [20, 20, 9];
  const data = new Uint8Array(20 * 20 * 9);
  const disc = (k, radius) => {
    const undo = new Map();
    m.paintDisc(data, size, [1, 1, 1], [10, 10, k], brush(radius, 3), undo);
    return { plane: "axial", index: k, label: 3, offsets: undo.keys() };
  };
  const [low, high] = [disc(2, 6), disc(6, 2)];
  const painted = between(data, size, [1, 1, 1], low, high);
  const perSlice = [3, 4, 5].map((k) => painted.filter((offset) => Math.floor(offset / 400) === k).length);
  assert.equal(perSlice.reduce((sum, n) => sum + n), painted.length);
  assert.ok(perSlice[0] > perSlice[1] && perSlice[1] > perSlice[2] && perSlice[2] > 13);
  const middle = perSlice[1] / Math.PI;
  assert.ok(Math.abs(Math.sqrt(middle) - 4) < 0.35); // half way: a radius of 4
  assert.deepEqual(between(data, size, [1, 1, 1], low, { ...high, label: 1 }), []);
  assert.deepEqual(between(data, size, [1, 1, 1], low, { ...high, index: 3 }), []);
});

// ---- an earlier examination beside ----------------------------------------------------------------

const MOVED = { matrix: [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, -1], [0, 0, 0, 1]], shape: [2, 3, 4], stamp: "a" };
const earlier = (kind, data) => ({ header: { id: "then", kind, low: 10, step: 2, shape: [2, 3, 4], presets: [] }, data });
const numbered = Float32Array.from({ length: 24 }, (_, n) => 100 * Math.floor(n / 6) + 10 * (Math.floor(n / 2) % 3) + (n % 2));

test("a slice of an earlier examination holds the voxels that the matrix leads to", () => {
  // voxel (i, j, k) of the case lies at (i + 1, j, k - 1) then; the case has 3 x 3 x 5 voxels
  const image = p.movedImage(earlier("f32", numbered), MOVED, [3, 3, 5]);
  assert.deepEqual([...p.movedSlice(image, "axial", 2, new Float32Array(9), -1)], [-1, -1, 121, -1, -1, 111, -1, -1, 101]);
  assert.deepEqual([...p.movedSlice(image, "axial", 0, new Float32Array(9), -1)], Array(9).fill(-1));
  assert.equal(v.valueAt(image, [0, 2, 2], [3, 3, 5]), 121);
  assert.equal(v.valueAt(image, [1, 2, 2], [3, 3, 5]), null);
});

test("grey values between voxels are linear, labels are those of the nearest voxel, codes are scaled", () => {
  const half = { ...MOVED, matrix: [[1, 0, 0, 0.4], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]] };
  const grey = p.movedImage(earlier("f32", numbered), half, [1, 3, 4]);
  assert.ok(Math.abs(p.movedSlice(grey, "axial", 0, new Float32Array(3))[2] - 0.4) < 1e-6);
  const labels = p.movedImage({ ...earlier("u8", Uint8Array.from(numbered)) }, half, [1, 3, 4]);
  assert.deepEqual([...p.movedSlice(labels, "axial", 0, new Uint8Array(3))], [20, 10, 0]);
  const codes = p.movedImage(earlier("u16", Uint16Array.from(numbered)), half, [1, 3, 4]);
  assert.equal(v.valueAt(codes, [0, 1, 1], [1, 3, 4]), 10 + 2 * 110);
  assert.equal(v.greySlice(codes, "axial", 0).slice.length, 3);
});

test("a preview of every second voxel is looked up in its own numbers", () => {
  const preview = { header: { id: "then/preview", kind: "f32", shape: [2, 2, 2], presets: [] }, data: Float32Array.from([0, 1, 2, 3, 4, 5, 6, 7]) };
  const image = p.movedImage(preview, { matrix: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], shape: [4, 4, 4], stamp: "b" }, [4, 4, 4]);
  assert.equal(p.movedVoxel(image, [2, 0, 2]), 5);
});

test("beside a sequence stands the same one of the earlier examination, else T1 post-gadolinium", () => {
  const prior = { sequences: [{ id: "a", of: "t1c", name: "Earlier T1 Gd" }, { id: "b", of: "t2f", name: "Earlier FLAIR" }] };
  const all = p.withPrior([{ key: "t1c" }, { key: "t2w" }, { key: "t2f" }], prior);
  assert.deepEqual(all.map((s) => s.key), ["t1c", "t2w", "t2f", "prior-t1c", "prior-t2f"]);
  assert.deepEqual([0, 1, 2].map((n) => p.besideOf(all, n)), [3, 3, 4]);
  assert.equal(p.besideOf(p.withPrior([{ key: "t1c" }], null), 0), -1);
});

test("the layout with an earlier examination is not kept for the next case, nor without one", () => {
  const state = { layout: "prior", layoutBefore: "two", main: "axial", sequence: 0, second: 1, four: [0], tool: "cross" };
  assert.equal(l.settingsOf(state, [{ key: "t1c" }, { key: "t2f" }], {}).layout, "two");
  assert.equal(l.beginWith([{ key: "t1c" }], { layout: "prior" }).layout, "three");
  const storage = { getItem: () => JSON.stringify(state) };
  const fresh = { ...state, layout: "three", cross: [0, 0, 0] };
  const data = { shape: [4, 4, 4], sequences: [{}, {}], mask: null };
  assert.equal(loadView(storage, "x", fresh, data).layout, "two");
  assert.equal(loadView(storage, "x", fresh, { ...data, prior: {} }).layout, "prior");
});
