import type { OutputReading } from '../../evaluation/types.ts';
import type { HostTensor } from '../../runtime/host-tensor.ts';
import { elementCount, toFloat32 } from '../../runtime/host-tensor.ts';

/**
 * What a model answers for each row of axis 0: the class with the largest value (of the first place where a row has
 * several: all places joined), or which side of the threshold a binary output is on. Undefined for regression.
 */
export function topAnswers(
  output: HostTensor,
  { reading, classAxis }: OutputReading,
  rows: number,
): string[] | undefined {
  if (reading === 'regression' || output.data.length % rows !== 0) return undefined;
  const values = toFloat32(output);
  const perRow = values.length / rows;
  if (reading === 'binary-logit' || reading === 'binary-probability') {
    const threshold = reading === 'binary-logit' ? 0 : 0.5;
    return Array.from({ length: rows }, (_, r) =>
      Array.from(values.subarray(r * perRow, (r + 1) * perRow), (v) => (v > threshold ? 1 : 0)).join(),
    );
  }
  const axis = classAxis < 0 ? output.dims.length + classAxis : classAxis;
  if (axis < 1 || axis >= output.dims.length || output.dims[0] !== rows) return undefined;
  const classes = output.dims[axis];
  const inner = elementCount(output.dims.slice(axis + 1));
  const places = perRow / classes;
  return Array.from({ length: rows }, (_, r) => {
    const answers: number[] = [];
    for (let place = 0; place < places; place++) {
      const start = r * perRow + Math.floor(place / inner) * classes * inner + (place % inner);
      let best = 0;
      for (let c = 1; c < classes; c++) if (values[start + c * inner] > values[start + best * inner]) best = c;
      answers.push(best);
    }
    return answers.join();
  });
}
