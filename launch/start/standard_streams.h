// The three descriptors that a process is born with, made harmless: a reader that goes away is no
// signal, and a descriptor that was closed is not handed out to the next file or socket, which
// would then get what is said to people.
#pragma once

#include <string>

namespace gradwire {

// Ignores SIGPIPE in the whole process, so that writing to a pipe without a reader is an ordinary
// error, and opens what is closed of the descriptors 0 to 2 in such a way that writing fails.
void guard_standard_streams() noexcept;

// A line on stdout for what must not fail over it, such as a training that has been saved: if it
// cannot be written, the console says so once. Results that are all that a command is for go
// through fmt::print instead, and end with exit code 8 if they cannot be written.
void show_line(const std::string& line) noexcept;

}  // namespace gradwire
