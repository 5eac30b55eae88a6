import { SecateurError } from '../../errors.ts';
import { convertInto, type HostType, isFloatHost, type TypedArray } from '../../runtime/host-tensor.ts';
import type { NamedArray } from './npy.ts';
import { positionText } from './raw.ts';

const RANGES: Partial<Record<HostType, [number, number]>> = {
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int32: [-2147483648, 2147483647],
  uint32: [0, 4294967295],
  int64: [-(2 ** 63), 2 ** 63],
  uint64: [0, 2 ** 64],
  bool: [0, 1],
};

/**
 * Checks an array that feeds an input: every number finite, and convertible to the input's type without loss (floats
 * among each other are rounded as they are for any runtime).
 * @param path file, for messages
 * @throws SecateurError 'bad-data' naming array and first index
 */
export function checkConvertible(array: NamedArray, to: HostType, path: string): void {
  if (array.type === 'string')
    throw new SecateurError('bad-data', `${path}: array ${array.name} holds text, not numbers.`);
  const data = array.data as TypedArray;
  const from = array.type;
  const fail = (i: number, why: string): never => {
    throw new SecateurError('bad-data', `${path}: array ${array.name} ${why} at ${positionText(i, array.dims)}.`);
  };
  if (isFloatHost(from)) {
    const half = from === 'float16';
    for (let i = 0; i < data.length; i++) {
      const finite = half ? ((data[i] as number) & 0x7c00) !== 0x7c00 : Number.isFinite(data[i] as number);
      if (!finite) {
        const infinite = half ? ((data[i] as number) & 0x3ff) === 0 : !Number.isNaN(data[i]);
        fail(i, infinite ? 'is infinite' : 'is NaN (not a number)');
      }
    }
  }
  if (isFloatHost(to) || from === to) return;
  const [low, high] = RANGES[to]!;
  const one = new Float64Array(1);
  for (let i = 0; i < data.length; i++) {
    convertInto(data, from, i, one, 'float64', 0, 1);
    if (!Number.isInteger(one[0])) fail(i, `is ${one[0]}, but the model wants integers (${to}),`);
    if (one[0] < low || one[0] > high) fail(i, `is ${one[0]}, which does not fit the model's ${to},`);
  }
}
