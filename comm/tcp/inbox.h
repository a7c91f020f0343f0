// Messages from one peer meet the receives that wait for them, whichever comes first. A message
// that finds its receive goes straight to where it belongs; one that comes early is kept.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <vector>

#include "comm/tcp/frame.h"

namespace gradwire {

class Inbox {
 public:
  struct Receive {
    FrameHeader wanted;
    std::byte* to = nullptr;
    std::function<void()> done;
    const Call* call = nullptr;  // that it is part of, for messages; and the ranks there
    int rank = 0;
    int peer = 0;
  };

  // Calls receive.done at once if the message is there. Error(kComm) if the message is not
  // what its receive waits for, here and in begin().
  void expect(Receive receive);
  // A message begins: where its bytes go.
  std::byte* begin(const FrameHeader& header);
  // All of it is there.
  void finish(const FrameHeader& header);

  // The first early message of a piece of a channel, whatever its round; null: none.
  const FrameHeader* early(std::uint64_t channel, std::uint64_t number) const;
  void clear();

 private:
  // Begun; `bytes` are its own until its receive is there.
  struct Message {
    FrameHeader header;
    std::vector<std::byte> bytes;
    bool direct = false;    // goes to its receive's memory
    bool complete = false;  // early, and all there
  };
  std::map<FrameKey, Receive> receives_;
  std::map<FrameKey, Message> messages_;
};

// Throws Error(kComm) unless `sent` is the message that `receive` waits for.
void check_message(const FrameHeader& sent, const Inbox::Receive& receive);

}  // namespace gradwire
