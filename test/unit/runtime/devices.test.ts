import { describe, expect, test } from 'vitest';
import { listDevices, resolveDevice } from '../../../src/runtime/devices.ts';
import { SMALL, tryDevice } from '../../../src/runtime/trial.ts';

describe('devices', () => {
  test('the processor is always there and passes its own trial', async () => {
    expect((await listDevices())[0]).toMatchObject({ name: 'cpu', available: true });
    expect(await tryDevice('cpu', SMALL)).toMatchObject({ works: true, difference: 0 });
    expect(await resolveDevice('cpu')).toEqual({ device: 'cpu' });
  });

  test('every device is listed, and those that do not work say why', async () => {
    const devices = await listDevices();
    expect(devices.map((d) => d.name).sort()).toEqual(['coreml', 'cpu', 'cuda', 'dml', 'webgpu']);
    for (const device of devices) expect(device.note).not.toBe('');
  });

  test('a device that this platform lacks falls back to the processor with a note', async () => {
    const absent = process.platform === 'win32' ? 'coreml' : 'dml';
    const resolved = await resolveDevice(absent);
    expect(resolved.device).toBe('cpu');
    expect(resolved.note).toMatch(new RegExp(`The device ${absent} cannot be used \\(.+\\); running on the CPU\\.`));
  });

  test('an unknown name is a usage error that lists the devices', async () => {
    await expect(resolveDevice('tpu' as 'cpu')).rejects.toMatchObject({
      code: 'usage',
      hint: expect.stringContaining('webgpu'),
    });
  });

  test('automatic choice gives a device that works', async () => {
    const { device } = await resolveDevice('auto');
    expect(await tryDevice(device, SMALL)).toMatchObject({ works: true });
  });
});
