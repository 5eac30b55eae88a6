import { SecateurError } from '../../errors.ts';
import { elementCount } from '../../runtime/host-tensor.ts';
import type { OutputReading } from '../types.ts';
import type { Layout } from './numeric.ts';

/**
 * How the elements of one sample lie in an output of `rows` samples. Axis 0 counts the samples, or samples × positions
 * (flattened tokens).
 * @throws SecateurError 'unsupported' when the output's first axis does not go with the samples
 */
export function layoutOf(
  dims: readonly number[],
  rows: number,
  reading: Pick<OutputReading, 'output' | 'classAxis'>,
): Layout {
  const { classAxis } = reading;
  const layout =
    classAxis < 0
      ? { outer: elementCount(dims) / rows, classes: 1, inner: 1 }
      : {
          outer: elementCount(dims.slice(0, classAxis)) / rows,
          classes: dims[classAxis],
          inner: elementCount(dims.slice(classAxis + 1)),
        };
  if (!Number.isInteger(layout.outer) || layout.outer === 0 || !(rows === 1 || dims[0] % rows === 0))
    throw new SecateurError(
      'unsupported',
      `The output ${reading.output} of shape [${dims.join(', ')}] does not go with ${rows} samples: its first axis is not the batch.`,
      'Choose another output with --output, or take one sample at a time.',
    );
  return layout;
}
