import { SecateurError } from '../../errors.ts';
import type { CostTerm, Plan, Ranks, RemovalOrder } from '../../formats.ts';
import type { KeepSets } from '../../units/types.ts';
import { predictCost } from './cost-model.ts';
import type { Cost } from './cost-model.ts';
import { cutAt } from './cut.ts';
import { defaultMeasurements, searchMaxDrop } from './max-drop.ts';
import type { Measure, MeasuredPoint } from './max-drop.ts';
import { removalOrder } from './removal-order.ts';
import type { CostKind } from './removal-order.ts';
import { planScores } from './scores.ts';
import { DEFAULT_PLAN_OPTIONS } from './types.ts';
import type { PlannableGroup, PlanOptions, PlanTarget } from './types.ts';

/** What a max-drop target needs, and how a long search talks and stops. */
export interface PlanSearch {
  measure: Measure;
  signal?: AbortSignal;
  /** After each measurement; `count` of at most `maxMeasurements`. */
  onMeasured?: (point: MeasuredPoint, count: number) => void;
  /** Default: `defaultMeasurements(groups)`. */
  maxMeasurements?: number;
}

export interface PlanResult {
  plan: Plan;
  before: Cost;
  predicted: Cost;
  /** Measured metric of the plan and of the whole model; null unless the target is max-drop. */
  value: number | null;
  full: number | null;
  /** All cuts of this allocation, for sliders. */
  order: RemovalOrder;
  /** Points that a max-drop search measured on its way. */
  measured: MeasuredPoint[];
  /** False when floors, locks or what cannot be pruned keep the model above the target. */
  reached: boolean;
  /** Plain sentences for the user. */
  messages: string[];
}

/**
 * Turns ranks into a plan for a target. Residual blocks take part only where the ranks cover them: to take out whole blocks
 * has to be asked for (ranks leave them out unless their group is named).
 * @param allGroups all groups of the model, in order
 * @param terms cost terms of the model (units/cost-terms.ts)
 * @param search needed for max-drop
 * @throws SecateurError 'usage' for a target or options out of range, 'cancelled' when the search's signal fires
 */
export async function makePlan(
  allGroups: readonly PlannableGroup[],
  ranks: Ranks,
  target: PlanTarget,
  options: Partial<PlanOptions>,
  terms: readonly CostTerm[],
  search?: PlanSearch,
): Promise<PlanResult> {
  const settings = { ...DEFAULT_PLAN_OPTIONS, ...options };
  checkPlanInput(target, settings);
  const frozen = new Set(settings.frozen);
  const unknown = settings.frozen.find((id) => !allGroups.some((g) => g.id === id));
  if (unknown !== undefined) throw new SecateurError('usage', `There is no group '${unknown}' to freeze.`);

  const ranked = new Set(ranks.groups.map((g) => g.id));
  const groups = allGroups.filter((g) => g.kind !== 'block' || ranked.has(g.id));
  const messages: string[] = [];
  const scores = planScores(groups, ranks, frozen, messages);
  const kind: CostKind =
    target.kind === 'keep-params'
      ? 'parameters'
      : target.kind === 'keep-units'
        ? 'units'
        : target.kind === 'keep-macs'
          ? 'macs'
          : settings.objective;
  const order = removalOrder(groups, scores, terms, kind, settings);
  const before: Cost = { macs: order.macs, parameters: order.parameters };

  let keep: KeepSets;
  let found: Pick<PlanResult, 'value' | 'full' | 'measured' | 'reached'>;
  if (target.kind === 'max-drop') {
    if (!search) throw new SecateurError('internal', 'A max-drop target needs a measure.');
    const result = await searchMaxDrop(groups, order, terms, search.measure, {
      drop: target.value,
      objective: settings.objective,
      maxMeasurements: search.maxMeasurements ?? defaultMeasurements(groups),
      signal: search.signal,
      onMeasured: search.onMeasured,
    });
    keep = result.keep;
    found = { value: result.value, full: result.full, measured: result.measured, reached: true };
    if (order.steps.length === 0)
      messages.push('Nothing can be removed: every group is frozen, not prunable or at its floor.');
    else if (result.atFloor)
      messages.push(
        `Every group is at its floor of ${percent(settings.minKeep)}, and the metric fell by only ` +
          `${(result.full - result.value).toPrecision(3)}. A lower floor (--min-keep) allows a smaller model.`,
      );
    else if ([...keep].every(([id, units]) => units.length === groups.find((g) => g.id === id)!.size))
      messages.push(`No unit can go without the metric falling by more than ${target.value}.`);
  } else {
    const totalUnits = groups.reduce((sum, g) => sum + (g.prunable ? g.size : 0), 0);
    const whole = kind === 'units' ? totalUnits : before[kind];
    const cut = cutAt(groups, order, scores, terms, kind, target.value * whole, settings.allocation === 'global');
    const gone = new Map([...cut.taken].map(([id, rungs]) => [id, new Set(rungs.flatMap((r) => r.units))]));
    keep = new Map(groups.map((g) => [g.id, unitsBut(g.size, gone.get(g.id))]));
    found = { value: null, full: null, measured: [], reached: cut.reached };
    if (!cut.reached) messages.push(shortfall(groups, keep, kind, cut.cost, whole, target.value, settings, frozen));
  }

  const predicted = predictCost(terms, keep);
  const plan: Plan = {
    format: 'secateur-plan/1',
    model: ranks.model,
    groups: groups
      .filter((g) => g.prunable)
      .map((g) => ({ id: g.id, keep: [...keep.get(g.id)!], ...(frozen.has(g.id) ? { frozen: true } : {}) })),
    target: { ...target },
    allocation: settings.allocation,
    minKeep: settings.minKeep,
    roundTo: settings.roundTo,
    from: { method: ranks.method, metric: ranks.metric, seed: ranks.seed, data: ranks.data },
  };
  return { plan, before, predicted, order, messages, ...found };
}

function checkPlanInput(target: PlanTarget, options: PlanOptions): void {
  const { value } = target;
  if (target.kind === 'max-drop') {
    if (!(value >= 0 && Number.isFinite(value)))
      throw new SecateurError(
        'usage',
        `A drop of ${value} is not possible.`,
        'Give a number of at least 0, such as 0.01.',
      );
  } else if (!(value > 0 && value <= 1)) {
    throw new SecateurError(
      'usage',
      `${value} is not a fraction to keep.`,
      'Give a number above 0 and at most 1, such as 0.5.',
    );
  }
  if (!(options.minKeep >= 0 && options.minKeep <= 1))
    throw new SecateurError(
      'usage',
      `A floor of ${options.minKeep} is not possible.`,
      'Give a share between 0 and 1, such as 0.25.',
    );
  if (!(Number.isInteger(options.roundTo) && options.roundTo >= 1))
    throw new SecateurError(
      'usage',
      `Rounding to ${options.roundTo} is not possible.`,
      'Give a whole number of at least 1, such as 8.',
    );
}

function shortfall(
  groups: readonly PlannableGroup[],
  keep: KeepSets,
  kind: CostKind,
  cost: Cost,
  whole: number,
  wanted: number,
  options: PlanOptions,
  frozen: ReadonlySet<string>,
): string {
  const names = { macs: 'MACs', parameters: 'parameters', units: 'units' };
  const kept =
    kind === 'units' ? groups.reduce((sum, g) => sum + (g.prunable ? keep.get(g.id)!.length : 0), 0) : cost[kind];
  const ways = ['lower the floor (--min-keep)'];
  if (options.roundTo > 1) ways.push('round less (--round-to)');
  if (frozen.size > 0) ways.push('unlock groups');
  return (
    `The target of ${percent(wanted)} of the ${names[kind]} is out of reach: with every group at its floor of ` +
    `${percent(options.minKeep)}, ${percent(kept / whole)} remain. To go further, ${ways.join(', or ')}.`
  );
}

function unitsBut(size: number, gone: ReadonlySet<number> | undefined): number[] {
  return Array.from({ length: size }, (_, unit) => unit).filter((unit) => !gone?.has(unit));
}

function percent(share: number): string {
  return `${Number((share * 100).toPrecision(3))} %`;
}
