# SPDX-License-Identifier: LGPL-2.1-or-later
"""The operators that an exported program may use: those below, and no others.

Torch has operators that touch files, that print, that change random numbers, and that end the process when they are
called with wrong arguments. The list is therefore one of what networks need, not of what is known to do harm.
"""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from kim_torchml.engines.exchange import EXCHANGE as _EXCHANGE
from kim_torchml.engines.exchange import NAMES, NAMESPACE, overload_of
from kim_torchml.engines.exchange import OWN_ROWS as _OWN_ROWS
from kim_torchml.engines.exported.guarded_calls import GUARDED

# Overloads in the namespace aten. What these return is in new memory.
_NEW = """
    abs.default acos.default acosh.default add.Scalar add.Tensor addcdiv.default addcmul.default asin.default
    asinh.default atan.default atan2.default atanh.default bitwise_and.Scalar bitwise_and.Tensor bitwise_not.default
    bitwise_or.Scalar bitwise_or.Tensor bitwise_xor.Scalar bitwise_xor.Tensor ceil.default celu.default clamp.Tensor
    clamp.default clamp_max.Tensor clamp_max.default clamp_min.Tensor clamp_min.default copysign.Scalar copysign.Tensor
    cos.default cosh.default digamma.default div.Scalar div.Scalar_mode div.Tensor div.Tensor_mode elu.default eq.Scalar
    eq.Tensor erf.default erfc.default erfinv.default exp.default exp2.default expm1.default floor.default
    floor_divide.Scalar floor_divide.default fmax.default fmin.default fmod.Scalar fmod.Tensor frac.default ge.Scalar
    ge.Tensor gelu.default glu.default gt.Scalar gt.Tensor hardsigmoid.default hardswish.default hardtanh.default
    heaviside.default hypot.default i0.default isinf.default isnan.default isneginf.default isposinf.default le.Scalar
    le.Tensor leaky_relu.default lerp.Scalar lerp.Tensor lgamma.default log.default log10.default log1p.default
    log2.default log_sigmoid_forward.default logaddexp.default logaddexp2.default logical_and.default
    logical_not.default logical_or.default logical_xor.default logit.default lt.Scalar lt.Tensor maximum.default
    minimum.default mish.default mul.Scalar mul.Tensor nan_to_num.default ne.Scalar ne.Tensor neg.default
    pow.Scalar pow.Tensor_Scalar pow.Tensor_Tensor reciprocal.default relu.default remainder.Scalar
    remainder.Scalar_Tensor remainder.Tensor round.decimals round.default rsqrt.default rsub.Scalar rsub.Tensor
    sgn.default sigmoid.default sign.default signbit.default silu.default sin.default sinc.default sinh.default
    softplus.default softshrink.default special_bessel_j0.default special_bessel_j1.default special_erfcx.default
    special_i0e.default special_i1.default special_i1e.default special_spherical_bessel_j0.default sqrt.default
    sub.Scalar sub.Tensor tan.default tanh.default threshold.default trunc.default where.self xlogy.Scalar_Other
    xlogy.Tensor

    _log_softmax.default _softmax.default all.default all.dim amax.default amin.default aminmax.default any.default
    any.dim argmax.default argmin.default count_nonzero.default count_nonzero.dim_IntList cumprod.default cumsum.default
    linalg_vector_norm.default logcumsumexp.default logsumexp.default max.default max.dim mean.default mean.dim
    median.default median.dim min.default min.dim norm.Scalar norm.ScalarOpt_dim norm.ScalarOpt_dim_dtype prod.default
    prod.dim_int std.correction std_mean.correction sum.default sum.dim_IntList trace.default var.correction
    var_mean.correction

    _unique2.default bincount.default bucketize.Tensor nonzero.default searchsorted.Scalar searchsorted.Tensor
    sort.default sort.stable topk.default unique_consecutive.default unique_dim.default

    embedding.default gather.default index.Tensor index_add.default index_copy.default index_fill.int_Scalar
    index_fill.int_Tensor index_put.default index_reduce.default index_select.default masked_fill.Scalar
    masked_fill.Tensor masked_scatter.default masked_select.default repeat_interleave.Tensor scatter.src scatter.value
    scatter_add.default scatter_reduce.two take.default

    _cdist_forward.default _euclidean_dist.default _trilinear.default addbmm.default addmm.default addmv.default
    addr.default baddbmm.default bmm.default dot.default linalg_cross.default mm.default mv.default vdot.default

    cat.default constant_pad_nd.default diag_embed.default flip.default repeat.default roll.default rot90.default
    stack.default tril.default triu.default

    native_layer_norm.default

    _to_copy.default arange.default arange.start arange.start_step clone.default eye.default eye.m full.default
    full_like.default lift_fresh_copy.default linspace.default new_full.default new_ones.default new_zeros.default
    ones.default ones_like.default scalar_tensor.default tril_indices.default triu_indices.default zeros.default
    zeros_like.default
"""
# What these return may share memory with what they are called with.
_VIEWS_AND_COMPOSITES = """
    __and__.Scalar __and__.Tensor __or__.Scalar __or__.Tensor __xor__.Scalar __xor__.Tensor absolute.default
    arccos.default arccosh.default arcsin.default arcsinh.default arctan.default arctan2.default arctanh.default
    clip.Tensor clip.default divide.Scalar divide.Tensor divide.Tensor_mode fix.default float_power.Scalar
    float_power.Tensor_Scalar float_power.Tensor_Tensor greater.Scalar greater.Tensor greater_equal.Scalar
    greater_equal.Tensor isclose.default isfinite.default less.Scalar less.Tensor less_equal.Scalar less_equal.Tensor
    log_sigmoid.default log_softmax.int max.other min.other multiply.Scalar multiply.Tensor negative.default
    not_equal.Scalar not_equal.Tensor prelu.default relu6.default selu.default softmax.int special_expit.default
    special_expm1.default special_log1p.default special_softmax.default special_xlogy.default square.default
    subtract.Scalar subtract.Tensor true_divide.Scalar true_divide.Tensor where.Scalar where.ScalarOther
    where.ScalarSelf where.default

    linalg_norm.default std.default std.dim var.default var.dim var_mean.default var_mean.dim

    bilinear.default cdist.default cosine_similarity.default cross.default einsum.default inner.default kron.default
    linalg_matmul.default linalg_multi_dot.default linear.default matmul.default outer.default
    pairwise_distance.default tensordot.default

    alpha_dropout.default batch_norm.default dropout.default group_norm.default layer_norm.default rms_norm.default

    argsort.default argsort.stable argwhere.default broadcast_tensors.default broadcast_to.default
    cartesian_prod.default column_stack.default combinations.default concat.default concatenate.default diff.default
    hstack.default meshgrid.default meshgrid.indexing one_hot.default pad.default repeat_interleave.self_Tensor
    repeat_interleave.self_int take_along_dim.default tile.default trapezoid.x vstack.default

    _unsafe_view.default alias.default atleast_1d.default atleast_2d.default chunk.default contiguous.default
    detach.default diag.default diagonal.default expand.default expand_as.default flatten.using_ints fliplr.default
    flipud.default lift_fresh.default mT.default moveaxis.int moveaxis.intlist movedim.int movedim.intlist
    narrow.default numpy_T.default permute.default ravel.default reshape.default reshape_as.default select.int
    slice.Tensor split.Tensor split.sizes split_with_sizes.default squeeze.default squeeze.dim squeeze.dims
    sum_to_size.default swapaxes.default swapdims.default t.default tensor_split.indices tensor_split.sections
    to.device to.dtype to.dtype_layout to.other transpose.int type_as.default unbind.int unflatten.int unfold.default
    unsafe_chunk.default unsafe_split.Tensor unsqueeze.default view.default view_as.default

    _local_scalar_dense.default item.default sym_numel.default sym_size.int sym_stride.int
"""
# These change their first argument, and return it.
_IN_PLACE = """
    abs_.default add_.Scalar add_.Tensor addbmm_.default addcdiv_.default addcmul_.default addmm_.default
    baddbmm_.default bitwise_and_.Tensor bitwise_or_.Tensor clamp_.Tensor clamp_.default clamp_max_.default
    clamp_min_.default copy_.default cos_.default div_.Scalar div_.Tensor divide_.Scalar divide_.Tensor elu_.default
    exp_.default fill_.Scalar fill_.Tensor gelu_.default hardtanh_.default index_add_.default index_copy_.default
    index_fill_.int_Scalar index_fill_.int_Tensor index_put_.default index_reduce_.default leaky_relu_.default
    log_.default logical_and_.default logical_not_.default logical_or_.default masked_fill_.Scalar masked_fill_.Tensor
    masked_scatter_.default mish_.default mul_.Scalar mul_.Tensor multiply_.Scalar multiply_.Tensor nan_to_num_.default
    neg_.default pow_.Scalar pow_.Tensor reciprocal_.default relu_.default rsqrt_.default scatter_.src scatter_.value
    scatter_add_.default scatter_reduce_.two sigmoid_.default silu_.default sin_.default sqrt_.default square_.default
    sub_.Scalar sub_.Tensor subtract_.Tensor tanh_.default true_divide_.Tensor zero_.default
"""
# Operators of this project that files may name; what they return is in new memory too.
_OWN = {f"{NAMESPACE}.{name}.default": name for name in NAMES}
EXCHANGE, OWN_ROWS = (f"{NAMESPACE}.{name}.default" for name in (_EXCHANGE, _OWN_ROWS))
NEW = frozenset((*(f"aten.{name}" for name in _NEW.split()), *_OWN))
VIEWS_AND_COMPOSITES = frozenset(f"aten.{name}" for name in _VIEWS_AND_COMPOSITES.split())
IN_PLACE = frozenset(f"aten.{name}" for name in _IN_PLACE.split())

_PREFIX = "torch.ops."

# These check what a program was exported for. Torch's export has done so, and their texts are the file's.
ASSERTIONS = frozenset(
    f"torch.ops.aten.{name}"
    for name in (
        *("_assert_async.default", "_assert_async.msg", "_assert_scalar.default", "_assert_tensor_metadata.default"),
        *("sym_constrain_range.default", "sym_constrain_range_for_size.default"),
    )
)
# A tensor that nothing else holds may as well be detached out of place, which autograd takes for views too.
_INSTEAD = {"aten.detach_.default": "aten.detach.default"}

# Arguments that may have these values alone. No other argument may be a text: Inductor writes some of them into C++.
_REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")
VALUES: dict[tuple[str, str], tuple[str | bool | None, ...]] = {
    **{(f"aten.{name}", "rounding_mode"): (None, "trunc", "floor") for name in ("div.Scalar_mode", "div.Tensor_mode")},
    ("aten.divide.Tensor_mode", "rounding_mode"): (None, "trunc", "floor"),
    **{(f"aten.{name}.default", "approximate"): ("none", "tanh") for name in ("gelu", "gelu_")},
    **{(f"aten.searchsorted.{name}", "side"): (None, "left", "right") for name in ("Scalar", "Tensor")},
    **{(f"aten.{name}.default", "reduce"): _REDUCTIONS for name in ("index_reduce", "index_reduce_")},
    **{(f"aten.{name}.two", "reduce"): _REDUCTIONS for name in ("scatter_reduce", "scatter_reduce_")},
    ("aten.meshgrid.indexing", "indexing"): ("ij", "xy"),
    ("aten.pad.default", "mode"): ("constant", "reflect", "replicate", "circular"),
    # These would change random numbers, or running statistics.
    **{(f"aten.{name}.default", "train"): (False,) for name in ("dropout", "alpha_dropout")},
    ("aten.batch_norm.default", "training"): (False,),
    # Their derivatives do not check all of their arguments.
    ("aten.gather.default", "sparse_grad"): (False,),
    ("aten.embedding.default", "sparse"): (False,),
}
PATTERNS = {("aten.einsum.default", "equation"): re.compile(r"[A-Za-z., ]{1,200}(->[A-Za-z. ]{0,50})?")}

_LARGEST_INTEGER = 1 << 63
_LARGEST_EXPONENT = 64


def _bounded(number: Any) -> Any:
    """Return a size; raise OverflowError where torch could not take it, before it grows into millions of digits."""
    if isinstance(number, int) and not -_LARGEST_INTEGER <= number < _LARGEST_INTEGER:
        raise OverflowError("a size does not fit 64 bits")
    return number


def _multiply(first: Any, second: Any) -> Any:
    return _bounded(first * second)


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(exponent, int) and abs(exponent) > _LARGEST_EXPONENT:
        raise OverflowError(f"the exponent of a size must be at most {_LARGEST_EXPONENT}, got {exponent}")
    return _bounded(base**exponent)


def _negate(truth: Any) -> Any:
    """Return the opposite of a truth value; torch's own function imports sympy for that."""
    if isinstance(truth, torch.SymBool):
        return torch.sym_not(truth)  # type: ignore[no-untyped-call]
    return not truth


# Arithmetic on sizes: function and number of arguments.
SIZE_FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    **{
        f"_operator.{name}": (getattr(operator, name), 2)
        for name in ("add", "sub", "floordiv", "truediv", "mod", "eq", "ne", "lt", "le", "gt", "ge", "and_", "or_")
    },
    "_operator.mul": (_multiply, 2),
    "_operator.pow": (_power, 2),
    "_operator.neg": (operator.neg, 1),
    "math.ceil": (math.ceil, 1),
    "math.floor": (math.floor, 1),
    "math.trunc": (math.trunc, 1),
    "torch.sym_float": (torch.sym_float, 1),
    "torch.sym_int": (torch.sym_int, 1),
    "torch.sym_max": (torch.sym_max, 2),
    "torch.sym_min": (torch.sym_min, 2),
    "torch.sym_not": (_negate, 1),
}
# What is called in place of some operators: methods of tensors that are quicker to call, and what does no harm.
_CALLED_INSTEAD = {
    "aten.sym_size.int": torch.Tensor.size,
    "aten.sym_numel.default": torch.Tensor.numel,
    **GUARDED,
}


@dataclass(frozen=True)
class OperatorParameter:
    """One parameter of an operator.

    Attributes:
        name: its name.
        type: its type as the operator's schema has it, such as "Optional[ScalarType]".
        is_keyword: whether it is given by its name alone.
        has_default: whether it may be left out.
        default: what it is then.
    """

    name: str
    type: str
    is_keyword: bool
    has_default: bool
    default: Any


@dataclass(frozen=True)
class Operator:
    """An operator that programs may use.

    Attributes:
        name: namespace, name and overload, such as "aten.add.Tensor".
        function: what is called.
        parameters: what it is called with, in order.
        returns: types of what it returns, as its schema has them.
        is_maker: whether it makes a tensor out of none, of a type and on a device that may be left out.
    """

    name: str
    function: Callable[..., Any]
    parameters: tuple[OperatorParameter, ...]
    returns: tuple[str, ...]
    is_maker: bool


def find_operator(target: str) -> Operator | None:
    """Return the operator of a node's target, such as "torch.ops.aten.add.Tensor"; None if it is not listed.

    Raises:
        AttributeError: If it is listed, and the installed torch does not have it.
    """
    if not target.startswith(_PREFIX):
        return None
    name = target[len(_PREFIX) :]
    name = _INSTEAD.get(name, name)
    return _torch_operator(name) if name in NEW or name in VIEWS_AND_COMPOSITES or name in IN_PLACE else None


def _overload_of_aten(name: str) -> Any:
    _, packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)


@cache
def _torch_operator(name: str) -> Operator:
    function = overload_of(_OWN[name]) if name in _OWN else _overload_of_aten(name)
    schema = function._schema
    # The plain type of a dtype is that of its number, any of which torch would take without a check.
    parameters = tuple(
        OperatorParameter(each.name, str(each.real_type), each.kwarg_only, each.has_default_value(), each.default_value)
        for each in schema.arguments
    )
    returns = tuple(str(each.type) for each in schema.returns)
    takes_tensors = any("Tensor" in str(each.type) for each in schema.arguments)
    is_maker = not takes_tensors and {"dtype", "device"} <= {each.name for each in parameters}
    return Operator(name, _CALLED_INSTEAD.get(name, function), parameters, returns, is_maker)
