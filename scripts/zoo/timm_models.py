"""timm's models that torchvision lacks: token mixers, hybrids, relative positions."""

from __future__ import annotations

from timm.models import beit, efficientformer, mlp_mixer, vision_transformer

from spec import Spec, dynamo, image, torchscript

CLASSES = 10


def mixer():
    return mlp_mixer.MlpMixer(
        num_classes=CLASSES, img_size=32, patch_size=8, num_blocks=2, embed_dim=24, mlp_ratio=(0.5, 2.0)
    )


def efficient_former():
    return efficientformer.EfficientFormer(
        depths=(1, 1, 1, 3), embed_dims=(8, 12, 16, 24), num_classes=CLASSES, mlp_ratios=2, num_vit=2
    )


def beit_tiny():
    net = beit.Beit(
        img_size=32,
        patch_size=8,
        num_classes=CLASSES,
        embed_dim=24,
        depth=2,
        num_heads=3,
        mlp_ratio=2,
        init_values=0.1,
        use_abs_pos_emb=False,
        use_rel_pos_bias=True,
    )
    for block in net.blocks:
        # torch.export cannot decompose the fused attention with a bias.
        block.attn.fused_attn = False
    return net


def deit():
    return vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, num_classes=CLASSES, embed_dim=24, depth=2, num_heads=3, mlp_ratio=2, qkv_bias=True
    )


SPECS = [
    Spec("mlp_mixer", "timm", mixer, image(32), (dynamo(18), torchscript(13))),
    Spec("efficientformer", "timm", efficient_former, image(224), (dynamo(18), torchscript(14))),
    Spec("beit", "timm", beit_tiny, image(32), (dynamo(18), torchscript(17))),
    Spec("deit", "timm", deit, image(32), (dynamo(18), torchscript(17))),
]
