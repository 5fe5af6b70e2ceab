// AMX's tile instructions for a processor without them: a shared object to preload.
//
// The target is built with the instructions that a real one runs. Each traps here (SIGILL), is
// decoded from its bytes and carried out, so that encodings and operand order are tested too. What a
// processor would refuse ends the process with a message. For tests alone: see `run`.
//
// TDPBF16PS is as Intel's manual has it: for each element two sums from 0, of the even and of the odd
// elements of the pairs, by fused multiply-adds; then their sum; then that added to the destination.
// Each rounds to nearest even, takes denormals as zero and flushes results; MXCSR is not asked.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <immintrin.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

namespace {

struct Tile {
  alignas(64) uint8_t row[16][64];
};

struct State {
  bool configured;
  uint16_t colsb[8];
  uint8_t rows[8];
  Tile tile[8];
};
thread_local State state __attribute__((tls_model("initial-exec")));

[[noreturn]] void refuse(const char* why, const uint8_t* at) {
  char text[200];
  const int n = snprintf(text, sizeof text, "emulated tiles: %s: %02x %02x %02x %02x %02x\n", why,
                         at[0], at[1], at[2], at[3], at[4]);
  if (write(2, text, static_cast<size_t>(n)) < 0) _exit(3);
  abort();
}

void configure(const uint8_t* at, const uint8_t* from) {
  if (from[0] == 0) {
    memset(&state, 0, sizeof state);
    return;
  }
  bool wrong = from[0] != 1;
  for (int i = 2; i < 16; ++i) wrong |= from[i] != 0;
  for (int i = 32; i < 48; ++i) wrong |= from[i] != 0;  // tiles 8 to 15: bytes a row
  for (int i = 56; i < 64; ++i) wrong |= from[i] != 0;  // and rows
  memset(&state, 0, sizeof state);
  for (int i = 0; i < 8; ++i) {
    memcpy(&state.colsb[i], from + 16 + 2 * i, 2);
    state.rows[i] = from[48 + i];
    wrong |= state.colsb[i] > 64 || state.rows[i] > 16 || (state.colsb[i] == 0) != (state.rows[i] == 0);
  }
  if (wrong) refuse("no such configuration", at);
  state.configured = true;
}

Tile& usable(int t, const uint8_t* at) {
  if (!state.configured || state.rows[t] == 0) refuse("a tile that is not configured", at);
  return state.tile[t];
}

void load(int t, const uint8_t* base, intptr_t stride, const uint8_t* at) {
  Tile& tile = usable(t, at);
  memset(&tile, 0, sizeof tile);
  for (int r = 0; r < state.rows[t]; ++r) memcpy(tile.row[r], base + r * stride, state.colsb[t]);
}

void store(int t, uint8_t* base, intptr_t stride, const uint8_t* at) {
  const Tile& tile = usable(t, at);
  for (int r = 0; r < state.rows[t]; ++r) memcpy(base + r * stride, tile.row[r], state.colsb[t]);
}

__attribute__((target("avx2,fma"))) void multiply(int c, int a, int b, const uint8_t* at) {
  Tile& sum = usable(c, at);
  const Tile &left = usable(a, at), &right = usable(b, at);
  const int rows = state.rows[c], pairs = state.colsb[a] / 4;
  if (state.rows[a] != rows || state.colsb[b] != state.colsb[c] || state.rows[b] != pairs ||
      state.colsb[a] % 4 || state.colsb[c] % 4) {
    refuse("tiles that do not fit", at);
  }
  const unsigned kept = _mm_getcsr();
  _mm_setcsr(0x9fc0);  // nearest even, flush to zero, denormals are zero, no traps
  const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  for (int m = 0; m < rows; ++m) {
    for (int n = 0; n < state.colsb[c]; n += 32) {  // bytes: eight elements, those beyond are zero
      __m256 even = _mm256_setzero_ps(), odd = _mm256_setzero_ps();
      for (int k = 0; k < pairs; ++k) {
        uint32_t pair;
        memcpy(&pair, left.row[m] + 4 * k, 4);
        const __m256i x = _mm256_set1_epi32(static_cast<int>(pair));
        const __m256i y = _mm256_load_si256(reinterpret_cast<const __m256i*>(right.row[k] + n));
        even = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(x, 16)),
                               _mm256_castsi256_ps(_mm256_slli_epi32(y, 16)), even);
        odd = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(x, high)),
                              _mm256_castsi256_ps(_mm256_and_si256(y, high)), odd);
      }
      float* const to = reinterpret_cast<float*>(sum.row[m] + n);
      _mm256_store_ps(to, _mm256_add_ps(_mm256_load_ps(to), _mm256_add_ps(even, odd)));
    }
  }
  _mm_setcsr(kept);
}

// The general register with its number in an instruction.
greg_t& general(ucontext_t* context, int number) {
  static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return context->uc_mcontext.gregs[order[number]];
}

// A memory operand: its address without the index, the index, and how many bytes it takes.
struct Operand {
  uint8_t* base;
  intptr_t index;
  int length;
};

Operand memory(ucontext_t* context, const uint8_t* modrm, int extend_index, int extend_base) {
  const int mode = modrm[0] >> 6, field = modrm[0] & 7;
  Operand found{nullptr, 0, 1};
  int base = field;
  if (field == 4) {
    const int index = (modrm[1] >> 3 & 7) | extend_index;
    base = modrm[1] & 7;
    if (index != 4) found.index = static_cast<intptr_t>(general(context, index)) << (modrm[1] >> 6);
    found.length = 2;
  }
  int32_t offset = 0;
  if (mode == 1) {
    offset = static_cast<int8_t>(modrm[found.length++]);
  } else if (mode == 2 || base == 5) {
    memcpy(&offset, modrm + found.length, 4);
    found.length += 4;
  }
  intptr_t address = offset;
  if (mode == 0 && field == 5) {  // relative to the next instruction
    address += reinterpret_cast<intptr_t>(modrm + found.length);
  } else if (!(mode == 0 && base == 5)) {
    address += static_cast<intptr_t>(general(context, base | extend_base));
  }
  found.base = reinterpret_cast<uint8_t*>(address);
  return found;
}

// Carries out the tile instruction at `at`; its length, or 0 if it is none.
int carry_out(const uint8_t* at, ucontext_t* context) {
  // VEX.128, map 0F38, W0: C4, inverted R X B and the map, W vvvv L pp, opcode, ModRM.
  if (at[0] != 0xc4 || (at[1] & 0x1f) != 2 || (at[2] & 0x84) != 0) return 0;
  const int extend_index = at[1] & 0x40 ? 0 : 8, extend_base = at[1] & 0x20 ? 0 : 8;
  const int prefix = at[2] & 3, vvvv = ~at[2] >> 3 & 15, opcode = at[3];
  const uint8_t* const modrm = at + 4;
  const bool registers = modrm[0] >> 6 == 3;
  const int reg = modrm[0] >> 3 & 7, rm = modrm[0] & 7;
  if (opcode == 0x49 && registers) {
    if (prefix == 0 && modrm[0] == 0xc0) {
      memset(&state, 0, sizeof state);
    } else if (prefix == 3 && rm == 0) {
      memset(&usable(reg, at), 0, sizeof(Tile));
    } else {
      return 0;
    }
    return 5;
  }
  if (opcode == 0x5c && registers && prefix == 2) {
    if (reg == rm || reg == vvvv || rm == vvvv) refuse("one tile twice", at);
    multiply(reg, rm, vvvv, at);
    return 5;
  }
  if (registers) return 0;
  const Operand where = memory(context, modrm, extend_index, extend_base);
  if (opcode == 0x49 && prefix == 0) {
    configure(at, where.base + where.index);
  } else if (opcode == 0x4b && rm == 4 && (prefix == 3 || prefix == 1)) {
    load(reg, where.base, where.index, at);
  } else if (opcode == 0x4b && rm == 4 && prefix == 2) {
    store(reg, where.base, where.index, at);
  } else {
    return 0;
  }
  return 4 + where.length;
}

void on_illegal(int, siginfo_t*, void* raw) {
  auto* const context = static_cast<ucontext_t*>(raw);
  greg_t& rip = context->uc_mcontext.gregs[REG_RIP];
  const int kept = errno;
  const greg_t first = rip;
  // A trap takes microseconds: what follows is carried out too as long as it is for tiles.
  for (int length = 1; length != 0; rip += length) {
    length = carry_out(reinterpret_cast<const uint8_t*>(rip), context);
  }
  if (rip == first) signal(SIGILL, SIG_DFL);  // no tile instruction: it comes again, and is the end
  errno = kept;
}

using SigactionFunction = int (*)(int, const struct sigaction*, struct sigaction*);
SigactionFunction next_sigaction() {
  static const auto next = reinterpret_cast<SigactionFunction>(dlsym(RTLD_NEXT, "sigaction"));
  return next;
}

__attribute__((constructor)) void install() {
  struct sigaction action {};
  action.sa_sigaction = on_illegal;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  next_sigaction()(SIGILL, &action, nullptr);
}

}  // namespace

// Python's faulthandler would take SIGILL for itself.
extern "C" int sigaction(int number, const struct sigaction* action, struct sigaction* old) {
  return next_sigaction()(number, number == SIGILL ? nullptr : action, old);
}

// Whether this thread's tiles are in use: a kernel must not return with them.
extern "C" int emulated_tiles_configured() { return state.configured; }

// A trap in a thread that blocks SIGILL would end the process.
extern "C" int pthread_sigmask(int how, const sigset_t* set, sigset_t* old) {
  using Function = int (*)(int, const sigset_t*, sigset_t*);
  static const auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "pthread_sigmask"));
  sigset_t open;
  if (set && how != SIG_UNBLOCK) {
    open = *set;
    sigdelset(&open, SIGILL);
    set = &open;
  }
  return next(how, set, old);
}

// The kernel's permission to use tiles: granted, or refused where EMULATED_TILES=refused.
extern "C" long syscall(long number, ...) {
  using Function = long (*)(long, ...);
  static const auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "syscall"));
  va_list list;
  va_start(list, number);
  long a[6];
  for (long& value : a) value = va_arg(list, long);
  va_end(list);
  if (number == SYS_arch_prctl && a[0] == 0x1023 && a[1] == 18) {
    const char* const how = getenv("EMULATED_TILES");
    if (!how || strcmp(how, "refused") != 0) return 0;
    errno = EPERM;
    return -1;
  }
  return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
