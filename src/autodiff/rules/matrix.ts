import type { Value } from '../../graph/ir.ts';
import { einsumGradient } from './einsum.ts';
import type { GradientRule, RuleContext, RuleTable } from './rule.ts';

/** Matrix products. With Y = A·B: dA = dY·Bᵀ and dB = Aᵀ·dY, summed over the axes along which an operand was broadcast. */

/** Swaps the last two axes. */
function swapped(c: RuleContext, v: Value): Value {
  const perm = Array.from({ length: c.rankOf(v) }, (_, i) => i);
  const n = perm.length;
  [perm[n - 2], perm[n - 1]] = [n - 1, n - 2];
  return c.transpose(v, perm);
}

/** All axes but the last as one. */
function rows(c: RuleContext, v: Value): Value {
  return c.rankOf(v) === 2 ? v : c.reshape(v, c.joinInts([c.ints([-1]), c.dims(v, [-1])]));
}

/** Gives a gradient of `a` and of `b` where A·B has the gradient g; none of them is a vector. */
function productGradient(c: RuleContext, a: Value, b: Value, g: Value, wantA: boolean, wantB: boolean) {
  // Many rows times one matrix: one product over all of them, with no stack of matrices to add up.
  const flat = c.rankOf(b) === 2;
  return {
    a: wantA ? c.unbroadcast(c.op('MatMul', [g, swapped(c, b)]), a) : undefined,
    b: !wantB
      ? undefined
      : flat
        ? c.op('MatMul', [swapped(c, rows(c, a)), rows(c, g)])
        : c.unbroadcast(c.op('MatMul', [swapped(c, a), g]), b),
  };
}

const matMul: GradientRule = (c) => {
  const [x, w] = [c.input(0), c.input(1)];
  const [vectorX, vectorW] = [c.rankOf(x) === 1, c.rankOf(w) === 1];
  const a = vectorX ? c.unsqueeze(x, [0]) : x;
  const b = vectorW ? c.unsqueeze(w, [1]) : w;
  let g = c.grad()!;
  if (vectorW) g = c.unsqueeze(g, [c.rankOf(g)]);
  if (vectorX) g = c.unsqueeze(g, [c.rankOf(g) - 1]);
  const d = productGradient(c, a, b, g, c.needs(0), c.needs(1));
  if (d.a) c.give(0, vectorX ? c.squeeze(d.a, [0]) : d.a);
  if (d.b) c.give(1, vectorW ? c.squeeze(d.b, [1]) : d.b);
};

/** MatMul with operands whose last two axes are swapped first, times a number. */
const fusedMatMul: GradientRule = (c) => {
  const { node } = c;
  if (node.int('transBatchA', 0) || node.int('transBatchB', 0)) c.fail('batches that are transposed are not supported');
  const [x, w] = [c.input(0), c.input(1)];
  const transA = node.int('transA', 0) !== 0 && c.rankOf(x) > 1;
  const transB = node.int('transB', 0) !== 0 && c.rankOf(w) > 1;
  if (c.rankOf(x) === 1 || c.rankOf(w) === 1) c.fail('vectors are not supported');
  const a = transA ? swapped(c, x) : x;
  const b = transB ? swapped(c, w) : w;
  const g = c.scale(c.grad()!, node.float('alpha', 1));
  const d = productGradient(c, a, b, g, c.needs(0), c.needs(1));
  if (d.a) c.give(0, transA ? swapped(c, d.a) : d.a);
  if (d.b) c.give(1, transB ? swapped(c, d.b) : d.b);
};

/** Y = α·A'·B' + β·C, with A' and B' transposed where told to. */
const gemm: GradientRule = (c) => {
  const { node } = c;
  const [a, b, g] = [c.input(0), c.input(1), c.grad()!];
  const [transA, transB] = [node.int('transA', 0) !== 0, node.int('transB', 0) !== 0];
  const alpha = node.float('alpha', 1);
  const product = (x: Value, transX: boolean, y: Value, transY: boolean): Value => {
    if (c.opset >= 11)
      return c.op('Gemm', [x, y], { alpha: { float: alpha }, transA: transX ? 1 : 0, transB: transY ? 1 : 0 });
    // Gemm without C came with opset 11.
    return c.scale(c.op('MatMul', [transX ? swapped(c, x) : x, transY ? swapped(c, y) : y]), alpha);
  };
  if (c.needs(0)) c.give(0, transA ? product(b, transB, g, true) : product(g, false, b, !transB));
  if (c.needs(1)) c.give(1, transB ? product(g, true, a, transA) : product(a, !transA, g, false));
  if (c.needs(2)) c.give(2, c.scale(c.unbroadcast(g, c.input(2)), node.float('beta', 1)));
};

export const matrixRules: RuleTable = {
  MatMul: matMul,
  Gemm: gemm,
  Einsum: einsumGradient,
  'com.microsoft.FusedMatMul': fusedMatMul,
  'com.microsoft.TransposeMatMul': fusedMatMul,
};
