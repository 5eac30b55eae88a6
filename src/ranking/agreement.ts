import type { GroupAgreement, GroupRanks, MethodAgreement, OracleScore, Ranks } from '../formats.ts';
import { kendallTauB, spearman } from '../math/correlation.ts';
import { scoreAgainstOracle } from './oracle/sets.ts';

/**
 * How far methods agree on the order of the units, for every two methods and every group that both have ranked whole:
 * Spearman's ρ (ties by mean ranks), Kendall's τ-b, and the share of the best k units (a quarter of the group) that both
 * name. Where one of the methods has no signal, the numbers compare with an order that its data does not support; the
 * entry names these methods. Against the oracle there is the Oracle score too.
 */
export function agreementOf(ranks: readonly Ranks[]): MethodAgreement[] {
  const out: MethodAgreement[] = [];
  for (let i = 0; i < ranks.length; i++) {
    for (let j = i + 1; j < ranks.length; j++) {
      const groups: GroupAgreement[] = [];
      for (const a of ranks[i].groups) {
        const b = ranks[j].groups.find((g) => g.id === a.id);
        if (b && isWhole(a) && isWhole(b)) groups.push(compareGroups(ranks[i], a, ranks[j], b));
      }
      out.push({ methods: [ranks[i].method, ranks[j].method], groups });
    }
  }
  return out;
}

/** Two methods on one group. */
function compareGroups(first: Ranks, a: GroupRanks, second: Ranks, b: GroupRanks): GroupAgreement {
  const [x, y] = [scoresByUnit(a), scoresByUnit(b)];
  const k = topCount(a.size);
  const silent = [...(a.noSignal ? [first.method] : []), ...(b.noSignal ? [second.method] : [])];
  const oracle: OracleScore | undefined = a.oracle ? score(a, y) : b.oracle ? score(b, x) : undefined;
  return {
    id: a.id,
    spearman: finite(spearman(x, y)),
    kendall: finite(kendallTauB(x, y)),
    topOverlap: topOverlap(x, y, k),
    k,
    ...(silent.length > 0 ? { noSignal: silent } : {}),
    ...(oracle ? { oracle } : {}),
  };
}

function score(of: GroupRanks, scores: Float64Array): OracleScore {
  return scoreAgainstOracle(bestFirst(scores), of.oracle!);
}

/** How many units count as the best of a group: a quarter, at least one. */
export function topCount(size: number): number {
  return Math.max(1, Math.round(size / 4));
}

/** Share of the k best units by `a` that are among the k best by `b`. */
export function topOverlap(a: ArrayLike<number>, b: ArrayLike<number>, k: number): number {
  const best = new Set(bestFirst(b).slice(0, k));
  return (
    bestFirst(a)
      .slice(0, k)
      .filter((unit) => best.has(unit)).length / k
  );
}

/** Units by falling score, equal ones by their index. */
export function bestFirst(scores: ArrayLike<number>): number[] {
  return Array.from({ length: scores.length }, (_, i) => i).sort((i, j) => scores[j] - scores[i] || i - j);
}

function scoresByUnit(group: GroupRanks): Float64Array {
  const scores = new Float64Array(group.size);
  for (const unit of group.units) scores[unit.index] = unit.score;
  return scores;
}

function isWhole(group: GroupRanks): boolean {
  return group.units.length === group.size;
}

/** JSON has no NaN: a correlation with a method that gives all units the same score is null. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
