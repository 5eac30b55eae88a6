/** Training: steps that are graphs, and the loop around them. */
export {
  trainingGraph,
  type TrainingGraph,
  type TrainingGraphOptions,
  type TrainingLoss,
  type Variable,
} from './graph.ts';
export { distillationLoss, labelLoss, squaredLoss, type DistillationOptions, type LabelLossOptions } from './losses.ts';
export type { AdamOptions, OptimiserOptions, SgdOptions } from './optimiser.ts';
export { parameterRule, type Parameter, type ParameterChoice, type ParameterRule } from './parameters.ts';
export { scheduleShare, type Schedule } from './schedule.ts';
export { train, type EpochRecord, type TrainingResult, type TrainOptions, type TrainProgress } from './train.ts';
export { Trainer, type Step, type TrainerOptions, type TrainerState } from './trainer.ts';
export { validationBy } from './validation.ts';
