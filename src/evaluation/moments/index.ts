/** Second moments of what the consumers of a group read: E[x xᵀ] over samples and positions. */
export { columnsOfUnits, linearReads, stackedWeights } from './reads.ts';
export { MomentRuns } from './runs.ts';
export type { LinearConsumer, LinearRead, LinearReads, MomentKind, MomentSource, Moments } from './types.ts';
