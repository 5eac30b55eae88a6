import type { EngineHandlers } from '../process/wire.ts';
import { compare } from './compare.ts';
import { describeData } from './describe-data.ts';
import { devices } from './devices.ts';
import { evaluate } from './evaluate.ts';
import { features } from './features.ts';
import { inspect } from './inspect.ts';
import { measure } from './measure.ts';
import { plan } from './plan.ts';
import { prune } from './prune.ts';
import { rank } from './rank.ts';

/** The engine's methods, by their names in the protocol. */
export const handlers: EngineHandlers = {
  inspect,
  'describe-data': describeData,
  evaluate,
  features,
  rank,
  plan,
  measure,
  prune,
  compare,
  devices,
};
