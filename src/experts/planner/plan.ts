import { SecateurError } from '../../errors.ts';
import type { MoeBudget, MoeCandidate, MoeLawPlan, MoePlan, MoeRangeName } from '../../formats.ts';
import type { ModelFamily } from './family.ts';
import type { FineGrainedExpansion } from './fine-grained-law.ts';
import { FINE_GRAINED_ERROR, FINE_GRAINED_GRANULARITIES, fineGrainedFamily } from './fine-grained-law.ts';
import { JOINT_ERROR, JOINT_EXPERTS, jointFamily } from './joint-law.ts';
import { optimum } from './optimum.ts';

/** Above this share of a block's multiplications, routers are no longer a detail. */
const ROUTER_SHARE = 0.15;

const RANGE_WORDS: Record<MoeRangeName, string> = {
  expansion: 'experts',
  granularity: 'granularity',
  active: 'active parameters',
  total: 'parameters',
  tokens: 'tokens',
  tokensPerParameter: 'tokens for a parameter',
};

/** What to look at. */
export interface MoeChoices {
  /** Joint law: numbers of experts in a layer. */
  experts?: readonly number[];
  /**
   * Fine-grained law: how many times more parameters the experts hold than a token passes. The fits at 16 and at 64 are not
   * compared with each other: beyond the experiments they drift apart.
   */
  expansion?: FineGrainedExpansion;
  granularities?: readonly number[];
}

/**
 * The predicted loss of the best model under a budget for each number of experts (joint law) and each granularity (fine-grained
 * law, beside its dense model), and the best of each law.
 * @throws SecateurError 'usage' when a number of the budget makes no sense, or nothing at all fits into it
 */
export function planMoe(budget: MoeBudget, choices: MoeChoices = {}): MoePlan {
  checkBudget(budget);
  const { experts = JOINT_EXPERTS, expansion = 64, granularities = FINE_GRAINED_GRANULARITIES } = choices;
  const joint = experts.map((count) => jointFamily(count, budget.vocabulary));
  const fineGrained = [
    fineGrainedFamily(1, 1, budget.vocabulary),
    ...granularities.map((g) => fineGrainedFamily(expansion, g, budget.vocabulary)),
  ];
  const error = expansion === 64 ? FINE_GRAINED_ERROR : null;
  const laws: MoeLawPlan[] = [
    { law: 'joint', source: 'arXiv:2502.05172', error: JOINT_ERROR, ...solve(joint, budget) },
    { law: 'fine-grained', source: 'arXiv:2402.07871', error, ...solve(fineGrained, budget) },
  ];
  if (laws.every(({ best }) => best === null)) {
    throw new SecateurError(
      'usage',
      `No model meets this budget: ${[...new Set(laws.flatMap((law) => law.impossible.map((i) => i.reason)))].join(', or ')}.`,
      'Allow more compute or memory, or fewer tokens in use.',
    );
  }
  return { format: 'secateur-moe-plan/1', budget, laws, warnings: laws.flatMap(warningsOf) };
}

/** @throws SecateurError 'usage' */
export function checkBudget(budget: MoeBudget): void {
  const { compute, memory, inferenceTokens, context, bytesPerNumber, vocabulary, maxTokensPerParameter } = budget;
  const positive = { compute, memory, bytesPerNumber, vocabulary, maxTokensPerParameter };
  for (const [name, value] of Object.entries({ ...positive, inferenceTokens, context })) {
    const zeroAllowed = !(name in positive);
    if (value === null || (Number.isFinite(value) && (zeroAllowed ? value >= 0 : value > 0))) continue;
    throw new SecateurError(
      'usage',
      `The budget's ${name} must be a number ${zeroAllowed ? 'of at least' : 'above'} 0.`,
    );
  }
}

function solve(
  families: readonly ModelFamily[],
  budget: MoeBudget,
): Pick<MoeLawPlan, 'candidates' | 'best' | 'impossible'> {
  const candidates: MoeCandidate[] = [];
  const impossible: MoeLawPlan['impossible'] = [];
  for (const family of families) {
    const found = optimum(family, budget);
    const { expansion, granularity } = family;
    if (typeof found === 'string') impossible.push({ expansion, granularity, reason: found });
    else candidates.push(found);
  }
  const best = candidates.reduce<number | null>(
    (least, { loss }, i) => (least === null || loss < candidates[least].loss ? i : least),
    null,
  );
  return { candidates, best, impossible };
}

function warningsOf({ law, candidates, best }: MoeLawPlan): string[] {
  if (best === null) return [`The ${law} law: no model meets the budget.`];
  const { outside, routerShare } = candidates[best];
  const warnings: string[] = [];
  if (outside.length > 0) {
    const names = outside.map(({ name }) => RANGE_WORDS[name]).join(', ');
    warnings.push(`The best model of the ${law} law lies outside of what the law was fitted to (${names}).`);
  }
  if (routerShare !== undefined && routerShare > ROUTER_SHARE) {
    const share = Math.round(100 * routerShare);
    warnings.push(
      `In the best model of the ${law} law, routers multiply ${share} % as much as the rest of a block: it will be slower than its operations say.`,
    );
  }
  return warnings;
}
