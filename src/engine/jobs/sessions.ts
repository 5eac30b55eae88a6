import { createSession } from '../../runtime/session.ts';
import type { Session } from '../../runtime/session.ts';
import { resolveDevice } from '../../runtime/devices.ts';
import type { DeviceName } from '../../formats.ts';
import { Cache } from './cache.ts';
import type { OpenModel } from './model.ts';

const sessions = new Cache<Session>(3, (session) => session.release());

/** Runs `use` with a session of the model file as it is. */
export function withSession<R>(
  model: OpenModel,
  device: DeviceName,
  use: (session: Session) => Promise<R>,
): Promise<R> {
  if (model.missingData) throw model.missingData;
  return sessions.use(`${model.key}|${device}`, () => createSession(model.path, { device }), use);
}

/** The device that a job runs on; a note about a fall-back goes to the warnings. */
export async function chooseDevice(wanted: DeviceName | 'auto', warnings: string[]): Promise<DeviceName> {
  const { device, note } = await resolveDevice(wanted);
  if (note) warnings.push(note);
  return device;
}
