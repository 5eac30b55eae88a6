import { SecateurError } from '../errors.ts';
import type { ActivationSource, MomentSource } from '../evaluation/moments/index.ts';
import type { CoalitionGame, GateLoss } from '../evaluation/types.ts';
import type { MethodName } from '../formats.ts';
import type { GradientSource, RankContext } from './types.ts';

/** The context's game, checked to be that of the group. @throws SecateurError 'internal' without one */
export function requireGame(method: MethodName, context: RankContext): CoalitionGame {
  const { game, group } = context;
  if (!game) throw new SecateurError('internal', `Method ${method} needs the game of group '${group.id}'.`);
  if (game.players !== group.size)
    throw new SecateurError(
      'internal',
      `The game of group '${group.id}' has ${game.players} players for ${group.size} units.`,
    );
  return game;
}

/** The context's activation source. @throws SecateurError 'internal' without one */
export function requireActivations(method: MethodName, context: RankContext): ActivationSource {
  if (!context.activations)
    throw new SecateurError('internal', `Method ${method} needs the activations of group '${context.group.id}'.`);
  return context.activations;
}

/**
 * The context's source of moments, checked to have something to say about the group.
 * @throws SecateurError 'internal' without one; 'unsupported' when no consumer of the group is covered
 */
export function requireMoments(method: MethodName, { moments, group }: RankContext): MomentSource {
  if (!moments) throw new SecateurError('internal', `Method ${method} needs the moments of group '${group.id}'.`);
  if (moments.reads.reads.length === 0)
    throw new SecateurError(
      'unsupported',
      `No consumer of group '${group.id}' is a weighted sum of its units with constant weights, so ${method} says nothing about it.`,
      'Use another method for this group, such as shapley, leave-one-out or activation.',
    );
  return moments;
}

/** The context's source of gradients. @throws SecateurError 'internal' without one */
export function requireGradients(method: MethodName, { gradients, group }: RankContext): GradientSource {
  if (!gradients) throw new SecateurError('internal', `Method ${method} needs the gradients of group '${group.id}'.`);
  return gradients;
}

/** The context's loss under gates, checked to be that of the group. @throws SecateurError 'internal' without one */
export function requireLoss(method: MethodName, { loss, group }: RankContext): GateLoss {
  if (loss?.size !== group.size)
    throw new SecateurError('internal', `Method ${method} needs the loss under gates of group '${group.id}'.`);
  return loss;
}

/**
 * A run goes on with the seed that it was begun with.
 *
 * @throws SecateurError 'usage'
 */
export function requireSeed(state: { seed: number }, seed: number): void {
  if (state.seed !== seed)
    throw new SecateurError(
      'usage',
      `The saved ranking was made with seed ${state.seed}, not ${seed}.`,
      'Resume with the same seed, or rank anew.',
    );
}

/** A saved state as what it should be, once the checks of its method have passed. @throws SecateurError 'bad-data' when they have not */
export function requireFit<T>(state: T, fits: boolean): T {
  if (fits) return state;
  throw new SecateurError(
    'bad-data',
    'The saved state of the ranking does not fit the group.',
    'Rank it anew, without resuming.',
  );
}
