// What the viewer's readout says. Run with: node tests/js/read_values.mjs ASKED.json
// ASKED: [{block: path, shape, voxels: [[i, j, k], …]}] -> prints [[{value, words}, …], …].
import { readFileSync } from "node:fs";
import { splitBlock, unpack } from "../../pages/parts/viewer/blocks.js";
import { valueAt, valueInWords } from "../../pages/parts/viewer/grey.js";

const answers = [];
for (const { block, shape, voxels } of JSON.parse(readFileSync(process.argv[2], "utf8"))) {
  const { header, body } = splitBlock(new Uint8Array(readFileSync(block)));
  const image = { header, data: await unpack(body, header) };
  const read = (voxel) => valueAt(image, voxel, shape);
  answers.push(voxels.map((voxel) => ({ value: read(voxel), words: valueInWords(read(voxel), header) })));
}
console.log(JSON.stringify(answers));
