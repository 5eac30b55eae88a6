import { createHash } from 'node:crypto';
import packageJson from '../../../package.json' with { type: 'json' };
import { CoalitionCache } from '../../evaluation/coalitions/index.ts';
import type { Dataset } from '../../evaluation/data/index.ts';
import type { DeviceName, MetricName } from '../../formats.ts';
import type { Group } from '../../units/types.ts';
import type { OpenData } from './data.ts';
import { fileKey } from './file-key.ts';
import type { OpenModel } from './model.ts';

/** Samples that are hashed at a time. */
const STEP = 64;

const hashes = new WeakMap<Dataset, string>();

/**
 * The cache of a group's game in the folder that the environment variable SECATEUR_CACHE names; null without one. The key is
 * all that a value depends on: the model's bytes, external data by path, time and size, what is fed and compared with
 * (inputs and labels of the samples in their order), how the output is read, metric, device, group, and the version of this
 * program.
 */
export async function coalitionCache(
  model: OpenModel,
  data: OpenData,
  metric: MetricName,
  device: DeviceName,
  group: Pick<Group, 'id' | 'size'>,
): Promise<CoalitionCache | null> {
  const folder = process.env.SECATEUR_CACHE;
  if (!folder) return null;
  const { sha256 } = await model.ref();
  const key = {
    version: packageJson.version,
    model: sha256,
    external: model.external.map(fileKey),
    data: data.ref.fingerprint,
    samples: contentOf(data.search),
    reading: data.reading,
    metric,
    device,
    group: group.id,
    size: group.size,
  };
  return new CoalitionCache(folder, key, group.size);
}

/** SHA-256 of the samples as the model and the metric get them. */
function contentOf(dataset: Dataset): string {
  const known = hashes.get(dataset);
  if (known !== undefined) return known;
  const hash = createHash('sha256');
  const add = (bytes: ArrayBufferView): void =>
    void hash.update(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  for (const { indices, count } of dataset.batches(null, STEP)) {
    for (const [name, tensor] of Object.entries(dataset.feeds(indices))) {
      hash.update(JSON.stringify([name, tensor.type, tensor.dims, count]));
      add(tensor.data);
    }
    const labels = dataset.labelsOf(indices);
    if (labels) add(labels);
  }
  const found = hash.digest('hex');
  hashes.set(dataset, found);
  return found;
}
