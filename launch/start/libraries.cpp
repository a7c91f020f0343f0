#include "launch/start/libraries.h"

#include <array>
#include <string_view>

#include <mpi.h>

#include <cblas.h>
#include <dnnl.h>
#include <fmt/format.h>

#include "core/device.h"

namespace gradwire {
namespace {

const char* isa_name(dnnl_cpu_isa_t isa) {
  switch (isa) {
    case dnnl_cpu_isa_avx512_core_amx: return "AVX-512 with AMX bf16";
    case dnnl_cpu_isa_avx512_core_bf16: return "AVX-512 with bf16";
    case dnnl_cpu_isa_avx512_core_vnni: return "AVX-512 with VNNI";
    case dnnl_cpu_isa_avx512_core: return "AVX-512";
    case dnnl_cpu_isa_avx2_vnni:
    case dnnl_cpu_isa_avx2: return "AVX2";
    default: return "less than AVX2";
  }
}

}  // namespace

std::string mpi_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string_view all(text.data(), static_cast<std::size_t>(length));
  return std::string(all.substr(0, all.find(',')));
}

std::string blas_version() {
  const std::string_view config = openblas_get_config();  // "OpenBLAS 0.3.21 NO_LAPACKE ..."
  const std::size_t version_end = config.find(' ', config.find(' ') + 1);
  return fmt::format("{}, kernels for {}", config.substr(0, version_end), openblas_get_corename());
}

std::string onednn_version() {
  const dnnl_version_t* v = dnnl_version();
  return fmt::format("{}.{}.{}, {}", v->major, v->minor, v->patch,
                     isa_name(dnnl_get_effective_cpu_isa()));
}

bool has_bf16_instructions() {
  const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
  return isa == dnnl_cpu_isa_avx512_core_amx || isa == dnnl_cpu_isa_avx512_core_bf16;
}

bool blas_knows_processor() {
  return std::string_view(openblas_get_corename()) != "Prescott";
}

std::string version_text() {
  return fmt::format(
      "gradwire {}\ncompiler  g++ {}\nCUDA      {}\nMPI       {}\nBLAS      {}\n"
      "oneDNN    {}",
      GW_VERSION, __VERSION__, kCudaBuilt ? "built in" : "not built in", mpi_version(),
      blas_version(), onednn_version());
}

}  // namespace gradwire
