import { SecateurError } from '../../errors.ts';
import type { MoeBudget, MoePlace, MoePoint, MoeShape } from '../../formats.ts';
import { outsideOf } from './family.ts';
import { JOINT_EXPERTS, JOINT_RANGE, jointLoss } from './joint-law.ts';
import { memoryOf, tokensFor } from './optimum.ts';
import { checkBudget } from './plan.ts';

/** Share of the feed-forward layers in the models of the joint law, embeddings aside: 9 d² of 13 d². */
const FEED_FORWARD_SHARE = 9 / 13;

/**
 * Where a model stands on the chart of the joint law: its predicted loss when it is trained as long as the budget's compute
 * allows, and the same for models with the next smaller and the next larger number of experts of 1, 2, 4 … 32, once with as
 * many active parameters (another memory), once with as many parameters in all (another depth and width). The law knows
 * models that send a token to one expert as large as a dense layer: of others it is a rough guide.
 * @throws SecateurError 'usage' when the numbers contradict each other, or use alone takes the compute
 */
export function placeModel(shape: MoeShape, budget: MoeBudget): MoePlace {
  checkBudget(budget);
  checkShape(shape);
  const { nActive, nTotal, experts, dModel, blocks } = shape;
  const expert = parametersOfExpert(shape);
  const at = (count: number, scale: number): MoePoint =>
    pointOf(
      {
        experts: count,
        nActive: scale * nActive,
        nTotal: scale * (nActive + (count - 1) * expert),
        // parameters grow with the cube of the width where blocks grow with the width
        dModel: dModel * Math.cbrt(scale),
        blocks: blocks * Math.cbrt(scale),
      },
      budget,
    );
  const next = [
    Math.max(...JOINT_EXPERTS.filter((e) => e < experts)),
    Math.min(...JOINT_EXPERTS.filter((e) => e > experts)),
  ];
  return {
    model: pointOf(shape, budget),
    neighbours: next.filter(Number.isFinite).flatMap((count) => [
      { ...at(count, 1), same: 'active' as const },
      { ...at(count, nTotal / (nActive + (count - 1) * expert)), same: 'total' as const },
    ]),
  };
}

/** Parameters that one expert has in all blocks together; of a dense model, its feed-forward layers. */
function parametersOfExpert({ nActive, nTotal, experts, dModel, blocks }: MoeShape): number {
  if (experts > 1) return (nTotal - nActive) / (experts - 1);
  return Math.min(9 * blocks * dModel ** 2, FEED_FORWARD_SHARE * nActive);
}

function pointOf({ nActive, nTotal, experts, dModel, blocks }: MoeShape, budget: MoeBudget): MoePoint {
  const tokens = tokensFor(6 * nActive, 2 * nActive, budget);
  if (tokens <= 0) {
    throw new SecateurError(
      'usage',
      'Use alone takes the compute budget: nothing is left for the training of a model of this size.',
      'Allow more compute or fewer tokens in use.',
    );
  }
  const memory = memoryOf(nTotal, blocks, dModel, budget);
  const tokensPerParameter = tokens / nActive;
  return {
    experts,
    active: nActive,
    total: nTotal,
    tokens,
    tokensPerParameter,
    memory,
    fits: budget.memory === null || memory <= budget.memory,
    loss: jointLoss(nActive, tokens, experts),
    outside: outsideOf(JOINT_RANGE, {
      expansion: experts,
      active: nActive,
      total: nTotal,
      tokens,
      tokensPerParameter,
    }),
  };
}

function checkShape({ nActive, nTotal, experts, dModel, blocks }: MoeShape): void {
  const whole = Number.isInteger(experts) && experts >= 1;
  const positive = [nActive, nTotal, dModel, blocks].every((n) => Number.isFinite(n) && n > 0);
  if (whole && positive && nTotal >= nActive && (experts === 1) === (nTotal === nActive)) return;
  throw new SecateurError(
    'usage',
    `No model has ${experts} experts a layer, ${nActive} active parameters and ${nTotal} in all.`,
    'A dense model has one expert and as many active parameters as in all; with more experts there are more.',
  );
}
