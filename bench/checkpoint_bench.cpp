// Checkpoints in GB/s of state, checksums and fsync included, beside a plain write of as many bytes
// to the same file system with one fsync, in turns.
// Usage: checkpoint_bench [FOLDER]
#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "core/error.h"
#include "train/checkpoint/checkpoint.h"

namespace gradwire {
namespace {

constexpr std::int64_t kParameters = 16;
constexpr std::int64_t kElements = std::int64_t{4} << 20;  // 16 MiB each, 256 MiB in all
constexpr int kRepeats = 5;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void plain_write(const std::string& path, const std::vector<Parameter>& params) {
  const int fd = open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0644);
  check(fd >= 0, ErrorKind::kIo, "cannot open the file for the plain write");
  for (const Parameter& p : params) {
    const auto bytes = static_cast<ssize_t>(p.value.bytes());
    check(write(fd, p.value.raw(), p.value.bytes()) == bytes, ErrorKind::kIo, "short write");
  }
  check(fsync(fd) == 0 && close(fd) == 0, ErrorKind::kIo, "fsync failed");
}

void bench(const std::string& folder) {
  Runtime runtime;
  Context& cx = runtime.context();
  std::vector<Parameter> params(kParameters);
  CheckpointState state;
  for (std::size_t i = 0; i < params.size(); ++i) {
    params[i].name = fmt::format("p{}", i);
    params[i].value = Tensor::empty(cx, {kElements}, DType::kF32);
    fill_uniform(cx, params[i].value, Rng{i, 0}, -1.0, 1.0);
    state.params.push_back(&params[i]);
  }
  SingleRank alone;
  SaveOptions options;
  options.dir = folder + "/checkpoint_bench";
  options.keep_last = 1;
  const std::string plain = folder + "/checkpoint_bench.plain";
  const double gigabytes = static_cast<double>(kParameters * kElements * 4) / 1e9;

  fmt::print("save_GB/s load_GB/s plain_write_GB/s save/plain\n");
  for (int i = 0; i <= kRepeats; ++i) {
    const double save = seconds_of([&] {
      const SaveResult saved = save_checkpoint(cx, options, i + 1, state, alone);
      check(saved.committed, ErrorKind::kIo, saved.why.c_str());
    });
    const double load = seconds_of(
        [&] { load_checkpoint(cx, paths_of(list_checkpoints(options.dir)), {}, state, alone); });
    const double write = seconds_of([&] { plain_write(plain, params); });
    if (i == 0) continue;  // fresh blocks and cold memory
    fmt::print("{:.2f} {:.2f} {:.2f} {:.2f}\n", gigabytes / save, gigabytes / load,
               gigabytes / write, write / save);
  }
  std::filesystem::remove_all(options.dir);
  std::filesystem::remove(plain);
}

}  // namespace
}  // namespace gradwire

int main(int argc, char** argv) {
  gradwire::bench(argc > 1 ? argv[1] : ".");
}
