// Run with: node --test tests/js
// The volume is 2 x 3 x 4 voxels whose value says where it lies: 100 k + 10 j + i.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import * as g from "../../pages/parts/viewer/geometry.js";
import { splitBlock, unpack } from "../../pages/parts/viewer/blocks.js";
import { heatColour, paintGrey, paintHeat, paintMask } from "../../pages/parts/viewer/paint.js";
import { worldToVoxel } from "../../pages/parts/viewer/viewer.js";

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
  const data = new Uint8Array(10 * 10 * 10);
  for (const [i, j, k] of [[2, 4, 0], [5, 7, 9]]) data[i + 10 * j + 100 * k] = 50;
  const box = g.contentBox(data, [10, 10, 10], 12, 0);
  assert.deepEqual(box, [[2, 5], [4, 7], [0, 9]]);
  const place = g.placeSlice([10, 10, 10], [1, 1, 1], "axial", { width: 80, height: 80 }, { box });
  assert.equal(place.scale, 20); // 4 voxels fill 80 pixels
  const [x, y] = g.voxelToPane([3.5, 5.5, 0], place, [10, 10, 10], "axial");
  assert.deepEqual([x, y], [40, 40]); // the middle of the box is the middle of the pane
  assert.equal(g.contentBox(new Uint8Array(8), [2, 2, 2], 12), null);
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

test("world to voxel undoes an oblique affine", () => {
  const c = Math.cos(0.3);
  const s = Math.sin(0.3);
  const affine = [
    [2 * c, -s, 0, -10],
    [2 * s, c, 0, 5],
    [0, 0, 3, 7],
  ];
  const voxel = worldToVoxel(affine, g.transform(affine, [4, 5, 6]));
  voxel.forEach((v, axis) => assert.ok(Math.abs(v - [4, 5, 6][axis]) < 1e-9));
});

test("a window of level 100 and width 50 is black at 75, white at 125, grey between", () => {
  const table = g.windowTable(100, 50);
  assert.deepEqual([table[75], table[100], table[125], table[255]], [0, 128, 255, 255]);
});

test("the scale bar is the longest round length that fits", () => {
  assert.equal(g.scaleBarMm(2, 120), 50);
  assert.equal(g.scaleBarMm(10, 120), 10);
});

test("grey pixels are opaque and follow the window", () => {
  const rgba = paintGrey([0, 255], { level: 127.5, width: 255 }, new Uint8ClampedArray(8));
  assert.deepEqual([...rgba], [0, 0, 0, 255, 255, 255, 255, 255]);
});

test("a label that is switched off is transparent; the border of one that is on stands out", () => {
  const slice = new Uint8Array([3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2]); // 3 columns, 4 rows
  const shown = { 1: true, 2: false, 3: true };
  const rgba = paintMask(slice, 3, 0.2, shown, new Uint8ClampedArray(48));
  assert.equal(rgba[4 * 4 + 3], 51); // the middle voxel: fill only, 0.2 of 255
  assert.equal(rgba[3], 235); // a border voxel
  assert.equal(rgba[4 * 9 + 3], 0); // oedema is off
});

test("heat rises from violet to yellow and low values do not hide the image", () => {
  assert.deepEqual(heatColour(0), [60, 15, 110]);
  assert.deepEqual(heatColour(1), [252, 240, 120]);
  const rgba = paintHeat([10, 255], 1, new Uint8ClampedArray(8));
  assert.equal(rgba[3], 0);
  assert.equal(rgba[7], 255);
});

test("a block comes apart into its header and its voxels, and a short one is refused", async () => {
  const header = new TextEncoder().encode(JSON.stringify({ id: "a", shape: [2, 1, 2] }));
  const head = new Uint8Array(8);
  head.set([66, 77, 86, 49]);
  new DataView(head.buffer).setUint32(4, header.length, true);
  const bytes = Uint8Array.from([...head, ...header, ...gzipSync(Uint8Array.of(1, 2, 3, 4))]);
  const block = splitBlock(bytes);
  assert.equal(block.header.id, "a");
  assert.deepEqual([...(await unpack(block.body, block.header.shape))], [1, 2, 3, 4]);
  await assert.rejects(unpack(block.body, [3, 3, 3]), /4 voxels, expected 27/);
  assert.throws(() => splitBlock(Uint8Array.of(1, 2, 3, 4)), /not an image block/);
});
