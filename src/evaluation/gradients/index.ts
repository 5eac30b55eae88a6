/** Gradients of the losses of samples with respect to gates. Builds on the coalition evaluator, which knows nothing of it. */
export { chooseLoss, type ChosenLoss, type GradientSubject } from './choose-loss.ts';
export { type GateGradients, gateGradients } from './gate-gradients.ts';
export { openGateLoss, type OpenGateLoss } from './gate-loss.ts';
export type { LossKind } from './loss-terms.ts';
export { openSampleLoss, type SampleLoss, type SampleLossOptions } from './sample-loss.ts';
export type { GateMoments } from './sample-sums.ts';
