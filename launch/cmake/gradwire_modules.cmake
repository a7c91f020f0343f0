# One library per module. What a module may link is what it may include.

# gw_module(NAME DEPS module... LIBS library...): the library gw_NAME from every source below the module.
#   *.cu          compiled if CUDA is on; *_cuda.cpp likewise
#   *_simd.cpp    compiled once per instruction set (core/simd.h)
#   *_avx512bf16.cpp   compiled for processors with AVX512_BF16
function(gw_module name)
  cmake_parse_arguments(ARG "" "" "DEPS;LIBS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  file(GLOB_RECURSE cuda_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cu)
  set(cuda_hosts ${sources})
  list(FILTER cuda_hosts INCLUDE REGEX "_cuda\\.cpp$")
  set(simd ${sources})
  list(FILTER simd INCLUDE REGEX "_simd\\.cpp$")
  set(avx512bf16 ${sources})
  list(FILTER avx512bf16 INCLUDE REGEX "_avx512bf16\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "(_simd|_avx512bf16|_cuda|/main)\\.cpp$")
  if(GW_HAVE_CUDA)
    list(APPEND sources ${cuda_sources} ${cuda_hosts})
  endif()
  add_library(gw_${name} STATIC ${sources})
  add_library(gradwire::${name} ALIAS gw_${name})
  set_target_properties(gw_${name} PROPERTIES EXPORT_NAME ${name})
  target_link_libraries(gw_${name} PRIVATE $<BUILD_INTERFACE:gw_flags> PUBLIC gw_usage ${ARG_LIBS})
  install(TARGETS gw_${name} EXPORT gradwire ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} DESTINATION include/gradwire
    FILES_MATCHING PATTERN "*.h")
  foreach(dep IN LISTS ARG_DEPS)
    target_link_libraries(gw_${name} PUBLIC gw_${dep})
  endforeach()
  if(simd)
    gw_simd_objects(${name} "${simd}")
  endif()
  if(avx512bf16)
    gw_avx512bf16_object(${name} "${avx512bf16}")
  endif()
endfunction()

# -Wmaybe-uninitialized: g++ 12 warns of its own intrinsics (GCC bug 105593).
function(gw_avx512bf16_object name sources)
  set(object gw_${name}_isa_v4_bf16)
  add_library(${object} OBJECT ${sources})
  target_link_libraries(${object} PRIVATE gw_flags fmt::fmt)
  target_compile_options(${object} PRIVATE
    -march=x86-64-v4 -mavx512bf16 -mprefer-vector-width=512 -O3 -Wno-maybe-uninitialized)
  target_sources(gw_${name} PRIVATE $<TARGET_OBJECTS:${object}>)
endfunction()

# Kernels compiled for x86-64-v2, -v3 (AVX2) and -v4 (AVX-512), each in its own namespace GW_ISA.
# They give the same bits: v2 cannot fuse a * b + c, so that the others must not either.
function(gw_simd_objects name sources)
  foreach(level IN ITEMS 2 3 4)
    set(object gw_${name}_isa_v${level})
    add_library(${object} OBJECT ${sources})
    target_link_libraries(${object} PRIVATE gw_flags fmt::fmt)
    target_compile_definitions(${object} PRIVATE GW_ISA=isa_v${level})
    target_compile_options(${object} PRIVATE -march=x86-64-v${level} -O3 -ffp-contract=off)
    if(level EQUAL 4)
      target_compile_options(${object} PRIVATE -mprefer-vector-width=512)
    endif()
    target_sources(gw_${name} PRIVATE $<TARGET_OBJECTS:${object}>)
  endforeach()
endfunction()
