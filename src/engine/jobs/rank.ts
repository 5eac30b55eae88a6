import { TimeLeft } from './time-left.ts';
import { SecateurError } from '../../errors.ts';
import type { GroupRanks, MetricName, Ranks } from '../../formats.ts';
import type { EngineMethods } from '../../protocol.ts';
import { rankGroup, rankMethod } from '../../ranking/registry.ts';
import { DEFAULT_TOLERANCE } from '../../ranking/shapley/budget.ts';
import type { RankMethod, RankOutcome, RankState } from '../../ranking/types.ts';
import type { Group, Structure } from '../../units/types.ts';
import type { JobContext } from './context.ts';
import { checkpoint } from './context.ts';
import type { OpenData } from './data.ts';
import { chooseMetric, chooseSmoothMetric, openData } from './data.ts';
import { openModel } from './model.ts';
import { checkLayerRanking, layersGroup, layerWarnings, nameLayers, openLayers } from './rank-layers.ts';
import { sources, type GroupJob, type RankSource } from './rank-sources.ts';
import { chooseDevice } from './sessions.ts';

type RankParams = EngineMethods['rank']['params'];

/** What `Ranks.resume` holds: how to go on with each group, and which of them had not come to their end. */
interface ResumeState {
  states: Record<string, RankState>;
  unfinished: string[];
}

/**
 * Ranks the units of every prunable group but residual blocks, or of the groups asked for, in graph order. When it is cancelled it returns
 * what was computed by then, with `complete: false` and what is needed to go on.
 */
export async function rank(params: RankParams, context: JobContext): Promise<Ranks> {
  const started = performance.now();
  const { signal } = context;
  const method = rankMethod(params.method);
  context.progress({ fraction: 0, note: 'reading model and data' });
  const model = await openModel(params.model);
  await checkpoint(context);
  const structure = model.structure();
  const data = await openData(model, params.data);
  const warnings = [...data.warnings, ...structure.warnings];
  const metric = metricFor(method, data, params.metric, warnings);
  const device = await chooseDevice(params.device, warnings);
  const chosen = chooseGroups(structure, params.groups, warnings);
  const { layers } = params;
  if (layers) {
    checkLayerRanking(method, chosen, layers.closing);
    warnings.push(...layerWarnings(structure, chosen, layers.closing));
  }
  const groups = layers ? [layersGroup(chosen)] : chosen;
  const open = (job: GroupJob): RankSource | Promise<RankSource> =>
    layers ? openLayers(job, chosen, layers.closing, signal) : sources[method.needs](job, signal);
  const reference = await model.ref();
  const earlier = checkResume(params, reference.sha256, data, metric);
  await checkpoint(context);

  const sizes = groups.map((g) => Math.max(1, method.plannedEvaluations(g.size, params.budget, params)));
  const total = sizes.reduce((a, b) => a + b, 0);
  const state: ResumeState = { states: { ...earlier?.state.states }, unfinished: [] };
  const results = new Map<string, GroupRanks>();
  for (const old of earlier?.ranks.groups ?? []) results.set(old.id, old);
  const done: GroupRanks[] = [];
  let complete = true;
  let behind = 0;
  /** Why the method can say nothing about a group: an error only when there is no other group. */
  let refused: SecateurError | undefined;
  const timeLeft = new TimeLeft();
  for (const [i, group] of groups.entries()) {
    const share = sizes[i];
    const title = `ranking ${group.id}${groups.length > 1 ? ` (group ${i + 1} of ${groups.length})` : ''}`;
    const progress = (evaluations: number, planned: number, partial?: GroupRanks): void => {
      const fraction = (behind + share * (planned > 0 ? Math.min(1, evaluations / planned) : partial ? 1 : 0)) / total;
      const note =
        planned > 1 ? `${title}: ${evaluations} of at most ${planned} ${metric ? 'evaluations' : 'steps'}` : title;
      const left = timeLeft.words(fraction);
      context.progress({ fraction, note: left ? `${note}, ${left}` : note, ...(partial ? { partial } : {}) });
    };
    progress(0, 0);
    let outcome: RankOutcome | null;
    const old = results.get(group.id);
    if (old && !state.states[group.id] && !earlier!.state.unfinished.includes(group.id)) {
      outcome = { ranks: old, complete: true };
    } else {
      try {
        outcome = await rankOne(
          method,
          group,
          () => open({ model, structure, group, data, metric, device, seed: params.seed, warnings }),
          params,
          state.states[group.id],
          context,
          progress,
        );
      } catch (thrown) {
        if (!(thrown instanceof SecateurError && thrown.code === 'unsupported')) throw thrown;
        refused ??= thrown;
        warnings.push(`${thrown.message} It is left out.`);
        behind += share;
        continue;
      }
    }
    if (outcome) {
      done.push(outcome.ranks);
      if (outcome.resume) state.states[group.id] = outcome.resume;
      if (outcome.complete) progress(1, 1, outcome.ranks);
    }
    if (!outcome?.complete) {
      if (!outcome)
        warnings.push(`Group '${group.id}' was not finished, and ${method.name} keeps nothing of a part of it.`);
      complete = false;
      state.unfinished.push(group.id);
      break;
    }
    behind += share;
  }
  if (refused && complete && done.length === 0) throw refused;
  // Groups of an earlier run that this one did not come to (or was not asked about) are kept.
  for (const old of earlier?.ranks.groups ?? []) if (!done.some((g) => g.id === old.id)) done.push(old);
  const order = new Map(structure.groups.map((g, i) => [g.id, i]));
  done.sort((a, b) => order.get(a.id)! - order.get(b.id)!);
  if (signal.aborted) complete = false;
  return {
    format: 'secateur-ranks/1',
    model: reference,
    data: data.ref,
    method: method.name,
    metric,
    ...(metric ? { output: data.reading.output, reading: data.reading.reading } : {}),
    seed: params.seed,
    device,
    budget: params.budget ?? (metric ? Math.max(0, ...sizes) : 0),
    tolerance: params.tolerance ?? (method.name === 'shapley' ? DEFAULT_TOLERANCE : 0),
    seconds: (earlier?.ranks.seconds ?? 0) + (performance.now() - started) / 1000,
    complete,
    ...(layers ? { layers } : {}),
    groups: layers ? done.map((ranks) => nameLayers(ranks, chosen)) : done,
    ...(Object.keys(state.states).length > 0 || state.unfinished.length > 0 ? { resume: state } : {}),
    warnings: [...new Set(warnings)],
  };
}

/** What the method measures; null for methods that measure nothing, or what they need themselves. */
function metricFor(method: RankMethod, data: OpenData, wanted: MetricName | undefined, warnings: string[]) {
  if (method.needs === 'game') return chooseMetric(data, wanted);
  const loss = data.reading.reading === 'regression' ? 'mse' : 'cross-entropy';
  if (method.needs === 'gradients' && wanted && wanted !== loss)
    warnings.push(
      `The metric ${wanted} has no part in ${method.name}, which takes the gradients of a loss of its own.`,
    );
  return method.needs === 'switch' ? chooseSmoothMetric(data, wanted, warnings) : null;
}

/** Ranks one group; null when it was cancelled before there was anything to keep. */
async function rankOne(
  method: RankMethod,
  group: Group,
  open: () => RankSource | Promise<RankSource>,
  params: RankParams,
  resume: RankState | undefined,
  { signal }: JobContext,
  progress: (evaluations: number, planned: number, partial?: GroupRanks) => void,
): Promise<RankOutcome | null> {
  const { seed, budget, tolerance, estimator, truncation, form, scaling, prior } = params;
  const options = { seed, budget, tolerance, estimator, truncation, form, scaling, prior, resume };
  try {
    if (signal.aborted) return null;
    const source = await open();
    try {
      return await rankGroup(method, { group, ...source.gives }, options, signal, (p) =>
        progress(p.evaluations, p.planned, p.partial),
      );
    } finally {
      await source.close?.();
    }
  } catch (thrown) {
    if (signal.aborted || (thrown instanceof SecateurError && thrown.code === 'cancelled')) return null;
    throw thrown;
  }
}

/** The groups to rank, in graph order. @throws SecateurError 'usage' for ids that the model does not have */
function chooseGroups(structure: Structure, wanted: readonly string[] | undefined, warnings: string[]): Group[] {
  const prunable = structure.groups.filter((g) => g.prunable);
  if (!wanted) {
    // Whole blocks go only when they are asked for.
    const units = prunable.filter((g) => g.kind !== 'block');
    if (units.length === 0) {
      throw new SecateurError(
        'unsupported',
        'The model has no group of units that can be pruned.',
        prunable.length > 0
          ? `It has residual blocks: name their group, '${prunable[0].id}', to rank them.`
          : 'Run `secateur inspect` to see why.',
      );
    }
    return units;
  }
  const chosen: Group[] = [];
  for (const id of wanted) {
    const group = structure.groups.find((g) => g.id === id);
    if (!group)
      throw new SecateurError('usage', `The model has no group '${id}'.`, 'Run `secateur inspect` to see its groups.');
    if (group.prunable) chosen.push(group);
    else warnings.push(`The group '${id}' is skipped: it ${group.reason ?? 'cannot be pruned'}.`);
  }
  if (chosen.length === 0)
    throw new SecateurError('usage', 'None of these groups can be pruned.', warnings[warnings.length - 1]);
  return prunable.filter((g) => chosen.includes(g));
}

/** Checks that an earlier run was the same but for its length. @throws SecateurError 'usage' that says what differs */
function checkResume(
  params: RankParams,
  sha256: string,
  data: OpenData,
  metric: MetricName | null,
): { ranks: Ranks; state: ResumeState } | null {
  const { resume } = params;
  if (!resume) return null;
  const pairs: [string, unknown, unknown][] = [
    ['model', resume.model.sha256, sha256],
    ['method', resume.method, params.method],
    ['choice of players', resume.layers?.closing, params.layers?.closing],
    ['metric', resume.metric, metric],
    ['seed', resume.seed, params.seed],
    ['data', resume.data.fingerprint, data.ref.fingerprint],
    ['number of samples', resume.data.samples, data.ref.samples],
  ];
  const differing = pairs.filter(([, a, b]) => a !== b).map(([name]) => name);
  if (differing.length > 0) {
    throw new SecateurError(
      'usage',
      `The earlier ranks cannot be gone on with: they are of another ${differing.join(' and ')}.`,
      'Rank anew, without resuming.',
    );
  }
  const state = (resume.resume ?? { states: {}, unfinished: [] }) as ResumeState;
  return { ranks: resume, state: { states: { ...state.states }, unfinished: [...(state.unfinished ?? [])] } };
}

/** Refuses ranks that are not of this model. */
export function checkRanksModel(ranks: Ranks, sha256: string, path: string): void {
  if (ranks.layers)
    throw new SecateurError(
      'bad-data',
      'These ranks are of whole layers, not of units.',
      'Rank the units of the model.',
    );
  if (ranks.model.sha256 !== sha256) {
    throw new SecateurError(
      'bad-data',
      `The ranks are of another model (${ranks.model.path}, SHA-256 ${ranks.model.sha256.slice(0, 12)}…) than ${path} (${sha256.slice(0, 12)}…).`,
      'Rank this model.',
    );
  }
}
