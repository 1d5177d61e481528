# SPDX-License-Identifier: LGPL-2.1-or-later
"""The families that can be converted, by the words of `kim-torchml convert`."""

from kim_torchml.tools.convert.ani import Ani
from kim_torchml.tools.convert.chgnet import Chgnet
from kim_torchml.tools.convert.family import Family
from kim_torchml.tools.convert.kliff import Kliff
from kim_torchml.tools.convert.mace import Mace
from kim_torchml.tools.convert.nequip import NequIP
from kim_torchml.tools.convert.sevennet import SevenNet

_ALL = (SevenNet(), Mace(), NequIP(), Ani(), Chgnet(), Kliff())
FAMILIES: dict[str, Family] = {family.word: family for family in _ALL}
