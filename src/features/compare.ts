import type { FeatureComparison, FeatureExplanation } from '../formats.ts';
import { spearman } from '../math/correlation.ts';
import { dirichletKl } from '../math/dirichlet.ts';

/**
 * Two explanations of the same features: the divergence between their Dirichlet distributions in closed form, both ways,
 * and how far their orders agree.
 */
export function compareExplanations(
  of: FeatureComparison['of'],
  first: FeatureExplanation,
  other: FeatureExplanation,
): FeatureComparison {
  const [a, b] = [first, other].map(({ features }) => features.map((f) => f.importance));
  const rho = spearman(a, b);
  return {
    of,
    other,
    divergence:
      first.phi && other.phi
        ? { forward: dirichletKl(first.phi, other.phi), backward: dirichletKl(other.phi, first.phi) }
        : null,
    spearman: Number.isNaN(rho) ? null : rho,
  };
}
