import { describe, expect, test } from 'vitest';
import type { Dim, Value } from '../../../src/graph/ir.ts';
import { inferShapes } from '../../../src/graph/shapes/index.ts';
import { DataType } from '../../../src/onnx/data-type.ts';
import { Tensor } from '../../../src/onnx/tensor.ts';
import { type Attrs, type Builder, builder, subgraph } from '../../support/build.ts';
import { checkShapes } from '../../support/ort-shapes.ts';

type Make = (b: Builder, x: Value) => Value | Value[];

/** Ops on x [N, 6, 8, 10] in opset 17, unless said otherwise: the inference must know every dim that onnxruntime reports. */
const CASES: [string, Make, { opset?: number; shape?: Dim[] }?][] = [
  ['conv', (b, x) => b.conv(x, 6, 4, 3)],
  [
    'conv strides dilations pads',
    (b, x) => b.conv(x, 6, 4, [3, 2], { strides: [2, 3], dilations: [2, 1], pads: [1, 0, 2, 1] }),
  ],
  ['conv same', (b, x) => b.conv(x, 6, 4, 3, { auto_pad: 'SAME_UPPER', strides: [2, 3] })],
  ['conv valid', (b, x) => b.conv(x, 6, 4, 3, { auto_pad: 'VALID', strides: [2, 2] })],
  ['conv grouped', (b, x) => b.conv(x, 6, 12, 3, { group: 3 })],
  ['conv 1d', (b, x) => b.conv(x, 6, 4, [3], { strides: [2] }), { shape: ['N', 6, 'T'] }],
  ['conv 3d', (b, x) => b.conv(x, 2, 4, [2, 2, 2]), { shape: ['N', 2, 4, 5, 6] }],
  [
    'conv symbolic size',
    (b, x) =>
      b.conv(b.conv(x, 6, 4, 3, { strides: [2, 2], pads: [1, 1, 1, 1] }), 4, 4, 3, {
        strides: [2, 2],
        pads: [1, 1, 1, 1],
      }),
    { shape: ['N', 6, 'H', 'W'] },
  ],
  [
    'conv transpose',
    (b, x) =>
      b.op('ConvTranspose', [x, b.weight([6, 4, 3, 2])], {
        strides: [2, 3],
        pads: [1, 0, 0, 1],
        output_padding: [1, 0],
      }),
  ],
  [
    'conv transpose grouped same',
    (b, x) => b.op('ConvTranspose', [x, b.weight([6, 2, 3, 3])], { strides: [2, 2], group: 3, auto_pad: 'SAME_UPPER' }),
  ],
  [
    'conv transpose shape',
    (b, x) => b.op('ConvTranspose', [x, b.weight([6, 2, 3, 3])], { strides: [2, 2], output_shape: [16, 21] }),
  ],
  [
    'conv transpose symbolic',
    (b, x) => b.op('ConvTranspose', [x, b.weight([6, 2, 2, 2])], { strides: [2, 2] }),
    { shape: ['N', 6, 'H', 'W'] },
  ],
  ['max pool', (b, x) => b.nodes('MaxPool', [x], { kernel_shape: [3, 3], strides: [2, 2] }, 2)],
  [
    'max pool ceil',
    (b, x) => b.op('MaxPool', [x], { kernel_shape: [3, 3], strides: [2, 2], ceil_mode: 1, pads: [1, 1, 1, 1] }),
  ],
  ['max pool dilated', (b, x) => b.op('MaxPool', [x], { kernel_shape: [2, 2], dilations: [3, 3] })],
  [
    'average pool same',
    (b, x) => b.op('AveragePool', [x], { kernel_shape: [3, 3], strides: [3, 3], auto_pad: 'SAME_LOWER' }),
  ],
  ['average pool ceil', (b, x) => b.op('AveragePool', [x], { kernel_shape: [3, 3], strides: [3, 3], ceil_mode: 1 })],
  ['lp pool', (b, x) => b.op('LpPool', [x], { kernel_shape: [2, 2] })],
  ['global pools', (b, x) => [b.globalPool(x), b.op('GlobalMaxPool', [x]), b.op('GlobalLpPool', [x])]],
  ['batch norm', (b, x) => b.bn(x, 6)],
  ['instance norm', (b, x) => b.op('InstanceNormalization', [x, b.weight([6]), b.weight([6])])],
  ['layer norm', (b, x) => b.nodes('LayerNormalization', [x, b.weight([8, 10])], { axis: 2 }, 3)],
  [
    'group norm',
    (b, x) => b.op('GroupNormalization', [x, b.weight([6]), b.weight([6])], { num_groups: 3 }),
    { opset: 21 },
  ],
  ['gemm', (b, x) => b.gemm(b.flatten(x), 480, 7)],
  ['gemm transposed', (b, x) => b.op('Gemm', [b.weight([5, 3]), x], { transA: 1, transB: 1 }), { shape: ['M', 5] }],
  ['flatten axes', (b, x) => [0, 1, 2, -1].map((axis) => b.flatten(x, axis))],
  [
    'matmul',
    (b, x) => [
      b.op('MatMul', [x, b.weight([10, 3])]),
      b.op('MatMul', [x, b.weight([10])]),
      b.op('MatMul', [b.weight([8]), x]),
    ],
  ],
  ['matmul batched', (b, x) => b.op('MatMul', [x, b.transpose(x, [0, 1, 3, 2])])],
  ['matmul broadcast', (b, x) => b.op('MatMul', [b.weight([5, 1, 1, 4, 8]), x])],
  [
    'einsum',
    (b, x) => [
      b.op('Einsum', [x, b.weight([10, 3])], { equation: 'nchw,wk->nkch' }),
      b.op('Einsum', [x], { equation: 'nchw->cn' }),
      b.op('Einsum', [x, b.weight([10, 4])], { equation: '...i,ij' }),
    ],
  ],
  [
    'element-wise',
    (b, x) =>
      ['Relu', 'Sigmoid', 'Tanh', 'Exp', 'Erf', 'HardSwish', 'Softplus', 'Sqrt', 'Neg', 'Floor'].map((op) =>
        b.op(op, [x]),
      ),
  ],
  [
    'broadcast',
    (b, x) => [
      b.add(x, b.weight([6, 1, 1])),
      b.mul(x, b.weight([3, 1, 6, 1, 1])),
      b.op('Where', [b.op('Less', [x, b.floats([0], [])]), x, b.weight([10])]),
    ],
  ],
  ['max of many', (b, x) => b.op('Max', [x, b.weight([10]), b.floats([0], [])])],
  [
    'prelu clip',
    (b, x) => [b.op('PRelu', [x, b.weight([6, 1, 1])]), b.op('Clip', [x, b.floats([0], []), b.floats([6], [])])],
  ],
  [
    'reshape',
    (b, x) => [b.reshape(x, [0, -1]), b.reshape(x, [0, 3, 2, -1]), b.reshape(x, [-1, 60]), b.reshape(x, [0, 0, 80])],
  ],
  ['reshape old', (b, x) => b.op('Reshape', [x], { shape: [0, -1, 5] }), { opset: 4, shape: [2, 6, 5] }],
  ['reshape symbolic', (b, x) => b.reshape(x, [0, 12, -1]), { shape: ['N', 6, 'H', 4] }],
  [
    'squeeze',
    (b, x) => [b.op('Squeeze', [x, b.ints([1, -1])]), b.op('Unsqueeze', [x, b.ints([0, -1])])],
    { shape: ['N', 1, 5, 1] },
  ],
  [
    'squeeze old',
    (b, x) => [b.op('Squeeze', [x], { axes: [1] }), b.op('Unsqueeze', [x], { axes: [0, 3] })],
    { opset: 11, shape: ['N', 1, 5] },
  ],
  ['transpose', (b, x) => [b.transpose(x, [0, 2, 3, 1]), b.op('Transpose', [x])]],
  ['concat', (b, x) => [b.concat([x, x, b.relu(x)], 1), b.concat([x, x], 0), b.concat([x, x], -1)]],
  [
    'split',
    (b, x) => [...b.nodes('Split', [x, b.ints([1, 5])], { axis: 1 }, 2), ...b.nodes('Split', [x], { axis: 2 }, 2)],
  ],
  ['split old', (b, x) => b.nodes('Split', [x], { axis: 1, split: [2, 4] }, 2), { opset: 11 }],
  ['split num_outputs', (b, x) => b.nodes('Split', [x], { axis: 2, num_outputs: 3 }, 3), { opset: 18 }],
  [
    'slice',
    (b, x) => [
      b.op('Slice', [x, b.ints([1]), b.ints([4]), b.ints([1])]),
      b.op('Slice', [x, b.ints([0, -1]), b.ints([7, -20]), b.ints([-2, 3]), b.ints([3, -2])]),
      b.op('Slice', [x, b.ints([2]), b.ints([Number.MAX_SAFE_INTEGER]), b.ints([-1])]),
      b.op('Slice', [x, b.ints([-3]), b.ints([1000]), b.ints([1])]),
    ],
  ],
  ['slice old', (b, x) => b.op('Slice', [x], { starts: [1, 0], ends: [-1, 4], axes: [1, 2] }), { opset: 9 }],
  [
    'slice symbolic',
    (b, x) => [
      b.op('Slice', [x, b.ints([1]), b.ints([2 ** 40]), b.ints([0])]),
      b.op('Slice', [x, b.ints([0]), b.ints([-1]), b.ints([0])]),
    ],
  ],
  [
    'gather',
    (b, x) => [
      b.op('Gather', [x, b.ints([0, 2, 1])], { axis: 1 }),
      b.op('Gather', [x, b.ints([1], [])], { axis: -1 }),
      b.op('Gather', [x, b.ints([0, 1, 2, 3], [2, 2])], { axis: 2 }),
    ],
  ],
  ['gather elements', (b, x) => b.op('GatherElements', [x, b.ints([0, 1], [1, 1, 1, 2])], { axis: 3 })],
  ['gather nd', (b, x) => b.op('GatherND', [x, b.ints([0, 1, 1, 2], [2, 2])])],
  [
    'scatter',
    (b, x) => [
      b.op('ScatterElements', [x, b.ints([0], [1, 1, 1, 1]), b.floats([1], [1, 1, 1, 1])]),
      b.op('ScatterND', [x, b.ints([0], [1, 1]), b.weight([1, 6, 8, 10])]),
    ],
    { shape: [2, 6, 8, 10] },
  ],
  [
    'expand',
    (b, x) => [b.op('Expand', [x, b.ints([3, 1, 1, 1, 1])]), b.op('Expand', [b.weight([6, 1]), b.ints([2, 6, 4])])],
  ],
  ['tile', (b, x) => b.op('Tile', [x, b.ints([1, 2, 1, 3])])],
  ['pad', (b, x) => b.op('Pad', [x, b.ints([0, 0, 1, 2, 0, 0, 3, -4])])],
  ['pad axes', (b, x) => b.op('Pad', [x, b.ints([1, 2, 3, 4]), null, b.ints([-1, 1])]), { opset: 18 }],
  ['pad old', (b, x) => b.op('Pad', [x], { pads: [0, 0, 1, 1, 0, 0, 1, 1] }), { opset: 10 }],
  [
    'resize',
    (b, x) => [
      b.op('Resize', [x, null, b.floats([1, 1, 1.6, 0.33])]),
      b.op('Resize', [x, null, null, b.ints([2, 6, 5, 7])]),
    ],
    { shape: [2, 6, 8, 10] },
  ],
  ['resize symbolic', (b, x) => b.op('Resize', [x, null, b.floats([1, 1, 2, 2])]), { shape: ['N', 6, 'H', 'W'] }],
  [
    'resize axes',
    (b, x) => b.op('Resize', [x, null, null, b.ints([4, 4])], { axes: [2, 3], keep_aspect_ratio_policy: 'not_larger' }),
    { opset: 18, shape: [2, 6, 8, 10] },
  ],
  ['upsample', (b, x) => b.op('Upsample', [x, b.floats([1, 1, 2, 3])]), { opset: 9 }],
  [
    'depth to space',
    (b, x) => [b.op('DepthToSpace', [b.concat([x, x])], { blocksize: 2 }), b.op('SpaceToDepth', [x], { blocksize: 2 })],
  ],
  [
    'reductions',
    (b, x) => [
      b.op('ReduceMean', [x], { axes: [2, 3] }),
      b.op('ReduceMax', [x], { axes: [-1], keepdims: 0 }),
      b.op('ReduceSum', [x, b.ints([1])], { keepdims: 0 }),
      b.op('ReduceSum', [x]),
      b.op('ReduceL2', [x], { keepdims: 0 }),
      b.op('ReduceSum', [x], { noop_with_empty_axes: 1 }),
    ],
  ],
  [
    'reductions new',
    (b, x) => [b.op('ReduceMean', [x, b.ints([2, 3])], { keepdims: 0 }), b.op('ReduceMax', [x, b.ints([1])])],
    { opset: 18 },
  ],
  ['arg max', (b, x) => [b.op('ArgMax', [x], { axis: 1 }), b.op('ArgMin', [x], { axis: -1, keepdims: 0 })]],
  ['top k', (b, x) => b.nodes('TopK', [x, b.ints([3])], { axis: 1 }, 2)],
  [
    'one hot',
    (b, x) => [
      b.op('OneHot', [b.op('ArgMax', [x], { axis: 1, keepdims: 0 }), b.ints([6], []), b.floats([0, 1])], { axis: 1 }),
      b.op('OneHot', [b.ints([1, 2]), b.ints([4]), b.floats([0, 1])]),
    ],
  ],
  ['softmax', (b, x) => [b.softmax(x), b.op('LogSoftmax', [x], { axis: 1 }), b.op('Hardmax', [x])]],
  [
    'cast',
    (b, x) => [
      b.op('Cast', [x], { to: 7 }),
      b.op('Cast', [x], { to: 10 }),
      b.op('IsNaN', [x]),
      b.op('Not', [b.op('Cast', [x], { to: 9 })]),
    ],
  ],
  ['dropout', (b, x) => b.nodes('Dropout', [x], {}, 2)],
  [
    'constants',
    (b) => [
      b.op('ConstantOfShape', [b.ints([2, 3])], { value: Tensor.fromInt64('', [1], [5]) }),
      b.op('ConstantOfShape', [b.ints([])]),
      b.op('Range', [b.ints([1], []), b.ints([10], []), b.ints([3], [])]),
      b.op('RandomNormal', [], { shape: [3, 2] }),
      b.op('Constant', [], { value_ints: [1, 2, 3] }),
      b.op('Constant', [], { value_float: { float: 1 } }),
    ],
  ],
  [
    'eye trilu cumsum',
    (b, x) => [b.op('EyeLike', [b.weight([3, 4])]), b.op('Trilu', [x]), b.op('CumSum', [x, b.ints([1], [])])],
  ],
  [
    'lstm',
    (b, x) =>
      b.nodes(
        'LSTM',
        [x, b.weight([2, 20, 6]), b.weight([2, 20, 5])],
        { hidden_size: 5, direction: 'bidirectional' },
        3,
      ),
    { shape: ['T', 'N', 6] },
  ],
  [
    'gru',
    (b, x) => b.nodes('GRU', [x, b.weight([1, 15, 6]), b.weight([1, 15, 5])], { hidden_size: 5 }, 2),
    { shape: ['T', 'N', 6] },
  ],
  [
    'rnn',
    (b, x) => b.nodes('RNN', [x, b.weight([1, 5, 6]), b.weight([1, 5, 5])], { hidden_size: 5 }, 2),
    { shape: [4, 'N', 6] },
  ],
  [
    'quantize',
    (b, x) => {
      const scale = b.floats([0.1], []);
      const q = b.op('QuantizeLinear', [x, scale, b.constant(Tensor.fromNumbers('z', DataType.INT8, [], [0]))]);
      return [
        q,
        b.op('DequantizeLinear', [q, scale]),
        b.op('QuantizeLinear', [x, scale]),
        ...b.nodes('DynamicQuantizeLinear', [x], {}, 3),
      ];
    },
  ],
  [
    'quantized ops',
    (b, x) => {
      const [scale, zero] = [b.floats([0.1], []), b.constant(Tensor.fromNumbers('z', DataType.UINT8, [], [3]))];
      const q = b.op('QuantizeLinear', [x, scale, zero]);
      const w = b.constant(
        Tensor.fromNumbers(
          'w',
          DataType.UINT8,
          [4, 6, 3, 3],
          Array.from({ length: 216 }, (_, i) => i % 7),
        ),
      );
      const m = b.constant(
        Tensor.fromNumbers(
          'm',
          DataType.UINT8,
          [10, 5],
          Array.from({ length: 50 }, (_, i) => i % 7),
        ),
      );
      return [
        b.op('QLinearConv', [q, scale, zero, w, scale, zero, scale, zero]),
        b.op('ConvInteger', [q, w]),
        b.op('QLinearMatMul', [q, scale, zero, m, scale, zero, scale, zero]),
        b.op('MatMulInteger', [q, m]),
      ];
    },
  ],
  [
    'if',
    (b, x) =>
      b.op('If', [b.constant(Tensor.fromNumbers('c', DataType.BOOL, [], [1]))], {
        then_branch: subgraph(b, 't', (s) => [s.relu(x)]),
        else_branch: subgraph(b, 'e', (s) => [s.op('Neg', [x])]),
      }),
  ],
  ['loop', (b, x) => b.nodes('Loop', [b.ints([3], []), null, x], { body: loopBody(b) }, 2)],
  ['scan', (b, x) => b.nodes('Scan', [b.weight([6, 8, 10]), x], { num_scan_inputs: 1, body: scanBody(b) }, 2)],
  ['sequences', (b, x) => b.op('SequenceLength', [b.op('SequenceConstruct', [x, x])])],
  ['grid sample', (b, x) => b.op('GridSample', [x, b.weight([2, 4, 5, 2])], {}), { shape: [2, 6, 8, 10] }],
  [
    'attention',
    (b, x) => b.op('Attention', [x, x, x], { q_num_heads: 2, kv_num_heads: 2 }),
    { opset: 23, shape: ['N', 'S', 8] },
  ],
  [
    'fused gelu',
    (b, x) => [
      b.op('com.microsoft.Gelu', [x]),
      b.op('com.microsoft.FastGelu', [x, b.weight([10])]),
      b.op('com.microsoft.BiasGelu', [x, b.weight([10])]),
    ],
  ],
  [
    'fused matmul',
    (b, x) => b.op('com.microsoft.FusedMatMul', [x, b.weight([3, 10])], { transB: 1, alpha: { float: 0.5 } }),
  ],
  [
    'fused conv',
    (b, x) =>
      b.op('com.microsoft.FusedConv', [x, b.weight([4, 6, 3, 3])], { activation: 'Relu', kernel_shape: [3, 3] }),
  ],
  [
    'fused attention',
    (b, x) => b.op('com.microsoft.Attention', [x, b.weight([8, 24]), b.weight([24])], { num_heads: 2 }),
    { shape: ['N', 'S', 8] },
  ],
  [
    'multi-head attention',
    (b, x) => b.op('com.microsoft.MultiHeadAttention', [x, x, x], { num_heads: 2 }),
    { shape: ['N', 'S', 8] },
  ],
  [
    'skip layer norm',
    (b, x) => b.op('com.microsoft.SkipLayerNormalization', [x, x, b.weight([8]), b.weight([8])]),
    { shape: ['N', 'S', 8] },
  ],
  [
    'matmul 4 bits',
    (b, x) =>
      b.op(
        'com.microsoft.MatMulNBits',
        [x, b.constant(Tensor.fromBytes('w', DataType.UINT8, [5, 2, 8], new Uint8Array(80))), b.weight([10])],
        { K: 32, N: 5, bits: 4, block_size: 16 },
      ),
    { shape: ['N', 'S', 32] },
  ],
  [
    'experts',
    (b, x) =>
      b.op(
        'com.microsoft.MoE',
        [
          x,
          b.op('MatMul', [x, b.weight([8, 4])]),
          b.weight([4, 16, 8]),
          b.weight([4, 16]),
          b.weight([4, 8, 16]),
          b.weight([4, 8]),
        ],
        { k: 2, activation_type: 'relu' },
      ),
    { shape: ['S', 8] },
  ],
];

function loopBody(b: Builder) {
  return subgraph(b, 'body', (s) => {
    s.input('i', [], DataType.INT64);
    const go = s.input('go', [], DataType.BOOL);
    const state = s.input('state', []);
    state.type!.shape = undefined;
    const next = s.relu(state);
    return [s.op('Identity', [go]), next, s.op('ReduceSum', [next], { keepdims: 0 })];
  });
}

function scanBody(b: Builder) {
  return subgraph(b, 'body', (s) => {
    const state = s.input('state', []);
    const item = s.input('item', []);
    state.type!.shape = item.type!.shape = undefined;
    const sum = s.add(state, item);
    return [sum, s.relu(sum)];
  });
}

describe('shape inference agrees with onnxruntime', () => {
  test.each(CASES)('%s', async (_, make, options = {}) => {
    const b = builder({ opset: options.opset });
    const x = b.input('x', options.shape ?? ['N', 6, 8, 10]);
    const made = make(b, x);
    b.output(...(Array.isArray(made) ? made : [made]));
    const sizes: Record<string, number> = { N: 3, H: 9, W: 13, T: 11, S: 5, M: 4 };
    const check = await checkShapes(b.build(), (symbol) => sizes[symbol]);
    expect(check, 'onnxruntime runs it').not.toBeNull();
    expect(check!.wrong).toEqual([]);
    expect(check!.open).toEqual([]);
    expect(check!.values).toBeGreaterThan(0);
  });
});

describe('arithmetic on shapes', () => {
  test('sizes computed from shapes are followed with symbols', async () => {
    const b = builder();
    const x = b.input('x', ['N', 'S', 24]);
    const shape = b.op('Shape', [x]);
    const at = (i: number) => b.op('Gather', [shape, b.ints([i], [])]);
    const one = (v: Value) => b.op('Unsqueeze', [v, b.ints([0])]);
    const heads = b.op('Div', [at(2), b.ints([4], [])]);
    const split = b.op('Reshape', [x, b.concat([one(at(0)), one(at(1)), b.ints([4]), one(heads)], 0)], {}, 'split');
    const joined = b.op(
      'Reshape',
      [
        b.transpose(split, [0, 2, 1, 3]),
        b.concat([one(b.op('Mul', [at(0), b.ints([4], [])])), b.ints([-1]), one(heads)], 0),
      ],
      {},
      'joined',
    );
    const mask = b.op('ConstantOfShape', [b.concat([one(at(1)), one(b.add(at(1), b.ints([1], [])))], 0)], {}, 'mask');
    const grown = b.op(
      'Pad',
      [
        x,
        b.op('Cast', [b.op('Mul', [b.op('Cast', [b.ints([0, 1, 0, 0, 1, 0])], { to: 1 }), b.floats([2], [])])], {
          to: 7,
        }),
      ],
      {},
      'grown',
    );
    b.output(split, joined, mask, grown, b.op('Size', [x], {}, 'size'));
    const check = await checkShapes(b.build(), (s) => (s === 'N' ? 2 : 5));
    expect(check).toMatchObject({ wrong: [], open: [] });
    const model = b.build();
    const info = inferShapes(model, { strict: true });
    const shapeOf = (name: string) => model.graph.nodes.find((n) => n.name === name)!.outputs[0]!;
    expect(shapeOf('split').type!.shape).toEqual(['N', 'S', 4, 6]);
    expect(shapeOf('joined').type!.shape).toEqual(['4*N', 'S', 6]);
    expect(shapeOf('mask').type!.shape).toEqual(['S', 'S + 1']);
    expect(shapeOf('grown').type!.shape).toEqual(['N', 'S + 4', 24]);
    expect(info.constant(shapeOf('size'))).toEqual(['24*N*S']);
  });

  test('other input shapes may be assumed', () => {
    const b = builder();
    const y = b.flatten(b.relu(b.input('x', ['N', 3, 4])));
    b.output(y);
    const model = b.build();
    inferShapes(model, { inputs: new Map([['x', [7, 3, 4]]]) });
    expect(model.graph.outputs[0].type!.shape).toEqual([7, 12]);
  });
});

describe('types that were there before', () => {
  test('stale ones are replaced', () => {
    const b = builder();
    const y = b.conv(b.input('x', ['N', 3, 8, 8]), 3, 5, 3);
    b.output(b.relu(y));
    inferShapes(b.model);
    const model = b.build();
    const weight = model.graph.nodes[0].inputs[1]!;
    weight.initializer = weight.initializer!.take(0, [0, 3]);
    inferShapes(model);
    expect(model.graph.outputs[0].type!.shape).toEqual(['N', 2, 6, 6]);
  });

  test('count where no rule knows', () => {
    const b = builder();
    const odd = b.op('org.example.Odd', [b.input('x', ['N', 3])]);
    odd.type = { kind: 'tensor', elemType: 1, shape: ['N', 9] };
    b.output(b.relu(odd));
    inferShapes(b.model, { strict: true });
    expect(b.graph.outputs[0].type!.shape).toEqual(['N', 9]);
  });

  test('unknown ops and malformed nodes leave outputs unknown, without an exception', () => {
    const b = builder();
    const x = b.input('x', ['N', 3]);
    const attrs: Attrs = { perm: [5, 6, 7] };
    b.output(
      b.relu(b.op('org.example.Odd', [x])),
      b.op('Transpose', [x], attrs),
      b.op('Conv', [x]),
      b.op('Reshape', [x]),
      b.op('constructor', [x]),
      b.op('__proto__', [x]),
    );
    inferShapes(b.model);
    expect(b.graph.outputs[0].type?.shape).toBeUndefined();
  });
});
