import { listDevices } from '../../runtime/devices.ts';
import type { EngineMethods } from '../../protocol.ts';

/** Where models can run on this machine. */
export async function devices(): Promise<EngineMethods['devices']['result']> {
  return listDevices();
}
