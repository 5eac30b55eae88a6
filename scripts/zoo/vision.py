"""torchvision's classification networks, made small: every kind of block stays, widths and depths shrink."""

from __future__ import annotations

from functools import partial

from torch import nn
from torchvision.models import densenet, resnet, shufflenetv2, swin_transformer, vision_transformer

from spec import Spec, dynamo, image, torchscript

CLASSES = 10


def slim_resnet(block, layers, scale: int = 8, stem: int = 12, **options) -> nn.Module:
    """A ResNet whose planes are divided by `scale`."""

    class Slim(resnet.ResNet):
        def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
            if planes == 64:
                self.inplanes = stem
                self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
                self.bn1 = nn.BatchNorm2d(stem)
            return super()._make_layer(block, planes // scale, blocks, stride, dilate)

    net = Slim(block, layers, **options)
    net.fc = nn.Linear(512 // scale * block.expansion, CLASSES)
    return net


def vit() -> nn.Module:
    net = vision_transformer.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=40, num_classes=CLASSES
    )
    nn.init.normal_(net.heads.head.weight, std=0.2)
    return net


def swin(**options) -> nn.Module:
    return swin_transformer.SwinTransformer(
        patch_size=[4, 4], embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4], num_classes=CLASSES, **options
    )


def swin_v2() -> nn.Module:
    return swin(block=swin_transformer.SwinTransformerBlockV2, downsample_layer=swin_transformer.PatchMergingV2)


FOLDED_AND_NOT = (dynamo(18), torchscript(17, keep_batch_norm=True))

SPECS = [
    Spec(
        "resnet18",
        "torchvision",
        partial(slim_resnet, resnet.BasicBlock, [2, 2, 2, 1]),
        image(),
        (dynamo(18), torchscript(11), torchscript(7, keep_batch_norm=True)),
    ),
    Spec(
        "densenet",
        "torchvision",
        partial(densenet.DenseNet, 8, (2, 2, 2, 2), 12, num_classes=CLASSES),
        image(),
        FOLDED_AND_NOT,
    ),
    Spec(
        "shufflenet_v2",
        "torchvision",
        partial(shufflenetv2.ShuffleNetV2, [2, 2, 2], [12, 16, 32, 64, 96], CLASSES),
        image(),
        FOLDED_AND_NOT,
    ),
    Spec("vit", "torchvision", vit, image(32), (dynamo(18), torchscript(14))),
    Spec("swin", "torchvision", swin, image(), (dynamo(18), torchscript(17))),
    Spec("swin_v2", "torchvision", swin_v2, image(), (dynamo(20), torchscript(17))),
]
