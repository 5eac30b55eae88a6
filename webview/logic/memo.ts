/** Remembers the last result: called again with the same arguments (by identity) it returns the same object. */
export function memo<A extends unknown[], R>(compute: (...args: A) => R): (...args: A) => R {
  let last: { args: A; result: R } | null = null;
  return (...args) => {
    if (last && args.length === last.args.length && args.every((a, i) => Object.is(a, last!.args[i])))
      return last.result;
    last = { args, result: compute(...args) };
    return last.result;
  };
}
