/** What the end of a group's id says of its units, in the words of the list. */
const SUFFIXES: Record<string, string> = { 'head-dim': 'dims', head: 'heads' };

/**
 * A group's id in as few words as tell it apart: exporters repeat a module's path in the names of what it holds
 * (`/features/features.1/features.1.0/mlp/mlp.0/MatMul` is `features.1.0/mlp.0`) and end with the operator. The whole id is
 * in the tooltip.
 */
export function displayName(id: string): string {
  const [path, suffix] = id.split('#');
  if (suffix === 'blocks') return 'residual blocks';
  const all = path.split('/').filter(Boolean);
  const parts = all.filter(
    (part, i) => !(i + 1 < all.length && (all[i + 1] === part || all[i + 1].startsWith(`${part}.`))),
  );
  if (parts.length > 1 && /^[A-Z][A-Za-z0-9]*(_\d+)?$/.test(parts[parts.length - 1])) parts.pop();
  const name = parts.join('/') || id;
  return suffix ? `${name} ${SUFFIXES[suffix] ?? suffix}` : name;
}
