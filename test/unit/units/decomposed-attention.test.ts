import { describe, expect, it } from 'vitest';
import type { Value } from '../../../src/graph/ir.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import type { Structure } from '../../../src/units/types.ts';
import { Builder } from '../../support/build.ts';
import { checkInvariant } from '../../support/invariant.ts';

/** Attention as exporters write it, in plain ops. */

const WIDTH = 12;
const HEADS = 4;
const SIZE = 3;
const N = 5;
const FEATURES = HEADS * SIZE;

interface Options {
  opset?: number;
  /** Sizes of batch and sequence; symbolic where they are names. */
  batch?: number | string;
  length?: number | string;
  features?: number;
}

/** A residual stream, normalised (well conditioned also with a single unit), attended to, added to, normalised, read. */
function attended(b: Builder, make: (x: Value) => Value, o: Options = {}): Structure {
  const input = b.input('x', [o.batch ?? 'N', o.length ?? N, 3]);
  const norm = (v: Value, name: string) =>
    b.op(
      'LayerNormalization',
      [v, b.weight([WIDTH], `${name}.w`, 1), b.weight([WIDTH], `${name}.b`, 0.3)],
      { epsilon: { float: 0.1 } },
      name,
    );
  const x = b.linear(input, 3, WIDTH, 'embed');
  const y = b.linear(make(norm(x, 'ln1')), o.features ?? FEATURES, WIDTH, 'out');
  b.output(b.linear(norm(b.add(x, y), 'ln2'), WIDTH, 2, 'head'));
  return analyseStructure(b.build());
}

async function hold(s: Structure, dims: Record<string, number> = {}): Promise<string[]> {
  expect(s.warnings).toEqual([]);
  const { results, tolerance } = await checkInvariant(s, { shares: [0.25, 0.5, 0.01], seed: 5, dims });
  for (const r of results) expect(r.diff, `${r.group} keeping ${r.kept} of ${r.size}`).toBeLessThanOrEqual(tolerance);
  return s.groups
    .filter((g) => g.prunable && g.kind !== 'block')
    .map((g) => `${g.kind} ${g.size}`)
    .sort();
}

const ALL = [`head ${HEADS}`, `head-dim ${SIZE}`, `head-dim ${SIZE}`, `width ${WIDTH}`];

/** [B, N, H·d] to [B, H, N, d]. */
const split = (b: Builder, v: Value, heads = HEADS, size = SIZE) =>
  b.transpose(b.reshape(v, [0, -1, heads, size]), [0, 2, 1, 3]);
/** [B, H, N, d] to [B, N, H·d]. */
const merge = (b: Builder, v: Value, features = FEATURES) => b.reshape(b.transpose(v, [0, 2, 1, 3]), [0, -1, features]);
const scale = (b: Builder, v: Value) => b.mul(v, b.floats([0.577], []));
/** softmax(q·kᵀ / √d + bias)·v of [B, H, N, d]. */
function core(b: Builder, q: Value, k: Value, v: Value, bias?: Value): Value {
  const scores = scale(b, b.op('MatMul', [q, b.transpose(k, [0, 1, 3, 2])]));
  return b.op('MatMul', [b.softmax(bias ? b.add(scores, bias) : scores), v]);
}
const separate = (b: Builder, x: Value, k = FEATURES, memory = x) => [
  b.linear(x, WIDTH, FEATURES, 'q'),
  b.linear(memory, WIDTH, k, 'k'),
  b.linear(memory, WIDTH, k, 'v'),
];

describe('attention in plain ops, held against the gated model', () => {
  it('separate projections, keys transposed at once, the scale on queries', async () => {
    const b = new Builder();
    const s = attended(b, (x) => {
      const [q, k, v] = separate(b, x);
      const keys = b.transpose(b.reshape(k, [0, 0, HEADS, SIZE]), [0, 2, 3, 1]);
      const scores = b.op('MatMul', [split(b, scale(b, q)), keys]);
      return merge(b, b.op('MatMul', [b.softmax(scores), split(b, v)]));
    });
    expect(await hold(s)).toEqual(ALL);
  });

  it('one projection for all, told apart by Gather, by Split and Squeeze, by Split of features, by Slice', async () => {
    const [heads, width] = [`head ${HEADS}`, `width ${WIDTH}`];
    // Where one axis of a Reshape holds them, dimensions of queries, keys and values are those of one axis too.
    const units = {
      gather: [heads, 'head-dim 3', width],
      unbind: [heads, 'head-dim 3', width],
      features: ALL,
      slice: ALL,
      'per head': [heads, 'head-dim 6', width],
    };
    for (const [way, expected] of Object.entries(units)) {
      const b = new Builder();
      const s = attended(b, (x) => {
        const qkv = b.linear(x, WIDTH, 3 * FEATURES, 'qkv');
        let parts: Value[];
        if (way === 'features')
          parts = b.nodes('Split', [qkv, b.ints([12, 12, 12])], { axis: 2 }, 3).map((v) => split(b, v));
        else if (way === 'slice')
          parts = [0, 1, 2].map((i) =>
            split(b, b.op('Slice', [qkv, b.ints([12 * i]), b.ints([12 * i + 12]), b.ints([2])])),
          );
        else if (way === 'per head') {
          const heads = b.transpose(b.reshape(qkv, [0, 0, HEADS, 3 * SIZE]), [0, 2, 1, 3]);
          parts = b.nodes('Split', [heads, b.ints([3, 3, 3])], { axis: 3 }, 3);
        } else {
          const five = b.transpose(b.reshape(qkv, [0, 0, 3, HEADS, SIZE]), [2, 0, 3, 1, 4]);
          parts =
            way === 'gather'
              ? [0, 1, 2].map((i) => b.op('Gather', [five, b.ints([i], [])], { axis: 0 }))
              : b
                  .nodes('Split', [five, b.ints([1, 1, 1])], { axis: 0 }, 3)
                  .map((v) => b.op('Squeeze', [v, b.ints([0])]));
        }
        return merge(b, core(b, parts[0], parts[1], parts[2]));
      });
      expect(await hold(s), way).toEqual(expected);
    }
  });

  it('query heads that share keys by Expand and Reshape, or by broadcasting to all of them', async () => {
    const b = new Builder();
    const s = attended(b, (x) => {
      const [q, k, v] = separate(b, x, 2 * SIZE);
      const repeat = (kv: Value) => {
        const five = b.op('Unsqueeze', [split(b, kv, 2), b.ints([2])]);
        return b.reshape(b.op('Expand', [five, b.ints([1, 2, 2, N, SIZE])]), [-1, HEADS, N, SIZE]);
      };
      return merge(b, core(b, split(b, q), repeat(k), repeat(v)));
    });
    expect(await hold(s)).toEqual(['head 2', 'head 2', 'head-dim 3', 'head-dim 3', 'width 12']);
    const c = new Builder();
    const one = attended(c, (x) => {
      const [q, k, v] = separate(c, x, SIZE);
      return merge(c, core(c, split(c, q), split(c, k, 1), split(c, v, 1)));
    });
    expect(await hold(one)).toEqual(ALL);
  });

  it('rotary embeddings in halves', async () => {
    for (const shared of [4, 2]) {
      const b = new Builder();
      const s = attended(
        b,
        (x) => {
          const size = 6;
          const q = split(b, b.linear(x, WIDTH, 24, 'q'), 4, size);
          const [k, v] = ['k', 'v'].map((n) => split(b, b.linear(x, WIDTH, shared * size, n), shared, size));
          const [cos, sin] = ['cos', 'sin'].map((n) => b.weight([1, 1, N, size], n, 1));
          const part = (y: Value, from: number, to: number) =>
            b.op('Slice', [y, b.ints([from]), b.ints([to]), b.ints([3])]);
          const turn = (y: Value) => {
            const halves = b.concat([b.op('Neg', [part(y, 3, 6)]), part(y, 0, 3)], -1);
            return b.add(b.mul(y, cos), b.mul(halves, sin));
          };
          const repeat = (kv: Value) => {
            if (shared === 4) return kv;
            const five = b.op('Unsqueeze', [kv, b.ints([2])]);
            return b.reshape(b.op('Expand', [five, b.ints([1, 2, 2, N, size])]), [-1, 4, N, size]);
          };
          return merge(b, core(b, turn(q), repeat(turn(k)), repeat(v)), 24);
        },
        { features: 24 },
      );
      const heads = shared === 4 ? ['head 4'] : ['head 2', 'head 2'];
      expect(await hold(s)).toEqual([...heads, 'head-dim 3', 'head-dim 6', 'width 12']);
    }
  });

  it('a relative bias from a table of buckets × heads', async () => {
    const b = new Builder();
    const s = attended(b, (x) => {
      const ids = b.ints(
        Array.from({ length: N * N }, (_, i) => (i * 7) % 6),
        [N, N],
      );
      const bias = b.op('Gather', [b.weight([6, HEADS], 'table', 1), ids], { axis: 0 });
      const perHead = b.op('Unsqueeze', [b.transpose(bias, [2, 0, 1]), b.ints([0])]);
      const [q, k, v] = separate(b, x).map((y) => split(b, y));
      return merge(b, core(b, q, k, v, perHead));
    });
    expect(await hold(s)).toEqual(ALL);
  });

  it('windows with a relative bias and a mask of shifted windows', async () => {
    const b = new Builder();
    const [side, window] = [4, 2];
    const s = attended(
      b,
      (x) => {
        const tokens = window * window;
        const image = b.reshape(x, [-1, side, side, WIDTH]);
        const roll = (v: Value, by: number) => {
          const at = (from: number, to: number) => b.op('Slice', [v, b.ints([from]), b.ints([to]), b.ints([1])]);
          return b.concat([at(by, side), at(0, by)], 1);
        };
        const blocks = b.transpose(b.reshape(roll(image, 1), [-1, 2, window, 2, window, WIDTH]), [0, 1, 3, 2, 4, 5]);
        const windows = b.reshape(blocks, [-1, tokens, WIDTH]);
        const qkv = b.reshape(b.linear(windows, WIDTH, 3 * FEATURES, 'qkv'), [-1, tokens, 3, HEADS, SIZE]);
        const [q, k, v] = [0, 1, 2].map((i) =>
          b.op('Gather', [b.transpose(qkv, [2, 0, 3, 1, 4]), b.ints([i], [])], { axis: 0 }),
        );
        const ids = b.ints(Array.from({ length: tokens * tokens }, (_, i) => (i * 5) % 9));
        const table = b.op('Gather', [b.weight([9, HEADS], 'table', 1), ids], { axis: 0 });
        const bias = b.transpose(b.reshape(table, [tokens, tokens, HEADS]), [2, 0, 1]);
        const scores = b.add(
          b.op('MatMul', [scale(b, q), b.transpose(k, [0, 1, 3, 2])]),
          b.op('Unsqueeze', [bias, b.ints([0])]),
        );
        const masked = b.add(
          b.reshape(scores, [-1, 4, HEADS, tokens, tokens]),
          b.op('Unsqueeze', [b.weight([4, 1, tokens, tokens], 'mask', 2), b.ints([0])]),
        );
        const weights = b.softmax(b.reshape(masked, [-1, HEADS, tokens, tokens]));
        const y = b.reshape(b.transpose(b.op('MatMul', [weights, v]), [0, 2, 1, 3]), [-1, tokens, FEATURES]);
        const back = b.transpose(b.reshape(y, [-1, 2, 2, window, window, FEATURES]), [0, 1, 3, 2, 4, 5]);
        return b.reshape(roll(b.reshape(back, [-1, side, side, FEATURES]), 3), [-1, side * side, FEATURES]);
      },
      { length: side * side },
    );
    expect(await hold(s)).toEqual([`head ${HEADS}`, 'head-dim 3', `width ${WIDTH}`]);
  });

  it('cross-attention', async () => {
    const b = new Builder();
    const s = attended(b, (x) => {
      const memory = b.relu(b.linear(b.input('m', ['N', 7, 3]), 3, WIDTH, 'memory'));
      const [q, k, v] = separate(b, x, FEATURES, memory).map((y) => split(b, y));
      return merge(b, core(b, q, k, v));
    });
    expect(await hold(s)).toEqual([...ALL.slice(0, 3), 'neuron 12', 'width 12']);
  });

  it('batch and heads in one axis, sequence first', async () => {
    for (const batch of [1, 2, 'N']) {
      const b = new Builder();
      const s = attended(
        b,
        (x) => {
          const first = b.transpose(x, [1, 0, 2]);
          const [q, k, v] = separate(b, first).map((y) =>
            b.transpose(b.reshape(y, [N, typeof batch === 'number' ? batch * HEADS : -1, SIZE]), [1, 0, 2]),
          );
          const weights = b.softmax(b.op('MatMul', [scale(b, q), b.transpose(k, [0, 2, 1])]));
          const y = b.reshape(b.transpose(b.op('MatMul', [weights, v]), [1, 0, 2]), [
            N,
            typeof batch === 'number' ? batch : -1,
            FEATURES,
          ]);
          return b.transpose(y, [1, 0, 2]);
        },
        { batch },
      );
      expect(await hold(s), String(batch)).toEqual(ALL);
    }
  });

  it('shapes that are computed, of batches and sequences of any size', async () => {
    const b = new Builder();
    const s = attended(
      b,
      (x) => {
        const shape = b.op('Shape', [x]);
        const dim = (i: number) =>
          b.op('Unsqueeze', [b.op('Gather', [shape, b.ints([i], [])], { axis: 0 }), b.ints([0])]);
        const view = (y: Value, ...rest: number[]) =>
          b.op('Reshape', [y, b.concat([dim(0), dim(1), ...rest.map((r) => b.ints([r]))], 0)]);
        const [q, k, v] = separate(b, x).map((y) => b.transpose(view(y, HEADS, SIZE), [0, 2, 1, 3]));
        return view(b.transpose(core(b, q, k, v), [0, 2, 1, 3]), FEATURES);
      },
      { length: 'T' },
    );
    expect(await hold(s, { T: 6 })).toEqual(ALL);
  });

  it('a scale that is computed from the size of heads', async () => {
    const b = new Builder();
    const s = attended(b, (x) => {
      const [q, k, v] = separate(b, x).map((y) => split(b, y));
      const size = b.op('Gather', [b.op('Shape', [q]), b.ints([3], [])], { axis: 0 });
      const root = b.op('Sqrt', [b.op('Cast', [size], { to: 1 })]);
      const scores = b.op('Div', [b.op('MatMul', [q, b.transpose(k, [0, 1, 3, 2])]), root]);
      return merge(b, b.op('MatMul', [b.softmax(scores), v]));
    });
    expect(await hold(s)).toEqual(ALL);
  });

  it('queries and keys that are normalised: by their length with a scale for each head, by their root mean square', async () => {
    for (const way of ['length', 'rms'] as const) {
      const b = new Builder();
      const s = attended(b, (x) => {
        const unit = (y: Value, name: string) => {
          if (way === 'length') {
            const length = b.op('ReduceL2', [y], { axes: [-1], keepdims: 1 });
            return b.op('Div', [y, b.op('Clip', [length, b.floats([1e-6], [])])]);
          }
          const mean = b.op('ReduceMean', [b.mul(y, y)], { axes: [-1], keepdims: 1 });
          const root = b.op('Sqrt', [b.add(mean, b.floats([0.1], []))]);
          return b.mul(b.op('Div', [y, root]), b.weight([SIZE], name, 1));
        };
        const [q, k, v] = separate(b, x).map((y) => split(b, y));
        const scores = b.op('MatMul', [unit(q, 'qn'), b.transpose(unit(k, 'kn'), [0, 1, 3, 2])]);
        const scaled = b.mul(scores, b.op('Exp', [b.weight([HEADS, 1, 1], 'scale', 1)]));
        return merge(b, b.op('MatMul', [b.softmax(scaled), v]));
      });
      expect(await hold(s), way).toEqual(ALL);
    }
  });

  it('rotary embeddings of neighbours, with angles from positions and frequencies', async () => {
    const b = new Builder();
    const size = 6;
    const s = attended(
      b,
      (x) => {
        const positions = b.floats([0, 1, 2, 3, 4], [N, 1]);
        const angles = b.op('MatMul', [b.op('Identity', [positions]), b.weight([1, size / 2], 'frequencies', 1)]);
        const [cos, sin] = ['Cos', 'Sin'].map((op) => b.reshape(b.op(op, [angles]), [1, 1, N, size / 2, 1]));
        const turn = (y: Value) => {
          const pairs = b.reshape(y, [0, 0, 0, size / 2, 2]);
          const [one, two] = [0, 1].map((i) => b.op('Gather', [pairs, b.ints([i])], { axis: 4 }));
          const real = b.op('Sub', [b.mul(one, cos), b.mul(two, sin)]);
          const imaginary = b.add(b.mul(two, cos), b.mul(one, sin));
          return b.reshape(b.concat([real, imaginary], -1), [0, 0, 0, size]);
        };
        const [q, k, v] = ['q', 'k', 'v'].map((n) => split(b, b.linear(x, WIDTH, 24, n), 4, size));
        return merge(b, core(b, turn(q), turn(k), v), 24);
      },
      { features: 24 },
    );
    expect(await hold(s)).toEqual(['head 4', 'head-dim 3', 'head-dim 6', 'width 12']);
  });

  it('attention between channels', async () => {
    const b = new Builder();
    const s = attended(b, (x) => {
      const [q, k, v] = separate(b, x).map((y) => b.transpose(b.reshape(y, [0, -1, HEADS, SIZE]), [0, 2, 3, 1]));
      const y = b.op('MatMul', [b.softmax(scale(b, b.op('MatMul', [q, b.transpose(k, [0, 1, 3, 2])]))), v]);
      return b.reshape(b.transpose(y, [0, 3, 1, 2]), [0, -1, FEATURES]);
    });
    expect(await hold(s)).toEqual(ALL);
  });

  it('heads that are mixed before and after the softmax', async () => {
    const b = new Builder();
    const s = attended(b, (x) => {
      const [q, k, v] = separate(b, x).map((y) => split(b, y));
      const mix = (y: Value, name: string) =>
        b.transpose(b.linear(b.transpose(y, [0, 2, 3, 1]), HEADS, HEADS, name), [0, 3, 1, 2]);
      const scores = mix(scale(b, b.op('MatMul', [q, b.transpose(k, [0, 1, 3, 2])])), 'mix1');
      return merge(b, b.op('MatMul', [mix(b.softmax(scores), 'mix2'), v]));
    });
    expect(await hold(s)).toEqual(['head 4', 'head 4', 'head-dim 3', 'head-dim 3', 'neuron 4', 'width 12']);
  });

  it('queries, keys and values by convolutions of an image', async () => {
    const b = new Builder();
    const x = b.relu(b.conv(b.input('x', ['N', 3, 3, 3]), 3, WIDTH, 1, { name: 'stem' }));
    const qkv = b.reshape(b.conv(x, WIDTH, HEADS * 10, 1, { name: 'qkv' }), [-1, HEADS, 10, 9]);
    const [q, k, v] = b.nodes('Split', [qkv, b.ints([3, 3, 4])], { axis: 2 }, 3);
    const weights = b.softmax(scale(b, b.op('MatMul', [b.transpose(q, [0, 1, 3, 2]), k])));
    const y = b.op('MatMul', [v, b.transpose(weights, [0, 1, 3, 2])]);
    const out = b.add(x, b.conv(b.reshape(y, [-1, 16, 3, 3]), 16, WIDTH, 1, { name: 'out' }));
    b.output(b.conv(out, WIDTH, 2, 1, { name: 'head' }));
    expect(await hold(analyseStructure(b.build()))).toEqual(['channel 12', 'head 4', 'head-dim 7']);
  });
});
