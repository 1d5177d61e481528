# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is tested of all families, by the words of `kim-torchml convert`."""

import family_ani
import family_chgnet
import family_kliff
import family_mace
import family_nequip
import family_sevennet
from converted import Converted, TriedFamily

TRIED_FAMILIES: dict[str, TriedFamily] = {
    "sevennet": family_sevennet.TRIED,
    "mace": family_mace.TRIED,
    "nequip": family_nequip.TRIED,
    "ani": family_ani.TRIED,
    "chgnet": family_chgnet.TRIED,
    "kliff": family_kliff.TRIED,
}
MODELS: list[Converted] = [model for family in TRIED_FAMILIES.values() for model in family.models]
