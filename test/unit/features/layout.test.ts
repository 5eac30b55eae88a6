import { describe, expect, test } from 'vitest';
import { featureLayout, featureOfElements, guessKind } from '../../../src/features/layout.ts';

describe('features of an input', () => {
  test('are guessed from its shape and name', () => {
    const kind = (name: string, shape: number[], embedded = false) => guessKind({ name, shape, embedded });
    expect(kind('x', [10])).toBe('columns');
    expect(kind('input_ids', [16, 32], true)).toBe('tokens');
    expect(kind('x', [16, 32])).toBe('tokens');
    expect(kind('image', [3, 32, 32])).toBe('patches');
    expect(kind('image', [1, 8, 8])).toBe('pixels');
    expect(kind('depth', [1, 64, 256])).toBe('rows');
    expect(kind('video', [3, 8, 32, 32])).toBe('channels');
  });

  test('patches cover the image, those at the edge with what is left', () => {
    const layout = featureLayout({ name: 'x', shape: [2, 5, 7] }, 'patches', 3);
    expect(layout.grid).toEqual({ height: 5, width: 7, patch: 3, rows: 2, columns: 3 });
    expect(layout.size).toBe(6);
    const map = featureOfElements(layout);
    const above = [0, 0, 0, 1, 1, 1, 2];
    const below = above.map((place) => place + 3);
    expect([...map.subarray(0, 35)]).toEqual([above, above, above, below, below].flat());
    expect([...map.subarray(35)]).toEqual([...map.subarray(0, 35)]);
  });

  test('colours may come first or last', () => {
    const first = featureLayout({ name: 'x', shape: [3, 4, 4] }, 'channels');
    const last = featureLayout({ name: 'x', shape: [8, 8, 3] }, 'channels');
    expect([first.axes[0].axis, last.axes[0].axis]).toEqual([0, 2]);
    expect([...featureOfElements(last).subarray(0, 6)]).toEqual([0, 1, 2, 0, 1, 2]);
    expect(featureLayout({ name: 'x', shape: [8, 5, 3] }, 'rows').size).toBe(8);
  });

  test('columns of a table have its names', () => {
    expect(featureLayout({ name: 'x', shape: [2], columns: ['age', 'income'] }).names).toEqual(['age', 'income']);
  });

  test('kinds that the shape does not have are refused', () => {
    const refused = (shape: number[], kind: 'patches' | 'tokens' | 'channels' | 'columns', patch?: number) => () =>
      featureLayout({ name: 'x', shape }, kind, patch);
    expect(refused([10], 'patches')).toThrow(/no patches/);
    expect(refused([10], 'tokens')).toThrow(/no tokens/);
    expect(refused([10], 'channels')).toThrow(/no channels/);
    expect(refused([1], 'columns')).toThrow(/only one feature/);
    expect(refused([1, 8, 8], 'patches', 9)).toThrow(/do not fit/);
    expect(refused([1, 400, 400], 'patches', 1)).toThrow(/too many/);
  });
});
