// The libraries that this program was built with and runs on, by name and version.
#pragma once

#include <string>

namespace gradwire {

std::string mpi_version();     // "Open MPI v4.1.4"; does not start MPI
std::string blas_version();    // "OpenBLAS 0.3.21, kernels for SkylakeX"
std::string onednn_version();  // "2.6.3, AVX-512 with AMX bf16"
// Without them bf16 is rounded from and to f32 in software.
bool has_bf16_instructions();
// OpenBLAS falls back to kernels of 2004 on a processor that it does not know.
bool blas_knows_processor();
std::string version_text();  // of --version, several lines

}  // namespace gradwire
