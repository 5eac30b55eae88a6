import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { OpenGame } from '../../../src/evaluation/coalitions/index.ts';
import { CoalitionCache, cachedGame } from '../../../src/evaluation/coalitions/index.ts';
import { gameOf, saturating } from '../ranking/games.ts';

const root = mkdtempSync(join(tmpdir(), 'secateur-cache-'));
let folder = '';
let count = 0;
beforeEach(() => {
  folder = join(root, String(count++));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const n = 11;
const coalition = (mask: number): Uint8Array => Uint8Array.from({ length: n }, (_, i) => (mask >> i) & 1);
const open = (key: unknown = 'a', limits = {}): CoalitionCache => new CoalitionCache(folder, key, n, limits);
const onlyFile = (): string => join(folder, readdirSync(folder)[0]);

/** A cache that was filled and closed: values of coalitions 0 … count − 1. */
function filled(count: number, key: unknown = 'a'): void {
  const cache = open(key);
  for (let mask = 0; mask < count; mask++) cache.add([coalition(mask)], [mask / 7]);
  cache.close();
}

describe('coalition cache', () => {
  it('gives back what was added, in later runs too, and only for the same key', () => {
    filled(100);
    const again = open();
    expect(again.size).toBe(100);
    for (let mask = 0; mask < 100; mask++) expect(again.get(coalition(mask))).toBe(mask / 7);
    expect(again.get(coalition(100))).toBeUndefined();
    again.add([coalition(5), coalition(200)], [99, -0.5]);
    again.close();
    expect(open().get(coalition(5))).toBe(5 / 7);
    expect(open().get(coalition(200))).toBe(-0.5);
    expect(open('b').size).toBe(0);
    expect(readdirSync(folder)).toHaveLength(2);
  });

  it('keeps what two writers append', () => {
    const [one, two] = [open(), open()];
    one.add([coalition(1)], [1]);
    two.add([coalition(2)], [2]);
    one.add([coalition(3)], [3]);
    one.close();
    two.close();
    const read = open();
    expect([1, 2, 3].map((mask) => read.get(coalition(mask)))).toEqual([1, 2, 3]);
  });

  it('goes on after the last good record of a damaged file', () => {
    filled(20);
    const whole = readFileSync(onlyFile());
    const record = (whole.length - 44) / 20;
    // Cut in the middle of a record.
    writeFileSync(onlyFile(), whole.subarray(0, 44 + 7 * record + 3));
    let cache = open();
    expect(cache.size).toBe(7);
    cache.add([coalition(500)], [1]);
    cache.close();
    expect(open().size).toBe(8);
    // A flipped bit in the value of the fourth record.
    const bent = Buffer.from(whole);
    bent[44 + 3 * record + 5] ^= 1;
    writeFileSync(onlyFile(), bent);
    cache = open();
    expect(cache.size).toBe(3);
    cache.close();
    expect(statSync(onlyFile()).size).toBe(44 + 3 * record);
  });

  it('ignores foreign files and writes them anew', () => {
    filled(20);
    const whole = readFileSync(onlyFile());
    for (const other of [
      Buffer.from('something else'),
      Buffer.alloc(0),
      Buffer.concat([Buffer.from('SCTRCOA9'), whole.subarray(8)]),
      // Of another key, with the same name.
      Buffer.concat([whole.subarray(0, 20), Buffer.alloc(24), whole.subarray(44)]),
    ]) {
      writeFileSync(onlyFile(), other);
      const cache = open();
      expect(cache.size).toBe(0);
      cache.add([coalition(1)], [0.25]);
      cache.close();
      expect(open().get(coalition(1))).toBe(0.25);
    }
  });

  it('is bounded: a file stops growing, and files that were not used for longest go', () => {
    const small = open('a', { file: 500 });
    for (let mask = 0; mask < 100; mask++) small.add([coalition(mask)], [mask]);
    small.close();
    expect(small.size).toBe(100);
    expect(statSync(onlyFile()).size).toBeLessThanOrEqual(500);
    expect(open().size).toBeGreaterThan(20);
    rmSync(folder, { recursive: true });
    const used: string[] = [];
    for (const key of ['a', 'b', 'c']) {
      filled(50, key);
      const made = readdirSync(folder).find((name) => !used.includes(name))!;
      used.push(made);
      utimesSync(join(folder, made), new Date(2020, 1, used.length), new Date(2020, 1, used.length));
    }
    // Using a file makes it the youngest.
    open('a').close();
    open('d', { folder: 2000 }).close();
    expect(existsSync(join(folder, used[0]))).toBe(true);
    expect(existsSync(join(folder, used[1]))).toBe(false);
    expect(existsSync(join(folder, used[2]))).toBe(true);
  });

  it('works in memory where nothing can be written', () => {
    writeFileSync(join(root, 'file'), '');
    const cache = new CoalitionCache(join(root, 'file', 'below'), 'a', n);
    cache.add([coalition(3)], [7]);
    expect(cache.get(coalition(3))).toBe(7);
    cache.close();
  });

  it('spares a game what is known', async () => {
    const value = saturating(n, 2);
    const opened = (): { game: OpenGame; inner: ReturnType<typeof gameOf> } => {
      const inner = gameOf(n, value);
      const info = { strategy: 'naive' as const, suffixShare: 1, folded: false, gradients: false, rows: 1, notes: [] };
      const withInfo: OpenGame = Object.assign(inner, { info, close: () => Promise.resolve() });
      return { game: cachedGame(withInfo, open()), inner };
    };
    const first = opened();
    const masks = [1, 2, 3, 2].map(coalition);
    expect([...(await first.game.evaluate(masks))]).toEqual(masks.map(value));
    await first.game.close();
    const second = opened();
    const more = [3, 9, 1].map(coalition);
    expect([...(await second.game.evaluate(more))]).toEqual(more.map(value));
    expect(second.inner.calls).toBe(1);
    expect([...(await second.game.evaluate(more))]).toEqual(more.map(value));
    expect(second.inner.calls).toBe(1);
    const abort = new AbortController();
    abort.abort();
    await expect(second.game.evaluate(more, abort.signal)).rejects.toThrow();
    await second.game.close();
  });
});
