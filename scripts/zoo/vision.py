"""torchvision's classification networks, made small: every kind of block stays, widths and depths shrink."""

from __future__ import annotations

from functools import partial

from torch import nn
from torchvision.models import (
    convnext,
    densenet,
    efficientnet,
    inception,
    maxvit,
    mnasnet,
    mobilenetv2,
    mobilenetv3,
    regnet,
    resnet,
    shufflenetv2,
    squeezenet,
    swin_transformer,
    vgg,
    vision_transformer,
)
from torchvision.models.googlenet import GoogLeNet

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


def thin_convs(build, divide: int = 8) -> nn.Module:
    """Builds a network of which every Conv, norm and Linear is narrower: for constructors that take no widths."""
    originals = {kind: kind.__init__ for kind in (nn.Conv2d, nn.Conv3d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Linear)}

    def thin(n: int) -> int:
        return n if n in (3, CLASSES) else max(2, n // divide)

    def narrow(kind, count):
        def init(self, *args, **options):
            for key in ("in_channels", "out_channels", "num_features", "in_features", "out_features"):
                if key in options:
                    options[key] = thin(options[key])
            originals[kind](self, *[thin(a) if i < count else a for i, a in enumerate(args)], **options)

        return init

    try:
        for kind in originals:
            kind.__init__ = narrow(kind, 1 if kind in (nn.BatchNorm2d, nn.BatchNorm3d) else 2)
        return build()
    finally:
        for kind, init in originals.items():
            kind.__init__ = init


def slim_vgg() -> nn.Module:
    features = vgg.make_layers([8, "M", 12, "M", 16, 16, "M", 20, 20, "M", 24, "M"], batch_norm=True)
    net = vgg.VGG(features, num_classes=CLASSES, init_weights=False)
    net.avgpool = nn.AdaptiveAvgPool2d((2, 2))
    net.classifier = nn.Sequential(nn.Linear(96, 48), nn.ReLU(), nn.Dropout(), nn.Linear(48, 40), nn.ReLU(), nn.Linear(40, CLASSES))
    return net


def alexnet() -> nn.Module:
    """AlexNet's layers (torchvision.models.alexnet) with an eighth of the channels."""
    from torchvision.models import AlexNet

    net = thin_convs(partial(AlexNet, num_classes=CLASSES))
    net.classifier[1] = nn.Linear(32 * 36, 64)
    net.classifier[4] = nn.Linear(64, 48)
    net.classifier[6] = nn.Linear(48, CLASSES)
    return net


def efficientnet_v1() -> nn.Module:
    block = partial(efficientnet.MBConvConfig, width_mult=1.0, depth_mult=1.0)
    settings = [block(1, 3, 1, 8, 8, 1), block(4, 3, 2, 8, 12, 2), block(4, 5, 2, 12, 16, 2), block(6, 3, 1, 16, 24, 2)]
    return efficientnet.EfficientNet(settings, 0.2, last_channel=64, num_classes=CLASSES)


def efficientnet_v2() -> nn.Module:
    fused, block = efficientnet.FusedMBConvConfig, efficientnet.MBConvConfig
    settings = [fused(1, 3, 1, 8, 8, 2), fused(4, 3, 2, 8, 16, 2), block(4, 3, 2, 16, 24, 2), block(6, 3, 1, 24, 32, 2)]
    return efficientnet.EfficientNet(settings, 0.2, last_channel=64, num_classes=CLASSES)


def mobilenet_v2() -> nn.Module:
    settings = [[1, 8, 1, 1], [4, 16, 2, 2], [4, 24, 2, 2], [6, 32, 2, 1]]
    return mobilenetv2.MobileNetV2(num_classes=CLASSES, width_mult=1.0, inverted_residual_setting=settings)


def mobilenet_v3() -> nn.Module:
    block = partial(mobilenetv3.InvertedResidualConfig, dilation=1, width_mult=1.0)
    settings = [
        block(16, 3, 16, 16, True, "RE", 2),
        block(16, 3, 40, 24, False, "RE", 2),
        block(24, 3, 56, 24, False, "RE", 1),
        block(24, 5, 64, 32, True, "HS", 2),
        block(32, 5, 80, 32, True, "HS", 1),
    ]
    return mobilenetv3.MobileNetV3(settings, 72, num_classes=CLASSES)


def regnet_y() -> nn.Module:
    params = regnet.BlockParams([2, 2], [16, 24], [8, 8], [1.0, 1.0], [2, 2], se_ratio=0.25)
    return regnet.RegNet(params, num_classes=CLASSES, stem_width=12)


def regnet_x() -> nn.Module:
    params = regnet.BlockParams([2, 2], [16, 24], [4, 8], [1.0, 1.0], [2, 2])
    return regnet.RegNet(params, num_classes=CLASSES, stem_width=12)


def slim_convnext() -> nn.Module:
    settings = [convnext.CNBlockConfig(12, 16, 2), convnext.CNBlockConfig(16, 24, 2), convnext.CNBlockConfig(24, None, 2)]
    return convnext.ConvNeXt(settings, num_classes=CLASSES)


def slim_maxvit() -> nn.Module:
    return maxvit.MaxVit(
        input_size=(64, 64),
        stem_channels=8,
        partition_size=4,
        block_channels=[16, 24],
        block_layers=[1, 2],
        head_dim=8,
        stochastic_depth_prob=0.1,
        num_classes=CLASSES,
    )


def slim_googlenet() -> nn.Module:
    build = partial(GoogLeNet, num_classes=CLASSES, aux_logits=False, init_weights=False)
    return thin_convs(build)


def slim_inception() -> nn.Module:
    return thin_convs(partial(inception.Inception3, num_classes=CLASSES, aux_logits=False, init_weights=False), 16)


def slim_mnasnet() -> nn.Module:
    return mnasnet.MNASNet(0.25, num_classes=CLASSES)


def slim_squeezenet(version: str) -> nn.Module:
    return thin_convs(partial(squeezenet.SqueezeNet, version, CLASSES))


FOLDED_AND_NOT = (dynamo(18), torchscript(17, unfused=True))

SPECS = [
    Spec(
        "resnet18",
        "torchvision",
        partial(slim_resnet, resnet.BasicBlock, [2, 2, 2, 1]),
        image(),
        (dynamo(18), torchscript(11), torchscript(7, unfused=True)),
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
    Spec("vit", "torchvision", vit, image(32), (dynamo(18), dynamo(23), torchscript(14))),
    Spec("swin", "torchvision", swin, image(), (dynamo(18), torchscript(17))),
    Spec("swin_v2", "torchvision", swin_v2, image(32), (dynamo(20), torchscript(17))),
    Spec("alexnet", "torchvision", alexnet, image(224), (dynamo(18), torchscript(8))),
    Spec("vgg", "torchvision", slim_vgg, image(64), (dynamo(19), torchscript(9, unfused=True))),
    Spec("resnext", "torchvision", partial(slim_resnet, resnet.Bottleneck, [2, 2, 1, 1], groups=4, width_per_group=32), image(), (dynamo(18), torchscript(12))),
    Spec("wide_resnet", "torchvision", partial(slim_resnet, resnet.Bottleneck, [2, 1, 1, 1], width_per_group=128), image(), FOLDED_AND_NOT),
    Spec("resnet50", "torchvision", partial(slim_resnet, resnet.Bottleneck, [2, 2, 1, 1]), image(), (dynamo(22), torchscript(13))),
    Spec("googlenet", "torchvision", slim_googlenet, image(), (dynamo(18), torchscript(13))),
    Spec("inception_v3", "torchvision", slim_inception, image(96), (dynamo(18), torchscript(16))),
    Spec("squeezenet1_0", "torchvision", partial(slim_squeezenet, "1_0"), image(), (dynamo(18), torchscript(10))),
    Spec("squeezenet1_1", "torchvision", partial(slim_squeezenet, "1_1"), image(), (dynamo(18), torchscript(15))),
    Spec("mobilenet_v2", "torchvision", mobilenet_v2, image(), FOLDED_AND_NOT),
    Spec("mobilenet_v3", "torchvision", mobilenet_v3, image(), (dynamo(18), torchscript(14))),
    Spec("mnasnet", "torchvision", slim_mnasnet, image(), (dynamo(18), torchscript(13))),
    Spec("efficientnet", "torchvision", efficientnet_v1, image(), (dynamo(18), torchscript(13))),
    Spec("efficientnet_v2", "torchvision", efficientnet_v2, image(), FOLDED_AND_NOT),
    Spec("regnet_x", "torchvision", regnet_x, image(), (dynamo(18), torchscript(12))),
    Spec("regnet_y", "torchvision", regnet_y, image(), FOLDED_AND_NOT),
    Spec("convnext", "torchvision", slim_convnext, image(), (dynamo(18), torchscript(17))),
    Spec("maxvit", "torchvision", slim_maxvit, image(fixed=True), (dynamo(18), torchscript(17))),
]
