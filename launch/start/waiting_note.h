// A line for whoever wonders why nothing happens: said on stderr if this object still lives after
// some time.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace gradwire {

class WaitingNote {
 public:
  using Say = std::function<void(const std::string&)>;
  // Nothing is ever said if `text` is empty. `say` is called on another thread.
  WaitingNote(std::chrono::milliseconds after, std::string text, Say say = say_on_stderr);
  ~WaitingNote();
  WaitingNote(const WaitingNote&) = delete;
  WaitingNote& operator=(const WaitingNote&) = delete;

 private:
  static void say_on_stderr(const std::string& text);

  std::mutex mutex_;
  std::condition_variable ends_;
  bool ended_ = false;  // with the mutex
  std::thread thread_;
};

}  // namespace gradwire
