// What TensorFlow.js makes of pictures with HSE's network, as the npm package holds it.
// node judge_oracle.mjs FOLDER < pictures (float32, blue green red, means taken off) > embeddings (JSON)
import { readFileSync } from "fs";
import { createRequire } from "module";

const [folder] = process.argv.slice(2);
const tf = createRequire(`${folder}/`)("@tensorflow/tfjs");
const graph = JSON.parse(readFileSync(`${folder}/package/models/faceres.json`));
const weights = readFileSync(`${folder}/package/models/faceres.bin`);
const network = await tf.loadGraphModel({
  load: async () => ({
    modelTopology: graph.modelTopology,
    weightSpecs: graph.weightsManifest[0].weights,
    weightData: new Uint8Array(weights).buffer,
  }),
});

const pictures = new Float32Array(new Uint8Array(readFileSync(0)).buffer);
const one = 224 * 224 * 3;
const embeddings = [];
for (let start = 0; start < pictures.length; start += one) {
  const picture = tf.tensor4d(pictures.slice(start, start + one), [1, 224, 224, 3]);
  embeddings.push(Array.from(await network.execute(picture, "global_pooling/Mean").data()));
}
process.stdout.write(JSON.stringify(embeddings));
