/** Moments, Wanda and optimal brain surgeon of a small network against NumPy and torch. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Dataset } from '../../../src/evaluation/data/index.ts';
import { MomentRuns, stackedWeights } from '../../../src/evaluation/moments/index.ts';
import { parseModel } from '../../../src/graph/load.ts';
import { rankGroup } from '../../../src/ranking/registry.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import type { Group, Structure } from '../../../src/units/types.ts';
import { datasetOf } from '../../support/datasets.ts';
import { scoresOf } from './games.ts';

/** Written by scripts/golden/moments.py. */
interface Golden {
  made_with: string;
  x: { dims: number[]; values: number[] };
  groups: Record<
    string,
    {
      reads: Record<string, { rows: number; mean: number[]; gram: number[] }>;
      wanda: number[];
      obs: number[];
      order: number[];
    }
  >;
}

const FOLDER = new URL('../../fixtures/moments/', import.meta.url);
const golden = JSON.parse(readFileSync(new URL('network.json', FOLDER), 'utf8')) as Golden;

let structure: Structure;
let dataset: Dataset;
beforeAll(() => {
  structure = analyseStructure(parseModel(new Uint8Array(readFileSync(new URL('network.onnx', FOLDER)))));
  const { dims, values } = golden.x;
  dataset = datasetOf(Float32Array.from(values), dims.slice(1));
});

/** The group whose layer has that name in the network. */
function find(name: string): Group {
  return structure.groups.find((g) => g.layers.some((layer) => layer.name.includes(name)))!;
}

function closeTo(got: ArrayLike<number>, wanted: readonly number[], relative: number, floor = relative): void {
  expect(got.length).toBe(wanted.length);
  const scale = Math.max(...wanted.map(Math.abs));
  wanted.forEach((w, i) =>
    expect(Math.abs(got[i] - w), `${i}: ${got[i]} ${w}`).toBeLessThan(relative * Math.abs(w) + floor * scale),
  );
}

describe.each(Object.keys(golden.groups))('the group of %s', (name) => {
  const wanted = golden.groups[name];

  it('has the moments of its consumers', async () => {
    const runs = new MomentRuns(structure, find(name), dataset, 'cpu');
    const { reads, uncovered } = runs.reads;
    expect(uncovered).toEqual([]);
    expect(reads).toHaveLength(Object.keys(wanted.reads).length);
    const [squares, grams, blocks] = [
      await runs.moments('squares', reads),
      await runs.moments('gram', reads),
      await runs.moments('blocks', reads),
    ];
    for (const [reader, { rows, mean, gram }] of Object.entries(wanted.reads)) {
      const i = reads.findIndex((read) => read.consumers[0].node.name.includes(reader));
      const n = reads[i].columns;
      expect(grams[i].rows).toBe(rows);
      closeTo(grams[i].mean, mean, 1e-5);
      const lower = Array.from({ length: n }, (_, row) => [
        ...grams[i].second.subarray(row * n, row * n + row + 1),
      ]).flat();
      closeTo(lower, gram, 1e-5);
      closeTo(
        squares[i].second,
        mean.map((_, c) => gram[(c * (c + 3)) / 2]),
        1e-5,
      );
      // All units have k columns here, one unit after the other.
      const k = n / find(name).size;
      const own = Array.from({ length: n * k }, (_, at) => {
        const [unit, a, b] = [Math.floor(at / k ** 2), Math.floor(at / k) % k, at % k];
        const [row, column] = [unit * k + Math.max(a, b), unit * k + Math.min(a, b)];
        return gram[(row * (row + 1)) / 2 + column];
      });
      closeTo(blocks[i].second, own, 1e-5);
      expect(stackedWeights(reads[i]).weights).toHaveLength(n * stackedWeights(reads[i]).outputs);
    }
  });

  it('has the scores of Wanda', async () => {
    const group = find(name);
    const moments = new MomentRuns(structure, group, dataset, 'cpu');
    const { ranks } = await rankGroup('wanda', { group, moments }, { seed: 0 });
    closeTo(scoresOf(ranks), wanted.wanda, 1e-5);
  });

  it('loses its units in the order, and with the errors, of refits from scratch', async () => {
    const group = find(name);
    const moments = new MomentRuns(structure, group, dataset, 'cpu');
    const { ranks } = await rankGroup('obs', { group, moments }, { seed: 0 });
    const scores = scoresOf(ranks);
    closeTo(scores, wanted.obs, 1e-4, 1e-6);
    const order = scores.map((_, unit) => unit).sort((a, b) => scores[a] - scores[b]);
    expect(order).toEqual(wanted.order);
  });
});
