/** Moments of what the consumers of a group read, over samples and positions: E|x|, E[x²], E[x xᵀ]. */
export { ActivationRuns } from './activations.ts';
export { columnsOfUnits, linearReads, stackedWeights } from './reads.ts';
export { MomentRuns } from './runs.ts';
export type {
  ActivationSource,
  LinearConsumer,
  LinearRead,
  LinearReads,
  MomentKind,
  MomentSource,
  Moments,
} from './types.ts';
