import { SecateurError } from '../errors.ts';
import type { Dataset, DatasetInput } from '../evaluation/data/dataset.ts';
import type { Model } from '../graph/ir.ts';
import { elementCount } from '../runtime/host-tensor.ts';
import type { FeatureSource } from './layout.ts';
import { gatePoints, type GatePoint } from './points.ts';

export interface ChosenInput {
  input: string;
  points: GatePoint[];
  source: FeatureSource;
}

/** Inputs that say how others are to be read. */
const ASIDE = /mask|type|position|length|segment/i;

/**
 * The input whose features are explained: the one named, else of those that gates can be put on the largest that does not
 * look like a mask or the like.
 * @throws SecateurError 'usage' for a name that is none; 'unsupported' where no gate can be put
 */
export function chooseInput(model: Model, dataset: Dataset, wanted?: string): ChosenInput {
  const fed = dataset.inputs.filter((i) => i.kind !== 'constant');
  const names = fed.map((i) => i.name).join(', ');
  if (wanted !== undefined && !fed.some((i) => i.name === wanted))
    throw new SecateurError('usage', `The data feed no input named ${wanted}.`, `Inputs: ${names}.`);
  const candidates = fed
    .filter((i) => wanted === undefined || i.name === wanted)
    .map((i) => ({ fed: i, points: sameRank(gatePoints(model.graph, i.name)) }))
    .filter(({ points }) => points.length > 0);
  if (candidates.length === 0)
    throw new SecateurError(
      'unsupported',
      `No gates can be put on ${wanted ?? names}: it holds integers that are neither looked up in a table nor cast.`,
      fed.length > 1 ? 'Name another input with --feature-input.' : '',
    );
  const weigh = ({ fed: { name, sampleShape } }: (typeof candidates)[number]): number =>
    ASIDE.test(name) ? 0 : elementCount(sampleShape);
  const best = candidates.reduce((a, b) => (weigh(b) > weigh(a) ? b : a));
  return { input: best.fed.name, points: best.points, source: sourceOf(best.fed, best.points) };
}

/** Places of an embedding have an axis more than others: gates fit one or the other. */
function sameRank(points: readonly GatePoint[]): GatePoint[] {
  const embedded = points.filter((p) => p.width !== null);
  return embedded.length > 0 ? embedded : [...points];
}

function sourceOf({ name, sampleShape, columns }: DatasetInput, [{ width }]: readonly GatePoint[]): FeatureSource {
  return width === null
    ? { name, shape: sampleShape, columns }
    : { name, shape: [...sampleShape, width], embedded: true };
}
