# SPDX-License-Identifier: LGPL-2.1-or-later
# Reads an environment variable that is on or off, by the words of kim_torchml/process/settings.py.

function(read_switch name result)
  string(STRIP "$ENV{${name}}" text)
  string(TOLOWER "${text}" word)
  if(word STREQUAL "" OR word MATCHES "^(0|false|no|off)$")
    set(${result} FALSE PARENT_SCOPE)
    return()
  endif()
  if(NOT word MATCHES "^(1|true|yes|on)$")
    message(WARNING "the environment variable ${name} must be one of 1, true, yes, on, or 0, false, no, off, "
      "got '${text}', which counts as on")
  endif()
  set(${result} TRUE PARENT_SCOPE)
endfunction()
