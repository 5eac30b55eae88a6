import { describe, expect, test } from 'vitest';
import { modelCost } from '../../../src/graph/cost.ts';
import type { Model } from '../../../src/graph/ir.ts';
import { inferShapes } from '../../../src/graph/shapes/index.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { builder, subgraph } from '../../support/build.ts';

function cost(model: Model) {
  inferShapes(model, { strict: true });
  return modelCost(model);
}
const bytes = (dims: number[], type: number = DataType.INT8) =>
  Tensor.fromNumbers('w', type, dims, new Uint8Array(dims.reduce((a, b) => a * b, 1)).fill(1));

describe('cost', () => {
  test('of a LeNet-5 with 20, 50, 500 and 10 units: 431 080 parameters, 2 293 000 MACs', () => {
    const b = builder();
    const x = b.input('x', ['N', 1, 28, 28]);
    const y = b.maxPool(b.relu(b.conv(x, 1, 20, 5)));
    const z = b.maxPool(b.relu(b.conv(y, 20, 50, 5)));
    b.output(b.gemm(b.relu(b.gemm(b.flatten(z), 800, 500)), 500, 10));
    const { parameters, macs, layers } = cost(b.build());
    expect([parameters, macs]).toEqual([431_080, 288_000 + 1_600_000 + 400_000 + 5000]);
    expect(layers[0]).toMatchObject({
      name: 'conv1',
      op: 'Conv',
      parameters: 520,
      macs: 288_000,
      shape: ['N', 20, 24, 24],
      activationBytes: 20 * 24 * 24 * 4,
    });
  });

  test('running statistics, shapes and lone numbers are no parameters', () => {
    const b = builder();
    const x = b.input('x', ['N', 3, 8, 8]);
    const y = b.bn(b.conv(x, 3, 8, 3, { bias: 0 }), 8);
    const z = b.mul(b.reshape(y, [0, 8, -1]), b.floats([0.125], []));
    b.output(b.op('Clip', [b.op('Gather', [z, b.ints([0, 1])], { axis: 1 }), b.floats([0], []), b.floats([6], [])]));
    expect(cost(b.build()).parameters).toBe(8 * 3 * 9 + 16);
  });

  test('a tensor that two layers share counts once, also under another name', () => {
    const b = builder();
    const x = b.input('x', ['N', 4]);
    const w = b.weight([4, 4]);
    const again = b.op('Identity', [w]);
    b.output(b.op('MatMul', [b.op('MatMul', [x, w]), again]));
    const model = b.build();
    const { parameters, macs, layers } = cost(model);
    expect([parameters, macs]).toEqual([16, 32]);
    expect(layers.find((l) => l.op === 'Identity')).toMatchObject({ parameters: 0, activationBytes: 0 });
    const copy = model.graph.addInitializer('copy', model.graph.values.get('w')!.initializer!.renamed('copy'));
    model.graph.nodes.find((n) => n.op === 'MatMul')!.setInput(1, copy);
    expect(cost(model).parameters).toBe(16);
  });

  test('quantised weights count, their scales and zero points do not', () => {
    const b = builder();
    const x = b.input('x', ['N', 6, 8, 8]);
    const scale = b.floats([0.1], []);
    const zero = b.constant(Tensor.fromNumbers('z', DataType.INT8, [], [0]));
    const w = b.op('DequantizeLinear', [b.constant(bytes([4, 6, 3, 3])), scale, zero]);
    const bias = b.op('DequantizeLinear', [b.constant(bytes([4], DataType.INT32)), scale]);
    const activation = b.op('DequantizeLinear', [b.op('QuantizeLinear', [x, scale, zero]), scale, zero]);
    b.output(b.op('Conv', [activation, w, bias]));
    const { parameters, macs, layers } = cost(b.build());
    expect([parameters, macs]).toEqual([4 * 54 + 4, 36 * 4 * 54]);
    expect(layers.find((l) => l.op === 'Conv')!.parameters).toBe(parameters);
  });

  test('weights packed to four bits count as what they unpack to', () => {
    const b = builder();
    const x = b.input('x', ['S', 32]);
    const w = b.constant(Tensor.fromBytes('w', DataType.UINT8, [5, 2, 8], new Uint8Array(80)));
    b.output(b.op('com.microsoft.MatMulNBits', [x, w, b.weight([10])], { K: 32, N: 5, bits: 4, block_size: 16 }));
    expect(cost(b.build())).toMatchObject({ parameters: 160, macs: 160 });
  });

  test('a fixed batch is counted as the file computes it, a free one as one sample', () => {
    const of = (n: number | string) => {
      const b = builder();
      b.output(b.gemm(b.input('x', [n, 4]), 4, 3));
      return cost(b.build()).macs;
    };
    expect([of('N'), of(1), of(8)]).toEqual([12, 12, 96]);
  });

  test('transposed and grouped convolutions, recurrent layers', () => {
    const b = builder();
    const x = b.input('x', ['N', 6, 8, 8]);
    const up = b.op('ConvTranspose', [x, b.weight([6, 2, 3, 3])], { group: 2, strides: [2, 2] }, 'up');
    b.output(up, b.conv(x, 6, 12, 3, { group: 3, name: 'grouped', bias: 0 }));
    const t = b.input('t', [7, 'N', 6]);
    b.output(
      ...b.nodes(
        'LSTM',
        [t, b.weight([2, 20, 6]), b.weight([2, 20, 5])],
        { hidden_size: 5, direction: 'bidirectional' },
        3,
        'lstm',
      ),
    );
    const { layers } = cost(b.build());
    const macs = Object.fromEntries(layers.map((l) => [l.name, l.macs]));
    expect(macs).toEqual({ up: 6 * 64 * 2 * 9, grouped: 36 * 12 * 2 * 9, lstm: 7 * 2 * 20 * (6 + 5) });
  });

  test('matrix products with transposes and batches', () => {
    const b = builder();
    const x = b.input('x', ['N', 2, 5, 8]);
    b.output(
      b.op('MatMul', [x, b.transpose(x, [0, 1, 3, 2])]),
      b.op('MatMul', [x, b.weight([8])]),
      b.op('com.microsoft.FusedMatMul', [x, x], { transB: 1 }),
      b.op('Einsum', [x, b.weight([2, 8, 3])], { equation: 'bhsd,hdk->bsk' }),
    );
    const macs = cost(b.build())
      .layers.filter((l) => l.op !== 'Transpose')
      .map((l) => l.macs);
    expect(macs).toEqual([2 * 5 * 5 * 8, 2 * 5 * 8, 2 * 5 * 5 * 8, 2 * 5 * 8 * 3]);
  });

  test('attention and experts', () => {
    const b = builder();
    const x = b.input('x', ['N', 5, 8]);
    b.output(b.op('com.microsoft.Attention', [x, b.weight([8, 24]), b.weight([24])], { num_heads: 2 }));
    b.output(b.op('com.microsoft.MultiHeadAttention', [x, x, x], { num_heads: 2 }));
    const tokens = b.input('tokens', ['T', 8]);
    const experts = [b.weight([4, 16, 8]), b.weight([4, 16]), b.weight([4, 8, 16]), b.weight([4, 8])];
    b.output(b.op('com.microsoft.MoE', [tokens, b.input('router', ['T', 4]), ...experts], { k: 2 }));
    const { layers, parameters } = cost(b.build());
    const core = 2 * 5 * 5 * 8;
    expect(layers.map((l) => l.macs)).toEqual([5 * 8 * 24 + core, core, 2 * (16 * 8 * 2)]);
    expect(parameters).toBe(8 * 24 + 24 + 4 * (128 + 16 + 128 + 8));
  });

  test('of the branches of an If the dearer one counts, parameters of both', () => {
    const b = builder();
    const x = b.input('x', ['N', 4]);
    const w = b.weight([4, 4]);
    const y = b.op('If', [b.input('c', [], DataType.BOOL)], {
      then_branch: subgraph(b, 't', (s) => [s.op('MatMul', [x, w])]),
      else_branch: subgraph(b, 'e', (s) => [s.op('MatMul', [s.op('MatMul', [x, w]), s.weight([4, 4], 'v')])]),
    });
    b.output(y);
    expect(cost(b.build())).toMatchObject({ parameters: 32, macs: 32 });
  });

  test('names are unique and stable', () => {
    const b = builder();
    const x = b.input('x', ['N', 4]);
    const y = b.op('Relu', [b.op('Relu', [b.op('Relu', [x], {}, 'same')], {}, 'same')], {}, 'r');
    b.output(y);
    b.graph.nodes[2].name = '';
    expect(cost(b.build()).layers.map((l) => l.name)).toEqual(['same', 'same#2', 'Relu_2']);
  });
});
