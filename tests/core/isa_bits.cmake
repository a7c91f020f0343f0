cmake_minimum_required(VERSION 3.25)
# Every instruction set that the processor has gives the same bits; one that it has not stands for the
# next lower one.
# Usage: cmake -DPROGRAM=<op_bits> -P isa_bits.cmake

foreach(isa IN ITEMS v2 v3 v4)
  execute_process(COMMAND ${CMAKE_COMMAND} -E env GRADWIRE_ISA=${isa} ${PROGRAM}
    OUTPUT_VARIABLE bits COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]+" bits "${bits}")
  list(LENGTH bits count)
  if(count LESS 60)
    message(FATAL_ERROR "${isa}: only ${count} results")
  endif()
  if(isa STREQUAL "v2")
    set(wanted ${bits})
    continue()
  endif()
  set(different ${bits})
  list(REMOVE_ITEM different ${wanted})
  if(different OR NOT bits STREQUAL wanted)
    list(JOIN different "\n  " different)
    message(FATAL_ERROR "${isa} and v2 differ:\n  ${different}")
  endif()
endforeach()
