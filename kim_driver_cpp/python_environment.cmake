# SPDX-License-Identifier: LGPL-2.1-or-later
# Chooses the Python that the driver is built for: KIM_TORCHML_PYTHON, else that of the active virtual or conda
# environment, else python3. KIM's manager passes environment variables to CMake, but no options.

set(PYTHON_EXECUTABLE "$ENV{KIM_TORCHML_PYTHON}")
foreach(environment "$ENV{VIRTUAL_ENV}" "$ENV{CONDA_PREFIX}")
  if(PYTHON_EXECUTABLE STREQUAL "" AND NOT environment STREQUAL "" AND EXISTS "${environment}/bin/python3")
    set(PYTHON_EXECUTABLE "${environment}/bin/python3")
  endif()
endforeach()
if(PYTHON_EXECUTABLE STREQUAL "")
  # This is searched for along PATH, as the user's shell does it; find_program would look in KIM's prefix first.
  set(PYTHON_EXECUTABLE "python3")
endif()

execute_process(COMMAND "${PYTHON_EXECUTABLE}" "${CMAKE_CURRENT_LIST_DIR}/describe_python.py"
  OUTPUT_VARIABLE PYTHON_DESCRIPTION ERROR_VARIABLE PYTHON_PROBLEM RESULT_VARIABLE PYTHON_RESULT
  OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT PYTHON_RESULT EQUAL 0)
  message(FATAL_ERROR "kim-torchml cannot be built for the Python environment '${PYTHON_EXECUTABLE}':\n"
    "${PYTHON_PROBLEM}\n"
    "Activate the environment that has torch (where examples/run.sh has made one, in its clone: . .venv/bin/activate), "
    "or name its Python in KIM_TORCHML_PYTHON, and run the same command again.")
endif()
list(GET PYTHON_DESCRIPTION 0 PYTHON_EXECUTABLE)
list(GET PYTHON_DESCRIPTION 1 PYTHON_VERSION)
list(GET PYTHON_DESCRIPTION 2 PYTHON_LIBRARY)
list(GET PYTHON_DESCRIPTION 3 PYTHON_INCLUDE)
list(GET PYTHON_DESCRIPTION 4 PYBIND11_INCLUDE)
list(GET PYTHON_DESCRIPTION 5 TORCH_VERSION)
message(STATUS "kim-torchml ${KIM_TORCHML_VERSION}: Python ${PYTHON_VERSION} (${PYTHON_EXECUTABLE}), "
  "torch ${TORCH_VERSION}")
