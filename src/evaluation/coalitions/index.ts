/** The coalition evaluator: values of a model with some of its units closed, fast. */
export { CoalitionCache, cachedGame } from './cache.ts';
export { type OpenGame, openGame } from './game.ts';
export { type LayerPlayer, openLayerGame } from './layers.ts';
export { type GatedModelRunner, type MeasuredValue, openGatedModel } from './gated-model.ts';
export { type EvaluatorInfo, type EvaluatorOptions, referenceOf } from './open.ts';
