import { describe, expect, it } from 'vitest';
import { TimeLeft } from '../../../src/engine/jobs/time-left.ts';

describe('time left', () => {
  it('is told from the pace so far, in round numbers', () => {
    const left = new TimeLeft();
    expect(left.words(0, 1000)).toBe('');
    expect(left.words(0.02, 3000)).toBe('');
    expect(left.words(0.1, 21_000)).toBe('about 3 min left');
    expect(left.words(0.5, 61_000)).toBe('about 1 min left');
    expect(left.words(0.9, 109_000)).toBe('');
    expect(left.words(1, 121_000)).toBe('');
  });

  it('counts from where a resumed job began, and speaks of hours', () => {
    const left = new TimeLeft();
    expect(left.words(0.5, 0)).toBe('');
    expect(left.words(0.51, 600_000)).toBe('about 8.2 h left');
  });
});
