/** Options that several commands share, and the parsers that check their values. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import type { DeviceName, MethodName, MetricName, ShapleyEstimator } from '../formats.ts';
import type { DataSpec } from '../protocol.ts';
import { METHOD_NAMES, methodNamed } from '../ranking/names.ts';
import { SecateurError } from '../errors.ts';

export const ESTIMATORS: ShapleyEstimator[] = [
  'exact',
  'leverage',
  'kernel',
  'antithetic',
  'permutation',
  'removal',
  'addition',
];
export const METRICS: MetricName[] = ['accuracy', 'cross-entropy', 'kl', 'mse', 'agreement'];
const DEVICES = ['auto', 'cpu', 'webgpu', 'cuda', 'dml', 'coreml'];

export interface CommonOptions {
  json?: boolean;
  seed: number;
  device: DeviceName | 'auto';
  samples?: number;
  output?: string;
  input?: Record<string, number>;
}

export interface DataOptions extends CommonOptions {
  data?: string;
  holdout?: string;
  label?: string;
  sequence?: number;
  metric?: MetricName;
}

/** `--json --seed --device --samples --output --input`: every command takes them. */
export function addCommonOptions(command: Command): Command {
  return command
    .option('--json', 'print one JSON object on stdout and nothing else')
    .option('--seed <n>', 'seed of every random choice', wholeNumber(0), 0)
    .addOption(new Option('--device <name>', 'where the model runs').choices(DEVICES).default('auto'))
    .option('--samples <n>', 'use at most n samples (default: all)', wholeNumber(1))
    .option('--output <name>', 'the output that the metric reads (default: the deepest that fits the labels)')
    .option('--input <name=value>', 'constant for an input that the data lacks; may be repeated', constant);
}

/** `--data --holdout --label --sequence --metric` for commands that run the model. */
export function addDataOptions(command: Command): Command {
  return command
    .option('--data <path>', '.npz, .npy, .csv, .txt, .jsonl or a folder of images (default: synthetic inputs)')
    .option('--holdout <path>', 'data to judge on (default: a fifth of the data, by the seed)')
    .option('--label <column>', 'label column of a .csv file, or field of a .jsonl file')
    .option('--sequence <n>', 'tokens of a sample of text (default: what the model takes, at most 128)', wholeNumber(2))
    .addOption(new Option('--metric <name>', 'what is measured (default: what the labels allow)').choices(METRICS));
}

/** The data that the options describe. Paths are checked here, so that a typing error is found before anything starts. */
export function dataSpec(options: DataOptions): DataSpec {
  if (options.holdout && !options.data) {
    throw new SecateurError('usage', '--holdout needs --data: without data there is nothing to hold out.');
  }
  return {
    path: options.data ? existingPath(options.data) : null,
    holdout: options.holdout ? existingPath(options.holdout) : null,
    samples: options.samples,
    seed: options.seed,
    constants: options.input,
    output: options.output,
    label: options.label,
    sequence: options.sequence,
  };
}

/** Absolute path of a file or folder that is there. @throws SecateurError 'usage' */
export function existingPath(path: string): string {
  if (!statSync(path, { throwIfNoEntry: false })) throw new SecateurError('usage', `There is no file ${path}.`);
  return resolve(path);
}

/** Absolute path of a model file that is there. @throws SecateurError 'usage' */
export function modelPath(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw new SecateurError('usage', `There is no file ${path}.`);
  if (found.isDirectory()) throw new SecateurError('usage', `${path} is a folder, not an ONNX file.`);
  return resolve(path);
}

/** Parses a whole number of at least `least`. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text.trim()) || !Number.isSafeInteger(value) || value < least) {
      throw new InvalidArgumentError(`It must be a whole number of at least ${least}.`);
    }
    return value;
  };
}

/** Parses a share, 0 < x ≤ 1 (or 0 ≤ x ≤ 1); `50%` is understood. */
export function share(zeroAllowed = false): (text: string) => number {
  return (text) => {
    const match = /^([\d.eE+-]+)\s*(%?)$/.exec(text.trim());
    const value = match ? Number(match[1]) / (match[2] ? 100 : 1) : NaN;
    if (!(value <= 1) || !(zeroAllowed ? value >= 0 : value > 0)) {
      throw new InvalidArgumentError(
        `It must be a share between 0 and 1, such as 0.5${zeroAllowed ? '' : ' (not 0)'}.`,
      );
    }
    return value;
  };
}

/** Parses a number of at least 0. */
export function positiveNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0) {
    throw new InvalidArgumentError('It must be a number of at least 0.');
  }
  return value;
}

/** Parses a number above 0. */
export function numberAboveZero(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value <= 0) {
    throw new InvalidArgumentError('It must be a number above 0.');
  }
  return value;
}

/** Parses whole numbers above 0 with commas, in ascending order, each once. */
export function wholeNumbers(text: string): number[] {
  const parse = wholeNumber(1);
  return [...new Set(text.split(',').map(parse))].sort((a, b) => a - b);
}

const BYTE_UNITS: Record<string, number> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** Parses a number of bytes above 0: `24GB`, `80 GiB`, `640e9`. */
export function byteSize(text: string): number {
  const match = /^([\d.]+(?:e[+-]?\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const value = match ? Number(match[1]) * BYTE_UNITS[match[2].toLowerCase()] : NaN;
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('It must be a size such as 24GB or 80GiB.');
  return value;
}

/** Collects a repeated option. */
export function collect(text: string, previous: string[] = []): string[] {
  return [...previous, text];
}

/** Parses one or several method names with commas. */
export function methodList(text: string): MethodName[] {
  const names = text.split(',').map((name) => {
    try {
      return methodNamed(name.trim());
    } catch {
      throw new InvalidArgumentError(`'${name.trim()}' is not a method. Choose from ${METHOD_NAMES.join(', ')}.`);
    }
  });
  return [...new Set(names)];
}

function constant(text: string, previous: Record<string, number> = {}): Record<string, number> {
  const at = text.lastIndexOf('=');
  const value = Number(text.slice(at + 1));
  if (at < 1 || text.slice(at + 1).trim() === '' || Number.isNaN(value)) {
    throw new InvalidArgumentError('It must read name=number.');
  }
  return { ...previous, [text.slice(0, at)]: value };
}
