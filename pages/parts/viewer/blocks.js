// Blocks: compressed volumes that Python sends once. One block is
//   "BMV2" | uint32 little endian: length of the header | header as JSON | gzip of the voxels
// header.kind: "u8" a label or a map, "u16" a code whose grey value is low + step * code, "f32" the
// grey value itself. All first bytes (the lowest) of the voxels come before all second ones.
// A block is known by its id, which names its content, so the same block is never decoded twice.
// The store is shared by all components of the page.

const BYTES = { u8: 1, u16: 2, f32: 4 };
const PORTION = 2 ** 23; // voxels that are put together at a time
const KEY = Symbol.for("bmcore.blocks");

class BlockStore extends EventTarget {
  constructor() {
    super();
    this.ready = new Map(); // id -> {header, data}
    this.pending = new Set();
    this.failed = new Map(); // id -> message
  }

  async add(bytes) {
    const { header, body } = splitBlock(bytes);
    if (this.ready.has(header.id) || this.pending.has(header.id)) return;
    this.pending.add(header.id);
    try {
      this.ready.set(header.id, { header, data: await unpack(body, header) });
      this.failed.delete(header.id);
    } catch (problem) {
      this.failed.set(header.id, String(problem.message ?? problem));
    } finally {
      this.pending.delete(header.id);
    }
    this.dispatchEvent(new Event("change"));
  }

  /** Forget every block that is not named: a browser tab holds one case at a time. */
  keep(ids) {
    const wanted = new Set(ids);
    for (const id of this.ready.keys()) if (!wanted.has(id)) this.ready.delete(id);
  }
}

export function blockStore() {
  return (globalThis[KEY] ??= new BlockStore());
}

export function splitBlock(bytes) {
  const magic = String.fromCharCode(...bytes.subarray(0, 4));
  if (magic !== "BMV2") throw new Error("this is not an image block");
  const length = new DataView(bytes.buffer, bytes.byteOffset + 4, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  return { header, body: bytes.subarray(8 + length) };
}

/** The voxels of a block as a typed array. */
export async function unpack(body, { kind = "u8", shape }) {
  const stream = new Blob([body]).stream().pipeThrough(new DecompressionStream("gzip"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = shape[0] * shape[1] * shape[2];
  if (planes.length !== count * BYTES[kind]) {
    throw new Error(`an image block holds ${planes.length} bytes, expected ${count * BYTES[kind]}`);
  }
  if (kind === "u8") return planes;
  const words = kind === "u16" ? new Uint16Array(count) : new Uint32Array(count);
  for (let start = 0; start < count; start += PORTION) {
    if (start) await new Promise((go) => setTimeout(go)); // a large volume must not hold up the page
    join(planes, count, words, start, Math.min(count, start + PORTION));
  }
  return kind === "u16" ? words : new Float32Array(words.buffer);
}

function join(planes, count, words, start, end) {
  if (words instanceof Uint16Array) {
    for (let n = start; n < end; n++) words[n] = planes[n] | (planes[count + n] << 8);
    return;
  }
  const [b, c, d] = [count, 2 * count, 3 * count];
  for (let n = start; n < end; n++) {
    words[n] = planes[n] | (planes[b + n] << 8) | (planes[c + n] << 16) | (planes[d + n] << 24);
  }
}

/** Streamlit calls this with the bytes of one block. */
export default function ({ data }) {
  if (data instanceof Uint8Array) blockStore().add(data);
}
