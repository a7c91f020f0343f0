cmake_minimum_required(VERSION 3.25)
# Every source file is as clang-format leaves it (.clang-format in the root), CUDA files included.
# Usage: cmake -DROOT=<tree> -DSTYLE=<folder of .clang-format> -P format.cmake

find_program(CLANG_FORMAT NAMES clang-format-14 clang-format REQUIRED)
set(files "")
foreach(module IN ITEMS core recipe data optim comm models export parallel train jobs launch tests bench examples)
  file(GLOB_RECURSE found ${ROOT}/${module}/*.h ${ROOT}/${module}/*.cpp ${ROOT}/${module}/*.cu)
  list(APPEND files ${found})
endforeach()
if(NOT files)
  message(FATAL_ERROR "format: no source file below ${ROOT}")
endif()
execute_process(COMMAND ${CLANG_FORMAT} --style=file:${STYLE}/.clang-format --dry-run -Werror
  ${files} RESULT_VARIABLE failed ERROR_VARIABLE report)
if(failed)
  string(SUBSTRING "${report}" 0 4000 report)
  message(FATAL_ERROR "run clang-format -i on:\n${report}")
endif()
