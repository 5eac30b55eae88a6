import { SecateurError } from '../errors.ts';
import { gradientMethod } from './gradient-scores.ts';
import type { GateDerivatives, RankMethod } from './types.ts';

/**
 * First-order estimates of what the loss changes by when a unit is closed (Molchanov, Tyree, Karras, Aila, Kautz 2017,
 * arXiv 1611.06440; Molchanov, Mallya, Tyree, Frosio, Kautz 2019, arXiv 1906.10771). With a gate g = 1 on a unit,
 * ∂loss/∂g = Σ a·∂loss/∂a over its activations a at all positions; all gates of the model take one backward pass.
 */

/** In a few words which loss stood in for one that the data do not allow. */
function standIn({ loss }: GateDerivatives): string | undefined {
  if (loss === 'own-answer') return 'own answers';
  return loss === 'projection' ? 'random projections' : undefined;
}

/** Mean over samples of |Σ a·∂loss/∂a|. */
export const taylor: RankMethod = gradientMethod({
  name: 'taylor',
  label: 'Taylor, first order',
  description: 'Mean over samples of the size of the first-order change of the loss when the unit is closed.',
  subject: 'task',
  score: ({ moments }) => ({ of: moments.absolute, times: 1 }),
  estimator: standIn,
});

/** Mean over samples of (Σ a·∂loss/∂a)². */
export const taylorSquared: RankMethod = gradientMethod({
  name: 'taylor-squared',
  label: 'Taylor, squared',
  description: 'Mean over samples of the squared first-order change of the loss when the unit is closed.',
  subject: 'task',
  score: ({ moments }) => ({ of: moments.square, times: 1 }),
  estimator: standIn,
});

/** −mean over samples of Σ a·∂loss/∂a: what is lost of −loss, to first order; below 0 where closing the unit helps. */
export const taylorSigned: RankMethod = gradientMethod({
  name: 'taylor-signed',
  label: 'Taylor, signed',
  description: 'First-order estimate of what closing the unit costs; changes of opposite sign cancel over samples.',
  subject: 'task',
  check(loss) {
    if (loss === 'projection')
      throw new SecateurError(
        'unsupported',
        'The signed first-order change needs a loss, and the data have no targets.',
        'Give labels or targets, or use taylor or taylor-squared.',
      );
  },
  score: ({ moments }) => ({ of: moments.signed, times: -1 }),
  estimator: standIn,
});
