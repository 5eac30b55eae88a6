"""All models of the zoo, family by family."""

from __future__ import annotations

import blocks
import dense
import language
import sequence
import timm_models
import unets
import vision
from spec import Spec


def all_specs() -> list[Spec]:
    return [*vision.SPECS, *dense.SPECS, *timm_models.SPECS, *blocks.SPECS, *unets.SPECS, *language.SPECS, *sequence.SPECS]
