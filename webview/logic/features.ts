import type { FeatureBaseline, FeatureKind, Features, FeatureScore, PortInfo } from '../../src/formats.ts';
import type { NamedBar } from './named-bar.ts';
import { number } from './format.ts';
import { Z95 } from './units.ts';

/**
 * Features as bars. Whiskers: of a Dirichlet share one standard deviation to each side (it cannot be below 0), of a Shapley
 * value 95 % of the sampling error.
 */
export function featureBars(features: readonly FeatureScore[], method: Features['method']): NamedBar[] {
  return features.map((score) => {
    const reach = (method === 'qfit' ? 1 : Z95) * (score.sd ?? 0);
    const low = score.importance - reach;
    return {
      key: score.index,
      name: score.name,
      value: score.importance,
      low: method === 'qfit' ? Math.max(0, low) : low,
      high: score.importance + reach,
      lines: featureLines(score, method),
    };
  });
}

/** What the whiskers of `featureBars` are; null without any. */
export function whiskersOf(features: readonly FeatureScore[], method: Features['method']): string | null {
  if (features.every((f) => f.sd === null)) return null;
  return method === 'qfit' ? '± one standard deviation' : '95 % intervals';
}

/** What the lines of a tooltip say of a feature. */
export function featureLines(score: FeatureScore, method: Features['method']): [string, string][] {
  const lines: [string, string][] = [[method === 'qfit' ? 'share' : 'Shapley value', number(score.importance)]];
  if (score.sd !== null) lines.push([method === 'qfit' ? 'standard deviation' : 'standard error', number(score.sd, 2)]);
  return lines;
}

/** Largest absolute importance; what colours are relative to. */
export function largestImportance(features: readonly FeatureScore[]): number {
  return features.reduce((most, f) => Math.max(most, Math.abs(f.importance)), 0);
}

/** Singular and plural of a feature. */
export const FEATURE_WORDS: Record<FeatureKind, [string, string]> = {
  columns: ['column', 'columns'],
  pixels: ['pixel', 'pixels'],
  patches: ['patch', 'patches'],
  channels: ['channel', 'channels'],
  rows: ['row', 'rows'],
  tokens: ['token', 'tokens'],
};

export const BASELINE_WORDS: Record<FeatureBaseline, string> = {
  mean: 'its mean over the data',
  zero: 'zero',
};

/** Kinds of features that an input may have; its shape begins with the samples. */
export function kindsOf(input: Pick<PortInfo, 'shape' | 'type'> | undefined): FeatureKind[] {
  const rank = input?.shape?.length ?? 2;
  if (input && /^u?int/.test(input.type)) return ['tokens'];
  if (rank >= 5) return ['channels'];
  if (rank === 4) return ['patches', 'pixels', 'rows', 'channels'];
  return rank === 3 ? ['tokens', 'columns', 'rows', 'patches', 'pixels'] : ['columns'];
}
