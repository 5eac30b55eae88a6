import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { openGame } from '../../../src/evaluation/coalitions/index.ts';
import { NpzFile } from '../../../src/evaluation/data/npz.ts';
import { openDataset } from '../../../src/evaluation/data/index.ts';
import { readOutput } from '../../../src/evaluation/metrics/index.ts';
import { loadModel } from '../../../src/graph/load.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { numbers } from '../../support/build.ts';

const corpus = process.env.SECATEUR_CORPUS;
const folder = path.join(corpus ?? '', 'trained', 'lenet5_mnist');

describe.skipIf(!corpus)('the exact game of LeNet-5, computed elsewhere', () => {
  for (const file of ['model.onnx', 'model_dynamo_op18.onnx', 'model_external.onnx']) {
    it(`conv1, channels 0 to 11, on all calibration images: ${file}`, async () => {
      const model = loadModel(path.join(folder, file));
      const dataset = await openDataset(model, { path: path.join(folder, 'calib.npz'), seed: 0 });
      const structure = analyseStructure(model);
      const reading = await readOutput(model, dataset);
      const array = (name: string) =>
        NpzFile.read(path.join(folder, 'reference_conv1_exact12.npz'), (f) => f.array(name).data as ArrayLike<number>);
      const next = numbers(12);
      const subsets = [
        0,
        4095,
        ...Array.from({ length: file === 'model.onnx' ? 126 : 14 }, () => Math.floor(((next() + 1) / 2) * 4096)),
      ];
      const masks = subsets.map((bits) => Uint8Array.from({ length: 20 }, (_, i) => (i >= 12 ? 1 : (bits >> i) & 1)));
      for (const [metric, name] of [
        ['accuracy', 'v_acc'],
        ['cross-entropy', 'v_nce'],
      ] as const) {
        const game = await openGame(structure, structure.groups[0].id, dataset, { metric, reading, device: 'cpu' });
        expect(game.players).toBe(20);
        expect(game.samples).toBe(1000);
        const values = await game.evaluate(masks);
        const truth = array(name);
        subsets.forEach((bits, i) => {
          const expected = truth[bits];
          // One image on the edge between two classes may fall to the other side.
          expect(Math.abs(values[i] - expected)).toBeLessThan(
            metric === 'accuracy' ? 0.0011 : 1e-4 * Math.max(1, Math.abs(expected)),
          );
        });
        await game.close();
      }
    }, 240_000);
  }
});
