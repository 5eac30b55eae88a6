import { describe, expect, it } from 'vitest';
import type { Dim } from '../../../src/graph/ir.ts';
import { builder } from '../../support/build.ts';
import { checkGradient } from '../../support/gradients.ts';

describe('Gemm', () => {
  const cases = [7, 9, 11, 13].flatMap((opset) =>
    [0, 1].flatMap((transA) => [0, 1].map((transB) => [opset, transA, transB] as const)),
  );
  it.each(cases)('opset %i, transA %i, transB %i', async (opset, transA, transB) => {
    const b = builder({ opset });
    const a = b.input('a', transA ? [3, 2] : [2, 3]);
    const w = b.weight(transB ? [4, 3] : [3, 4]);
    const bias = b.weight([4]);
    const y = b.op('Gemm', [a, w, bias], { transA, transB, alpha: 0.7, beta: 1.3 });
    await checkGradient(b.model, y, [a, w, bias]);
  });
  it('without C, with C of every rank, and a symbolic batch', async () => {
    const b = builder();
    const x = b.input('x', ['N', 3]);
    const w = b.weight([4, 3]);
    await checkGradient(b.model, b.op('Gemm', [x, w], { transB: 1 }), [x, w]);
    for (const dims of [[], [1], [4], [1, 4]]) {
      const c = b.weight(dims, 'c', 0.3);
      await checkGradient(b.model, b.op('Gemm', [x, w, c], { transB: 1 }), [x, w, c]);
    }
  });
});

describe('MatMul', () => {
  const cases: [string, Dim[], Dim[], Record<string, number>][] = [
    ['two matrices', ['N', 3], [3, 4], {}],
    ['rows of tokens and one matrix', ['N', 'T', 3], [3, 2], { T: 3 }],
    ['stacks', ['N', 2, 3, 2], ['N', 2, 2, 3], {}],
    ['a stack that is broadcast', ['N', 2, 3, 2], [2, 2, 3], {}],
    ['a matrix and a stack', [3, 2], ['N', 2, 2], {}],
    ['axes of size 1', [2, 1, 3, 2], [1, 3, 2, 2], {}],
    ['symbols that differ', ['N', 'H', 3, 2], ['N', 'K', 2, 2], { H: 2, K: 1 }],
    ['vector and matrix', [3], [3, 2], {}],
    ['vector and stack', [3], [2, 3, 2], {}],
    ['matrix and vector', ['N', 3], [3], {}],
    ['stack and vector', ['N', 2, 3], [3], {}],
    ['two vectors', [4], [4], {}],
  ];
  for (const opset of [9, 13, 18])
    it.each(cases)(`opset ${opset}: %s`, async (_, left, right, dims) => {
      const b = builder({ opset });
      const [x, y] = [b.input('x', left), b.input('y', right)];
      const { double } = await checkGradient(b.model, b.op('MatMul', [x, y]), [x, y], { dims });
      expect(double).toBe(true);
    });

  it.each([
    [0, 0],
    [0, 1],
    [1, 0],
    [1, 1],
  ])('fused, transA %i, transB %i', async (transA, transB) => {
    const b = builder();
    const x = b.input('x', transA ? ['N', 2, 3, 4] : ['N', 2, 4, 3]);
    const y = b.input('y', transB ? [2, 5, 3] : [2, 3, 5]);
    const z = b.op('com.microsoft.FusedMatMul', [x, y], { transA, transB, alpha: 0.5 });
    await checkGradient(b.model, z, [x, y]);
  });
});

describe('Einsum', () => {
  it.each([
    ['ij,jk->ik', ['N', 3], [3, 2]],
    ['bhqd,bhkd->bhqk', ['N', 2, 3, 2], ['N', 2, 2, 2]],
    ['bij,j', ['N', 2, 3], [3]],
    ['...ij,...jk->...ik', ['N', 2, 3], [1, 3, 2]],
    ['...i,i->...', ['N', 2, 3], [3]],
    ['ij,kl->i', [2, 3], [2, 4]],
    ['bi,bj->bij', ['N', 3], ['N', 2]],
    ['i,j->', [3], [2]],
  ] as [string, Dim[], Dim[]][])('%s', async (equation, left, right) => {
    const b = builder();
    const [x, y] = [b.input('x', left), b.input('y', right)];
    await checkGradient(b.model, b.op('Einsum', [x, y], { equation }), [x, y]);
  });
  it.each([
    ['ij->ji', ['N', 3]],
    ['ij->', ['N', 3]],
    ['...i->...', ['N', 2, 3]],
  ] as [string, Dim[]][])('%s of one operand', async (equation, shape) => {
    const b = builder();
    const x = b.input('x', shape);
    await checkGradient(b.model, b.op('Einsum', [x], { equation }), [x]);
  });
  it('of three operands', async () => {
    const b = builder();
    const v = [b.input('x', ['N', 3]), b.input('y', [3, 2]), b.input('z', ['N', 2])];
    await checkGradient(b.model, b.op('Einsum', v, { equation: 'ni,ij,nj->n' }), v);
  });
});
