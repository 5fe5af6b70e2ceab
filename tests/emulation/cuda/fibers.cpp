// A block of threads as fibers of one host thread.
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include <ucontext.h>

#include <cuda_runtime.h>

namespace homfast::cuda {
// What kernels declare as `extern __shared__`: as much as a block of sm_90 may have, and a margin.
alignas(1024) unsigned char dynamic_shared[(227 << 10) + 4096];
}  // namespace homfast::cuda

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {
namespace {

using homfast::cuda::dynamic_shared;

constexpr std::size_t kStack = 256 << 10;
constexpr unsigned char kPoison = 0xff;  // a NaN in every format

enum class State { ready, at_barrier, in_warp, finished };

struct Fiber {
  std::unique_ptr<unsigned char[]> stack{new unsigned char[kStack]};
  ucontext_t context;
  std::jmp_buf resume;
  bool started = false;
  State state = State::ready;
  dim3 thread_index;
};

struct Warp {
  unsigned char slots[2][32][kSlotBytes];
  int arrived = 0, parity = 0;
  Collective kind;
};

std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Warp> warps;
std::jmp_buf scheduler;
int current, alive, waiting, pauses;
unsigned order_seed = 0;
const std::function<void()>* body;

void switch_to_scheduler() {
  if (_setjmp(fibers[static_cast<std::size_t>(current)]->resume) == 0) _longjmp(scheduler, 1);
  threadIdx = fibers[static_cast<std::size_t>(current)]->thread_index;
}

void enter() {
  (*body)();
  fibers[static_cast<std::size_t>(current)]->state = State::finished;
  --alive;
  _longjmp(scheduler, 1);
}

void resume(int index) {
  Fiber& fiber = *fibers[static_cast<std::size_t>(index)];
  current = index;
  threadIdx = fiber.thread_index;
  if (_setjmp(scheduler) != 0) return;
  if (fiber.started) _longjmp(fiber.resume, 1);
  fiber.started = true;
  setcontext(&fiber.context);
}

constexpr int kIdleRounds = 1000;

void run_block(int threads) {
  for (int t = 0; t < threads; ++t) {
    Fiber& fiber = *fibers[static_cast<std::size_t>(t)];
    fiber.started = false;
    fiber.state = State::ready;
    fiber.thread_index = dim3(static_cast<unsigned>(t));
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
  }
  warps.assign(static_cast<std::size_t>((threads + 31) / 32), Warp{});
  alive = threads;
  waiting = 0;
  int idle = 0;
  std::vector<int> order(static_cast<std::size_t>(threads));
  for (int t = 0; t < threads; ++t) order[static_cast<std::size_t>(t)] = t;
  std::minstd_rand generator(order_seed + 1);
  while (alive > 0) {
    // Seed 0 is ascending, 1 descending, others shuffle anew each round.
    if (order_seed == 1) {
      for (int t = 0; t < threads; ++t) order[static_cast<std::size_t>(t)] = threads - 1 - t;
    } else if (order_seed > 1) {
      for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[generator() % i]);
    }
    int resumed = 0;
    pauses = 0;
    for (const int t : order) {
      if (fibers[static_cast<std::size_t>(t)]->state != State::ready) continue;
      resume(t);
      ++resumed;
    }
    idle = resumed == pauses ? idle + 1 : 0;
    if (resumed == 0 || idle > kIdleRounds) fail("threads wait for others that never come");
  }
}

}  // namespace

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "cuda emulation: block %u, thread %d: %s\n", blockIdx.x, current, what);
  std::abort();
}

int lane() { return current % 32; }

void pause() {
  ++pauses;
  switch_to_scheduler();
}

void barrier() {
  Fiber& self = *fibers[static_cast<std::size_t>(current)];
  if (alive != static_cast<int>(blockDim.x)) fail("a barrier after a thread has left");
  if (++waiting == alive) {
    waiting = 0;
    for (unsigned t = 0; t < blockDim.x; ++t) {
      if (fibers[t]->state == State::at_barrier) fibers[t]->state = State::ready;
    }
    return;
  }
  self.state = State::at_barrier;
  switch_to_scheduler();
}

const unsigned char (*exchange(Collective kind, const void* value, std::size_t size))[kSlotBytes] {
  Warp& warp = warps[static_cast<std::size_t>(current / 32)];
  if (size > kSlotBytes) fail("a collective of more bytes than a slot");
  if (warp.arrived > 0 && warp.kind != kind) fail("lanes meet at different collectives");
  warp.kind = kind;
  const int parity = warp.parity;
  std::memcpy(warp.slots[parity][current % 32], value, size);
  if (++warp.arrived == 32) {
    warp.arrived = 0;
    warp.parity ^= 1;
    for (int t = current / 32 * 32; t < current / 32 * 32 + 32; ++t) {
      if (fibers[static_cast<std::size_t>(t)]->state == State::in_warp) {
        fibers[static_cast<std::size_t>(t)]->state = State::ready;
      }
    }
  } else {
    fibers[static_cast<std::size_t>(current)]->state = State::in_warp;
    switch_to_scheduler();
  }
  return warp.slots[parity];
}

void run_grid(dim3 grid, dim3 block, std::size_t shared, const std::function<void()>& kernel) {
  const int threads = static_cast<int>(block.x);
  if (threads % 32 != 0) fail("blocks are of whole warps");
  while (static_cast<int>(fibers.size()) < threads) fibers.push_back(std::make_unique<Fiber>());
  body = &kernel;
  gridDim = grid;
  blockDim = block;
  std::memset(dynamic_shared + shared, kPoison, sizeof dynamic_shared - shared);
  for (unsigned b = 0; b < grid.x; ++b) {
    // From the last block on in every other order: blocks may not rely on each other.
    blockIdx = dim3(order_seed % 2 == 0 ? b : grid.x - 1 - b);
    std::memset(dynamic_shared, kPoison, shared);
    run_block(threads);
    for (std::size_t i = shared; i < shared + 4096 && i < sizeof dynamic_shared; ++i) {
      if (dynamic_shared[i] != kPoison) fail("shared memory was written behind its end");
    }
  }
}

}  // namespace emulation

extern "C" __attribute__((visibility("default"))) void emulated_order(unsigned seed) { emulation::order_seed = seed; }
