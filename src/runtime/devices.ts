import { existsSync, readdirSync } from 'node:fs';
import type { DeviceName } from '../formats.ts';
import { SecateurError } from '../errors.ts';
import { loadOnnxRuntime } from './onnxruntime.ts';
import { LARGE, SMALL, type Trial, tryDevice } from './trial.ts';

export const DEVICES: readonly DeviceName[] = ['cpu', 'cuda', 'dml', 'webgpu', 'coreml'];

/** Devices that 'auto' may choose, the best first. Not coreml: it compiles anew for every batch size. */
const AUTOMATIC: readonly DeviceName[] = ['cuda', 'dml', 'webgpu'];
/** A device is chosen automatically when it is so many times as fast as the CPU. */
const WORTH = 1.5;
/** A run of the small trial that takes longer than this is no GPU. */
const SMALL_TRIAL_MS = 50;

export interface DeviceInfo {
  name: DeviceName;
  available: boolean;
  /** For people: what it is, or why it cannot be used. */
  note: string;
}

const TITLES: Record<DeviceName, string> = {
  cpu: 'Processor',
  cuda: 'NVIDIA GPU (CUDA)',
  dml: 'GPU (DirectML)',
  webgpu: 'GPU (WebGPU)',
  coreml: 'Apple (Core ML)',
};

const trials = new Map<DeviceName, Promise<Trial>>();

/** Every device that Secateur knows, each tried once per process. Never throws. */
export async function listDevices(): Promise<DeviceInfo[]> {
  const found: DeviceInfo[] = [];
  for (const name of DEVICES) {
    if (name === 'cpu') found.push({ name, available: true, note: TITLES.cpu });
    else {
      const trial = await (obviouslyAbsent(name) ?? smallTrial(name));
      const note = trial.works
        ? `${TITLES[name]}${softwareAdapter(name) ? ', emulated by software' : ''}`
        : trial.reason;
      found.push({ name, available: trial.works, note });
    }
  }
  return found;
}

/**
 * The device to run on. A wanted device that does not work falls back to the CPU, and `note` says so and why; 'auto' is
 * the CPU unless a GPU works and is clearly faster.
 * @throws SecateurError 'usage' for a name that is no device
 */
export async function resolveDevice(wanted: DeviceName | 'auto'): Promise<{ device: DeviceName; note?: string }> {
  if (wanted === 'auto') return automatic();
  if (!DEVICES.includes(wanted))
    throw new SecateurError(
      'usage',
      `There is no device named ${wanted as string}.`,
      `Devices: auto, ${DEVICES.join(', ')}.`,
    );
  if (wanted === 'cpu') return { device: 'cpu' };
  const trial = await smallTrial(wanted);
  if (!trial.works)
    return { device: 'cpu', note: `The device ${wanted} cannot be used (${trial.reason}); running on the CPU.` };
  if (softwareAdapter(wanted))
    return { device: wanted, note: `The device ${wanted} is emulated by software here: results are right, but slow.` };
  return { device: wanted };
}

let chosen: Promise<{ device: DeviceName; note?: string }> | undefined;

function automatic(): Promise<{ device: DeviceName; note?: string }> {
  chosen ??= (async () => {
    for (const device of AUTOMATIC) {
      if (obviouslyAbsent(device) || softwareAdapter(device)) continue;
      const small = await smallTrial(device);
      if (!small.works || small.ms > SMALL_TRIAL_MS) continue;
      const large = await tryDevice(device, LARGE);
      const cpu = await tryDevice('cpu', LARGE);
      if (large.works && cpu.works && cpu.ms / large.ms >= WORTH) return { device };
    }
    return { device: 'cpu' as const };
  })();
  return chosen;
}

function smallTrial(device: DeviceName): Promise<Trial> {
  let trial = trials.get(device);
  if (!trial) trials.set(device, (trial = supported(device).then((known) => known ?? tryDevice(device, SMALL))));
  return trial;
}

/** A failure when the runtime of this platform has no such device; null when it may work. */
async function supported(device: DeviceName): Promise<Trial | null> {
  try {
    const { listSupportedBackends } = await loadOnnxRuntime();
    if (listSupportedBackends().some((b) => b.name === device)) return null;
    return { works: false, reason: `not part of onnxruntime for ${process.platform}-${process.arch}` };
  } catch (thrown) {
    return { works: false, reason: thrown instanceof Error ? thrown.message : String(thrown) };
  }
}

/** Devices that cannot work here, told without loading drivers (which write to stderr when they find nothing). */
function obviouslyAbsent(device: DeviceName): Trial | null {
  const elsewhere: Partial<Record<DeviceName, NodeJS.Platform[]>> = {
    dml: ['win32'],
    coreml: ['darwin'],
    cuda: ['linux', 'win32'],
  };
  const platforms = elsewhere[device];
  if (platforms && !platforms.includes(process.platform))
    return { works: false, reason: `not part of onnxruntime for ${process.platform}-${process.arch}` };
  if (process.platform !== 'linux') return null;
  if (device === 'cuda' && !existsSync('/dev/nvidiactl') && !existsSync('/dev/dxg'))
    return { works: false, reason: 'no NVIDIA GPU was found' };
  if (device === 'webgpu' && !linuxGpu() && !driverOverride()) return { works: false, reason: 'no GPU was found' };
  return null;
}

function linuxGpu(): boolean {
  if (existsSync('/dev/nvidiactl') || existsSync('/dev/dxg')) return true;
  try {
    return readdirSync('/dev/dri').some((name) => name.startsWith('renderD'));
  } catch {
    return false;
  }
}

function driverOverride(): string {
  return process.env.VK_ICD_FILENAMES ?? process.env.VK_DRIVER_FILES ?? '';
}

/** True when the Vulkan loader was told to use a driver that computes on the processor. */
function softwareAdapter(device: DeviceName): boolean {
  return device === 'webgpu' && /swiftshader|lvp_icd|lavapipe/i.test(driverOverride());
}
