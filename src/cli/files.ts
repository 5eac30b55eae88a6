/** Reading and writing the JSON files of the contract: `*.ranks.json` and `*.plan.json`. */
import { readFileSync } from 'node:fs';
import type { MethodName, Plan, Ranks, RanksByMethod } from '../formats.ts';
import { SecateurError } from '../errors.ts';
import type { ProtectedFile } from '../pruning/export/files.ts';
import { existingPath } from './options.ts';

/** All ranks in a file, one per method. @throws SecateurError 'bad-data' when it is not a ranks file */
export function readRanks(path: string): Ranks[] {
  const value = readJson(path, 'secateur-ranks/1', 'ranks') as unknown as Ranks | RanksByMethod;
  const found = 'methods' in value ? value.methods : [value];
  for (const ranks of Array.isArray(found) ? found : [null]) {
    const usable =
      typeof ranks?.model?.sha256 === 'string' &&
      typeof ranks.method === 'string' &&
      Array.isArray(ranks.groups) &&
      ranks.groups.every((g) => typeof g?.id === 'string' && Array.isArray(g.units) && g.units.every((u) => Number.isInteger(u?.index) && typeof u.score === 'number'));
    if (!usable) throw new SecateurError('bad-data', `${path} is not a complete ranks file.`, 'Make it with `secateur rank`.');
  }
  return found;
}

/** The ranks of one method in a file; without a name the file must hold only one. */
export function chooseRanks(path: string, method: MethodName | undefined): Ranks {
  const all = readRanks(path);
  const names = all.map((r) => r.method).join(', ');
  if (method) {
    const found = all.find((r) => r.method === method);
    if (!found) throw new SecateurError('usage', `${path} has no ranks by ${method}, only by ${names}.`);
    return found;
  }
  if (all.length !== 1) {
    throw new SecateurError('usage', `${path} holds ranks by several methods (${names}).`, 'Say which with --method.');
  }
  return all[0];
}

/** A plan from a file. @throws SecateurError 'bad-data' when it is not one */
export function readPlan(path: string): Plan {
  const plan = readJson(path, 'secateur-plan/1', 'plan') as unknown as Plan;
  const usable =
    typeof plan.model?.sha256 === 'string' &&
    Array.isArray(plan.groups) &&
    plan.groups.every((g) => typeof g?.id === 'string' && Array.isArray(g.keep) && g.keep.every(Number.isInteger));
  if (!usable) throw new SecateurError('bad-data', `${path} is not a complete plan file.`, 'Make it with `secateur prune --save-plan`.');
  return plan;
}

function readJson(path: string, format: string, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(existingPath(path), 'utf8'));
  } catch (thrown) {
    if (thrown instanceof SecateurError) throw thrown;
    const reason = thrown instanceof SyntaxError ? 'it is not JSON' : (thrown as Error).message.split('\n')[0];
    throw new SecateurError('bad-data', `Cannot read the ${what} file ${path}: ${reason}.`, '', { cause: thrown });
  }
  const found = (value as { format?: unknown } | null)?.format;
  if (found !== format) {
    throw new SecateurError('bad-data', `${path} is not a ${what} file: its format is ${JSON.stringify(found ?? null)}, not "${format}".`);
  }
  return value as Record<string, unknown>;
}

/** What a command reads, so that it is never written to. */
export function inputsOf(model: string, options: { data?: string; holdout?: string }): ProtectedFile[] {
  const files: ProtectedFile[] = [{ path: model, what: 'the model' }];
  if (options.data) files.push({ path: options.data, what: 'the data' });
  if (options.holdout) files.push({ path: options.holdout, what: 'the held-out data' });
  return files;
}
