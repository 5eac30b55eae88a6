import { describe, expect, it } from 'vitest';
import { columnsOf } from '../../../webview/charts/columns.ts';
import { pruneCommand, quote, suggestName } from '../../../webview/logic/cli.ts';
import { addPoint, paretoFront } from '../../../webview/logic/history.ts';
import { memo } from '../../../webview/logic/memo.ts';
import { displayName } from '../../../webview/logic/names.ts';
import {
  coversZero,
  hasNoSignal,
  POSTERIOR,
  scoreDomain,
  sortUnits,
  splitName,
  whiskersOf,
} from '../../../webview/logic/units.ts';
import { method, metricsFor } from '../../../webview/logic/words.ts';
import { scrollToShow, sortedOrder, visibleRange } from '../../../webview/logic/virtual.ts';
import type { GroupRanks, PruneReport } from '../../../src/formats.ts';

describe('virtual rows', () => {
  it('holds only what is in sight', () => {
    expect(visibleRange(0, 240, 24, 10_000, 0)).toEqual({ start: 0, end: 10 });
    expect(visibleRange(24 * 5000 + 3, 240, 24, 10_000, 6)).toEqual({ start: 4994, end: 5017 });
    expect(visibleRange(1e9, 240, 24, 100, 2)).toEqual({ start: 88, end: 100 });
    expect(visibleRange(0, 240, 24, 0)).toEqual({ start: 0, end: 0 });
    expect(visibleRange(-50, 100, 24, 3)).toEqual({ start: 0, end: 3 });
  });

  it('scrolls no further than it must', () => {
    expect(scrollToShow(3, 0, 240, 24)).toBe(0);
    expect(scrollToShow(20, 0, 240, 24)).toBe(21 * 24 - 240);
    expect(scrollToShow(2, 480, 240, 24)).toBe(48);
  });

  it('sorts stably, numbers as numbers, names as people do, missing last', () => {
    expect([...sortedOrder(4, (r) => [3, null, 1, 3][r], true)]).toEqual([0, 3, 2, 1]);
    expect([...sortedOrder(4, (r) => [3, undefined, 1, 3][r], false)]).toEqual([2, 0, 3, 1]);
    expect([...sortedOrder(3, (r) => ['conv10', 'conv9', 'Conv1'][r], false)]).toEqual([2, 1, 0]);
  });
});

describe('scores', () => {
  const ranks = (units: GroupRanks['units'], noSignal?: boolean): GroupRanks => ({
    id: 'g',
    kind: 'channel',
    layers: [],
    size: units.length,
    value: null,
    evaluations: 0,
    units,
    noSignal,
    seconds: 0,
  });

  it('sorts best first and keeps zero in the domain', () => {
    const units = [
      { index: 0, score: -1, stderr: 0.1 },
      { index: 1, score: 2 },
      { index: 2, score: 2 },
    ];
    expect(sortUnits(units).map((u) => u.index)).toEqual([1, 2, 0]);
    expect(scoreDomain(units)).toEqual([-1 - 0.196, 2]);
    expect(scoreDomain([{ index: 0, score: 0 }])).toEqual([0, 1]);
    expect(scoreDomain([{ index: 0, score: NaN }])).toEqual([0, 1]);
  });

  it('knows what the data does not support', () => {
    expect(coversZero({ index: 0, score: 0.1, stderr: 0.1 })).toBe(true);
    expect(coversZero({ index: 0, score: 0.3, stderr: 0.1 })).toBe(false);
    expect(coversZero({ index: 0, score: 0 })).toBe(false);
    const wide = [
      { index: 0, score: 0, stderr: 1 },
      { index: 1, score: 1, stderr: 1 },
    ];
    expect(hasNoSignal(ranks(wide))).toBe(true);
    expect(hasNoSignal(ranks(wide, false))).toBe(false);
    expect(
      hasNoSignal(
        ranks([
          { index: 0, score: 0, stderr: 0.1 },
          { index: 1, score: 1, stderr: 0.1 },
        ]),
      ),
    ).toBe(false);
    expect(hasNoSignal(ranks([{ index: 0, score: 1, stderr: 1 }]))).toBe(false);
    expect(
      hasNoSignal(
        ranks([
          { index: 0, score: 1 },
          { index: 1, score: 1 },
        ]),
      ),
    ).toBe(false);
  });

  it('draws one column per unit, or per pixel when there are more units', () => {
    expect(columnsOf([], 100)).toEqual([]);
    const few = columnsOf(
      [
        { index: 0, score: 1, stderr: 0.1 },
        { index: 1, score: 0 },
      ],
      100,
    );
    expect(few).toHaveLength(2);
    expect(few[0].width).toBeLessThanOrEqual(48);
    const many = columnsOf(
      Array.from({ length: 10_000 }, (_, index) => ({ index, score: 1 - index, stderr: 1 })),
      640.5,
    );
    expect(many).toHaveLength(640);
    expect(many[0].first).toBe(0);
    expect(many[639].end).toBe(10_000);
    for (let i = 1; i < many.length; i++) expect(many[i].first).toBe(many[i - 1].end);
  });

  it('draws a posterior one deviation wide, which is no doubt about the score', () => {
    const units = [
      { index: 0, score: 0.6, stderr: 0.5 },
      { index: 1, score: 0.4, stderr: 0.5 },
    ];
    const fit = {
      form: 'sampled',
      scaling: 'saturating',
      prior: 2,
      draws: 8,
      steps: 80,
      gradient: 'pathwise',
      loss: 0.1,
      divergence: 1,
    } as const;
    const found = { ...ranks(units), switch: fit };
    expect(whiskersOf(found)).toBe(POSTERIOR);
    expect(whiskersOf(ranks(units))).not.toBe(POSTERIOR);
    expect(hasNoSignal(found)).toBe(false);
    expect(hasNoSignal({ ...found, noSignal: true })).toBe(true);
    expect(scoreDomain(units, POSTERIOR)[1]).toBeCloseTo(1.1, 12);
    const [first] = columnsOf(units, 100, POSTERIOR);
    expect([first.low, first.high, first.light]).toEqual([expect.closeTo(0.1), expect.closeTo(1.1), false]);
  });

  it('offers a method that differentiates only metrics that have a gradient', () => {
    const all = ['accuracy', 'cross-entropy', 'kl', 'agreement', 'mse'] as const;
    expect(metricsFor(method('shapley'), all)).toEqual(all);
    expect(metricsFor(method('dirichlet'), all)).toEqual(['kl', 'cross-entropy', 'mse']);
    expect(metricsFor(method('dirichlet'), ['mse', 'kl', 'agreement'])).toEqual(['mse', 'kl']);
  });

  it('shortens names of exporters', () => {
    expect(displayName('/features/features.1/features.1.0/mlp/mlp.0/MatMul')).toBe('features.1.0/mlp.0');
    expect(displayName('/encoder/layer_0/self_attention/MatMul#head-dim')).toBe('encoder/layer_0/self_attention dims');
    expect(displayName('/encoder/layers/encoder_layer_0/Add#blocks')).toBe('residual blocks');
    expect(displayName('node_MatMul_13')).toBe('node_MatMul_13');
    expect(displayName('stem/conv')).toBe('stem/conv');
    expect(displayName('Conv_0')).toBe('Conv_0');
  });

  it('cuts long names so that their end shows', () => {
    expect(splitName('stem')).toEqual({ head: 'stem', tail: '' });
    const { head, tail } = splitName('/model/layer1/layer1.0/conv1/Conv');
    expect(head + tail).toBe('/model/layer1/layer1.0/conv1/Conv');
    expect(tail).toHaveLength(14);
  });
});

describe('history', () => {
  it('has one point per keep-set and forgets the oldest', () => {
    const point = (n: number, value = 0) => ({
      keep: { a: Array.from({ length: n }, (_, i) => i) },
      macs: n,
      parameters: n,
      value,
    });
    let history = addPoint([], point(3));
    history = addPoint(history, point(4));
    history = addPoint(history, point(3, 1));
    expect(history.map((p) => [p.macs, p.value])).toEqual([
      [4, 0],
      [3, 1],
    ]);
    for (let n = 5; n < 80; n++) history = addPoint(history, point(n));
    expect(history).toHaveLength(40);
    expect(history.at(-1)?.macs).toBe(79);
    expect(addPoint(history, point(59_000))).toHaveLength(14);
    expect(addPoint(history, point(100_000))).toHaveLength(1);
  });

  it('finds the front', () => {
    const front = paretoFront([
      { cost: 1, value: 0.9 },
      { cost: 0.5, value: 0.8 },
      { cost: 0.7, value: 0.7 },
      { cost: 0.2, value: 0.1 },
    ]);
    expect(front.map((p) => p.cost)).toEqual([0.2, 0.5, 1]);
  });

  it('remembers the last result only', () => {
    let calls = 0;
    const square = memo((x: number) => (calls++, x * x));
    expect([square(2), square(2), square(3), square(2)]).toEqual([4, 4, 9, 4]);
    expect(calls).toBe(3);
  });
});

describe('command line', () => {
  it('quotes what a shell would read otherwise', () => {
    expect(quote('a/b-c.onnx')).toBe('a/b-c.onnx');
    expect(quote('my model.onnx')).toBe("'my model.onnx'");
    expect(quote("it's $HOME")).toBe(`'it'\\''s $HOME'`);
    expect(quote('-x.onnx')).toBe('./-x.onnx');
    expect(quote('C:\\m.onnx')).toBe("'C:\\m.onnx'");
  });

  it('replays the plan', () => {
    const report = {
      model: { path: 'm.onnx' },
      metric: 'accuracy',
      device: 'cpu',
      output: 'out x.onnx',
    } as PruneReport;
    expect(pruneCommand(report, 'm.plan.json', { path: 'd.npz', seed: 3, samples: 200 })).toBe(
      "secateur prune m.onnx --plan m.plan.json --data d.npz --samples 200 --seed 3 --metric accuracy --device cpu --out 'out x.onnx'",
    );
    expect(pruneCommand(report, 'p.json', { path: null, seed: 0 })).not.toContain('--data');
    expect(suggestName('resnet.ONNX')).toBe('resnet.pruned.onnx');
  });
});
