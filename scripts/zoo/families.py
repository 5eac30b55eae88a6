"""All models of the zoo, family by family."""

from __future__ import annotations

import language
import sequence
import unets
import vision
from spec import Spec


def all_specs() -> list[Spec]:
    return [*vision.SPECS, *unets.SPECS, *language.SPECS, *sequence.SPECS]
