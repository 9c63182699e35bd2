// What a pane shows: the picture (image, map, segmentation), which is kept while nothing in it
// changes, and what lies over it. The viewer builds on this class.

import { PLANES, voxelToPane, worldToVoxel } from "./geometry.js";
import { greySlice, scaleOf } from "./grey.js";
import { drawMarks } from "./marks.js";
import { barPosition } from "./layouts.js";
import { LABELS, drawCrosshair, drawDiameters, drawHeatScale, drawNumbers, drawOutlines, drawSliceBar, paintGrey, paintHeat, paintMask } from "./paint.js";
import { Annotator } from "./annotate.js";

const REST_MS = 150;

export class Pictures extends Annotator {
  /** Image, map and segmentation of a pane, kept until one of them changes: a step along one plane
   * moves only the crosshair in the two others. Without a graphics card the fine interpolation takes
   * longer than a step may, so a picture that has just changed is drawn coarsely first. */
  picture(pane, scene, ratio) {
    const { state, data } = this;
    const { width, height } = pane.canvas;
    const { level, width: range } = this.windowOf(scene.sequence);
    const { heat, mask } = this.layers(pane);
    const { place } = scene;
    const key = JSON.stringify([
      ...[this.imageOf(scene.sequence).header.id, scene.plane, scene.index, scene.slab, width, height, level, range],
      ...[place.left, place.top, place.width, place.height, state.heatOpacity, state.maskOpacity, state.labels],
      ...[heat?.header.id, mask?.header.id, mask === this.edit ? this.edit?.revision : null],
    ]);
    const kept = (pane.kept ??= { canvas: document.createElement("canvas"), key: null });
    const same = kept.key === key;
    if (same && (kept.fine || !this.atRest)) return kept.canvas;
    if (!same) this.restSoon();
    Object.assign(kept, { key, fine: same });
    if (kept.canvas.width !== width || kept.canvas.height !== height) Object.assign(kept.canvas, { width, height });
    const context = (kept.context ??= kept.canvas.getContext("2d"));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, scene.size.width, scene.size.height);
    this.drawLayers(context, pane, scene, heat, mask, kept.fine ? "high" : "low");
    return kept.canvas;
  }

  /** Draw finely once nothing has changed for a while. */
  restSoon() {
    this.atRest = false;
    clearTimeout(this.rest);
    this.rest = setTimeout(() => {
      this.atRest = true;
      this.draw();
    }, REST_MS);
  }

  /** The map and the segmentation that a pane shows and that have come; the case's own without one. */
  layers(pane) {
    const { state, store, data } = this;
    if (!state.shown) return {};
    if (pane && this.isPrior(pane)) return { mask: (state.showMask && this.priorMask) || undefined };
    return {
      heat: (data.heat && state.showHeat && store.ready.get(data.heat.id)) || undefined,
      mask: (state.showMask && this.mask) || undefined,
    };
  }

  drawLayers(context, pane, { plane, index, place, sequence, slab }, heat, mask, smooth) {
    const { state, data } = this;
    const share = (index + 0.5) / data.shape[PLANES[plane].through];
    const stamp = (name, found, smooth, paint) => pane.painter.stamp(context, name, found, place, smooth, paint);
    const image = this.imageOf(sequence);
    const scale = scaleOf(image, this.windowOf(sequence));
    stamp("grey", greySlice(image, plane, share, slab), smooth, (slice, rgba) => paintGrey(slice, scale, rgba));
    if (heat) {
      stamp("heat", greySlice(heat, plane, share), smooth, (slice, rgba) => paintHeat(slice, state.heatOpacity, rgba));
      drawHeatScale(context, pane.size);
    }
    if (!mask) return;
    const labels = greySlice(mask, plane, share);
    // Under a map only the outline: a fill would change the colours that the map is read by.
    const opacity = heat ? 0 : state.maskOpacity;
    if (opacity) stamp("mask", labels, false, (s, rgba) => paintMask(s, opacity, state.labels, rgba));
    drawOutlines(context, labels.slice, labels.columns, labels.rows, place, state.labels);
  }

  /** What lies over the picture: numbers of the lesions, marks, crosshair, brush. */
  drawOver(context, pane, { plane, index, place, size }) {
    const { state, data } = this;
    this.drawBar(context, pane, plane, index, size);
    if (!state.shown) return;
    if (this.isPrior(pane)) return this.drawOverPrior(context, pane, { plane, index, place, size });
    if (this.layers().mask) this.drawLesions(context, plane, index, place);
    const scene = { place, shape: data.shape, affine: data.affine, sizesMm: data.sizesMm, plane, index };
    drawMarks(context, this.line ? [...this.marks, this.line] : this.marks, scene);
    drawCrosshair(context, state.cross, place, data.shape, plane, size);
    if (state.tool === "brush" && this.hover?.pane === pane) this.drawBrush(context, place, plane);
  }

  /** Over the earlier examination: the numbers that its lesions had, and the crosshair. */
  drawOverPrior(context, pane, { plane, index, place, size }) {
    const { data } = this;
    const { lesions } = data.prior;
    const chosen = lesions.findIndex((lesion) => lesion.pair !== null && lesion.pair === this.lesionNumber);
    if (this.layers(pane).mask) drawNumbers(context, lesions, chosen, place, data.shape, plane, index, data.sizesMm);
    drawCrosshair(context, this.crossOf(pane), place, data.shape, plane, size);
  }

  /** Numbers of the lesions on this slice; of the chosen one the two axial diameters too. */
  drawLesions(context, plane, index, place) {
    const { state, data } = this;
    drawNumbers(context, data.lesions, state.lesion, place, data.shape, plane, index, data.sizesMm);
    const axial = data.lesions[state.lesion]?.axial;
    if (!axial || plane !== "axial" || axial.slice !== index) return;
    const ends = axial.ends.map((world) => voxelToPane(worldToVoxel(data.affine, world), place, data.shape, plane));
    drawDiameters(context, ends, `${axial.mm[0].toFixed(1)} × ${axial.mm[1].toFixed(1)} mm`);
  }

  drawBar(context, pane, plane, index, size) {
    const { data, state } = this;
    const { through } = PLANES[plane];
    const y = (n) => barPosition(n, data.shape[through], size.height);
    const lesions = this.isPrior(pane) ? data.prior.lesions : data.lesions;
    const known = state.shown && this.layers(pane).mask ? lesions : [];
    drawSliceBar(context, { now: y(index), ticks: known.map((lesion) => y(lesion.voxel[through])) }, size);
  }

  drawBrush(context, place, plane) {
    const [x, y] = voxelToPane(this.hover.voxel, place, this.data.shape, plane);
    const colour = LABELS[this.state.brushLabel]?.colour ?? [255, 255, 255];
    context.strokeStyle = `rgb(${colour.join(",")})`;
    context.lineWidth = 1.5;
    context.beginPath();
    context.arc(x, y, (this.state.brushMm / 2) * place.scale, 0, 2 * Math.PI);
    context.stroke();
  }

  drawWaiting(context, sequence, size) {
    const { id, name } = this.data.sequences[sequence];
    const failed = this.store.failed.get(id);
    const lines = failed
      ? [`${name} could not be read.`, "Reload the page; the other sequences can be used.", String(failed)]
      : [`Loading ${name}`];
    context.font = "14px system-ui, sans-serif";
    context.fillStyle = "#c3ced8";
    context.textAlign = "center";
    context.textBaseline = "middle";
    lines.forEach((line, n) => context.fillText(line, size.width / 2, size.height / 2 + 22 * n, size.width - 20));
  }
}
