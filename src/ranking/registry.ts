import { SecateurError } from '../errors.ts';
import type { MethodName } from '../formats.ts';
import { activation } from './activation.ts';
import { dirichlet } from './dirichlet/method.ts';
import { fisher } from './fisher.ts';
import { leaveOneOut } from './leave-one-out.ts';
import { magnitude, magnitudeL2 } from './magnitude.ts';
import { METHOD_NAMES, methodNamed } from './names.ts';
import { obs } from './obs/index.ts';
import { oracle } from './oracle/index.ts';
import { random } from './random.ts';
import { shapley } from './shapley/index.ts';
import { taylor, taylorSigned, taylorSquared } from './taylor.ts';
import { wanda } from './wanda.ts';
import type { RankContext, RankMethod, RankOptions, RankOutcome, RankProgress } from './types.ts';

const byName: Record<MethodName, RankMethod> = {
  shapley,
  oracle,
  'leave-one-out': leaveOneOut,
  dirichlet,
  taylor,
  'taylor-squared': taylorSquared,
  'taylor-signed': taylorSigned,
  fisher,
  magnitude,
  'magnitude-l2': magnitudeL2,
  activation,
  wanda,
  obs,
  random,
};

/** All methods in the order of menus. Adding one: its own file, one line here, its name in `MethodName` and names.ts. */
export const methods: readonly RankMethod[] = METHOD_NAMES.map((name) => byName[name]);

/** The method of that name or another spelling of it. @throws SecateurError 'usage' for an unknown name */
export function rankMethod(name: string): RankMethod {
  return byName[methodNamed(name)];
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
