import type { MetricName, MethodName, UnitKind } from '../../src/formats.ts';

/** The words of the editor: one place, so that a method has the same name everywhere. */
export interface Word {
  label: string;
  /** One sentence for the tooltip. */
  about: string;
}

export interface MethodWord extends Word {
  /** Asks a value function (a metric). */
  metric: boolean;
  /** The metric must change little by little: not accuracy, nor agreement. */
  smooth?: boolean;
  /** Spends a budget of evaluations. */
  sampled: boolean;
  data: boolean;
  /** Scores are in one unit over all groups; otherwise every group as a whole counts the same. */
  comparable: boolean;
}

export const METHODS: Record<MethodName, MethodWord> = {
  shapley: {
    label: 'Shapley value',
    about: 'Mean change of the metric that a unit makes over random orders of opening the units.',
    metric: true,
    sampled: true,
    data: true,
    comparable: true,
  },
  oracle: {
    label: 'oracle',
    about: 'How often the unit is in the best set of each size, by trying all sets. Groups of up to 16 units.',
    metric: true,
    sampled: false,
    data: true,
    comparable: false,
  },
  'leave-one-out': {
    label: 'leave-one-out',
    about: 'Change of the metric when only this unit is closed.',
    metric: true,
    sampled: false,
    data: true,
    comparable: true,
  },
  dirichlet: {
    label: 'Dirichlet switch',
    about:
      'Share of a fixed sum of gates that the units compete for, fitted by gradients. Error bars: posterior standard deviation.',
    metric: true,
    smooth: true,
    sampled: false,
    data: true,
    comparable: false,
  },
  taylor: {
    label: 'Taylor, first order',
    about:
      'Mean size of the first-order change of a sample’s loss when this unit is closed: one backward pass for all.',
    metric: false,
    sampled: false,
    data: true,
    comparable: true,
  },
  'taylor-squared': {
    label: 'Taylor, squared',
    about: 'Mean square of the first-order change of a sample’s loss when this unit is closed.',
    metric: false,
    sampled: false,
    data: true,
    comparable: true,
  },
  'taylor-signed': {
    label: 'Taylor, signed',
    about: 'First-order estimate of what closing this unit costs; changes of opposite sign cancel over samples.',
    metric: false,
    sampled: false,
    data: true,
    comparable: true,
  },
  fisher: {
    label: 'Fisher information',
    about: 'Second-order estimate of what closing this unit costs, from how the model’s own answers depend on it.',
    metric: false,
    sampled: false,
    data: true,
    comparable: true,
  },
  magnitude: {
    label: 'weight magnitude (L1)',
    about: 'Mean absolute weight that produces the unit. Needs no data.',
    metric: false,
    sampled: false,
    data: false,
    comparable: false,
  },
  'magnitude-l2': {
    label: 'weight magnitude (L2)',
    about: 'Euclidean norm of the weights that produce the unit. Needs no data.',
    metric: false,
    sampled: false,
    data: false,
    comparable: false,
  },
  activation: {
    label: 'mean activation',
    about: 'Mean absolute activation of the unit over the data.',
    metric: false,
    sampled: false,
    data: true,
    comparable: false,
  },
  wanda: {
    label: 'Wanda (weight × activation)',
    about: 'Absolute weights that read the unit, each times the size of what it multiplies on the data.',
    metric: false,
    sampled: false,
    data: true,
    comparable: false,
  },
  obs: {
    label: 'optimal brain surgeon',
    about: 'Error of the next layer when the unit and all less important ones go and its other weights are refitted.',
    metric: false,
    sampled: false,
    data: true,
    comparable: false,
  },
  random: {
    label: 'random order',
    about: 'A seeded random order: the baseline every method should beat.',
    metric: false,
    sampled: false,
    data: false,
    comparable: false,
  },
};

/**
 * Metrics of the data that a method can rank by, its default first: as the engine takes it, that is the divergence from the
 * original's answers rather than the labels where a method has to differentiate.
 */
export function metricsFor({ smooth }: MethodWord, metrics: readonly MetricName[]): readonly MetricName[] {
  if (!smooth) return metrics;
  const usable = metrics.filter((m) => m !== 'accuracy' && m !== 'agreement');
  return metrics.includes('accuracy') ? [...new Set<MetricName>(['kl', ...usable])] : usable;
}

export const METRICS: Record<MetricName, Word> = {
  accuracy: { label: 'accuracy', about: 'Share of samples whose top answer is the label.' },
  'cross-entropy': { label: '−cross-entropy', about: 'Minus the mean cross-entropy in nats: larger is better.' },
  kl: {
    label: '−KL to the original',
    about: 'Minus the mean KL divergence from the original’s answer: 0 is no change.',
  },
  mse: {
    label: '−MSE to the original',
    about: 'Minus the mean squared error, 0 is no change (relative without labels).',
  },
  agreement: { label: 'agreement', about: 'Share of samples with the same top answer as the original.' },
};

const KINDS: Record<UnitKind, [string, string]> = {
  channel: ['channel', 'channels'],
  neuron: ['neuron', 'neurons'],
  head: ['head', 'heads'],
  'head-dim': ['head dimension', 'head dimensions'],
  width: ['feature of the residual stream', 'features of the residual stream'],
  hidden: ['hidden unit', 'hidden units'],
  block: ['block', 'blocks'],
  expert: ['expert', 'experts'],
  exit: ['exit', 'exits'],
  feature: ['feature', 'features'],
  layer: ['layer', 'layers'],
};

export function method(name: MethodName): MethodWord {
  return METHODS[name] ?? { label: name, about: '', metric: true, sampled: false, data: true, comparable: true };
}
export function metricLabel(name: MetricName | null): string {
  return name === null ? 'metric' : (METRICS[name]?.label ?? name);
}
export function kindName(kind: UnitKind, n: number): string {
  return (KINDS[kind] ?? ['unit', 'units'])[n === 1 ? 0 : 1];
}
export const COST_UNITS = { macs: 'MACs', parameters: 'parameters' } as const;
