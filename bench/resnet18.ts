import type { Model, Value } from '../src/graph/ir.ts';
import { builder, type Builder } from '../test/support/build.ts';

/** ResNet-18 (He, Zhang, Ren, Sun 2016) for images of 224 × 224, with random weights: 11.7 M parameters, 1.8 G MACs. */
export function resnet18(): Model {
  const b = builder({ seed: 18 });
  let x = convBn(b, b.input('image', ['N', 3, 224, 224]), 3, 64, 7, 2, 'stem');
  x = b.op('MaxPool', [b.relu(x)], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] });
  let from = 64;
  for (const [stage, to] of [64, 128, 256, 512].entries())
    for (const block of [0, 1]) {
      const name = `layer${stage + 1}.${block}`;
      const stride = stage > 0 && block === 0 ? 2 : 1;
      const skip = stride === 1 && from === to ? x : convBn(b, x, from, to, 1, stride, `${name}.down`);
      const inner = b.relu(convBn(b, x, from, to, 3, stride, `${name}.conv1`));
      x = b.relu(b.add(convBn(b, inner, to, to, 3, 1, `${name}.conv2`), skip));
      from = to;
    }
  b.output(b.gemm(b.flatten(b.globalPool(x)), 512, 1000, 'fc'));
  return b.build();
}

function convBn(b: Builder, x: Value, from: number, to: number, kernel: number, stride: number, name: string): Value {
  const pad = (kernel - 1) / 2;
  const attributes = { strides: [stride, stride], pads: [pad, pad, pad, pad], name, bias: 0 };
  return b.bn(b.conv(x, from, to, kernel, attributes), to, `${name}.bn`);
}
