# SPDX-License-Identifier: LGPL-2.1-or-later
"""Operators that models must not use, and what is wrong with each."""

from collections.abc import Iterator
from typing import Any

import torch

from kim_torchml.engines.exchange import EXCHANGE as _EXCHANGE
from kim_torchml.engines.exchange import NAMES, NAMESPACE
from kim_torchml.errors import DriverError
from kim_torchml.process.operator_packages import OPERATOR_PACKAGES

_FILES = "touches files"
_NETWORK = "reaches the network"
_UNCHECKED = "does not check its arguments, so that wrong ones end the simulator's process"

# Torch calls these itself, with arguments that it has made or checked; a program that a person writes needs none of
# them. Called with indices, sizes or shapes out of range they ended the process by a signal, or their like did.
_SPARSE = """
    _sparse_coo_tensor_unsafe _sparse_compressed_tensor_unsafe _sparse_csr_tensor_unsafe _sparse_csc_tensor_unsafe
    _sparse_bsr_tensor_unsafe _sparse_bsc_tensor_unsafe _sparse_coo_tensor_with_dims_and_tensors
"""
_DERIVATIVES = """
    _segment_reduce_backward embedding_dense_backward embedding_sparse_backward _embedding_bag_backward
    _embedding_bag_dense_backward _embedding_bag_sparse_backward _embedding_bag_per_sample_weights_backward
    max_pool2d_with_indices_backward max_pool3d_with_indices_backward adaptive_max_pool2d_backward
    adaptive_max_pool3d_backward fractional_max_pool2d_backward fractional_max_pool3d_backward _ctc_loss_backward
    _cdist_backward _pdist_backward gather_backward _gather_sparse_backward batch_norm_backward
    _batch_norm_impl_index_backward _slow_conv2d_backward _masked_softmax_backward mkldnn_rnn_layer_backward
    nll_loss_backward nll_loss2d_backward _adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward
    _weight_norm_interface_backward _thnn_differentiable_gru_cell_backward _thnn_differentiable_lstm_cell_backward
"""
_INTERNAL = """
    _sobol_engine_draw _sobol_engine_ff_ _sobol_engine_initialize_state_ _sobol_engine_scramble_ ctc_loss _ctc_loss
    _cummax_helper _cummin_helper _cholesky_solve_helper _pdist_forward _nnpack_spatial_convolution _chunk_cat _stack
    _foreach_copy _reshape_alias_copy _transform_bias_rescale_qkv _weight_norm_interface _batch_norm_no_update
    _batch_norm_with_update _batch_norm_with_update_functional batch_norm_update_stats embedding_bag
    _embedding_bag _embedding_bag_forward_only _masked_softmax mkldnn_rnn_layer quantized_lstm_cell _fused_sgd
    _fused_sgd_ _fused_adam _fused_adam_ _fused_adamw _fused_adamw_ _fused_adagrad _fused_adagrad_
    _dyn_quant_matmul_4bit _dyn_quant_pack_4bit_weight _new_zeros_with_same_feature_meta
    _unsafe_masked_index_put_accumulate _convert_indices_from_coo_to_csr _convert_indices_from_csr_to_coo
    _pad_packed_sequence _nested_tensor_from_tensor_list
"""

FORBIDDEN_OPERATORS = {
    "aten::from_file": _FILES,
    "aten::save": _FILES,
    "aten::_print": "writes to the simulator's output",
    "aten::manual_seed": "changes the simulator's random numbers",
    "prim::rpc_async": _NETWORK,
    "prim::rpc_remote": _NETWORK,
    "prim::rpc_sync": _NETWORK,
    "prim::PythonOp": "runs Python code",
    "mkldnn::_reorder_convolution_transpose_weight": _UNCHECKED,
    "mkldnn::_reorder_mkldnn_rnn_layer_weight": _UNCHECKED,
    **{f"aten::{name}": _UNCHECKED for name in (_SPARSE + _DERIVATIVES + _INTERNAL).split()},
}
# Names of torch's own operators that code reaches as attributes of `torch`, too.
FORBIDDEN_NAMES = {operator.split("::")[1] for operator in FORBIDDEN_OPERATORS if operator.startswith("aten::")}

# Arguments that turn an operator's checks off: they must be left out, or be False where the model's code says so.
UNSAFE_ARGUMENTS = {
    "aten::segment_reduce": "unsafe",
    "aten::_index_put_impl": "unsafe",
    "aten::_index_put_impl_": "unsafe",
}

# Namespaces of torch's own operators and of the packages that interatomic potentials use. Operators of others may touch
# files (image::read_file), the network (c10d) or raw memory (inductor).
ALLOWED_NAMESPACES = frozenset(
    ["aten", "prim", "prims", "quantized", "_quantized", "quantization", "sparse", "mkldnn", "profiler"]
).union(OPERATOR_PACKAGES)

# Of this project's own operators, these.
_OWN = frozenset(f"{NAMESPACE}::{name}" for name in NAMES)
EXCHANGE = f"{NAMESPACE}::{_EXCHANGE}"


def check_operator(operator: str, where: str) -> None:
    """Raise DriverError if an operator, such as "aten::save", is not one that models may use."""
    if operator in FORBIDDEN_OPERATORS:
        raise DriverError(
            f"the model {where} uses the operator {operator}, which {FORBIDDEN_OPERATORS[operator]}: a model must "
            "not; it has not been run. Use this file only if you trust its author, and ask for one without it"
        )
    if operator in _OWN:
        return
    namespace = operator.split("::")[0]
    if "::" in operator and namespace not in ALLOWED_NAMESPACES:
        raise DriverError(
            f"the model {where} uses the operator {operator}: models may use only operators of "
            f"{', '.join(sorted(ALLOWED_NAMESPACES))}; export the model without it"
        )


def check_node(node: Any, where: str) -> None:
    """Raise DriverError if a node of a loaded graph uses an operator, or a value of an argument, that is forbidden."""
    operator = node.kind()
    check_operator(operator, where)
    if operator not in UNSAFE_ARGUMENTS:
        return
    for argument, value in _arguments(node):
        if argument == UNSAFE_ARGUMENTS[operator] and value.node().kind() != "prim::Constant":
            raise unsafe_argument(operator, where)
        if argument == UNSAFE_ARGUMENTS[operator] and value.toIValue() is not False:
            raise unsafe_argument(operator, where)


def unsafe_argument(operator: str, where: str) -> DriverError:
    """Return the error for an operator whose checks a model turns off, or may turn off when it runs."""
    name = UNSAFE_ARGUMENTS[operator]
    return DriverError(
        f"the model {where} uses the operator {operator} with {name}=True, or with a value of {name} that is known "
        "only when the model runs: then the operator does not check its other arguments, so that wrong ones end the "
        f"simulator's process; it has not been run. Use {name}=False, which is the default, and export it again"
    )


def _arguments(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names and values of a node's arguments."""
    names = [each.name for each in torch._C.parse_schema(node.schema()).arguments]
    yield from zip(names, node.inputs(), strict=True)
