#include "device/backends/af_xdp_program.hpp"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

namespace tidewire::device {
namespace {

int bpf(bpf_cmd command, bpf_attr& attributes) noexcept {
  return static_cast<int>(syscall(SYS_bpf, command, &attributes, sizeof attributes));
}

template <typename T>
std::uint64_t address_of(const T* at) noexcept {
  return reinterpret_cast<std::uintptr_t>(at);
}

OwnedFd make_map(unsigned queues) noexcept {
  bpf_attr attributes{};
  attributes.map_type = BPF_MAP_TYPE_XSKMAP;
  attributes.key_size = sizeof(std::uint32_t);
  attributes.value_size = sizeof(std::uint32_t);
  attributes.max_entries = queues;
  std::strcpy(attributes.map_name, "tidewire_xsk");
  return OwnedFd{bpf(BPF_MAP_CREATE, attributes)};
}

constexpr bpf_insn instruction(int code, int to, int from, int offset, int value) noexcept {
  return {static_cast<__u8>(code), static_cast<__u8>(to & 0xf), static_cast<__u8>(from & 0xf),
          static_cast<__s16>(offset), value};
}

/// return bpf_redirect_map(&map, context->rx_queue_index, XDP_PASS);
OwnedFd load_program(int map) noexcept {
  const std::array<bpf_insn, 6> code{
      instruction(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, offsetof(xdp_md, rx_queue_index),
                  0),
      instruction(BPF_LD | BPF_DW, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map),
      instruction(0, 0, 0, 0, 0),  // second half of the 64-bit load
      instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, XDP_PASS),
      instruction(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map),
      instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
  };
  static constexpr char kLicense[] = "GPL";  // of these six instructions, which call the kernel
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_XDP;
  attributes.expected_attach_type = BPF_XDP;
  attributes.insns = address_of(code.data());
  attributes.insn_cnt = code.size();
  attributes.license = address_of(kLicense);
  std::strcpy(attributes.prog_name, "tidewire_xsk");
  return OwnedFd{bpf(BPF_PROG_LOAD, attributes)};
}

OwnedFd attach(int program, unsigned interface, bool native) noexcept {
  bpf_attr attributes{};
  attributes.link_create.prog_fd = static_cast<__u32>(program);
  attributes.link_create.target_ifindex = interface;
  attributes.link_create.attach_type = BPF_XDP;
  attributes.link_create.flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
  return OwnedFd{bpf(BPF_LINK_CREATE, attributes)};
}

}  // namespace

Result<XdpProgram, XdpProgramError> attach_xdp_program(unsigned interface, unsigned queues,
                                                       bool native) {
  XdpProgram made;
  made.native = native;
  made.map = make_map(queues);
  if (!made.map) return fail(XdpProgramError{errno, "make a table of sockets for"});
  const OwnedFd program = load_program(made.map.get());
  if (!program) return fail(XdpProgramError{errno, "load the XDP program for"});
  made.link = attach(program.get(), interface, native);
  if (!made.link) return fail(XdpProgramError{errno, "put an XDP program on"});
  return made;
}

bool give_queue_to(const XdpProgram& program, unsigned queue, int socket) noexcept {
  const std::uint32_t key = queue;
  const auto value = static_cast<std::uint32_t>(socket);
  bpf_attr attributes{};
  attributes.map_fd = static_cast<__u32>(program.map.get());
  attributes.key = address_of(&key);
  attributes.value = address_of(&value);
  return bpf(BPF_MAP_UPDATE_ELEM, attributes) == 0;
}

}  // namespace tidewire::device
