import { expect, test } from 'vitest';
import type { Ranks } from '../../../src/formats.ts';
import { provenance } from '../../../webview/logic/provenance.ts';

const ranks = {
  method: 'shapley',
  metric: 'accuracy',
  data: { path: '/a/b\\calib.npz', fingerprint: '', samples: 200 },
  seed: 3,
  device: 'cpu',
  seconds: 12,
  complete: false,
  groups: [
    { id: 'conv1', size: 20, evaluations: 300 },
    { id: 'fc1', size: 10, evaluations: 100 },
  ],
} as Ranks;

test('what the ranks are of, on which data, and how they were made', () => {
  const text = provenance(ranks);
  expect(text).toMatch(/^Shapley value of accuracy · 2\sgroups · calib\.npz, 200\ssamples · 400\sevaluations · /);
  expect(text).toMatch(/seed 3 · CPU · stopped before the end$/);
});

test('of whole layers, by a method that measures nothing', () => {
  const text = provenance({
    ...ranks,
    layers: { closing: 'all' },
    metric: null,
    method: 'magnitude',
    complete: true,
  } as unknown as Ranks);
  expect(text).toMatch(/^weight magnitude \(L1\) · 20\slayers/);
  expect(text).not.toContain('stopped');
});
