import { DataType } from '../../onnx/data-type.ts';
import type { Dim } from '../ir.ts';
import type { Rule, RuleContext, RuleTable } from './context.ts';
import { broadcast } from './dims.ts';

/** Matrix products. */

/** numpy's matmul, with transposes of the last two axes. */
export function matmulShape(
  a: Dim[] | undefined,
  b: Dim[] | undefined,
  transA = false,
  transB = false,
): Dim[] | undefined {
  if (!a || !b || a.length === 0 || b.length === 0) return undefined;
  const left = a.length === 1 ? [1, a[0]] : transA ? [...a.slice(0, -2), a[a.length - 1], a[a.length - 2]] : a;
  const right = b.length === 1 ? [b[0], 1] : transB ? [...b.slice(0, -2), b[b.length - 1], b[b.length - 2]] : b;
  const batch = broadcast([left.slice(0, -2), right.slice(0, -2)]);
  const out: Dim[] = [...(batch ?? [])];
  if (a.length > 1) out.push(left[left.length - 2]);
  if (b.length > 1) out.push(right[right.length - 1]);
  return out;
}

function matmul(a: number, b: number, elemType?: number): Rule {
  return (c) => c.out(0, elemType ?? c.elem(a), matmulShape(c.shape(a), c.shape(b)));
}

function gemm(a: number, b: number, elemType?: (c: RuleContext) => number): Rule {
  return (c) => {
    const [x, w] = [c.shape(a), c.shape(b)];
    const rows = x?.length === 2 ? x[c.int('transA', 0) ? 1 : 0] : null;
    const columns = w?.length === 2 ? w[c.int('transB', 0) ? 0 : 1] : null;
    c.out(0, elemType ? elemType(c) : c.elem(a), [rows, columns]);
  };
}

const fusedMatMul: Rule = (c) => {
  if (c.int('transBatchA', 0) || c.int('transBatchB', 0)) return c.out(0, c.elem(0), undefined);
  c.out(0, c.elem(0), matmulShape(c.shape(0), c.shape(1), c.int('transA', 0) === 1, c.int('transB', 0) === 1));
};

const matMulNBits: Rule = (c) => {
  const x = c.shape(0);
  c.out(0, c.elem(0), x && [...x.slice(0, -1), c.int('N') ?? null]);
};

const einsum: Rule = (c) => {
  const shapes = c.node.inputs.map((_, i) => c.shape(i));
  c.out(0, c.elem(0), einsumShape(c.string('equation', ''), shapes));
};

/** Shape of an Einsum's result: letters to dims, `...` broadcast. */
export function einsumShape(equation: string, shapes: readonly (Dim[] | undefined)[]): Dim[] | undefined {
  const [inputs, output] = equation.replace(/\s+/g, '').split('->');
  const terms = inputs.split(',');
  if (terms.length !== shapes.length) return undefined;
  const dims = new Map<string, Dim>();
  const ellipses: Dim[][] = [];
  const counts = new Map<string, number>();
  for (let t = 0; t < terms.length; t++) {
    const shape = shapes[t];
    if (!shape) return undefined;
    const [before, after] = terms[t].includes('...') ? terms[t].split('...') : [terms[t], undefined];
    const tail = after ?? '';
    if (after !== undefined) ellipses.push(shape.slice(before.length, shape.length - tail.length));
    else if (before.length !== shape.length) return undefined;
    const note = (letter: string, dim: Dim) => {
      counts.set(letter, (counts.get(letter) ?? 0) + 1);
      const old = dims.get(letter);
      if (
        old === undefined ||
        old === null ||
        old === 1 ||
        (typeof old === 'string' && typeof dim === 'number' && dim !== 1)
      )
        dims.set(letter, dim);
    };
    [...before].forEach((l, i) => note(l, shape[i]));
    [...tail].forEach((l, i) => note(l, shape[shape.length - tail.length + i]));
  }
  const common = broadcast(ellipses) ?? [];
  const implicit = [...counts]
    .filter(([, n]) => n === 1)
    .map(([l]) => l)
    .sort()
    .join('');
  const result = output ?? (ellipses.length > 0 ? '...' : '') + implicit;
  const out: Dim[] = [];
  for (let i = 0; i < result.length; i++) {
    if (result[i] === '.') {
      out.push(...common);
      i += 2;
    } else {
      out.push(dims.get(result[i]) ?? null);
    }
  }
  return out;
}

export const matmulRules: RuleTable = {
  MatMul: matmul(0, 1),
  MatMulInteger: matmul(0, 1, DataType.INT32),
  'com.microsoft.MatMulInteger16': matmul(0, 1, DataType.INT32),
  QLinearMatMul: (c) => c.out(0, c.elem(7) || c.elem(0), matmulShape(c.shape(0), c.shape(3))),
  'com.microsoft.MatMulIntegerToFloat': (c) => c.out(0, c.elem(2), matmulShape(c.shape(0), c.shape(1))),
  'com.microsoft.DynamicQuantizeMatMul': matmul(0, 1, DataType.FLOAT),
  Gemm: gemm(0, 1),
  'com.microsoft.FusedGemm': gemm(0, 1),
  'com.microsoft.QGemm': gemm(0, 3, (c) => (c.has(8) ? c.elem(8) : c.has(7) ? c.elem(0) : DataType.FLOAT)),
  'com.microsoft.GemmFloat8': gemm(0, 1, (c) => c.int('dtype', 1)),
  'com.microsoft.GemmFastGelu': matmul(0, 1),
  'com.microsoft.FusedMatMul': fusedMatMul,
  'com.microsoft.TransposeMatMul': fusedMatMul,
  'com.microsoft.FusedMatMulActivation': fusedMatMul,
  'com.microsoft.MatMulNBits': matMulNBits,
  'com.microsoft.MatMulBnb4': matMulNBits,
  'com.microsoft.MatMulFpQ4': (c) => {
    const x = c.shape(0);
    const shape = c.content(2);
    c.out(0, c.elem(0), x && shape && [...x.slice(0, -1), shape[shape.length - 1]]);
  },
  Einsum: einsum,
  Det: (c) => c.out(0, c.elem(0), c.shape(0)?.slice(0, -2)),
};
