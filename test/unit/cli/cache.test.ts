import { readdirSync, rmSync, mkdtempSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cacheFolder } from '../../../src/cli/cache-folder.ts';
import type { Ranks, RanksByMethod } from '../../../src/formats.ts';
import { buildCommand, example, removeCommand, secateurWith } from './command.ts';

const folder = mkdtempSync(join(tmpdir(), 'secateur-cache-'));
beforeAll(buildCommand);
afterAll(() => {
  removeCommand();
  rmSync(folder, { recursive: true, force: true });
});

const args = [
  'rank',
  join(example, 'model.onnx'),
  '--data',
  join(example, 'calib.npz'),
  '--samples',
  '30',
  '--group',
  '*#blocks',
  '--json',
  '--method',
];

async function ranks<T>(cache: string, ...more: string[]): Promise<T> {
  const { code, stdout } = await secateurWith({ SECATEUR_CACHE: cache }, ...args, ...more);
  expect(code).toBe(0);
  return JSON.parse(stdout) as T;
}

test('methods and runs share the values of coalitions', async () => {
  const cache = join(folder, 'shared');
  const first = await ranks<RanksByMethod>(cache, 'shapley,oracle,leave-one-out');
  const { size } = first.methods[0].groups[0];
  // Every method asks for some of the same 2^n coalitions; each is written once.
  const [file] = readdirSync(cache);
  const recordSize = Math.ceil(size / 8) + 12;
  expect(statSync(join(cache, file)).size).toBe(44 + 2 ** size * recordSize);
  const again = await ranks<Ranks>(cache, 'shapley');
  expect(again.groups[0].units).toEqual(first.methods[0].groups[0].units);
  expect(statSync(join(cache, file)).size).toBe(44 + 2 ** size * recordSize);

  // Other samples or another metric are another game.
  await ranks<Ranks>(cache, 'shapley', '--metric', 'cross-entropy');
  await ranks<Ranks>(cache, 'shapley', '--seed', '5');
  expect(readdirSync(cache)).toHaveLength(3);
  expect(first.agreement!.map((a) => a.methods.join())).toContain('shapley,oracle');
});

test('--no-cache keeps nothing', async () => {
  const cache = join(folder, 'unused');
  await ranks<Ranks>(cache, 'shapley', '--no-cache');
  expect(() => readdirSync(cache)).toThrow(/ENOENT/);
});

test('the folder is that of the platform', () => {
  expect(cacheFolder({}, 'linux', '/home/a')).toBe(join('/home/a', '.cache', 'secateur'));
  expect(cacheFolder({ XDG_CACHE_HOME: '/var/c' }, 'linux', '/home/a')).toBe(join('/var/c', 'secateur'));
  expect(cacheFolder({ XDG_CACHE_HOME: 'relative' }, 'linux', '/home/a')).toBe(join('/home/a', '.cache', 'secateur'));
  expect(cacheFolder({}, 'darwin', '/Users/a')).toBe(join('/Users/a', 'Library', 'Caches', 'secateur'));
  expect(cacheFolder({ LOCALAPPDATA: 'C:/local' }, 'win32', 'C:/a')).toBe(join('C:/local', 'secateur', 'Cache'));
  expect(cacheFolder({ SECATEUR_CACHE: '' }, 'linux', '/home/a')).toBe('');
});
