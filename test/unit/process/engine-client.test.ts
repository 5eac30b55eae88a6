import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EngineClient } from '../../../src/engine/process/client.ts';
import type { EngineExit } from '../../../src/engine/process/client.ts';
import type { EngineMethod } from '../../../src/engine/process/wire.ts';
import type { Progress } from '../../../src/protocol.ts';

const folder = mkdtempSync(join(tmpdir(), 'secateur-engine-'));
const entry = join(folder, 'engine.cjs');
let client: EngineClient;
let logged: string[];

const ask = (method: EngineMethod, params: object = {}, options = {}): Promise<unknown> =>
  client.request(method, params as never, options);

beforeAll(() =>
  build({
    entryPoints: [fileURLToPath(new URL('./fixture-engine.ts', import.meta.url))],
    outfile: entry,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    logLevel: 'error',
  }),
);
beforeEach(() => {
  logged = [];
  client = new EngineClient({ entry, log: (line) => logged.push(line) });
});
afterEach(() => client.dispose());
afterAll(() => rmSync(folder, { recursive: true }));

describe('requests', () => {
  it('are answered, with telemetry off in the environment of the process', async () => {
    expect(await ask('inspect', { model: 'm' })).toEqual({ model: 'm', telemetry: '1' });
  });

  it('fail with code, message and hint of the handler', async () => {
    await expect(ask('evaluate')).rejects.toMatchObject({ code: 'bad-data', hint: 'Choose other data.' });
  });

  it('fail when there is no such method, also one that every object has', async () => {
    await expect(ask('toString' as EngineMethod)).rejects.toMatchObject({ code: 'usage' });
  });

  it('fail when the result cannot be sent', async () => {
    await expect(ask('plan')).rejects.toMatchObject({ code: 'internal' });
  });

  it('fail when a rejection that nobody caught leaves them without an answer', async () => {
    await expect(ask('describe-data')).rejects.toMatchObject({ message: 'stray' });
    expect(await ask('inspect', { model: 'still there' })).toMatchObject({ model: 'still there' });
  });

  it('fail with a sentence when the bundle is missing', async () => {
    const broken = new EngineClient({ entry: join(folder, 'missing.cjs') });
    await expect(broken.request('devices', {})).rejects.toMatchObject({ code: 'engine' });
  });
});

describe('cancellation', () => {
  it('lets rank return what it has, with the last progress of every group before it', async () => {
    const abort = new AbortController();
    const last = new Map<string, number>();
    const onProgress = ({ partial }: Progress): void => {
      if (partial && 'id' in partial) last.set(partial.id, partial.evaluations);
      if (last.size === 3) abort.abort();
    };
    expect(await ask('rank', {}, { signal: abort.signal, onProgress })).toEqual({ complete: false });
    expect([...last.values()].sort()).toEqual([297, 298, 299]);
  });

  it('rejects at once when the signal is aborted already', async () => {
    await expect(ask('inspect', {}, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'cancelled' });
    expect(client.running).toBe(false);
  });

  it('is what a newer measurement of the same model does to an older one', async () => {
    const older = ask('measure', { model: 'slow a' });
    const other = ask('measure', { model: 'slow b' });
    const settled: string[] = [];
    void other.then(
      () => settled.push('b'),
      () => settled.push('b'),
    );
    const newer = ask('measure', { model: 'slow a' });
    await expect(older).rejects.toMatchObject({ code: 'cancelled' });
    expect(settled).toEqual([]);
    void newer.catch(() => undefined);
  });

  it('answers a heavy job that still waits for another one', async () => {
    const first = new AbortController();
    const running = ask('rank', {}, { signal: first.signal });
    const abort = new AbortController();
    const notes: string[] = [];
    const onProgress = ({ note }: Progress): void => {
      notes.push(note);
      abort.abort();
    };
    await expect(ask('prune', {}, { signal: abort.signal, onProgress })).rejects.toMatchObject({ code: 'cancelled' });
    expect(notes).toEqual(['waiting for another job']);
    // Light jobs overtake.
    expect(await ask('measure', { model: 'quick' })).toBe('quick');
    const compared = ask('compare');
    first.abort();
    expect(await running).toEqual({ complete: false });
    expect(await compared).toBe('compared');
  });
});

describe('a dying engine', () => {
  it('rejects what is pending, says so once, and works again after a restart', async () => {
    const exits: EngineExit[] = [];
    client.onExit((exit) => exits.push(exit));
    const pending = ask('rank');
    await expect(ask('devices')).rejects.toMatchObject({ code: 'engine' });
    await expect(pending).rejects.toMatchObject({ code: 'engine' });
    await expect(ask('inspect')).rejects.toMatchObject({ code: 'engine' });
    expect(exits).toHaveLength(1);
    expect(exits[0]).toMatchObject({ signal: 'SIGABRT', expected: false });
    await client.restart();
    expect(await ask('inspect', { model: 'm' })).toMatchObject({ model: 'm' });
  });

  it('is expected when it was asked to, and its jobs are rejected', async () => {
    const exits: EngineExit[] = [];
    client.onExit((exit) => exits.push(exit));
    await ask('inspect');
    const pending = ask('measure', { model: 'slow' });
    // The engine ends its jobs first: the answer may still come, as a cancellation.
    const outcome = expect(pending).rejects.toMatchObject({ code: expect.stringMatching(/engine|cancelled/) });
    await client.dispose();
    await outcome;
    expect(exits).toMatchObject([{ expected: true, code: 0 }]);
    expect(client.running).toBe(false);
  });
});
