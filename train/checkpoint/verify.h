// What loading and `gradwire ckpt verify` both check of a checkpoint's files. For train/checkpoint/
// only.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "train/checkpoint/manifest.h"

namespace gradwire {

// Problems with the list of files, their sizes, and the checksums of the files of those ranks for
// which `mine` holds: reading everything on every rank would read it as often as there are ranks.
// Errors: kIo if a file is there and cannot be read.
std::vector<std::string> file_problems(const CheckpointFiles& files, const std::string& dir,
                                       const Manifest& manifest,
                                       const std::function<bool(int rank)>& mine);
// Whether the manifest is good and all files are there with its sizes. Reads no file.
bool looks_whole(const CheckpointFiles& files, const std::string& dir);

}  // namespace gradwire
