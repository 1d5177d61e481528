# SPDX-License-Identifier: LGPL-2.1-or-later
# The KIM model driver: a loader without Python symbols, the shim it loads, and the Python package beside them.

list(APPEND CMAKE_PREFIX_PATH $ENV{KIM_API_CMAKE_PREFIX_DIR})
file(STRINGS "${CMAKE_CURRENT_SOURCE_DIR}/src/kim_torchml/process/oldest_versions.py" OLDEST_KIM_API
  REGEX "^OLDEST_KIM_API = ")
string(REGEX REPLACE "^OLDEST_KIM_API = \"([^\"]+)\"$" "\\1" OLDEST_KIM_API "${OLDEST_KIM_API}")
find_package(KIM-API-ITEMS "${OLDEST_KIM_API}" REQUIRED CONFIG)
kim_api_items_setup_before_project(ITEM_TYPE "modelDriver")

set(KIM_TORCHML_DRIVER_NAME "$ENV{KIM_TORCHML_DRIVER_NAME}")
if(KIM_TORCHML_DRIVER_NAME STREQUAL "")
  set(KIM_TORCHML_DRIVER_NAME "TorchMLModelDriver")
endif()
project("${KIM_TORCHML_DRIVER_NAME}" LANGUAGES CXX)
kim_api_items_setup_after_project(ITEM_TYPE "modelDriver")

include("${CMAKE_CURRENT_LIST_DIR}/python_environment.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/switches.cmake")

set(SHIM_DIR "${CMAKE_CURRENT_LIST_DIR}")
configure_file("${SHIM_DIR}/build_configuration.hpp.in" "${CMAKE_CURRENT_BINARY_DIR}/build_configuration.hpp" @ONLY)
configure_file("${SHIM_DIR}/kimspec.edn.in" "${CMAKE_CURRENT_BINARY_DIR}/kimspec.edn" @ONLY)
# For `kim-torchml doctor`, which cannot ask the libraries what they were built for.
configure_file("${SHIM_DIR}/installation.json.in" "${CMAKE_CURRENT_BINARY_DIR}/installation.json" @ONLY)

add_kim_api_model_driver_library(
  NAME "${PROJECT_NAME}"
  CREATE_ROUTINE_NAME "kim_torchml_model_driver_create"
  CREATE_ROUTINE_LANGUAGE "cpp"
  METADATA_FILES "LICENSE" "kimspec.edn")

# KIM's macros find their tools by the build type ("None" on Debian), so it may be changed only after them. It is
# changed because an unoptimised shim is 1.3 times slower.
_determine_collection_install_prefix_and_output_name("modelDriver")
set(DRIVER_FOLDER "${ITEM_INSTALL_PREFIX}/${PROJECT_NAME}")
set(CMAKE_BUILD_TYPE Release)

set(LOADER_SOURCES
  "${SHIM_DIR}/loader.cpp"
  "${SHIM_DIR}/python_library.cpp"
  "${SHIM_DIR}/python_streams.cpp"
  "${SHIM_DIR}/python_version.cpp"
  "${SHIM_DIR}/report.cpp")
target_sources("${PROJECT_NAME}" PRIVATE ${LOADER_SOURCES})

add_library(kim_torchml_shim MODULE
  "${SHIM_DIR}/model_driver.cpp"
  "${SHIM_DIR}/model.cpp"
  "${SHIM_DIR}/barrier.cpp"
  "${SHIM_DIR}/chosen_python.cpp"
  "${SHIM_DIR}/interpreter.cpp"
  "${SHIM_DIR}/compute_arguments.cpp"
  "${SHIM_DIR}/driver_package.cpp"
  "${SHIM_DIR}/failure_file.cpp"
  "${SHIM_DIR}/neighbours/folded_edges.cpp"
  "${SHIM_DIR}/neighbours/neighbour_lists.cpp"
  "${SHIM_DIR}/neighbours/neighbour_lists_binding.cpp"
  "${SHIM_DIR}/parameters.cpp"
  "${SHIM_DIR}/python_streams.cpp"
  "${SHIM_DIR}/python_version.cpp"
  "${SHIM_DIR}/report.cpp"
  "${SHIM_DIR}/units.cpp")
# Nearly all of the compiler's time goes into pybind11's headers: as one unit the shim is built five times as fast.
set_target_properties(kim_torchml_shim PROPERTIES
  PREFIX "" CXX_VISIBILITY_PRESET hidden UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
# The shim is not linked with libpython: the loader makes the symbols of the process's own libpython global.
target_include_directories(kim_torchml_shim SYSTEM PRIVATE ${PYTHON_INCLUDE} ${PYBIND11_INCLUDE})

read_switch(KIM_TORCHML_SANITIZE SANITIZE)
foreach(target "${PROJECT_NAME}" kim_torchml_shim)
  target_include_directories("${target}" PRIVATE "${SHIM_DIR}" "${CMAKE_CURRENT_BINARY_DIR}")
  target_link_libraries("${target}" PRIVATE KIM-API::kim-api ${CMAKE_DL_LIBS})
  # KIM may unload a driver between two Creates; Python and torch cannot be unloaded.
  target_link_options("${target}" PRIVATE "LINKER:-z,nodelete")
  set_target_properties("${target}" PROPERTIES
    CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON
    INSTALL_RPATH_USE_LINK_PATH ON)
  if(SANITIZE)
    # For tests (tests/integration/test_sanitizers.py): a host of such a driver must be linked with the sanitizers.
    set(SANITIZERS -fsanitize=address,undefined -fno-sanitize-recover=undefined)
    target_compile_options("${target}" PRIVATE ${SANITIZERS} -O0 -g1 -fno-omit-frame-pointer)
    target_link_options("${target}" PRIVATE ${SANITIZERS})
  endif()
endforeach()

set(SHIM_WARNINGS -Wall -Wextra)
read_switch(KIM_TORCHML_WERROR WARNINGS_ARE_ERRORS)
if(WARNINGS_ARE_ERRORS)
  list(APPEND SHIM_WARNINGS -Werror)
endif()
target_compile_options(kim_torchml_shim PRIVATE ${SHIM_WARNINGS})
# Not of the whole target: KIM's macros add sources of their own to it.
set_source_files_properties(${LOADER_SOURCES} PROPERTIES COMPILE_OPTIONS "${SHIM_WARNINGS}")

install(TARGETS kim_torchml_shim LIBRARY DESTINATION "${DRIVER_FOLDER}")
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/installation.json" DESTINATION "${DRIVER_FOLDER}")
# The tools and the command are for people, who get them from pip; the driver needs neither.
install(DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}/src/kim_torchml" DESTINATION "${DRIVER_FOLDER}/python"
  REGEX "/kim_torchml/(tools|__main__\\.py)$" EXCLUDE
  PATTERN "__pycache__" EXCLUDE PATTERN "*.so" EXCLUDE)
