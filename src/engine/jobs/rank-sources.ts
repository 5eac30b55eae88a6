/** What ranking methods draw on, opened for one group at a time. */
import { cachedGame, openGame } from '../../evaluation/coalitions/index.ts';
import { openGateLoss } from '../../evaluation/gradients/index.ts';
import { ActivationRuns, MomentRuns } from '../../evaluation/moments/index.ts';
import type { MetricName, Ranks } from '../../formats.ts';
import type { RankContext, RankMethod } from '../../ranking/types.ts';
import type { Group, Structure } from '../../units/types.ts';
import { coalitionCache } from './coalition-cache.ts';
import type { OpenData } from './data.ts';
import { GradientPasses } from './gradients.ts';
import type { OpenModel } from './model.ts';

/** One group to be ranked. */
export interface GroupJob {
  model: OpenModel;
  structure: Structure;
  group: Group;
  data: OpenData;
  /** Null for methods without a game. */
  metric: MetricName | null;
  device: Ranks['device'];
  seed: number;
  /** Sentences for the result; sources add to them. */
  warnings: string[];
}

/** The parts of a method's context that are opened for it, and how they are closed again. */
export interface RankSource {
  gives: Omit<RankContext, 'group'>;
  close?(): Promise<void>;
}

/** How each of the things that a method may need is opened. */
export const sources: Record<
  RankMethod['needs'],
  (job: GroupJob, signal: AbortSignal) => RankSource | Promise<RankSource>
> = {
  nothing: () => ({ gives: {} }),
  weights: () => ({ gives: {} }),
  activations: ({ structure, data, device }) => ({
    gives: { activations: new ActivationRuns(structure, data.search, device) },
  }),
  moments: openMoments,
  gradients: ({ model, structure, data, device, seed, warnings }) => ({
    gives: { gradients: new GradientPasses({ key: model.key, structure, data, device, seed, warnings }) },
  }),
  game: openCachedGame,
  switch: openLoss,
};

/** The game of the group, with the values of coalitions that earlier runs left on disk. */
async function openCachedGame(job: GroupJob, signal: AbortSignal): Promise<RankSource> {
  const { model, structure, group, data, metric, device, warnings } = job;
  const open = await openGame(structure, group.id, data.search, {
    metric: metric!,
    reading: data.reading,
    device,
    signal,
  });
  for (const note of open.info.notes) if (!warnings.includes(note)) warnings.push(note);
  const cache = await coalitionCache(model, data, metric!, device, group);
  const game = cache ? cachedGame(open, cache) : open;
  return { gives: { game }, close: () => game.close() };
}

/** The loss of the model under gates on the group, and what stands in the way of its gradients. */
async function openLoss(job: GroupJob, signal: AbortSignal): Promise<RankSource> {
  const { structure, group, data, metric, device, seed, warnings } = job;
  const { reading, search } = data;
  const loss = await openGateLoss(structure, group.id, search, { metric: metric!, reading, device, seed, signal });
  for (const note of loss.info.notes) if (!warnings.includes(note)) warnings.push(note);
  if (!loss.differentiable)
    warnings.push(
      `Group '${group.id}' has no gradients: its switch is fitted by the score function, with four times the evaluations.`,
    );
  return { gives: { loss }, close: () => loss.close() };
}

/** Moments of what the group's consumers read; consumers that have no say are named. */
function openMoments({ structure, group, data, device, warnings }: GroupJob): RankSource {
  const moments = new MomentRuns(structure, group, data.search, device);
  const { reads, uncovered } = moments.reads;
  if (reads.length > 0 && uncovered.length > 0) {
    const names = uncovered.slice(0, 3).map((node) => `'${structure.layerName(node)}'`);
    warnings.push(
      `The scores of group '${group.id}' leave out ${uncovered.length} of its consumers (${names.join(', ')}${uncovered.length > 3 ? ', …' : ''}): not a weighted sum of the units with constant weights.`,
    );
  }
  return { gives: { moments } };
}
