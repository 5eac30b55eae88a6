/** Plans: which units stay, from ranks and a target. */
export { CostModel, predictCost } from './cost-model.ts';
export type { Cost } from './cost-model.ts';
export { matchGroups } from './freeze.ts';
export { makePlan } from './make-plan.ts';
export type { PlanResult, PlanSearch } from './make-plan.ts';
export { defaultMeasurements } from './max-drop.ts';
export type { Measure, MeasuredPoint } from './max-drop.ts';
export { checkPlan, parsePlan, planKeepSets, serializePlan } from './plan-file.ts';
export { keepAfter, removalOrder } from './removal-order.ts';
export { planScores } from './scores.ts';
export { DEFAULT_PLAN_OPTIONS } from './types.ts';
export type { PlannableGroup, PlanOptions, PlanTarget } from './types.ts';
