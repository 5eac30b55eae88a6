import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { unzipSync } from 'fflate';
import { beforeAll, describe, expect, it } from 'vitest';
import { gameOf, groupOf, rank, scoresOf } from './games.ts';
import { estimators } from '../../../src/ranking/shapley/estimators.ts';
import { sampleShapley } from '../../../src/ranking/shapley/sampling.ts';

/** The exact game of twelve channels of a trained LeNet-5, computed elsewhere. */
const file = join(process.env.SECATEUR_CORPUS ?? '', 'trained/lenet5_mnist/reference_conv1_exact12.npz');

/** A little-endian float64 array of an .npz file. */
function doubles(entry: Uint8Array): Float64Array {
  const header = 10 + new DataView(entry.buffer, entry.byteOffset).getUint16(8, true);
  return new Float64Array(entry.slice(header).buffer);
}

describe.skipIf(!process.env.SECATEUR_CORPUS || !existsSync(file))('a trained network', () => {
  const entries = (): Record<string, Uint8Array> => unzipSync(readFileSync(file));
  for (const metric of ['acc', 'nce']) {
    let expected: Float64Array;
    let value: (c: Uint8Array) => number;
    beforeAll(() => {
      const table = doubles(entries()[`v_${metric}.npy`]);
      value = (c) => table[c.reduce((mask, bit, i) => mask | (bit << i), 0)];
      expected = doubles(entries()[`shapley_${metric}.npy`]);
    });

    it(`has the Shapley values that were computed elsewhere (${metric})`, async () => {
      const { ranks } = await rank('shapley', gameOf(12, value));
      scoresOf(ranks).forEach((score, i) => expect(Math.abs(score - expected[i])).toBeLessThan(1e-12));
    });

    it.each(['leverage', 'kernel'] as const)(
      `is regressed (%s) to within its standard errors (${metric})`,
      async (name) => {
        const game = gameOf(12, value);
        const { ranks } = await estimators[name].run({ group: groupOf(12), game }, game, {
          seed: 1,
          budget: 600,
          tolerance: 0,
        });
        const outside = ranks.units.filter(
          ({ index, score, stderr }) => Math.abs(score - expected[index]) > 3 * stderr!,
        );
        expect(outside.length).toBeLessThanOrEqual(1);
      },
    );

    it(`is sampled to within its standard errors (${metric})`, async () => {
      const game = gameOf(12, value);
      const { ranks } = await sampleShapley({ group: groupOf(12), game }, game, { seed: 1, budget: 2000 });
      const outside = ranks.units.filter(({ index, score, stderr }) => Math.abs(score - expected[index]) > 3 * stderr!);
      expect(outside.length).toBeLessThanOrEqual(1);
    });
  }
});
