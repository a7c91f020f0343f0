#include "jobs/language_model/prepared_text.h"

#include <filesystem>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "data/token_file.h"
#include "parallel/agreement.h"
#include "train/run_on_all_ranks.h"
#include "train/same_run.h"

namespace gradwire {
namespace {

std::string paths_text(const PreparedText& p, const std::string& cache) {
  return fmt::format("{}\n{}\n{}\n{}\n", p.tokenizer_path, p.train_path, p.valid_path, cache);
}

// What rank 0 has at `path`, here: its cache may have another path on this host, with {host}.
std::string at_this_host(const std::string& path, const std::string& cache_of_first,
                         const std::string& cache) {
  return path.starts_with(cache_of_first) ? cache + path.substr(cache_of_first.size()) : path;
}

std::vector<RunFact> data_facts(const PreparedText& prepared) {
  const std::unique_ptr<const Tokenizer> tokenizer = Tokenizer::load(prepared.tokenizer_path);
  std::vector<RunFact> facts = {{"tokenizer", to_hex(tokenizer->hash())}};
  const auto tokens = [&](const char* name, const std::string& path) {
    facts.push_back({name, path.empty() ? "none" : TokenFile::open(path).tokens_hash()});
  };
  tokens("tokens to train on", prepared.train_path);
  tokens("tokens held out", prepared.valid_path);
  return facts;
}

}  // namespace

void check_same_data(Coordinator& ranks, const PreparedText& prepared) {
  std::vector<RunFact> facts;
  run_on_all_ranks(ranks, [&] { facts = data_facts(prepared); });
  check_same_run(ranks, facts);
}

std::optional<PreparedText> prepare_on_all_hosts(JobHost& host, PrepareConfig config,
                                                 const std::string& tokenizer,
                                                 const Preparation& how) {
  const auto& stop_requested = how.stop_requested;
  const std::string of_first = host.ranks.all_gather(tokenizer).front();
  if (!of_first.empty()) config.tokenizer_model = of_first;
  config.stop_requested = stop_requested;
  PreparedText prepared;
  const auto make = [&] {
    try {
      prepared = prepare_text(config, host.is_first() ? how.say : nullptr);
    } catch (const PreparationStopped&) {
      return;  // the flag stays, and all ranks ask for it below
    }
  };
  const auto stopped = [&] {
    const double mine = stop_requested && stop_requested() ? 1.0 : 0.0;
    return max_over_ranks(host.cx, host.world, mine) > 0.0;
  };
  run_on_all_ranks(host.ranks, [&] {
    if (host.is_first()) make();
  });
  if (stopped()) return std::nullopt;
  std::vector<std::string> first =
      lines_of(host.ranks.all_gather(paths_text(prepared, config.cache_folder)).front());
  for (std::size_t i = 0; i < 3; ++i)
    first[i] = at_this_host(first[i], first[3], config.cache_folder);
  const auto look = [&] { prepared = open_prepared(first[0], first[1], first[2]); };
  run_on_all_ranks(host.ranks, [&] {
    if (host.is_first() || host.local_rank != 0) return;
    if (std::filesystem::exists(first[1])) return look();
    make();
    if (prepared.train_path == first[1] || prepared.train_path.empty()) return;
    throw Error(ErrorKind::kData, fmt::format("the text on this host gives {}, that of rank 0 {}: "
                                              "the files of data.text differ",
                                              prepared.train_path, first[1]));
  });
  if (stopped()) return std::nullopt;
  run_on_all_ranks(host.ranks, [&] {
    if (host.local_rank != 0) look();
  });
  check_same_data(host.ranks, prepared);
  return prepared;
}

}  // namespace gradwire
