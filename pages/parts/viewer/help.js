// The sheet of keys, mouse and touch: a dialog that takes the focus and gives it back.

import { element } from "./controls.js";

const HELP = [
  ["Wheel, arrow keys", "next or previous slice (Page keys: ten; Home, End: first, last); or the bar at the right of a plane"],
  ["Click or drag", "with Crosshair: move it in all planes; a click on a lesion chooses it"],
  ["S", "Scroll: drag up and down through the slices; kept for your next cases"],
  ["Shift + arrow keys", "move the crosshair inside the plane"],
  ["Right button drag", "window: across for width, up and down for level (or tool W)"],
  ["I", "next window preset of this sequence"],
  ["Shift drag, middle button", "move the image (or tool P)"],
  ["Ctrl wheel, + and −", "zoom; 0 resets view and windows"],
  ["1 to 5", "sequence of the plane you are in; 5: T1 Gd − T1"],
  ["F, C, Q", "one plane alone; two, four sequences side by side"],
  ["Shift C", "the earlier examination beside, where the page has put one there"],
  ["N", "other plane, where one plane is shown"],
  ["T", "slab of the brightest values: 5, 10, 20 mm, off"],
  ["Double click, Enter", "make this plane the large one"],
  ["L, Shift L", "next, previous lesion"],
  ["O, G, Space", "segmentation, evidence map on or off; hide all overlays"],
  ["A, X", "accept, reject the chosen lesion"],
  ["M", "mark a lesion at the crosshair"],
  ["D", "length: drag; or D at the start and D at the end"],
  ["R", "two diameters: drag the longest, then across it; or R at each of the four ends"],
  ["E", "angle: drag a leg to the corner, then the other; or E at end, corner, end"],
  ["K, Shift K", "area: drag around it; or K at each corner and Shift K to close"],
  ["B, [ and ]", "brush for the segmentation; smaller, larger"],
  ["J, Z", "brush: only a range of grey values; fill between the last two strokes"],
  ["U, Shift U", "take back the last change, and bring it back"],
  ["Y, .", "list of your marks; more tools"],
  ["Touch", "one finger through the slices, tap to point, two fingers to zoom and move"],
];

export function buildHelp(close) {
  const rows = HELP.map(([keys, text]) =>
    element("tr", {}, element("th", { scope: "row" }, keys), element("td", {}, text)),
  );
  return element(
    "div",
    { class: "help", role: "dialog", "aria-modal": "true", "aria-label": "Keys, mouse and touch", tabindex: "-1", hidden: true },
    element("table", {}, ...rows),
    element("button", { type: "button", onclick: close }, "Close"),
  );
}
