import type { GroupRanks, ModelRef, Ranks, RanksByMethod } from '../formats.ts';
import type { Group } from '../units/types.ts';
import { JsonFields } from './json-fields.ts';
import type { Json } from './json-fields.ts';
import { METHOD_NAMES } from './names.ts';

const FORMAT = 'secateur-ranks/1';

/**
 * Reads `*.ranks.json`, with one method or several, and checks it against the model.
 * @param text contents of the file
 * @param source name for messages
 * @param expected the model at hand; undefined: not checked
 * @param groups the model's groups; undefined: ids and sizes are not checked
 * @returns one entry per method, in the file's order
 * @throws SecateurError 'bad-data' when it is no such file, does not fit the model or holds scores that are not finite
 */
export function parseRanks(
  text: string,
  source: string,
  expected?: Pick<ModelRef, 'path' | 'sha256'>,
  groups?: readonly Pick<Group, 'id' | 'size'>[],
): Ranks[] {
  const fields = new JsonFields(source, "Make ranks for this model with 'secateur rank'.");
  const top = fields.object(fields.parse(text), 'the file');
  fields.format(top.format, FORMAT);
  const list = top.methods === undefined ? [top] : fields.array(top.methods, 'methods');
  if (list.length === 0) fields.fail('it holds no method');
  return list.map((entry, i) => checkRanks(fields, fields.object(entry, `methods[${i}]`), expected, groups));
}

/** One method's ranks as they are, several under `methods`. */
export function serializeRanks(ranks: readonly Ranks[]): string {
  const json: Ranks | RanksByMethod = ranks.length === 1 ? ranks[0] : { format: FORMAT, methods: [...ranks] };
  return `${JSON.stringify(json, null, 1)}\n`;
}

function checkRanks(
  fields: JsonFields,
  json: Json,
  expected: Pick<ModelRef, 'path' | 'sha256'> | undefined,
  groups: readonly Pick<Group, 'id' | 'size'>[] | undefined,
): Ranks {
  fields.format(json.format, FORMAT);
  const model = fields.object(json.model, 'model');
  const ref = { path: fields.string(model.path, 'model.path'), sha256: fields.string(model.sha256, 'model.sha256') };
  if (expected) fields.sameModel(ref, expected);
  fields.oneOf(json.method, METHOD_NAMES, 'method');
  fields.number(json.seed, 'seed');
  const data = fields.object(json.data, 'data');
  fields.string(data.path, 'data.path');
  fields.string(data.fingerprint, 'data.fingerprint');
  const sizes = groups && new Map(groups.map((g) => [g.id, g.size]));
  const seen = new Set<string>();
  const checked = fields.array(json.groups, 'groups').map((entry, i) => {
    const group = checkGroup(fields, fields.object(entry, `groups[${i}]`), `groups[${i}]`, sizes);
    if (seen.has(group.id)) fields.fail(`group '${group.id}' occurs twice`);
    seen.add(group.id);
    return group;
  });
  // The rest is for display; absent fields of hand-made files get their neutral values.
  const ranks = json as unknown as Ranks;
  return {
    ...ranks,
    metric: ranks.metric ?? null,
    complete: ranks.complete ?? true,
    warnings: Array.isArray(ranks.warnings) ? ranks.warnings : [],
    groups: checked,
  };
}

function checkGroup(fields: JsonFields, json: Json, where: string, sizes?: ReadonlyMap<string, number>): GroupRanks {
  const id = fields.string(json.id, `${where}.id`);
  const size = fields.number(json.size, `size of group '${id}'`);
  if (sizes) {
    const actual = sizes.get(id);
    if (actual === undefined) fields.fail(`the model has no group '${id}'`);
    if (actual !== size) fields.fail(`group '${id}' has ${size} units here and ${actual} in the model`);
  }
  const seen = new Set<number>();
  fields.array(json.units, `units of group '${id}'`).forEach((entry, i) => {
    const unit = fields.object(entry, `unit ${i} of group '${id}'`);
    const index = fields.index(unit.index, size, `the index of unit ${i} of group '${id}'`);
    if (seen.has(index)) fields.fail(`unit ${index} of group '${id}' occurs twice`);
    seen.add(index);
    fields.number(unit.score, `the score of unit ${index} of group '${id}'`);
    if (unit.stderr !== undefined) fields.number(unit.stderr, `the standard error of unit ${index} of group '${id}'`);
  });
  return json as unknown as GroupRanks;
}
