# SPDX-License-Identifier: LGPL-2.1-or-later
# The compiled part of the Python package: the neighbour lists, without KIM.

set(PYBIND11_FINDPYTHON ON)
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
find_package(pybind11 CONFIG REQUIRED)

pybind11_add_module(_neighbour_lists
  kim_driver_cpp/neighbours/neighbour_lists_module.cpp
  kim_driver_cpp/neighbours/neighbour_lists_binding.cpp
  kim_driver_cpp/neighbours/neighbour_lists.cpp
  kim_driver_cpp/neighbours/folded_edges.cpp)
# Nearly all of the compiler's time goes into pybind11's headers.
set_target_properties(_neighbour_lists PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
target_compile_features(_neighbour_lists PRIVATE cxx_std_17)
target_include_directories(_neighbour_lists PRIVATE kim_driver_cpp)
install(TARGETS _neighbour_lists LIBRARY DESTINATION kim_torchml/inputs)
