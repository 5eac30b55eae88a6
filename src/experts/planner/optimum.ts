import type { MoeBudget, MoeCandidate } from '../../formats.ts';
import { minimiseUnimodal } from '../../math/minimise.ts';
import { lastNotAbove } from '../../math/root.ts';
import type { ModelFamily } from './family.ts';
import { blocksOf, outsideOf, WIDTH_PER_BLOCK } from './family.ts';

/** Widths that are looked at: one block, up to models of some 10¹⁷ parameters. */
const NARROWEST = WIDTH_PER_BLOCK;
const WIDEST = WIDTH_PER_BLOCK * 2 ** 13;

/**
 * Bytes of a model in use: its parameters and the keys and values of `context` tokens, 2·T·blocks·width numbers (section 4.3
 * of arXiv:2502.05172).
 */
export function memoryOf(total: number, blocks: number, width: number, budget: MoeBudget): number {
  return budget.bytesPerNumber * (total + 2 * budget.context * blocks * width);
}

/**
 * Tokens that a model of this cost can be trained on, when what it does in use is paid out of the same budget: F = C·D +
 * C_use·D_use (section 4.4). Not above 0 where nothing is left for the training.
 */
export function tokensFor(trainingFlops: number, inferenceFlops: number, budget: MoeBudget): number {
  return (budget.compute - inferenceFlops * budget.inferenceTokens) / trainingFlops;
}

/**
 * The model of a family with the least predicted loss that the budget allows. In the logarithm of the parameters both terms of
 * a law are convex (powers of sums of powers), so that there is one minimum; the limits are monotone in the width and cut an
 * interval out of it.
 * @returns the model, or why there is none
 */
export function optimum(family: ModelFamily, budget: MoeBudget): MoeCandidate | string {
  const tokens = (width: number): number =>
    tokensFor(family.trainingFlops(width), family.inferenceFlops(width), budget);
  const memory = (width: number): number => memoryOf(family.total(width), blocksOf(width), width, budget);

  if (tokens(NARROWEST) <= 0) return 'use alone takes the compute budget';
  if (budget.memory !== null && memory(NARROWEST) > budget.memory) return 'not even a model of one block fits';
  // just inside the width at which no token is left for the training
  const affordable = lastNotAbove((width) => -tokens(width), NARROWEST, WIDEST) * (1 - 1e-9);
  const fitting =
    budget.memory === null ? WIDEST : lastNotAbove((width) => memory(width) - budget.memory!, NARROWEST, WIDEST);
  const ratio = budget.maxTokensPerParameter ?? Infinity;
  const narrowest = leastWidth((width) => tokens(width) / family.active(width) <= ratio);
  const widest = Math.min(affordable, fitting);
  if (narrowest > widest) return 'every model that fits would see more tokens for a parameter than allowed';

  const loss = (logWidth: number): number => family.loss(Math.exp(logWidth), tokens(Math.exp(logWidth)));
  const [low, high] = [Math.log(narrowest), Math.log(widest)];
  const found = minimiseUnimodal(loss, low, high);
  // the ends themselves, not the exponential of their logarithm, which may lie outside
  const width = found === low ? narrowest : found === high ? widest : Math.exp(found);
  const atMemory = found === high && budget.memory !== null && fitting <= affordable;
  const atTokens = found === low && narrowest > NARROWEST;
  return candidate(family, width, tokens(width), memory(width), atMemory ? 'memory' : atTokens ? 'tokens' : null);
}

function candidate(
  family: ModelFamily,
  width: number,
  tokens: number,
  memory: number,
  limit: MoeCandidate['limit'],
): MoeCandidate {
  const { expansion, granularity } = family;
  const [active, total] = [family.active(width), family.total(width)];
  const tokensPerParameter = tokens / active;
  return {
    experts: expansion * granularity,
    expansion,
    granularity,
    active,
    total,
    tokens,
    tokensPerParameter,
    width,
    blocks: blocksOf(width),
    memory,
    limit,
    loss: family.loss(width, tokens),
    ...(family.learningRate && { learningRate: family.learningRate(width) }),
    ...(family.routerShare && { routerShare: family.routerShare(width) }),
    outside: outsideOf(family.range, { expansion, granularity, active, total, tokens, tokensPerParameter }),
  };
}

/** The least width from which on `holds` is true: the logarithm is bisected, and the upper end of what is left taken. */
function leastWidth(holds: (width: number) => boolean): number {
  if (holds(NARROWEST)) return NARROWEST;
  const last = lastNotAbove((log) => (holds(Math.exp(log)) ? 1 : -1), Math.log(NARROWEST), Math.log(WIDEST));
  return Math.exp(last) * (1 + 1e-12);
}
