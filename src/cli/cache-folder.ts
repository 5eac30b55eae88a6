import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/**
 * Where values of coalitions are kept from run to run: SECATEUR_CACHE where it is set (empty: nowhere), else `secateur` in
 * the user's cache folder of the platform (on Linux by the XDG Base Directory Specification).
 */
export function cacheFolder(
  env: NodeJS.ProcessEnv = process.env,
  platform = process.platform,
  home = homedir(),
): string {
  if (env.SECATEUR_CACHE !== undefined) return env.SECATEUR_CACHE;
  if (platform === 'win32') return join(env.LOCALAPPDATA ?? join(home, 'AppData', 'Local'), 'secateur', 'Cache');
  if (platform === 'darwin') return join(home, 'Library', 'Caches', 'secateur');
  const xdg = env.XDG_CACHE_HOME;
  return join(xdg && isAbsolute(xdg) ? xdg : join(home, '.cache'), 'secateur');
}
