import type { Allocation, ModelRef, Plan, PlanGroup } from '../../formats.ts';
import { JsonFields } from '../../ranking/json-fields.ts';
import type { Json } from '../../ranking/json-fields.ts';
import type { KeepSets } from '../../units/types.ts';
import type { PlannableGroup } from './types.ts';

const FORMAT = 'secateur-plan/1';
const TARGETS = ['keep-macs', 'keep-params', 'keep-units', 'max-drop', 'manual'] as const;
const ALLOCATIONS: readonly (Allocation | 'manual')[] = ['global', 'uniform', 'manual'];

/**
 * Reads `*.plan.json` and checks it against the model: known groups, units in range and named once, at least one unit
 * each, equal blocks, nothing taken from groups that cannot be pruned.
 * @param text contents of the file
 * @param source name for messages
 * @param expected the model at hand
 * @throws SecateurError 'bad-data' with what is wrong
 */
export function parsePlan(
  text: string,
  source: string,
  expected: Pick<ModelRef, 'path' | 'sha256'>,
  groups: readonly PlannableGroup[],
): Plan {
  const fields = new JsonFields(source, "Make a plan for this model with 'secateur prune' or in the editor.");
  return checkFields(fields, fields.parse(text), expected, groups);
}

/** The same checks for a plan that is an object already (from the editor). */
export function checkPlan(
  plan: unknown,
  expected: Pick<ModelRef, 'path' | 'sha256'>,
  groups: readonly PlannableGroup[],
): Plan {
  return checkFields(new JsonFields('The plan', 'Make a new plan for this model.'), plan, expected, groups);
}

export function serializePlan(plan: Plan): string {
  return `${JSON.stringify(plan, null, 1)}\n`;
}

/** Keep-sets of a plan for every group of the model; groups that it does not name keep all. */
export function planKeepSets(plan: Plan, groups: readonly Pick<PlannableGroup, 'id' | 'size'>[]): KeepSets {
  const named = new Map(plan.groups.map((g) => [g.id, g.keep]));
  return new Map(groups.map((g) => [g.id, named.get(g.id) ?? Array.from({ length: g.size }, (_, unit) => unit)]));
}

function checkFields(
  fields: JsonFields,
  json: unknown,
  expected: Pick<ModelRef, 'path' | 'sha256'>,
  groups: readonly PlannableGroup[],
): Plan {
  const top = fields.object(json, 'the plan');
  fields.format(top.format, FORMAT);
  const model = fields.object(top.model, 'model');
  fields.sameModel(
    { path: fields.string(model.path, 'model.path'), sha256: fields.string(model.sha256, 'model.sha256') },
    expected,
  );
  const target = fields.object(top.target ?? { kind: 'manual' }, 'target');
  const kind = fields.oneOf(target.kind, TARGETS, 'target.kind');
  const byId = new Map(groups.map((g) => [g.id, g]));
  const seen = new Set<string>();
  const checked = fields.array(top.groups, 'groups').map((entry, i) => {
    const plan = checkGroup(fields, fields.object(entry, `groups[${i}]`), `groups[${i}]`, byId);
    if (seen.has(plan.id)) fields.fail(`group '${plan.id}' occurs twice`);
    seen.add(plan.id);
    return plan;
  });
  return {
    format: FORMAT,
    model: model as unknown as ModelRef,
    groups: checked,
    target: kind === 'manual' ? { kind } : { kind, value: fields.number(target.value, 'target.value') },
    allocation: fields.oneOf(top.allocation ?? 'manual', ALLOCATIONS, 'allocation'),
    minKeep: fields.number(top.minKeep ?? 0, 'minKeep'),
    roundTo: fields.number(top.roundTo ?? 1, 'roundTo'),
    from: top.from ? (fields.object(top.from, 'from') as unknown as Plan['from']) : null,
  };
}

function checkGroup(
  fields: JsonFields,
  json: Json,
  where: string,
  byId: ReadonlyMap<string, PlannableGroup>,
): PlanGroup {
  const id = fields.string(json.id, `${where}.id`);
  const group = byId.get(id);
  if (!group) fields.fail(`the model has no group '${id}'`);
  const keep = fields
    .array(json.keep, `keep of group '${id}'`)
    .map((unit, i) => fields.index(unit, group.size, `keep[${i}] of group '${id}'`))
    .sort((a, b) => a - b);
  const twice = keep.find((unit, i) => i > 0 && keep[i - 1] === unit);
  if (twice !== undefined) fields.fail(`unit ${twice} of group '${id}' occurs twice`);
  if (keep.length === 0) fields.fail(`group '${id}' would lose all its units; at least one must stay`);
  if (keep.length < group.size) {
    if (!group.prunable) fields.fail(`group '${id}' cannot be pruned${group.reason ? ` (${group.reason})` : ''}`);
    if (json.frozen === true) fields.fail(`group '${id}' is frozen but would lose units`);
    checkBlocks(fields, group, keep);
  }
  return { id, keep, ...(json.frozen === true ? { frozen: true } : {}) };
}

function checkBlocks(fields: JsonFields, group: PlannableGroup, keep: readonly number[]): void {
  if (!group.blocks?.length) return;
  const kept = new Set(keep);
  const counts = group.blocks.map((units) => units.filter((unit) => kept.has(unit)).length);
  if (new Set(counts).size > 1)
    fields.fail(
      `group '${group.id}' must keep equally many units of each of its ${group.blocks.length} blocks, not ${counts.slice(0, 8).join(', ')}${counts.length > 8 ? ', …' : ''}`,
    );
}
