import { describe, expect, it } from 'vitest';
import type { CompareReport, GroupRanks, Ranks } from '../../../src/formats.ts';
import { compareMarkdown } from '../../../src/vscode/compare-markdown.ts';
import { mergeRanks } from '../../../src/vscode/merge-ranks.ts';

function ranks(groups: string[], over: Partial<Ranks> = {}): Ranks {
  const group = (id: string): GroupRanks => ({
    id,
    kind: 'channel',
    layers: [id],
    size: 1,
    value: null,
    evaluations: 1,
    units: [{ index: 0, score: 1 }],
    seconds: 2,
  });
  return {
    format: 'secateur-ranks/1',
    model: { path: 'm.onnx', sha256: 'a', bytes: 1 },
    data: { path: 'd.npz', fingerprint: 'f', samples: 3 },
    method: 'shapley',
    metric: 'accuracy',
    seed: 0,
    device: 'cpu',
    budget: 10,
    tolerance: 0,
    seconds: 2,
    complete: true,
    groups: groups.map(group),
    warnings: [],
    ...over,
  };
}

describe('ranks of several runs', () => {
  it('are put together when they were made alike', () => {
    const merged = mergeRanks(ranks(['a', 'b']), ranks(['b', 'c'], { budget: 20 }));
    expect(merged.groups.map(({ id }) => id)).toEqual(['a', 'b', 'c']);
    expect(merged).toMatchObject({ budget: 20, seconds: 6 });
  });

  it('are replaced when anything that they depend on is another', () => {
    const other: Partial<Ranks>[] = [
      { model: { path: 'm.onnx', sha256: 'b', bytes: 1 } },
      { data: { path: 'd.npz', fingerprint: 'g', samples: 3 } },
      { metric: 'cross-entropy' },
      { seed: 1 },
    ];
    for (const over of other) {
      expect(mergeRanks(ranks(['a']), ranks(['b'], over)).groups.map(({ id }) => id)).toEqual(['b']);
    }
    expect(mergeRanks(undefined, ranks(['a'])).groups).toHaveLength(1);
  });
});

describe('a comparison as Markdown', () => {
  const side = {
    path: '/x/a.onnx',
    bytes: 350_000,
    parameters: 85_426,
    macs: 1_860_000,
    value: 0.99,
    holdout: null,
    latencyMs: 0.5,
  };
  const report: CompareReport = {
    a: side,
    b: { ...side, path: '/x/b.onnx', bytes: 200_000, macs: 900_000, value: 0.98 },
    metric: 'accuracy',
    samples: 400,
    holdoutSamples: 0,
    delta: { bytes: -150_000, parameters: 0, macs: -960_000, value: -0.01, holdout: null, latencyMs: 0 },
    changed: { samples: 4, share: 0.01, indices: [1, 2, 3, 4] },
    outputs: [{ name: 'out`|<b>', maxAbsDiff: 1.5, maxRelDiff: 0.1 }],
    layers: [
      { name: 'same', op: 'Relu', a: { parameters: 0, macs: 0 }, b: { parameters: 0, macs: 0 } },
      { name: 'conv', op: 'Conv', a: { parameters: 9, macs: 81 }, b: null },
    ],
    warnings: ['A *warning* with <b>markup</b>.'],
  };
  const text = compareMarkdown(report, { path: '/x/data.npz', seed: 0 });

  it('shows what both have and the difference', () => {
    expect(text).toContain('| File | 350 kB | 200 kB | −150 kB |');
    expect(text).toContain('| MACs | 1.86 M | 900 k | −960 k |');
    expect(text).not.toContain('held out');
    expect(text).toContain('**4** samples (1.0 %)');
  });

  it('lists only layers that differ', () => {
    expect(text).toContain('| `conv` | Conv | 9 → – | 81 → – |');
    expect(text).not.toContain('same');
  });

  it('lets no name of a file become markup', () => {
    expect(text).toContain('`out  <b>`');
    expect(text).toContain('\\<b\\>markup');
  });
});
