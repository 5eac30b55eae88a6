import ort from 'onnxruntime-node';
import { expect, it } from 'vitest';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { gateModel, gateRow } from '../../../src/units/gating.ts';
import { Builder } from '../../support/build.ts';
import { openSession, randomFeeds, seeded } from '../../support/invariant.ts';

it('the value of no unit at all is finite, however many norms of closed units follow each other', async () => {
  const b = new Builder({ opset: 17 });
  let x = b.linear(b.input('x', ['N', 4, 6]), 6, 8, 'embed');
  for (let i = 0; i < 12; i++) {
    const y = b.op('Add', [x, b.linear(b.relu(b.linear(x, 8, 12, `up${i}`)), 12, 8, `down${i}`)]);
    // LayerNormalization as older exporters write it, with the 1e-12 of BERT.
    const centred = b.op('Sub', [y, b.op('ReduceMean', [y], { axes: [-1] })]);
    const variance = b.op('ReduceMean', [b.op('Mul', [centred, centred])], { axes: [-1] });
    x = b.op('Div', [centred, b.op('Sqrt', [b.op('Add', [variance, b.floats([1e-12])])])]);
  }
  b.output(b.linear(x, 8, 3, 'head'));
  const s = analyseStructure(b.build());
  const [width] = s.groups;
  expect([width.kind, width.size, width.prunable]).toEqual(['width', 8, true]);
  const gated = gateModel(s, [width.id]);
  const session = await openSession(gated.model);
  const none = new ort.Tensor('float32', gateRow(8, []), [1, 8]);
  const outputs = await session.run({ ...randomFeeds(s.model, seeded(2)), [gated.gates[0].input.name]: none });
  for (const y of Object.values(outputs)) expect([...(y.data as Float32Array)].every(Number.isFinite)).toBe(true);
});
