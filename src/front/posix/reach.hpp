// Whether the programs of another process can be served from here.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace tidewire::posix {

/// Tries what serving takes: reads the 8 bytes at `cell` of process `pid`, which has put `word`
/// there, and, if `copies`, copies one of its descriptors. Empty: all of it works; else one line
/// for the user.
std::string explain_out_of_reach(pid_t pid, std::uint64_t cell, std::uint64_t word, bool copies);

/// True if `child` is a child of `parent`, both as numbered here.
bool is_child_of(pid_t child, pid_t parent);

/// True for the notification descriptor of a seccomp filter.
bool is_listener(int fd);

}  // namespace tidewire::posix
