import { expect, test } from 'vitest';
import { Cache } from '../../../src/engine/jobs/cache.ts';
import { unlessCancelled } from '../../../src/engine/jobs/context.ts';

function things(capacity: number) {
  const made: string[] = [];
  const closed: string[] = [];
  const cache = new Cache<string>(capacity, (thing) => closed.push(thing));
  const make = (name: string) => () => {
    made.push(name);
    return Promise.resolve(name);
  };
  return { cache, made, closed, get: (name: string) => cache.get(name, make(name)), make };
}

test('makes a thing once, also for callers at the same time', async () => {
  const { get, made } = things(2);
  expect(await Promise.all([get('a'), get('a')])).toEqual(['a', 'a']);
  await get('a');
  expect(made).toEqual(['a']);
});

test('closes what was used longest ago', async () => {
  const { get, closed, made } = things(2);
  for (const name of ['a', 'b', 'a', 'c']) await get(name);
  await Promise.resolve();
  expect(closed).toEqual(['b']);
  await get('b');
  expect(made).toEqual(['a', 'b', 'c', 'b']);
});

test('does not close what is in use, but afterwards', async () => {
  const { cache, get, closed, make } = things(1);
  await cache.use('a', make('a'), async () => {
    await get('b');
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(closed).toEqual([]);
  });
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(closed).toEqual(['a']);
});

test('does not keep failures', async () => {
  const cache = new Cache<number>(2);
  await expect(cache.get('a', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await cache.get('a', () => Promise.resolve(1))).toBe(1);
});

test('a cancelled job stops waiting for work that goes on', async () => {
  const abort = new AbortController();
  let finished = false;
  const work = new Promise<void>((resolve) => setTimeout(resolve, 30)).then(() => {
    finished = true;
  });
  const waiting = unlessCancelled(work, abort.signal);
  abort.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
  expect(finished).toBe(false);
  await work;
  expect(finished).toBe(true);
});
