import { SecateurError } from '../errors.ts';

export type OrtModule = typeof import('onnxruntime-node');

let loaded: OrtModule | undefined;

/**
 * The onnxruntime-node module, loaded on first use and never bundled. The process that starts this one must set
 * ORT_DISABLE_TELEMETRY=1 in the environment: native code reads it once, when the library is loaded.
 * @throws SecateurError 'internal' when it is not set, 'runtime' when the library cannot be loaded on this machine.
 */
export async function loadOnnxRuntime(): Promise<OrtModule> {
  if (loaded) return loaded;
  if (process.env.ORT_DISABLE_TELEMETRY !== '1')
    throw new SecateurError(
      'internal',
      'onnxruntime must not be loaded while its telemetry is on.',
      'Start the process with ORT_DISABLE_TELEMETRY=1 in its environment.',
    );
  try {
    const module = (await import('onnxruntime-node')) as OrtModule & { default?: OrtModule };
    const ort = module.default ?? module;
    ort.env.logLevel = 'fatal'; // what fails is thrown; nothing else belongs on stderr
    loaded = ort;
    return ort;
  } catch (thrown) {
    throw new SecateurError(
      'runtime',
      `onnxruntime could not be loaded on ${process.platform}-${process.arch}: ${firstSentence(thrown)}`,
      'Install the package that was built for this platform.',
      { cause: thrown },
    );
  }
}

/**
 * The first clear sentence of a native error: without C++ signatures, source locations and the runtime's prefixes.
 */
export function firstSentence(thrown: unknown): string {
  let text = (thrown instanceof Error ? thrown.message : String(thrown)).trim();
  text = text.split('\n')[0].trim();
  // Load model from PATH failed:REASON
  text = text.replace(/^Load model from (.+?) failed:\s*/, '');
  text = text.replace(
    /^(Exception during (initialization|loading)|Error|This is an invalid model\. Error|This is an invalid model\.|\[ONNXRuntimeError\])\s*:?\s*/i,
    '',
  );
  // /onnxruntime_src/…/file.cc:123 ReturnType ns::function(args…) condition was false. MESSAGE
  text = text.replace(/(^|\s)\/?[\w./\\-]*\.(?:cc|h|cpp):\d+ .*? was false\.\s*/g, '$1');
  text = text.replace(
    /(^|\s)\/?[\w./\\-]*\.(?:cc|h|cpp):\d+ [^()]*\((?:[^()]|\([^()]*\))*\)(?:::<lambda[^>]*>)?(?: const)?\s*/g,
    '$1',
  );
  text = text.replace(/(^|\s)\/?[\w./\\-]*\.(?:cc|h|cpp):\d+\s+\w*\s*/g, '$1');
  text = text.replace(
    /^Non-zero status code returned while running (\w+) node\. Name:'([^']*)' Status Message:\s*/,
    "$1 node '$2' failed: ",
  );
  text = text.replace(/\s+/g, ' ').trim();
  if (!text) return 'onnxruntime failed without a message.';
  const capital = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

const OUT_OF_MEMORY =
  /failed to allocate|bad_?alloc|out of memory|bad allocation|array buffer allocation failed|invalid typed array length/i;

/** Turns what the runtime threw into a SecateurError 'runtime' (others pass), with a hint where one is known. */
export function runtimeError(thrown: unknown, doing: string): SecateurError {
  if (thrown instanceof SecateurError) return thrown;
  const raw = thrown instanceof Error ? thrown.message : String(thrown);
  if (OUT_OF_MEMORY.test(raw))
    return new SecateurError(
      'runtime',
      `${doing}: there is not enough memory.`,
      'Use fewer samples, or close other programs.',
      { cause: thrown },
    );
  const hint = /External data path|external data/i.test(raw) ? "Put the model's external data files next to it." : '';
  return new SecateurError('runtime', `${doing}: ${firstSentence(thrown)}`, hint, { cause: thrown });
}
