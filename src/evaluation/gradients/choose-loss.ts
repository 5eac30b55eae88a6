import type { Dataset } from '../data/dataset.ts';
import type { OutputReading } from '../types.ts';
import type { LossKind } from './loss-terms.ts';

/**
 * What gradients are taken of. task: the loss that the model is for; distribution: answers of the model's own
 * distribution, for second derivatives.
 */
export type GradientSubject = 'task' | 'distribution';

export interface ChosenLoss {
  kind: LossKind;
  /** A sentence for the result, where the loss is not the one that a reader expects. */
  note?: string;
}

/** The loss that suits the data: without labels a divergence from the model itself has no gradient at open gates. */
export function chooseLoss(dataset: Dataset, reading: OutputReading, subject: GradientSubject): ChosenLoss {
  const numbers = reading.reading === 'regression';
  if (subject === 'distribution') return { kind: numbers ? 'projection' : 'own-distribution' };
  if (dataset.labels) return { kind: numbers ? 'mse' : 'cross-entropy' };
  if (!numbers)
    return {
      kind: 'own-answer',
      note: 'The data have no labels: gradients are those of the cross-entropy with the model’s own top answers.',
    };
  return {
    kind: 'projection',
    note: 'The data have no targets: gradients are those of random combinations of the output’s numbers.',
  };
}
