import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openGame } from '../../../src/evaluation/coalitions/index.ts';
import { openDataset } from '../../../src/evaluation/data/index.ts';
import { readOutput } from '../../../src/evaluation/metrics/index.ts';
import type { MetricName } from '../../../src/formats.ts';
import { loadModel } from '../../../src/graph/load.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';

const home = join(import.meta.dirname, '../../fixtures/text');

/** Lines of different lengths: padding that does not count, and an empty cache that crosses the cut. */
test.each<MetricName>(['cross-entropy', 'accuracy', 'kl', 'agreement'])(
  'coalitions of a decoder on padded lines: %s is that of the whole model',
  async (metric) => {
    const structure = analyseStructure(loadModel(join(home, 'bpe/model.onnx')));
    const data = await openDataset(structure.model, { path: join(home, 'lines.jsonl'), seed: 0 });
    expect(data.labels!.includes(-100)).toBe(true);
    const reading = await readOutput(structure.model, data);
    const groups = structure.groups.filter((g) => g.prunable);
    expect(groups.map((g) => g.size)).toEqual([8, 32]);
    for (const { id, size } of groups) {
      const some = Array.from({ length: 4 }, (_, k) => Uint8Array.from({ length: size }, (_, i) => Number(i % 4 >= k)));
      const options = { metric, reading, device: 'cpu' } as const;
      const fast = await openGame(structure, id, data, options);
      const naive = await openGame(structure, id, data, { ...options, strategy: 'naive' });
      const [a, b] = [await fast.evaluate(some), await naive.evaluate(some)];
      a.forEach((v, i) => expect(v).toBeCloseTo(b[i], 4));
      await fast.close();
      await naive.close();
    }
  },
);
