#include "launch/start/waiting_note.h"

#include <utility>

#include "launch/start/console.h"

namespace gradwire {

WaitingNote::WaitingNote(std::chrono::milliseconds after, std::string text, Say say) {
  if (text.empty()) return;
  thread_ = std::thread([this, after, text = std::move(text), say = std::move(say)] {
    std::unique_lock lock(mutex_);
    if (!ends_.wait_for(lock, after, [this] { return ended_; })) say(text);
  });
}

WaitingNote::~WaitingNote() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  ends_.notify_one();
  thread_.join();
}

void WaitingNote::say_on_stderr(const std::string& text) {
  console().say(text);
}

}  // namespace gradwire
