import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { addVectorJacobianProducts } from '../../../src/autodiff/gradient.ts';
import type { Dim, Value } from '../../../src/graph/ir.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { builder, type Attrs, type Builder } from '../../support/build.ts';
import { checkGolden, goldenOps } from '../../support/golden-ops.ts';
import { checkGradient } from '../../support/gradients.ts';

const GATES: Record<string, number> = { LSTM: 4, GRU: 3, RNN: 1 };
const HIDDEN = 3;
const FEATURES = 2;

interface Form {
  op: string;
  direction?: string;
  biased?: boolean;
  states?: boolean;
  lengths?: boolean;
  opset?: number;
  attrs?: Attrs;
  activations?: string[];
  steps?: Dim;
}

/** A layer with its differentiable inputs. */
function layer(b: Builder, form: Form): { outputs: Value[]; wrt: Value[] } {
  const { op, direction = 'forward', biased = true, states = true } = form;
  const directions = direction === 'bidirectional' ? 2 : 1;
  const rows = GATES[op] * HIDDEN;
  const x = b.input('x', [form.steps ?? 4, 'N', FEATURES]);
  const w = b.weight([directions, rows, FEATURES], 'W', 0.8);
  const r = b.weight([directions, rows, HIDDEN], 'R', 0.8);
  const bias = biased ? b.weight([directions, 2 * rows], 'B', 0.8) : null;
  const lengths = form.lengths ? b.input('lengths', ['N'], DataType.INT32) : null;
  const state = (name: string) => (states ? b.input(name, [directions, 'N', HIDDEN]) : null);
  const inputs = [x, w, r, bias, lengths, state('h'), ...(op === 'LSTM' ? [state('c')] : [])];
  const attrs = { hidden_size: HIDDEN, direction, ...form.attrs };
  const outputs = b.nodes(op, inputs, attrs, op === 'LSTM' ? 3 : 2);
  if (form.activations)
    outputs[0].producer!.attributes.set('activations', {
      kind: 'strings',
      value: form.activations.map((s) => new TextEncoder().encode(s)),
    });
  return { outputs, wrt: inputs.filter((v): v is Value => v !== null && v !== lengths) };
}

const titled = (forms: Form[]) => forms.map((f) => [JSON.stringify(f).replaceAll('"', ''), f] as const);

describe('recurrent layers', () => {
  // The runtime has these layers in float32 only.
  it.each(
    titled([
      ...['LSTM', 'GRU', 'RNN'].flatMap((op) => [
        { op },
        { op, direction: 'reverse', biased: false, states: false, opset: 9 },
        { op, direction: 'bidirectional' },
        { op, direction: 'bidirectional', lengths: true },
        { op, steps: 1, opset: 11, states: false },
        { op, steps: 'T', direction: 'reverse' },
      ]),
      { op: 'GRU', attrs: { linear_before_reset: 1 } },
      { op: 'GRU', attrs: { linear_before_reset: 1 }, biased: false, direction: 'bidirectional' },
      { op: 'LSTM', activations: ['sigmoid', 'tanh', 'relu'] },
      { op: 'RNN', activations: ['Relu'] },
      { op: 'RNN', activations: ['Tanh', 'Sigmoid'], direction: 'bidirectional' },
    ]),
  )('%s', async (_, form) => {
    const b = builder({ opset: form.opset ?? 17 });
    const { outputs, wrt } = layer(b, form);
    const feeds: Record<string, ort.Tensor> = form.lengths
      ? { lengths: new ort.Tensor('int32', Int32Array.of(2, 4, 3), [3]) }
      : {};
    const options = { elements: 12, dims: { N: 3, T: 4 }, feeds, single: true };
    const { compared } = await checkGradient(b.model, outputs, wrt, options);
    expect(compared).toBeGreaterThan(6 * wrt.length);
  });

  it('also where only the last state is read', async () => {
    const b = builder();
    const { outputs, wrt } = layer(b, { op: 'LSTM', direction: 'bidirectional' });
    await checkGradient(b.model, outputs[2], wrt, { elements: 12, single: true });
  });

  it.each(['LSTM', 'GRU', 'RNN'])('%s, of which the hidden states of all steps are no output', async (op) => {
    const b = builder();
    const { outputs, wrt } = layer(b, { op, lengths: op === 'GRU' });
    const [all, last] = outputs;
    all.producer!.setOutput(0, null);
    b.graph.removeValue(all);
    const lengths = new ort.Tensor('int32', Int32Array.of(2, 4), [2]);
    const options = { elements: 12, single: true, dims: { N: 2 }, feeds: op === 'GRU' ? { lengths } : undefined };
    await checkGradient(b.model, last, wrt, options);
  });

  it.each<[RegExp, Form]>([
    [/layout/, { op: 'LSTM', attrs: { layout: 1 } }],
    [/clipping/, { op: 'RNN', attrs: { clip: { float: 3 } } }],
    [/coupled/, { op: 'LSTM', attrs: { input_forget: 1 } }],
    [/Softsign is not supported/, { op: 'RNN', activations: ['Softsign'] }],
  ])('says what it cannot do: %s', (reason, form) => {
    const b = builder();
    const { outputs } = layer(b, form);
    const seeds = new Map([[outputs[0], b.input('seed', [4, 1, 'N', HIDDEN])]]);
    expect(() => addVectorJacobianProducts(b.model, seeds, [b.graph.inputs[0]])).toThrow(reason);
  });
});

describe('gradients by torch.autograd', () => {
  it.each(goldenOps('recurrent').map((g) => [`${g.op} ${g.name}`, g] as const))('%s', (_, golden) =>
    checkGolden(golden),
  );
});
