import { describe, expect, it } from 'vitest';
import { SecateurError } from '../../../src/errors.ts';
import { makePlan, parsePlan, planKeepSets, serializePlan } from '../../../src/pruning/plan/index.ts';
import { parseRanks, serializeRanks } from '../../../src/ranking/ranks-file.ts';
import { chainTerms, group, model, ranksOf } from './models.ts';

const groups = [
  group('a', 4),
  group('b', 6, {
    blocks: [
      [0, 1, 2],
      [3, 4, 5],
    ],
  }),
  group('c', 3, { prunable: false, reason: 'it feeds an output' }),
];
const ranks = ranksOf(groups.slice(0, 2), [
  [1, 2, 3, 4],
  [1, 2, 3, 4, 5, 6],
]);

function messageOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(SecateurError);
    expect((error as SecateurError).code).toBe('bad-data');
    expect((error as SecateurError).hint).not.toBe('');
    return (error as SecateurError).message;
  }
  return 'no error';
}

describe('plan files', () => {
  it('are read as they were written', async () => {
    const { plan } = await makePlan(
      groups,
      ranks,
      { kind: 'keep-macs', value: 0.6 },
      { frozen: ['a'] },
      chainTerms(['a', 'b'], []),
    );
    expect(parsePlan(serializePlan(plan), 'p.plan.json', model, groups)).toEqual(plan);
    expect(planKeepSets(plan, groups).get('c')).toEqual([0, 1, 2]);
  });

  it('may be made by hand: keep in any order, little else', () => {
    const text = JSON.stringify({ format: 'secateur-plan/1', model, groups: [{ id: 'a', keep: [3, 0] }] });
    const plan = parsePlan(text, 'p', model, groups);
    expect(plan.groups).toEqual([{ id: 'a', keep: [0, 3] }]);
    expect(plan.target).toEqual({ kind: 'manual' });
    expect(planKeepSets(plan, groups).get('b')).toHaveLength(6);
  });

  it.each([
    ['not json', '{', /p\.plan\.json: this is not JSON/],
    ['a list', '[]', /not an object/],
    ['another format', JSON.stringify({ format: 'secateur-ranks/1' }), /not a secateur-plan file/],
    ['a newer format', JSON.stringify({ format: 'secateur-plan/7' }), /this version reads/],
    ['another model', withGroups([], { ...model, sha256: 'ff'.repeat(32) }), /made for another model/],
    ['no groups', JSON.stringify({ format: 'secateur-plan/1', model }), /groups is not a list/],
    ['an unknown group', withGroups([{ id: 'zzz', keep: [0] }]), /no group 'zzz'/],
    [
      'a unit out of range',
      withGroups([{ id: 'a', keep: [0, 4] }]),
      /keep\[1\] of group 'a' is 4, not a whole number from 0 to 3/,
    ],
    ['a fraction', withGroups([{ id: 'a', keep: [0.5] }]), /not a whole number/],
    ['a unit twice', withGroups([{ id: 'a', keep: [1, 1] }]), /unit 1 of group 'a' occurs twice/],
    [
      'a group twice',
      withGroups([
        { id: 'a', keep: [1] },
        { id: 'a', keep: [1] },
      ]),
      /group 'a' occurs twice/,
    ],
    ['an empty group', withGroups([{ id: 'a', keep: [] }]), /lose all its units/],
    [
      'unequal blocks',
      withGroups([{ id: 'b', keep: [0, 1, 3] }]),
      /equally many units of each of its 2 blocks, not 2, 1/,
    ],
    ['a group that cannot be pruned', withGroups([{ id: 'c', keep: [0] }]), /cannot be pruned \(it feeds an output\)/],
    ['a frozen group with losses', withGroups([{ id: 'a', keep: [0], frozen: true }]), /frozen but would lose units/],
  ])('are refused with a reason: %s', (_name, text, expected) => {
    expect(messageOf(() => parsePlan(text, 'p.plan.json', model, groups))).toMatch(expected);
  });
});

describe('ranks files', () => {
  it('are read as they were written, with one method or several', () => {
    expect(parseRanks(serializeRanks([ranks]), 'r', model, groups)).toEqual([ranks]);
    const both = [ranks, { ...ranks, method: 'magnitude' as const }];
    expect(JSON.parse(serializeRanks(both)).methods).toHaveLength(2);
    expect(parseRanks(serializeRanks(both), 'r', model, groups)).toEqual(both);
  });

  interface Loose {
    [field: string]: unknown;
    model: { sha256: string };
    groups: { id: string; size: number; units: { index: number; score: number | null }[] }[];
  }
  const broken = (change: (copy: Loose) => void): string => {
    const copy = structuredClone(ranks) as unknown as Loose;
    change(copy);
    return JSON.stringify(copy);
  };
  it.each([
    ['not json', 'ranks', /not JSON/],
    ['another format', broken((r) => (r.format = 'x')), /not a secateur-ranks file/],
    ['another model', broken((r) => (r.model.sha256 = '00')), /another model/],
    ['an unknown method', broken((r) => (r.method = 'guess')), /method is 'guess', not one of shapley/],
    ['an unknown group', broken((r) => (r.groups[0].id = 'q')), /no group 'q'/],
    ['another size', broken((r) => (r.groups[0].size = 5)), /'a' has 5 units here and 4 in the model/],
    [
      'a score that is null',
      broken((r) => (r.groups[0].units[2].score = null)),
      /score of unit 2 of group 'a' is not a finite number/,
    ],
    ['a unit twice', broken((r) => (r.groups[0].units[2].index = 1)), /unit 1 of group 'a' occurs twice/],
    ['a group twice', broken((r) => r.groups.push(r.groups[0])), /group 'a' occurs twice/],
    ['no methods', JSON.stringify({ format: 'secateur-ranks/1', methods: [] }), /holds no method/],
  ])('are refused with a reason: %s', (_name, text, expected) => {
    expect(messageOf(() => parseRanks(text, 'r.ranks.json', model, groups))).toMatch(expected);
  });
});

function withGroups(list: unknown[], ref: unknown = model): string {
  return JSON.stringify({ format: 'secateur-plan/1', model: ref, groups: list });
}
