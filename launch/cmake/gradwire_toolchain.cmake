# Compilers, warnings, sanitizers and the libraries that every module shares.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# Of a subproject the outer project chooses these.
if(PROJECT_IS_TOP_LEVEL)
  find_program(CCACHE_PROGRAM ccache)
  if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  endif()
  find_program(MOLD_PROGRAM mold)
  if(MOLD_PROGRAM AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_link_options(-fuse-ld=mold)
  endif()
endif()

if(NOT GW_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    # CMake 3.25.1 does not know nvcc's C++20 flag and would silently fall back to C++17.
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
      set(CMAKE_CUDA20_COMPILE_FEATURES cuda_std_20)
      list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
    endif()
    set(CMAKE_CUDA_STANDARD 20)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    find_package(CUDAToolkit REQUIRED)
    set(GW_HAVE_CUDA ON)
  elseif(GW_CUDA STREQUAL "ON")
    message(FATAL_ERROR "GW_CUDA=ON, but no CUDA compiler was found; set CUDACXX")
  endif()
endif()
if(GW_HAVE_CUDA)
  message(STATUS "CUDA ${CUDAToolkit_VERSION}: on (${CMAKE_CUDA_ARCHITECTURES})")
else()
  message(STATUS "CUDA: off")
endif()

# libgomp is not instrumented: under the thread sanitizer the loops run serially instead. Readers,
# which the fuzzer runs, have none.
if(NOT GW_SANITIZE MATCHES "thread|fuzzer")
  find_package(OpenMP REQUIRED COMPONENTS CXX)
endif()
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)

# gw_usage: what every user of the libraries needs.
add_library(gw_usage INTERFACE)
target_compile_features(gw_usage INTERFACE cxx_std_20)
target_include_directories(gw_usage INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
  $<INSTALL_INTERFACE:include> $<INSTALL_INTERFACE:include/gradwire>)
if(NOT PROJECT_IS_TOP_LEVEL)
  # A project around this one finds headers as it does when Gradwire is installed.
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/include)
  file(CREATE_LINK ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/include/gradwire SYMBOLIC)
  target_include_directories(gw_usage INTERFACE $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>)
endif()
target_link_libraries(gw_usage INTERFACE Threads::Threads)
if(TARGET OpenMP::OpenMP_CXX)
  target_link_libraries(gw_usage INTERFACE OpenMP::OpenMP_CXX)
endif()
if(GW_HAVE_CUDA)
  target_compile_definitions(gw_usage INTERFACE GW_CUDA=1)
  target_link_libraries(gw_usage INTERFACE CUDA::cudart)
endif()

# gw_flags: how the project itself is compiled, which its users do not inherit.
# -Wrestrict: g++ 12 sees overlaps in std::string that are not there (GCC bug 105651).
add_library(gw_flags INTERFACE)
target_link_libraries(gw_flags INTERFACE gw_usage)
target_compile_options(gw_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wconversion;-Wshadow;-Werror;-Wno-restrict;-fno-math-errno>
  $<$<COMPILE_LANGUAGE:CUDA>:--Werror=all-warnings;-Xcompiler=-Wall,-Wextra;--expt-relaxed-constexpr;--extended-lambda>)
# The warnings are g++'s; clang only builds what the fuzzer runs.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(gw_flags INTERFACE -w)
endif()
if(NOT TARGET OpenMP::OpenMP_CXX)
  target_compile_options(gw_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-unknown-pragmas>)
endif()
# -Wmaybe-uninitialized: instrumented code hides initialisations from g++, which then warns inside <regex>.
if(GW_SANITIZE)
  target_compile_options(gw_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${GW_SANITIZE};-fno-omit-frame-pointer;-fno-sanitize-recover=all;-Wno-maybe-uninitialized>)
  target_link_options(gw_flags INTERFACE -fsanitize=${GW_SANITIZE})
endif()
# -Wtsan: the fences in Boost.Asio, which the sanitizer does not see; a mutex stands beside each.
if(GW_SANITIZE MATCHES "thread")
  target_compile_options(gw_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-tsan>)
endif()
