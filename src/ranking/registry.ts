import { SecateurError } from '../errors.ts';
import type { MethodName } from '../formats.ts';
import { activation } from './activation.ts';
import { dirichlet } from './dirichlet/method.ts';
import { fisher } from './fisher.ts';
import { leaveOneOut } from './leave-one-out.ts';
import { magnitude, magnitudeL2 } from './magnitude.ts';
import { obs } from './obs/index.ts';
import { oracle } from './oracle/index.ts';
import { random } from './random.ts';
import { shapley } from './shapley/index.ts';
import { taylor, taylorSigned, taylorSquared } from './taylor.ts';
import { wanda } from './wanda.ts';
import type { RankContext, RankMethod, RankOptions, RankOutcome, RankProgress } from './types.ts';

/** All methods in the order of menus. Adding one: its own file, one line here, its name in `MethodName`. */
export const methods: readonly RankMethod[] = [
  shapley,
  oracle,
  leaveOneOut,
  dirichlet,
  taylor,
  taylorSquared,
  taylorSigned,
  fisher,
  magnitude,
  magnitudeL2,
  activation,
  wanda,
  obs,
  random,
];

/** Other spellings that the command line takes. */
const aliases: Record<string, MethodName> = {
  loo: 'leave-one-out',
  l1: 'magnitude',
  'magnitude-l1': 'magnitude',
  l2: 'magnitude-l2',
  obd: 'fisher',
  switch: 'dirichlet',
};

/** The method of that name or alias. @throws SecateurError 'usage' for an unknown name */
export function rankMethod(name: string): RankMethod {
  const method = methods.find((m) => m.name === (aliases[name] ?? name));
  if (!method)
    throw new SecateurError(
      'usage',
      `There is no ranking method '${name}'.`,
      `Methods: ${methods.map((m) => m.name).join(', ')}.`,
    );
  return method;
}

/**
 * Scores the units of one group. Frozen and unprunable groups are for the caller to leave out.
 * @param context the group, and what the method needs of it (`RankMethod.needs`): a game or an activation source
 * @param onPartial progress with scores so far; after the last batch with the final scores
 * @returns the ranks; when the signal fires, those computed by then, with `complete: false` and a state to resume from
 * @throws SecateurError 'cancelled' when the signal fires before there is anything to return; 'usage' for bad options;
 *   'runtime' when the metric of a coalition is not finite
 */
export async function rankGroup(
  method: MethodName | RankMethod,
  context: RankContext,
  options: RankOptions,
  signal?: AbortSignal,
  onPartial?: (progress: RankProgress) => void,
): Promise<RankOutcome> {
  const { budget, tolerance, seed } = options;
  if (budget !== undefined && !(Number.isInteger(budget) && budget >= 2))
    throw new SecateurError(
      'usage',
      `A budget of ${budget} evaluations per group is not possible.`,
      'Give a whole number of at least 2.',
    );
  if (tolerance !== undefined && !(tolerance >= 0 && Number.isFinite(tolerance)))
    throw new SecateurError(
      'usage',
      `A tolerance of ${tolerance} is not possible.`,
      'Give a number of at least 0, such as 0.05.',
    );
  if (!Number.isFinite(seed))
    throw new SecateurError('usage', `A seed of ${seed} is not possible.`, 'Give a whole number.');
  const found = typeof method === 'string' ? rankMethod(method) : method;
  return found.rank(context, options, signal, onPartial);
}
