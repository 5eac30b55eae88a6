/** Reading the JSON files of the contract: `*.ranks.json` and `*.plan.json`. */
import { readFileSync } from 'node:fs';
import type { InspectReport, MethodName, Plan, Ranks } from '../formats.ts';
import { SecateurError } from '../errors.ts';
import { parseRanks } from '../ranking/ranks-file.ts';
import type { ProtectedFile } from '../pruning/export/files.ts';
import { fileError } from '../pruning/export/files.ts';
import { parsePlan } from '../pruning/plan/plan-file.ts';
import { existingPath } from './options.ts';

/** All ranks in a file, one per method. @throws SecateurError 'bad-data' when it is not a ranks file */
export function readRanks(path: string): Ranks[] {
  return parseRanks(readText(path), path);
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

/** A plan from a file, checked against the model. @throws SecateurError 'bad-data' */
export function readPlan(path: string, model: InspectReport): Plan {
  return parsePlan(readText(path), path, model.model, model.groups);
}

function readText(path: string): string {
  const file = existingPath(path);
  try {
    return readFileSync(file, 'utf8');
  } catch (thrown) {
    throw fileError(thrown, `read ${path}`);
  }
}

/** What a command reads, so that it is never written to. */
export function inputsOf(model: string, options: { data?: string; holdout?: string }): ProtectedFile[] {
  const files: ProtectedFile[] = [{ path: model, what: 'the model' }];
  if (options.data) files.push({ path: options.data, what: 'the data' });
  if (options.holdout) files.push({ path: options.holdout, what: 'the held-out data' });
  return files;
}
