"""torchvision's networks for segmentation, detection (backbone and heads) and video."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torchvision.models import _utils, resnet, segmentation, video
from torchvision.models.detection import retinanet, ssdlite
from torchvision.ops import FeaturePyramidNetwork

from spec import Input, Pick, Spec, dynamo, image, torchscript
from vision import mobilenet_v3, slim_resnet, thin_convs

CLASSES = 5


def stages(**names: str) -> nn.Module:
    net = slim_resnet(resnet.Bottleneck, [2, 1, 1, 1], replace_stride_with_dilation=[False, True, True])
    return _utils.IntermediateLayerGetter(net, return_layers=names)


def fcn() -> nn.Module:
    head = segmentation.fcn.FCNHead(256, CLASSES)
    return Pick(segmentation.FCN(stages(layer4="out"), head), lambda o: o["out"])


def deeplab() -> nn.Module:
    head = nn.Sequential(
        segmentation.deeplabv3.ASPP(256, [2, 3], 20), nn.Conv2d(20, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, CLASSES, 1)
    )
    return Pick(segmentation.DeepLabV3(stages(layer4="out"), head), lambda o: o["out"])


def lraspp() -> nn.Module:
    backbone = _utils.IntermediateLayerGetter(mobilenet_v3().features, return_layers={"2": "low", "6": "high"})
    return Pick(segmentation.LRASPP(backbone, 24, 192, CLASSES, 20), lambda o: o["out"])


class RetinaNet(nn.Module):
    """Backbone, feature pyramid and heads; the boxes are left to the caller."""

    def __init__(self):
        super().__init__()
        self.body = stages(layer2="0", layer3="1", layer4="2")
        self.pyramid = FeaturePyramidNetwork([64, 128, 256], 12)
        self.classes = retinanet.RetinaNetClassificationHead(12, 2, CLASSES, norm_layer=partial(nn.GroupNorm, 4))
        self.boxes = retinanet.RetinaNetRegressionHead(12, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = list(self.pyramid(self.body(x)).values())
        return self.classes(features), self.boxes(features)


class SsdLite(nn.Module):
    """MobileNetV3 with the heads of SSDLite at two scales; the boxes are left to the caller."""

    def __init__(self):
        super().__init__()
        self.body = _utils.IntermediateLayerGetter(mobilenet_v3().features, return_layers={"3": "0", "6": "1"})
        self.head = ssdlite.SSDLiteHead([24, 192], [3, 4], CLASSES, nn.BatchNorm2d)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = self.head(list(self.body(x).values()))
        return found["bbox_regression"], found["cls_logits"]


def r3d() -> nn.Module:
    makers = [video.resnet.Conv3DSimple] * 4
    build = partial(video.VideoResNet, video.resnet.BasicBlock, makers, [2, 1, 1, 1], video.resnet.BasicStem, 10)
    return thin_convs(build, 16)


CLIP = (Input("x", (2, 3, 4, 32, 32)),)

SPECS = [
    Spec("fcn", "torchvision", fcn, image(), (dynamo(18), torchscript(11))),
    Spec("deeplabv3", "torchvision", deeplab, image(), (dynamo(18), torchscript(13))),
    Spec("lraspp", "torchvision", lraspp, image(), (dynamo(18), torchscript(13))),
    Spec("retinanet", "torchvision", RetinaNet, image(), (dynamo(18), torchscript(17))),
    Spec("ssdlite", "torchvision", SsdLite, image(), (dynamo(18), torchscript(13))),
    Spec("r3d_18", "torchvision", r3d, CLIP, (dynamo(18), torchscript(13))),
]
