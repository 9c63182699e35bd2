// The outline of the brain, corrected with a brush. Voxels are blocks of 2 mm, i fastest, axes to the
// right, front and top. data: {nonce, shape: [a, b, c], mm, image, brain}: the last two as base64 of
// gzip of one byte a block. Tells Python: painted, base64 of gzip of one bit a block.

const PLANES = { Axial: [0, 1, 2], Coronal: [0, 2, 1], Sagittal: [1, 2, 0] };
const LINE = [64, 224, 208];

/** Streamlit calls this at the first mount and again whenever `data` changes. */
export default function ({ data, parentElement, setTriggerValue }) {
  if (!data) return undefined;
  const desk = (parentElement.bmcoreBrush ??= build(parentElement));
  desk.tell = (packed) => setTriggerValue("painted", packed);
  if (desk.nonce !== data.nonce) desk.open(data);
  return undefined;
}

function build(root) {
  const at = (name) => root.querySelector(`[data-at="${name}"]`);
  const desk = { nonce: null, plane: "Axial", tool: "add", past: [], at: {} };
  const canvas = at("canvas");
  const pen = canvas.getContext("2d");

  desk.open = async (data) => {
    desk.nonce = data.nonce;
    const [image, brain] = await Promise.all([unpack(data.image), unpack(data.brain)]);
    Object.assign(desk, { shape: data.shape, mm: data.mm, image, brain, past: [] });
    for (const [name, axes] of Object.entries(PLANES)) desk.at[name] = Math.floor(data.shape[axes[2]] / 2);
    choose("Axial");
  };
  const planes = Object.keys(PLANES).map((name) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: name });
    button.addEventListener("click", () => choose(name));
    at("planes").append(button);
    return button;
  });
  const choose = (name) => {
    desk.plane = name;
    for (const button of planes) button.setAttribute("aria-pressed", String(button.textContent === name));
    at("slice").max = desk.shape[PLANES[name][2]] - 1;
    at("slice").value = desk.at[name];
    draw();
  };
  for (const button of root.querySelectorAll("[data-tool]")) {
    button.addEventListener("click", () => {
      desk.tool = button.dataset.tool;
      for (const one of root.querySelectorAll("[data-tool]")) one.setAttribute("aria-pressed", String(one === button));
    });
  }
  const size = () => {
    at("mm").textContent = `${at("size").value} mm`;
  };
  at("size").addEventListener("input", size);
  size();
  at("slice").addEventListener("input", () => {
    desk.at[desk.plane] = Number(at("slice").value);
    draw();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const slider = at("slice");
    slider.value = Number(slider.value) + Math.sign(event.deltaY);
    slider.dispatchEvent(new Event("input"));
  });

  let down = false;
  const stroke = (event) => {
    const place = where(event, canvas, desk);
    if (!place) return;
    ball(desk, place, at("size").value / 2 / desk.mm, desk.tool === "add" ? 1 : 0);
    changed();
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (!desk.brain || event.button) return;
    down = true;
    canvas.setPointerCapture(event.pointerId);
    desk.past.push(desk.brain.slice());
    if (desk.past.length > 20) desk.past.shift();
    stroke(event);
  });
  canvas.addEventListener("pointermove", (event) => down && stroke(event));
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (down = false));
  at("undo").addEventListener("click", () => {
    desk.brain = desk.past.pop() ?? desk.brain;
    changed();
  });
  at("use").addEventListener("click", async () => {
    at("use").disabled = true;
    at("said").textContent = "Sending the outline …";
    desk.tell(await pack(desk.brain));
  });
  const changed = () => {
    at("undo").disabled = !desk.past.length;
    at("use").disabled = !desk.past.length;
    draw();
  };
  const draw = () => {
    const { width, height, pixels } = slice(desk);
    const small = new OffscreenCanvas(width, height);
    small.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
    const scale = fit(canvas, width, height);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, scale.left, scale.top, width * scale.by, height * scale.by);
  };
  return desk;
}

function fit(canvas, width, height) {
  const by = Math.min(canvas.width / width, canvas.height / height);
  return { by, left: (canvas.width - width * by) / 2, top: (canvas.height - height * by) / 2 };
}

/** The slice as pixels; the patient's right is on the left of the picture, front on the left. */
function slice({ shape, plane, at, image, brain }) {
  const [across, up, through] = PLANES[plane];
  const [width, height, steps] = [shape[across], shape[up], [1, shape[0], shape[0] * shape[1]]];
  const pixels = new Uint8ClampedArray(4 * width * height);
  const inside = (x, y) =>
    x >= 0 && y >= 0 && x < width && y < height && brain[at[plane] * steps[through] + x * steps[across] + y * steps[up]];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const grey = image[at[plane] * steps[through] + x * steps[across] + y * steps[up]];
      const own = inside(x, y);
      const edge = own && !(inside(x - 1, y) && inside(x + 1, y) && inside(x, y - 1) && inside(x, y + 1));
      const place = 4 * ((height - 1 - y) * width + (width - 1 - x));
      const colour = edge ? LINE : own ? [grey, grey, grey] : [grey * 0.45, grey * 0.45, grey * 0.45];
      pixels.set([...colour, 255], place);
    }
  }
  return { width, height, pixels };
}

/** The block under the pointer; null beside the slice. */
function where(event, canvas, { shape, plane, at }) {
  const [across, up, through] = PLANES[plane];
  const box = canvas.getBoundingClientRect();
  const scale = fit(canvas, shape[across], shape[up]);
  const x = ((event.clientX - box.left) / box.width) * canvas.width;
  const y = ((event.clientY - box.top) / box.height) * canvas.height;
  const place = [0, 0, 0];
  place[across] = shape[across] - 1 - Math.floor((x - scale.left) / scale.by);
  place[up] = shape[up] - 1 - Math.floor((y - scale.top) / scale.by);
  place[through] = at[plane];
  return place.every((value, axis) => value >= 0 && value < shape[axis]) ? place : null;
}

function ball({ shape, brain }, [x, y, z], radius, value) {
  const reach = Math.ceil(radius);
  for (let k = Math.max(0, z - reach); k <= Math.min(shape[2] - 1, z + reach); k += 1) {
    for (let j = Math.max(0, y - reach); j <= Math.min(shape[1] - 1, y + reach); j += 1) {
      for (let i = Math.max(0, x - reach); i <= Math.min(shape[0] - 1, x + reach); i += 1) {
        if ((i - x) ** 2 + (j - y) ** 2 + (k - z) ** 2 <= radius ** 2) brain[i + shape[0] * (j + shape[1] * k)] = value;
      }
    }
  }
}

async function unpack(text) {
  const raw = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function pack(brain) {
  const bits = new Uint8Array(Math.ceil(brain.length / 8));
  brain.forEach((value, place) => {
    if (value) bits[place >> 3] |= 1 << (place & 7);
  });
  const stream = new Blob([bits]).stream().pipeThrough(new CompressionStream("gzip"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  let text = "";
  for (let start = 0; start < packed.length; start += 8192) text += String.fromCharCode(...packed.subarray(start, start + 8192));
  return btoa(text);
}
