import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { SecateurError, checkSignal } from '../../errors.ts';
import type { Model } from '../../graph/ir.ts';
import { Rng } from '../../math/random.ts';
import { isFloatHost } from '../../runtime/host-tensor.ts';
import type { DataSpec } from '../../protocol.ts';
import { bindArrays } from './bind.ts';
import { readCsv } from './csv.ts';
import { type Dataset, makeDataset } from './dataset.ts';
import { fingerprint } from './fingerprint.ts';
import { isImageFolder, readImageFolder } from './images.ts';
import { readLabels } from './labels.ts';
import { type ModelInput, modelInputs } from './model-inputs.ts';
import { type NamedArray, parseNpy } from './npy.ts';
import { NpzFile } from './npz.ts';
import { readTestSets, testSetFolders } from './onnx-test-set.ts';
import { findPreprocessing } from './preprocessing.ts';
import { LABEL_NAMES, type RawData } from './raw.ts';
import { completeTokens, NOTHING_ADDED } from './text/complete.ts';
import { readText } from './text/read-text.ts';
import { SYNTHETIC_SAMPLES, syntheticData } from './synthetic.ts';

/**
 * Opens data for a model: `.npz`, `.npy`, `.csv`, text (`.txt`, `.jsonl`), a folder of images, of `.npy` files or of ONNX test data; path null:
 * synthetic inputs. `spec.samples` keeps the first n of a seeded shuffle. The hold-out file is not looked at: see
 * `openDatasets`.
 * @throws SecateurError 'bad-data' or 'io' with one clear sentence when the data cannot be read or do not fit the
 * model; 'usage' for constants that name no input; 'unsupported' for inputs that are not tensors of numbers; 'cancelled'
 */
export async function openDataset(model: Model, spec: DataSpec, signal?: AbortSignal): Promise<Dataset> {
  const inputs = modelInputs(model);
  if (inputs.length === 0) throw new SecateurError('unsupported', 'The model has no inputs: there is nothing to feed.');
  if (spec.samples !== undefined && !(Number.isInteger(spec.samples) && spec.samples > 0))
    throw new SecateurError('usage', `The number of samples must be a positive integer, not ${spec.samples}.`);
  let raw: RawData;
  let constants = spec.constants ?? {};
  if (spec.path === null) {
    ({ raw, constants } = syntheticData(inputs, constants, spec.samples ?? SYNTHETIC_SAMPLES, spec.seed));
  } else raw = await readRaw(spec.path, model, inputs, spec, signal);
  checkSignal(signal);
  const completion = spec.path === null ? NOTHING_ADDED : completeTokens(model, inputs, raw, constants);
  const binding = bindArrays(inputs, raw, constants, completion.inputs);
  const { samples } = binding;
  const labelArray = completion.labels ?? binding.labels;
  const oneHot = (classes: number): boolean =>
    model.graph.outputs.some((o) => o.type?.shape?.length === 2 && o.type.shape[1] === classes);
  const labels = labelArray && readLabels(labelArray, samples, raw.path, oneHot);
  if (labels && raw.classNames) labels.classNames = raw.classNames;
  const dataset = makeDataset({
    path: spec.path,
    samples,
    inputs: binding.inputs,
    labels,
    fingerprint: fingerprint(raw.labels ? [...raw.arrays, raw.labels] : raw.arrays),
    synthetic: spec.path === null,
    warnings: [...raw.warnings, ...binding.warnings, ...completion.warnings],
    nextTokens: completion.labels !== null,
    batchSize: binding.batchSize,
    ids: raw.chosen,
  });
  if (spec.samples !== undefined && spec.samples < samples)
    return dataset.subset(Rng.from(spec.seed, 'samples').permutation(samples).slice(0, spec.samples));
  return dataset;
}

/** The data that ranks and searches see, and the data that the result is judged on. */
export interface Datasets {
  search: Dataset;
  holdout: Dataset;
  /** True when the hold-out is a file of its own, false when it was split off. */
  own: boolean;
}

/**
 * Opens data and hold-out: `spec.holdout` if it is given (whole: `spec.samples` limits the data alone), else the data split 80/20 by the seed.
 * @throws as openDataset
 */
export async function openDatasets(model: Model, spec: DataSpec, signal?: AbortSignal): Promise<Datasets> {
  const data = await openDataset(model, spec, signal);
  if (!spec.holdout) return { ...data.split(spec.seed), own: false };
  const holdout = await openDataset(model, { ...spec, path: spec.holdout, samples: undefined }, signal);
  if ((data.labels === null) !== (holdout.labels === null))
    throw new SecateurError(
      'bad-data',
      `${data.labels ? spec.holdout : spec.path} has no labels, but ${data.labels ? spec.path : spec.holdout} has.`,
    );
  if (data.classNames && holdout.classNames && data.classNames.join('\0') !== holdout.classNames.join('\0'))
    throw new SecateurError('bad-data', `The classes in ${spec.holdout} are not those in ${spec.path}.`);
  return { search: data, holdout, own: true };
}

async function readRaw(
  path: string,
  model: Model,
  inputs: readonly ModelInput[],
  spec: DataSpec,
  signal?: AbortSignal,
): Promise<RawData> {
  if (!existsSync(path)) throw new SecateurError('bad-data', `There is no data at ${path}.`);
  let raw: RawData;
  if (statSync(path).isDirectory()) raw = await readFolder(path, model, inputs, spec, signal);
  else if (isText(path)) raw = await readText(path, model, inputs, spec, signal);
  else raw = readFile(path, inputs, spec);
  if (raw.arrays.length === 0) throw new SecateurError('bad-data', `${path} holds no arrays.`);
  return raw;
}

const isText = (path: string): boolean => ['.txt', '.jsonl'].includes(extname(path).toLowerCase());

function readFile(path: string, inputs: readonly ModelInput[], spec: DataSpec): RawData {
  const plain = (arrays: NamedArray[]): RawData => ({ path, arrays, labels: null, warnings: [] });
  switch (extname(path).toLowerCase()) {
    case '.npz':
      return readNpz(path, inputs);
    case '.npy':
      return plain([readNpyFile(path, 'x')]);
    case '.csv':
    case '.tsv':
      return readCsv(path, spec.label);
    default:
      throw new SecateurError(
        'bad-data',
        `${path} is of a kind that Secateur does not read.`,
        'Data can be .npz, .npy, .csv, .txt, .jsonl, or a folder of images.',
      );
  }
}

/** Arrays of Python objects and the like are left out, unless the model or the labels need them. */
function readNpz(path: string, inputs: readonly ModelInput[]): RawData {
  const raw: RawData = { path, arrays: [], labels: null, warnings: [] };
  NpzFile.read(path, (file) => {
    for (const name of file.names)
      try {
        raw.arrays.push(file.array(name));
      } catch (thrown) {
        const needed = LABEL_NAMES.includes(name.toLowerCase()) || name === 'x' || inputs.some((i) => i.name === name);
        if (!(thrown instanceof SecateurError) || thrown.code !== 'unsupported') throw thrown;
        if (needed)
          throw new SecateurError(
            'bad-data',
            thrown.message,
            'Save it as an array of numbers or of fixed-length text.',
          );
        raw.warnings.push(`${thrown.message} It was left out.`);
      }
  });
  return raw;
}

function readNpyFile(path: string, name: string): NamedArray {
  try {
    return parseNpy(readFileSync(path), path, name);
  } catch (thrown) {
    if (thrown instanceof SecateurError) throw thrown;
    throw new SecateurError('io', `${path} cannot be read: ${(thrown as Error).message}.`, '', { cause: thrown });
  }
}

async function readFolder(
  path: string,
  model: Model,
  inputs: readonly ModelInput[],
  spec: DataSpec,
  signal?: AbortSignal,
): Promise<RawData> {
  const sets = testSetFolders(path);
  if (sets.length > 0) return readTestSets(path, sets, model);
  const arrays = readdirSync(path)
    .filter((name) => name.endsWith('.npy'))
    .sort();
  if (arrays.length > 0)
    return {
      path,
      arrays: arrays.map((name) => readNpyFile(join(path, name), name.slice(0, -4))),
      labels: null,
      warnings: [],
    };
  if (!isImageFolder(path))
    throw new SecateurError(
      'bad-data',
      `${path} holds no images and no arrays.`,
      'A data folder has PNG or JPEG files, one sub-folder per class or none.',
    );
  const wanted = inputs.filter((i) => !Object.hasOwn(spec.constants ?? {}, i.name));
  if (wanted.length !== 1)
    throw new SecateurError(
      'bad-data',
      `Images feed one input, but the model has ${wanted.length}: ${wanted.map((i) => i.name).join(', ')}.`,
      `Give the others constants: --input ${wanted[1].name}=value.`,
    );
  const [input] = wanted;
  const folders = [path, ...(model.path ? [dirname(model.path)] : [])];
  const preprocessing = findPreprocessing(input.shape, !isFloatHost(input.type), folders);
  return readImageFolder(path, preprocessing, { samples: spec.samples, seed: spec.seed }, signal);
}
