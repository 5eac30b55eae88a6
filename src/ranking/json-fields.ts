import { SecateurError } from '../errors.ts';

export type Json = Record<string, unknown>;

/** Reads fields of JSON that somebody else may have written or edited; every failure is one sentence naming the file. */
export class JsonFields {
  /** @param source file name or other words for messages */
  constructor(
    private readonly source: string,
    private readonly hint: string,
  ) {}

  fail(what: string): never {
    throw new SecateurError('bad-data', `${this.source}: ${what}.`, this.hint);
  }

  parse(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch {
      return this.fail('this is not JSON');
    }
  }

  object(value: unknown, where: string): Json {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) this.fail(`${where} is not an object`);
    return value as Json;
  }

  array(value: unknown, where: string): unknown[] {
    if (!Array.isArray(value)) this.fail(`${where} is not a list`);
    return value;
  }

  string(value: unknown, where: string): string {
    if (typeof value !== 'string') this.fail(`${where} is not a string`);
    return value;
  }

  number(value: unknown, where: string): number {
    if (typeof value !== 'number' || !Number.isFinite(value)) this.fail(`${where} is not a finite number`);
    return value;
  }

  /** An integer in 0 … below − 1. */
  index(value: unknown, below: number, where: string): number {
    const number = this.number(value, where);
    if (!Number.isInteger(number) || number < 0 || number >= below)
      this.fail(`${where} is ${number}, not a whole number from 0 to ${below - 1}`);
    return number;
  }

  oneOf<T extends string>(value: unknown, allowed: readonly T[], where: string): T {
    if (!allowed.includes(value as T)) this.fail(`${where} is ${show(value)}, not one of ${allowed.join(', ')}`);
    return value as T;
  }

  /** The `format` field, so that files of a newer version are named as such. */
  format(value: unknown, wanted: string): void {
    if (value === wanted) return;
    const [kind] = wanted.split('/');
    if (typeof value === 'string' && value.startsWith(`${kind}/`))
      this.fail(`it has the format ${show(value)}, but this version reads '${wanted}' only`);
    this.fail(`it is not a ${kind} file (format ${show(value)} instead of '${wanted}')`);
  }

  /** The model that the file speaks of must be the one at hand. */
  sameModel(model: { sha256: string; path: string }, expected: { sha256: string; path: string }): void {
    if (model.sha256 === expected.sha256) return;
    this.fail(
      `it was made for another model ('${model.path}', SHA-256 ${model.sha256.slice(0, 12)}…, while '${expected.path}' has ${expected.sha256.slice(0, 12)}…)`,
    );
  }
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'missing';
  return text.length > 40 ? `${text.slice(0, 40)}…` : text.replaceAll('"', "'");
}
