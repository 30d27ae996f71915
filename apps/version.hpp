#pragma once

namespace tidewire::apps {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace tidewire::apps
