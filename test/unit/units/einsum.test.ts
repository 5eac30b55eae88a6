import { describe, expect, it } from 'vitest';
import { modelCost } from '../../../src/graph/cost.ts';
import type { Value } from '../../../src/graph/ir.ts';
import { pruneModel } from '../../../src/pruning/surgery.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { costTerms } from '../../../src/units/cost-terms.ts';
import { parseEquation } from '../../../src/units/rules/einsum.ts';
import type { Structure } from '../../../src/units/types.ts';
import { Builder } from '../../support/build.ts';
import { checkInvariant } from '../../support/invariant.ts';

const einsum = (b: Builder, equation: string, inputs: Value[], name: string) =>
  b.op('Einsum', inputs, { equation }, name);

/** A builder with 6 tokens of 5 features. */
function start(): { b: Builder; x: Value } {
  const b = new Builder({ opset: 13 });
  return { b, x: b.input('x', ['N', 6, 5]) };
}

async function hold(s: Structure): Promise<string[]> {
  expect(s.warnings).toEqual([]);
  const { results, tolerance } = await checkInvariant(s, { shares: [0.3, 0.5, 0.01], seed: 2 });
  for (const r of results) expect(r.diff, `${r.group} keeping ${r.kept} of ${r.size}`).toBeLessThanOrEqual(tolerance);
  return s.groups.filter((g) => g.prunable).map((g) => `${g.id} ${g.kind} ${g.size}`);
}

/** Multi-head attention of `heads` heads of `size` dims in Einsums alone. */
function attention(b: Builder, x: Value, heads: number, size: number): Value {
  const [q, k, v] = ['q', 'k', 'v'].map((n) => einsum(b, 'bqd,dhk->bqhk', [x, b.weight([5, heads, size], n, 0.5)], n));
  const scores = b.softmax(einsum(b, 'bqhd,bkhd->bhqk', [q, k], 'scores'));
  const mixed = einsum(b, 'b h q k, b k h d -> b q h d', [scores, v], 'mixed');
  return einsum(b, 'bqhd,hdo->bqo', [mixed, b.weight([heads, size, 5], 'o', 0.5)], 'out');
}

describe('Einsum, held against the gated model', () => {
  it('multi-head attention: heads, and dimensions of queries with keys and of values', async () => {
    const { b, x } = start();
    b.output(attention(b, x, 4, 3));
    expect((await hold(analyseStructure(b.build()))).sort()).toEqual([
      'q head 4',
      'q#head-dim head-dim 3',
      'v head-dim 3',
    ]);
  });

  it('attention between a layer and its residual sum', async () => {
    const { b, x } = start();
    const width = b.linear(x, 5, 5, 'embed');
    const y = b.add(width, attention(b, width, 2, 3));
    b.output(b.linear(b.relu(y), 5, 3, 'head'));
    const found = await hold(analyseStructure(b.build()));
    expect(found.map((f) => f.split(' ').pop())).toEqual(['5', '2', '3', '3']);
  });

  it('a bilinear form, and one of three operands in another order', async () => {
    for (const [equation, order] of [
      ['bti,btj,ijk->btk', [0, 1, 2]],
      ['ijk,bti,btj->btk', [2, 0, 1]],
    ] as [string, number[]][]) {
      const { b, x } = start();
      const [p, q] = [b.op('Tanh', [b.linear(x, 5, 4, 'p')]), b.relu(b.linear(x, 5, 3, 'q'))];
      const operands = [p, q, b.weight([4, 3, 7], 'w')];
      const y = einsum(
        b,
        equation,
        order.map((i) => operands[i]),
        'bilinear',
      );
      b.output(b.linear(b.relu(y), 7, 3, 'head'));
      expect((await hold(analyseStructure(b.build()))).map((f) => f.replace(' neuron', ''))).toEqual([
        'p 4',
        'q 3',
        'bilinear 7',
      ]);
    }
  });

  it('a chain of matrix products in one op: inner weights count as one', async () => {
    const { b, x } = start();
    const hidden = b.relu(b.linear(x, 5, 6, 'fc'));
    const y = einsum(b, 'btd,de,ef->btf', [hidden, b.weight([6, 4], 'd'), b.weight([4, 7], 'e')], 'chain');
    b.output(b.linear(y, 7, 3, 'head'));
    expect((await hold(analyseStructure(b.build()))).sort()).toEqual([
      'chain neuron 4',
      'chain#neuron neuron 7',
      'fc neuron 6',
    ]);
  });

  it('ellipses, implicit outputs, sums and products within one or two operands', async () => {
    const { b, x } = start();
    const p = b.relu(b.linear(x, 5, 4, 'p'));
    const q = b.op('Tanh', [b.linear(x, 5, 4, 'q')]);
    const weighted = einsum(b, '...i,...i->...i', [p, q], 'product');
    const r = b.relu(einsum(b, '...i, ij', [weighted, b.weight([4, 6], 'w')], 'implicit'));
    const sum = einsum(b, 'btk->bt', [r], 'sum');
    const norms = einsum(b, 'bts,bts->bt', [r, r], 'norms');
    const turned = einsum(b, 'bts->bst', [r], 'turned');
    b.output(sum, norms, b.op('MatMul', [b.weight([2, 6], 'reader'), turned]));
    expect((await hold(analyseStructure(b.build()))).map((f) => f.replace(/ .* /, ' '))).toEqual(['p 4', 'implicit 6']);
  });

  it('an axis of one position is spread', async () => {
    const { b, x } = start();
    const p = b.relu(b.linear(x, 5, 4, 'p'));
    const y = einsum(b, 'bti,bti->bti', [p, b.weight([1, 1, 4], 's')], 'scaled');
    const z = einsum(b, 'bti,bti->bti', [y, b.weight([1, 6, 1], 't')], 'spread');
    b.output(b.linear(z, 4, 3, 'head'));
    expect(await hold(analyseStructure(b.build()))).toEqual(['p neuron 4']);
  });

  it('keeps what is read along a diagonal, and what it cannot read', () => {
    const { b, x } = start();
    const p = einsum(b, 'btd,def->btef', [x, b.weight([5, 4, 4], 'w')], 'p');
    b.output(einsum(b, 'btee->bte', [p], 'diagonal'));
    const reasons = analyseStructure(b.build()).groups.map((g) => g.reason);
    expect(reasons.join()).toMatch(/read along a diagonal by Einsum "diagonal"/);
  });

  it('costs add up to those of the pruned model', () => {
    const { b, x } = start();
    b.output(attention(b, x, 4, 3));
    const s = analyseStructure(b.build());
    const keep = new Map(s.groups.filter((g) => g.prunable).map((g) => [g.id, [0, 2].slice(0, g.size - 1)]));
    const pruned = modelCost(pruneModel(s, keep).model);
    let macs = 0;
    for (const t of costTerms(s))
      macs += t.factors.reduce(
        (n, f) => n * f.groups.reduce((m, g) => m + g.multiplicity * keep.get(g.id)!.length, f.fixed),
        t.macs,
      );
    expect(macs).toBeCloseTo(pruned.macs, 6);
  });
});

describe('equations', () => {
  it('are read with ellipses, blanks and without an output', () => {
    expect(parseEquation('b h q k, b k h d -> b q h d', [4, 4])?.output).toEqual(['b', 'q', 'h', 'd']);
    expect(parseEquation('...ij,...jk->...ik', [4, 3])).toEqual({
      operands: [
        ['.2', '.1', 'i', 'j'],
        ['.1', 'j', 'k'],
      ],
      output: ['.2', '.1', 'i', 'k'],
    });
    expect(parseEquation('ij,Jk', [2, 2])?.output).toEqual(['J', 'i', 'j', 'k']);
    expect(parseEquation('k...j,jA', [3, 2])?.output).toEqual(['.1', 'A', 'k']);
    expect(parseEquation('ii', [2])?.output).toEqual([]);
    expect(parseEquation('->', [0])?.output).toEqual([]);
  });

  it('that do not fit their operands are not read', () => {
    for (const [equation, ranks] of [
      ['ij,jk->ik', [2]],
      ['ij->ij', [3]],
      ['ij->ik', [2]],
      ['ij->ii', [2]],
      ['i..j->ij', [2]],
      ['i->j->k', [1]],
    ] as [string, number[]][])
      expect(parseEquation(equation, ranks), equation).toBeUndefined();
  });
});
