import { describe, expect, it } from 'vitest';
import type { Value } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { findMixtures } from '../../../src/units/moe/detect.ts';
import type { MixtureOfExperts } from '../../../src/units/moe/types.ts';
import { builder, subgraph, type Builder } from '../../support/build.ts';

const D = 6;
const F = 10;

const detect = (b: Builder): MixtureOfExperts[] => findMixtures(analyseStructure(b.build()));

function only(b: Builder): MixtureOfExperts {
  const found = detect(b);
  expect(found).toHaveLength(1);
  return found[0];
}

const scores = (b: Builder, x: Value, width: number) => b.op('MatMul', [x, b.weight([D, width], 'gate')], {}, 'router');

/** Softmax, the k largest. */
function topK(b: Builder, probabilities: Value, k: number): [Value, Value] {
  const [values, indices] = b.nodes('TopK', [probabilities, b.ints([k])], {}, 2);
  return [values, indices];
}

/** Gates `[tokens, width]`, 0 for experts that were not chosen. */
function fullGates(b: Builder, x: Value, width: number, k: number): Value {
  const p = b.softmax(scores(b, x, width));
  const [values, indices] = topK(b, p, k);
  const zeros = b.op('ConstantOfShape', [b.op('Shape', [p])]);
  return b.op('ScatterElements', [zeros, indices, values], { axis: -1 });
}

const column = (b: Builder, gates: Value, e: number) =>
  b.op('Slice', [gates, b.ints([e]), b.ints([e + 1]), b.ints([-1])]);

function expert(b: Builder, x: Value, e: number, hidden = F): Value {
  return b.linear(b.relu(b.linear(x, D, hidden, `e${e}.up`)), hidden, D, `e${e}.down`);
}

const parametersOf = (hidden = F) => D * hidden + hidden + hidden * D + D;

/** Tokens `[n, D]`, behind a layer, so that the router's input is no graph input. */
function tokens(b: Builder): Value {
  return b.relu(b.linear(b.input('x', ['n', D]), D, D, 'first'));
}

function dense(width: number, k: number, present = Array.from({ length: width }, (_, e) => e)): Builder {
  const b = builder();
  const x = tokens(b);
  const gates = fullGates(b, x, width, k);
  const parts = present.map((e) => b.mul(column(b, gates, e), expert(b, x, e)));
  return b.output(
    b.add(
      x,
      parts.reduce((sum, y) => b.add(sum, y)),
    ),
  );
}

describe('experts one by one', () => {
  it('finds experts behind masks, with their layers and weights', () => {
    const m = only(dense(4, 2));
    expect(m).toMatchObject({ id: 'router', form: 'dense', k: 2, problems: [], shared: [] });
    expect(m.router).toMatchObject({ width: 4, kind: 'softmax-topk', normalised: false, weightAxis: 1 });
    expect(m.router.weight?.name).toBe('gate');
    expect(m.experts.map((e) => e.index)).toEqual([0, 1, 2, 3]);
    for (const e of m.experts) {
      expect(e.parameters).toBe(parametersOf());
      expect(e.macs).toBe(2 * D * F);
      expect(e.nodes.filter((n) => n.opType === 'MatMul').map((n) => n.name)).toEqual([
        `e${e.index}.up`,
        `e${e.index}.down`,
      ]);
      expect(e.weights.every((w) => w.axis === null && w.value.name.startsWith(`e${e.index}.`))).toBe(true);
    }
  });

  it('takes up to eight experts per token', () => {
    for (const k of [1, 3, 8]) expect(only(dense(9, k))).toMatchObject({ k, router: { width: 9 } });
  });

  it('says which experts an exporter dropped', () => {
    const m = only(dense(5, 2, [0, 2, 4]));
    expect(m.experts.map((e) => e.index)).toEqual([0, 2, 4]);
    expect(m.problems).toHaveLength(1);
    expect(m.problems[0]).toContain('chooses among 5 experts, but only 3 are in the graph: 1, 3 missing');
  });

  it('says when experts differ in size', () => {
    const b = builder();
    const x = tokens(b);
    const gates = fullGates(b, x, 2, 1);
    const parts = [4, 8].map((hidden, e) => b.mul(column(b, gates, e), expert(b, x, e, hidden)));
    const m = only(b.output(b.add(parts[0], parts[1])));
    expect(m.experts.map((e) => e.parameters)).toEqual([parametersOf(4), parametersOf(8)]);
    expect(m.problems).toEqual(['Its experts differ in size.']);
  });

  it('finds top-1 by ArgMax and one-hot, by Hardmax, and by comparison with the largest', () => {
    const masks: ((b: Builder, p: Value) => Value)[] = [
      (b, p) => b.op('OneHot', [b.op('ArgMax', [p], { axis: -1, keepdims: 0 }), b.ints([3], []), b.floats([0, 1])]),
      (b, p) => b.op('Hardmax', [p], { axis: -1 }),
      (b, p) => b.op('Cast', [b.op('Equal', [p, b.op('ReduceMax', [p], { axes: [-1] })])], { to: DataType.FLOAT }),
    ];
    for (const mask of masks) {
      const b = builder();
      const x = tokens(b);
      const p = b.softmax(scores(b, x, 3));
      const gates = b.mul(mask(b, p), p);
      const parts = [0, 1, 2].map((e) => b.mul(column(b, gates, e), expert(b, x, e)));
      const m = only(b.output(b.add(b.add(parts[0], parts[1]), parts[2])));
      expect(m).toMatchObject({ form: 'dense', k: 1, problems: [] });
      expect(m.router.kind).toBe('softmax-topk');
      expect(m.experts.map((e) => e.parameters)).toEqual([1, 2, 3].map(() => parametersOf()));
    }
  });

  it('finds experts on gathered tokens, scattered back', () => {
    for (const back of ['ScatterND', 'ScatterElements']) {
      const b = builder();
      const x = tokens(b);
      const [values, indices] = topK(b, scores(b, x, 3), 2);
      const gates = b.softmax(values);
      let y = b.op('ConstantOfShape', [b.op('Shape', [x])]);
      for (let e = 0; e < 3; e++) {
        const mask = b.op('Equal', [indices, b.ints([e], [])]);
        const hit = b.op('ReduceMax', [b.op('Cast', [mask], { to: DataType.FLOAT })], { axes: [-1], keepdims: 0 });
        const places = b.op('NonZero', [hit]);
        const rows = b.op('Squeeze', [places, b.ints([0])]);
        const gate = b.op('ReduceSum', [b.mul(gates, b.op('Cast', [mask], { to: DataType.FLOAT })), b.ints([-1])]);
        const part = b.mul(expert(b, b.op('Gather', [x, rows]), e), b.op('Gather', [gate, rows]));
        if (back === 'ScatterND') {
          y = b.op('ScatterND', [y, b.transpose(places, [1, 0]), b.add(part, b.op('Gather', [y, rows]))]);
        } else {
          const at = b.op('Expand', [b.transpose(places, [1, 0]), b.op('Shape', [part])]);
          y = b.add(y, b.op('ScatterElements', [b.op('ConstantOfShape', [b.op('Shape', [x])]), at, part]));
        }
      }
      const m = only(b.output(y));
      expect(m).toMatchObject({ form: 'gathered', k: 2, problems: [] });
      expect(m.router).toMatchObject({ kind: 'topk-softmax', normalised: true, probabilities: null });
      expect(m.experts.map((e) => e.parameters)).toEqual([0, 1, 2].map(() => parametersOf()));
    }
  });

  it('finds experts in branches of If, also where the last is what remains', () => {
    const b = builder();
    const x = b.input('x', [1, D]);
    const best = b.op('ArgMax', [scores(b, x, 3)], { axis: -1, keepdims: 0 });
    const is = (inner: Builder, e: number) => inner.op('Squeeze', [inner.op('Equal', [best, inner.ints([e])])]);
    const branch = (inner: Builder, e: number): Value =>
      e === 2
        ? expert(inner, x, e)
        : inner.op('If', [is(inner, e)], {
            then_branch: subgraph(inner, `yes${e}`, (g) => [expert(g, x, e)]),
            else_branch: subgraph(inner, `no${e}`, (g) => [branch(g, e + 1)]),
          });
    const m = only(b.output(branch(b, 0)));
    expect(m).toMatchObject({ form: 'branches', k: 1, problems: [], router: { kind: 'none' } });
    expect(m.experts.map((e) => [e.index, e.parameters])).toEqual([0, 1, 2].map((e) => [e, parametersOf()]));
  });

  it('keeps shared experts apart, in front of the routed ones and behind', () => {
    for (const first of [true, false]) {
      const b = builder();
      const x = tokens(b);
      const gates = fullGates(b, x, 3, 1);
      const shared = expert(b, x, 9, 7);
      let y = first ? shared : undefined;
      for (let e = 0; e < 3; e++) {
        const part = b.mul(column(b, gates, e), expert(b, x, e));
        y = y ? b.add(y, part) : part;
      }
      const m = only(b.output(b.add(x, first ? y! : b.add(y!, shared))));
      expect(m.experts.map((e) => e.parameters)).toEqual([0, 1, 2].map(() => parametersOf()));
      expect(m.shared.map((s) => s.parameters)).toEqual([parametersOf(7)]);
    }
  });
});

describe('routers', () => {
  it('tells a bias that counts for choosing only from the bias of the layer', () => {
    const b = builder();
    const x = tokens(b);
    const logits = b.gemm(x, D, 3, 'router');
    const p = b.op('Sigmoid', [logits]);
    const bias = b.weight([3], 'balance');
    const [, indices] = topK(b, b.add(p, bias), 2);
    const chosen = b.op('GatherElements', [p, indices], { axis: -1 });
    const gates = b.op('Div', [chosen, b.op('ReduceSum', [chosen, b.ints([-1])])]);
    const full = b.op('ScatterElements', [b.op('ConstantOfShape', [b.op('Shape', [p])]), indices, gates], { axis: -1 });
    const parts = [0, 1, 2].map((e) => b.mul(column(b, full, e), expert(b, x, e)));
    const { router } = only(b.output(b.add(b.add(parts[0], parts[1]), parts[2])));
    expect(router).toMatchObject({ kind: 'sigmoid', normalised: true, weightAxis: 0 });
    expect(router.selectionBias?.name).toBe('balance');
    expect(router.logits.producer?.name).toBe('router');
    expect(router.probabilities?.producer?.opType).toBe('Sigmoid');
    expect(router.gates?.producer?.opType).toBe('Div');
    expect(router.indices?.producer?.opType).toBe('TopK');
  });

  it('takes the sum with the layer bias for the logits', () => {
    const b = builder();
    const x = tokens(b);
    const p = b.softmax(b.linear(x, D, 2, 'router'));
    const [values, indices] = topK(b, p, 1);
    const full = b.op('ScatterElements', [b.op('ConstantOfShape', [b.op('Shape', [p])]), indices, values], {
      axis: -1,
    });
    const m = only(
      b.output(b.add(b.mul(column(b, full, 0), expert(b, x, 0)), b.mul(column(b, full, 1), expert(b, x, 1)))),
    );
    expect(m.id).toBe('router');
    expect(m.router.selectionBias).toBeNull();
    expect(m.router.logits.producer?.name).toBe('router.add');
  });
});

describe('experts in one tensor', () => {
  const E = 4;
  const weights = (b: Builder) => ({ up: b.weight([E, D, F], 'up'), down: b.weight([E, F, D], 'down') });

  function expectStacked(m: MixtureOfExperts, form: string): void {
    expect(m).toMatchObject({ form, k: 2, problems: [] });
    expect(m.experts.map((e) => e.parameters)).toEqual(Array.from({ length: E }, () => 2 * D * F));
    for (const e of m.experts) {
      expect(e.weights.map((w) => [w.value.name, w.axis, w.index])).toEqual([
        ['up', 0, e.index],
        ['down', 0, e.index],
      ]);
    }
    expect(m.sharedNodes.length).toBeGreaterThan(0);
  }

  it('finds batched products', () => {
    const b = builder();
    const x = tokens(b);
    const { up, down } = weights(b);
    const gates = b.op('Unsqueeze', [b.transpose(fullGates(b, x, E, 2), [1, 0]), b.ints([2])]);
    const h = b.relu(b.op('MatMul', [b.op('Unsqueeze', [x, b.ints([0])]), up]));
    const y = b.op('ReduceSum', [b.mul(gates, b.op('MatMul', [h, down])), b.ints([0])], { keepdims: 0 });
    expectStacked(only(b.output(y)), 'stacked');
  });

  it('finds weights that tokens look up', () => {
    const b = builder();
    const x = tokens(b);
    const { up, down } = weights(b);
    const [values, indices] = topK(b, b.softmax(scores(b, x, E)), 2);
    const wide = b.op('Unsqueeze', [x, b.ints([1, 2])]);
    const h = b.relu(b.op('MatMul', [wide, b.op('Gather', [up, indices])]));
    const y = b.op('Squeeze', [b.op('MatMul', [h, b.op('Gather', [down, indices])]), b.ints([2])]);
    const sum = b.op('ReduceSum', [b.mul(b.op('Unsqueeze', [values, b.ints([2])]), y), b.ints([1])], { keepdims: 0 });
    expectStacked(only(b.output(sum)), 'lookup');
  });

  it('finds a Loop and a Scan over experts', () => {
    const loop = builder();
    {
      const x = tokens(loop);
      const { up, down } = weights(loop);
      const gates = fullGates(loop, x, E, 2);
      const body = subgraph(loop, 'body', (g) => {
        const i = g.graph.addInput('i', { kind: 'tensor', elemType: DataType.INT64, shape: [] });
        const go = g.graph.addInput('go', { kind: 'tensor', elemType: DataType.BOOL, shape: [] });
        const sum = g.input('sum', ['n', D]);
        const h = g.relu(g.op('MatMul', [x, g.op('Gather', [up, i])]));
        const gate = g.op('Unsqueeze', [g.op('Gather', [gates, i], { axis: 1 }), g.ints([1])]);
        const y = g.mul(g.op('MatMul', [h, g.op('Gather', [down, i])]), gate);
        return [g.op('Identity', [go]), g.add(sum, y)];
      });
      loop.output(loop.op('Loop', [loop.ints([E], []), null, x], { body }));
    }
    const scan = builder();
    {
      const x = tokens(scan);
      const { up, down } = weights(scan);
      const gates = scan.transpose(fullGates(scan, x, E, 2), [1, 0]);
      const body = subgraph(scan, 'body', (g) => {
        const sum = g.input('sum', ['n', D]);
        const [u, d, gate] = [g.input('u', [D, F]), g.input('d', [F, D]), g.input('gate', ['n'])];
        const y = g.op('MatMul', [g.relu(g.op('MatMul', [x, u])), d]);
        return [g.add(sum, g.mul(y, g.op('Unsqueeze', [gate, g.ints([1])])))];
      });
      scan.output(scan.op('Scan', [x, up, down, gates], { body, num_scan_inputs: 3 }));
    }
    for (const b of [loop, scan]) expectStacked(only(b), 'loop');
  });

  it('reads fused ops, and says when router and weights differ', () => {
    for (const width of [E, E + 1]) {
      const b = builder();
      const x = tokens(b);
      const bias = (size: number) => b.weight([E, size], 'bias');
      const inputs = [x, scores(b, x, width), b.weight([E, F, D]), bias(F), b.weight([E, D, F]), bias(D)];
      const attributes = { k: 2, activation_type: 'relu', normalize_routing_weights: 1 };
      const y = b.op('com.microsoft.MoE', inputs, attributes, 'moe');
      const m = only(b.output(b.add(x, b.add(y, expert(b, x, 0)))));
      expect(m).toMatchObject({
        id: 'router',
        form: 'fused',
        k: 2,
        router: { kind: 'softmax-topk', normalised: true, width },
      });
      expect(m.experts.map((e) => e.parameters)).toEqual(Array.from({ length: E }, () => parametersOf()));
      expect(m.experts[0].macs).toBe(2 * D * F);
      expect(m.shared.map((s) => s.parameters)).toEqual([parametersOf()]);
      expect(m.problems).toEqual(width === E ? [] : ['The router chooses among 5 experts, but the weights are of 4.']);
    }
  });
});

describe('what is no mixture', () => {
  it('leaves classifiers, detectors, attention and conditional embeddings alone', () => {
    const classifier = builder();
    const logits = expert(classifier, tokens(classifier), 0);
    classifier.output(classifier.op('ArgMax', [classifier.softmax(logits)], { axis: -1 }));

    const detector = builder();
    {
      const x = tokens(detector);
      const [, best] = topK(detector, detector.op('Sigmoid', [detector.gemm(x, D, 5)]), 2);
      const boxes = detector.reshape(detector.gemm(x, D, 20), [-1, 5, 4]);
      const at = detector.op('Expand', [
        detector.op('Unsqueeze', [best, detector.ints([2])]),
        detector.ints([1, 1, 4]),
      ]);
      detector.output(detector.op('GatherElements', [boxes, at], { axis: 1 }));
    }

    const embedding = builder();
    {
      const x = tokens(embedding);
      const best = embedding.op('ArgMax', [embedding.gemm(x, D, 5)], { axis: -1, keepdims: 0 });
      embedding.output(embedding.add(x, embedding.op('Gather', [embedding.weight([5, D]), best])));
    }

    const weighed = builder();
    {
      // Branches weighed by attention, none of them left out.
      const x = tokens(weighed);
      const p = weighed.softmax(scores(weighed, x, 2));
      const parts = [0, 1].map((e) => weighed.mul(column(weighed, p, e), expert(weighed, x, e)));
      weighed.output(weighed.add(parts[0], parts[1]));
    }
    for (const b of [classifier, detector, embedding, weighed]) expect(detect(b)).toEqual([]);
  });
});
