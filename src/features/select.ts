import { SecateurError } from '../errors.ts';
import type { FeatureLayout } from './layout.ts';

/** λ where features have places, unless it is given. */
const SPREAD = 0.5;

/**
 * Spatially aware selection (after Adamczewski et al. 2023, Lidar Line Selection with Spatially-Aware Shapley Value,
 * arXiv 2303.11720; as maximal marginal relevance, Carbonell and Goldstein 1998): features are chosen one after the other
 * by importance_i / max importance − λ · max over chosen j of similarity(i, j). The similarity falls with the distance d
 * between features as e^(1−d): 1 for neighbours.
 * @param count how many to choose
 * @param spread λ; 0: the most important ones
 * @returns in the order in which they were chosen; equal scores: the first
 * @throws SecateurError 'usage' for a count that is not possible, or a penalty where features have no place
 */
export function selectFeatures(
  layout: FeatureLayout,
  importance: ArrayLike<number>,
  count: number,
  spread = defaultSpread(layout),
): number[] {
  checkSelection(layout, count, spread);
  const n = layout.size;
  let largest = 0;
  for (let i = 0; i < n; i++) largest = Math.max(largest, Math.abs(importance[i]));
  const nearest = new Float64Array(n);
  const chosen: number[] = [];
  const taken = new Uint8Array(n);
  while (chosen.length < count) {
    let best = -1;
    let highest = -Infinity;
    for (let i = 0; i < n; i++) {
      const score = importance[i] / (largest || 1) - spread * nearest[i];
      if (!taken[i] && score > highest) [best, highest] = [i, score];
    }
    chosen.push(best);
    taken[best] = 1;
    if (spread > 0) for (let i = 0; i < n; i++) nearest[i] = Math.max(nearest[i], similarity(layout, i, best));
  }
  return chosen;
}

/** @throws SecateurError 'usage' for a count that is not possible, or a penalty where features have no place */
export function checkSelection(layout: FeatureLayout, count: number, spread: number | undefined): void {
  const n = layout.size;
  if (!(Number.isInteger(count) && count >= 1 && count <= n))
    throw new SecateurError('usage', `${count} of ${n} features cannot be chosen.`, `Give a number from 1 to ${n}.`);
  if (spread !== undefined && !(spread >= 0 && spread < Infinity))
    throw new SecateurError('usage', `A spread of ${spread} is not possible.`, 'Give a number of at least 0.');
  if (spread && !hasPlaces(layout))
    throw new SecateurError(
      'usage',
      `Features of the kind ${layout.kind} are nobody's neighbours: there is nothing to spread.`,
      'Leave --spread out.',
    );
}

/** λ unless it is given: nothing to spread where features have no neighbours. */
export function defaultSpread(layout: FeatureLayout): number {
  return hasPlaces(layout) ? SPREAD : 0;
}

/** Whether features have neighbours: in an image, or along a sequence. */
function hasPlaces({ kind }: FeatureLayout): boolean {
  return kind !== 'columns' && kind !== 'channels';
}

function similarity({ grid }: FeatureLayout, a: number, b: number): number {
  const columns = grid?.columns ?? 1;
  const down = Math.floor(a / columns) - Math.floor(b / columns);
  const across = (a % columns) - (b % columns);
  return Math.exp(1 - Math.hypot(down, across));
}
