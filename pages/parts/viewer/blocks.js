// Blocks: compressed volumes that Python sends once. One block is
//   "BMV1" | uint32 little endian: length of the header | header as JSON | gzip of the uint8 voxels
// A block is known by its id, which names its content, so the same block is never decoded twice.
// The store is shared by all components of the page.

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
      this.ready.set(header.id, { header, data: await unpack(body, header.shape) });
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
  if (magic !== "BMV1") throw new Error("this is not an image block");
  const length = new DataView(bytes.buffer, bytes.byteOffset + 4, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  return { header, body: bytes.subarray(8 + length) };
}

export async function unpack(body, shape) {
  const stream = new Blob([body]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = new Uint8Array(await new Response(stream).arrayBuffer());
  const expected = shape[0] * shape[1] * shape[2];
  if (data.length !== expected) {
    throw new Error(`an image block holds ${data.length} voxels, expected ${expected}`);
  }
  return data;
}

/** Streamlit calls this with the bytes of one block. */
export default function ({ data }) {
  if (data instanceof Uint8Array) blockStore().add(data);
}
