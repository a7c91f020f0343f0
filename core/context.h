// What an operation runs with: stream, allocator, random numbers, library handles. Passed to every
// call, owned by a Runtime, never global; a copy is cheap and may be changed (another segment).
#pragma once

#include <memory>
#include <typeindex>
#include <unordered_map>

#include "core/device.h"
#include "core/memory.h"
#include "core/rng.h"

namespace gradwire {

// Library handles and plan caches of one device, each created at first use and found by its type.
// A backend's own .cpp defines the type (`struct GemmPlans`) and asks `engine.slot<GemmPlans>()`.
// Not for use from several threads at once.
class Engine {
 public:
  template <class T>
  T& slot() {
    std::shared_ptr<void>& entry = slots_[std::type_index(typeid(T))];
    if (!entry) entry = std::make_shared<T>();
    return *static_cast<T*>(entry.get());
  }

 private:
  std::unordered_map<std::type_index, std::shared_ptr<void>> slots_;
};

struct Context {
  Stream stream;
  Allocator* alloc = nullptr;
  Engine* engine = nullptr;
  Segment segment = Segment::kActivations;
  Rng rng;
  // Of the host that this context's device belongs to; null if this one is of the host itself.
  const Context* host = nullptr;

  // The same context, charging its allocations to another segment.
  Context in(Segment s) const {
    Context other = *this;
    other.segment = s;
    return other;
  }
  // A context of host memory, charging the same segment: for what ranks tell each other and never
  // reaches the device, and for values on their way between the device and the network.
  Context on_host() const {
    if (host == nullptr) return *this;
    Context other = *host;
    other.segment = segment;
    other.rng = rng;
    return other;
  }
};

struct RuntimeOptions {
  Device device;
  CachingOptions caching;
};

// Waits until everything queued on the stream is done.
void synchronize(Stream on);

// Owns what a Context points to, and the host's context beside that of a GPU. One per device and
// rank; several may live in one process.
class Runtime {
 public:
  explicit Runtime(RuntimeOptions options = {});
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  Context& context() { return context_; }
  Allocator& allocator() { return *alloc_; }
  // Waits until everything queued on the context's stream is done.
  void synchronize();

 private:
  struct Host {
    std::unique_ptr<Allocator> alloc;
    Engine engine;
    Context context;
  };

  std::unique_ptr<Host> host_;  // beside a GPU
  std::unique_ptr<Allocator> alloc_;
  std::unique_ptr<Engine> engine_;
  Context context_;
};

}  // namespace gradwire
