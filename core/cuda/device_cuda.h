// What the device-independent half of core needs from CUDA: streams, memory, events, copies. Free
// of CUDA headers, so that any file may include it; defined only if CUDA is built, and called
// only through on_device(). Errors: kDevice, kMemory if the device has no more.
#pragma once

#include <cstddef>
#include <string>

#include "core/device.h"

namespace gradwire::cuda {

int device_count();                // 0 if no usable GPU or driver is found
std::string describe(Device d);    // name, memory, compute capability
std::size_t free_bytes(Device d);  // of its memory, as it is now
Stream create_stream(Device d);
void destroy_stream(Stream s) noexcept;
void synchronize(Stream s);

void* allocate(Device d, std::size_t bytes);
void release(Device d, void* data) noexcept;
void* allocate_pinned(std::size_t bytes);  // falls back to pageable memory without a GPU
void release_pinned(void* data) noexcept;

// An event marks a place in a stream.
void* record_event(Stream s);
bool event_done(void* event);
void wait_for_event(void* event);
void release_event(void* event) noexcept;

// Pageable memory may be reused when this returns, for which it may have to wait for the stream.
// From pinned memory the copy is only queued: it may be reused once the stream has passed the copy.
void copy_to_device(Stream s, void* dst, const void* src, std::size_t bytes);
void copy_to_host(Stream s, void* dst, const void* src, std::size_t bytes);  // waits
void copy_on_device(Stream s, void* dst, const void* src, std::size_t bytes);
void set_bytes(Stream s, void* dst, int value, std::size_t bytes);

}  // namespace gradwire::cuda
