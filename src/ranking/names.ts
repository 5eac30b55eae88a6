import { SecateurError } from '../errors.ts';
import type { MethodName } from '../formats.ts';

/** All methods in the order of menus. Apart from the methods themselves, so that to parse a name loads none of them. */
export const METHOD_NAMES: readonly MethodName[] = [
  'shapley',
  'oracle',
  'leave-one-out',
  'dirichlet',
  'taylor',
  'taylor-squared',
  'taylor-signed',
  'fisher',
  'magnitude',
  'magnitude-l2',
  'activation',
  'wanda',
  'obs',
  'random',
];

/** Other spellings that the command line takes. */
const aliases: Record<string, MethodName> = {
  loo: 'leave-one-out',
  l1: 'magnitude',
  'magnitude-l1': 'magnitude',
  l2: 'magnitude-l2',
  obd: 'fisher',
  switch: 'dirichlet',
};

/** The method that a name or another spelling of it means. @throws SecateurError 'usage' for an unknown name */
export function methodNamed(name: string): MethodName {
  const found = METHOD_NAMES.find((m) => m === (aliases[name] ?? name));
  if (!found)
    throw new SecateurError('usage', `There is no ranking method '${name}'.`, `Methods: ${METHOD_NAMES.join(', ')}.`);
  return found;
}
