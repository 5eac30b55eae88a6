/**
 * Must be the first import of the engine. onnxruntime reads this from the real environment when its library loads and
 * would otherwise queue model and file names for upload. The client sets it in the fork's environment as well.
 */
process.env.ORT_DISABLE_TELEMETRY = '1';
