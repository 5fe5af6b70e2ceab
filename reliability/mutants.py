"""Wrong kernels, one small edit each: what the tests must notice (`mutation.py` runs them).

An edit is a piece of source that occurs once in its file, and what takes its place; the quick tests
check that every piece is still there. `tests` are the files that are most likely to notice, which
only saves time: a mutant that passes them goes through the whole quick suite.
"""

from __future__ import annotations

from dataclasses import dataclass

KERNELS, CORE, SIMD, CUDA = "csrc/kernels/", "csrc/core/", "csrc/simd/", "csrc/cuda/"


@dataclass(frozen=True)
class Mutant:
    """A wrong kernel: the file, (old, new) pairs of source, and the tests to begin with."""

    name: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


def mutant(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    """A mutant of one edit."""
    return Mutant(name, file, ((old, new),), tests)


LAYERS = ("linear", "linear_relu", "linear_relu_backward")
OPERATORS = ("seeded_product", "measure_bits", "measure_families")
ON_CUDA = ("cuda_layers", "cuda_operators")

MUTANTS = [
    # Sums and their ends --------------------------------------------------------------------------
    mutant(
        "the last k is dropped",
        KERNELS + "tile.inc",
        "for (index_t k = 0; k < depth; ++k) {",
        "for (index_t k = 0; k + 1 < depth; ++k) {",
        *LAYERS,
    ),
    mutant(
        "the mask of a later part of a bfloat16 weight goes to the first",
        CORE + "bfloat16_layers.cpp",
        "own.mask = mask.data ? mask.data + first / 8 : nullptr;",
        "own.mask = mask.data;",
        "bfloat16",
    ),
    mutant(
        "the weights of a bfloat16 gradient lie over the gradient that was widened",
        CORE + "bfloat16_layers.cpp",
        "float* const behind_grad = room.next();\n",
        "float* const behind_grad = room.next() - size_of(grad_output);\n",
        "bfloat16",
    ),
    mutant(
        "a zero factor is skipped",
        KERNELS + "tile.inc",
        "        const V x = broadcast(a[r]);\n",
        "        if (a[r] == T(0)) continue;\n        const V x = broadcast(a[r]);\n",
        "special_values",
    ),
    Mutant(
        "blocks of k are summed apart",
        KERNELS + "tile.inc",
        (
            ("sum[p][r][v] = load(c);", "sum[p][r][v] = zero<T>();"),
            (
                "          store(c, sum[p][r][v]);",
                "          store(c, out.first ? sum[p][r][v] : add(load(c), sum[p][r][v]));",
            ),
        ),
        ("exact_integers", "bits", "bits_targets"),
    ),
    mutant(
        "product and sum round separately",
        SIMD + "avx2.h",
        "__m256 fma(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }",
        "__m256 fma(__m256 a, __m256 b, __m256 c) { return add(mul(a, b), c); }",
        "bits_targets",
        "cuda_operators",
    ),
    mutant(
        "the last column of a tail is not stored",
        KERNELS + "tile.inc",
        "static_cast<int>(max_of(0, min_of(lanes, cols - v * lanes))));",
        "static_cast<int>(max_of(0, min_of(lanes, cols - 1 - v * lanes))));",
        *LAYERS,
    ),
    mutant(
        "a tail is stored as a whole vector",
        KERNELS + "tile.inc",
        "        if (full) {\n          store(c, sum[p][r][v]);",
        "        if (cols > v * lanes) {\n          store(c, sum[p][r][v]);",
        "guard_pages",
    ),
    mutant(
        "sums of an earlier depth are forgotten",
        KERNELS + "product.inc",
        "out.first = pc == 0 && !p.carried;",
        "out.first = pc == 0;",
        *OPERATORS,
    ),
    mutant(
        "the epilogue runs on every block of k",
        KERNELS + "product.inc",
        "out.last = pc + kc >= p.k;",
        "out.last = true;",
        *LAYERS,
    ),
    mutant(
        "a block's rows are addressed with 32 bits",
        KERNELS + "pack.inc",
        "row[i] = src + min_of(i, rows - 1) * stride;",
        "row[i] = src + static_cast<int>(min_of(i, rows - 1) * stride);",
        "large",
    ),
    mutant(
        "rows of the result are addressed with 32 bits",
        KERNELS + "product.inc",
        "out.c = p.c + (ic + begin) * p.c_stride + jc + j;",
        "out.c = p.c + static_cast<int>((ic + begin) * p.c_stride) + jc + j;",
        "large",
    ),
    # The unit and its mask ------------------------------------------------------------------------
    Mutant(
        "a sum of zero is active",
        SIMD + "avx2.h",
        (
            (
                "active(__m256 v) { return _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_NLE_UQ); }",
                "active(__m256 v) { return _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_NLT_UQ); }",
            ),
        ),
        ("linear_relu", "special_values"),
    ),
    mutant(
        "a NaN is not active",
        SIMD + "avx2.h",
        "active(__m256d v) { return _mm256_cmp_pd(v, _mm256_setzero_pd(), _CMP_NLE_UQ); }",
        "active(__m256d v) { return _mm256_cmp_pd(v, _mm256_setzero_pd(), _CMP_GT_OQ); }",
        "special_values",
    ),
    mutant(
        "the operands of the selection are swapped",
        KERNELS + "tile.inc",
        "z[v] = select(keep, z[v], out.slope == T(0) ? nothing : mul(slope, z[v]));",
        "z[v] = select(keep, out.slope == T(0) ? nothing : mul(slope, z[v]), z[v]);",
        "linear_relu",
    ),
    mutant(
        "a masked unit is multiplied by zero",
        KERNELS + "tile.inc",
        "z[v] = select(keep, z[v], out.slope == T(0) ? nothing : mul(slope, z[v]));",
        "z[v] = mul(z[v], select(keep, broadcast(T(1)), slope));",
        "special_values",
    ),
    mutant(
        "bits beyond the last unit are written",
        KERNELS + "tile.inc",
        "if (count < 32) word &= (1u << count) - 1u;",
        "if (count > 32) word = 0;",
        "linear_relu",
    ),
    mutant(
        "the mask of a row begins at the block of k",
        KERNELS + "product.inc",
        "width, width, depth, mask, k0,",
        "width, width, depth, mask, 0,",
        "linear_relu_backward",
    ),
    mutant(
        "the mask of a column begins at the strip",
        KERNELS + "product.inc",
        "load_masked<T, true>(source + k * stride + i, n, bytes, i0 + i, p.slope));",
        "load_masked<T, true>(source + k * stride + i, n, bytes, i, p.slope));",
        "linear_relu_backward",
    ),
    mutant(
        "thin gradients forget the slope",
        KERNELS + "outer.inc",
        "return p.slope == T(0) ? T(0) : p.slope * value;",
        "return T(0);",
        "linear_relu_backward",
    ),
    mutant(
        "thin gradients read a mask from its high bit",
        KERNELS + "outer.inc",
        ">> (col & 7) & 1)",
        ">> (7 - (col & 7)) & 1)",
        "linear_relu_backward",
    ),
    mutant(
        "the gradient of a weight ignores the mask",
        CORE + "ops.cpp",
        "  p.a_mask = mask.data;\n  p.a_mask_stride = mask.row_stride;\n  p.slope = slope;",
        "  p.a_mask_stride = mask.row_stride;\n  p.slope = slope;",
        "linear_relu_backward",
    ),
    mutant(
        "two threads share a byte of the mask",
        CORE + "run_product.h",
        "{part_begin(p.m, i, grid.row_parts, 8), part_begin(p.m, i + 1, grid.row_parts, 8)};",
        "{part_begin(p.m, i, grid.row_parts, 4), part_begin(p.m, i + 1, grid.row_parts, 4)};",
        "linear_relu_backward",
        "threads",
    ),
    # A few rows -----------------------------------------------------------------------------------
    mutant(
        "three rows left over are forgotten",
        KERNELS + "dot_rows.inc",
        "if (left == 3) dot_strip<T, B, 3, chains / 3>(p, weight, i, cols);",
        "",
        *LAYERS,
    ),
    mutant(
        "the last row misses its epilogue",
        KERNELS + "dot_rows.inc",
        "for (i = 0; i < p.m; ++i) finish_strip(p, i, cols);",
        "for (i = 0; i + 1 < p.m; ++i) finish_strip(p, i, cols);",
        *LAYERS,
    ),
    mutant(
        "a tail of k is read past its end",
        KERNELS + "dot_rows.inc",
        "const auto w = load_widened_partial(b + c * p.b_stride + k, n);",
        "const auto w = load_widened(b + c * p.b_stride + k);",
        "guard_pages",
    ),
    mutant(
        "few rows are summed another way though bits must not depend on the batch",
        CORE + "ops.cpp",
        "rows < kSmallBatch && !get_batch_invariant()",
        "rows < kSmallBatch",
        "bits",
    ),
    # Whole networks -------------------------------------------------------------------------------
    mutant(
        "layers write where they read",
        CORE + "network.cpp",
        "return {buffers[step % 2], rows, cols, row_stride};",
        "return {buffers[0], rows, cols, row_stride};",
        "network",
        "whole_network",
    ),
    mutant(
        "the last rows of a batch are dropped",
        CORE + "network.cpp",
        "const index_t tiles = (x.rows + tile - 1) / tile;",
        "const index_t tiles = std::max<index_t>(1, x.rows / tile);",
        "network",
        "whole_network",
    ),
    mutant(
        "all layers take the first mask",
        CORE + "passes.cpp",
        "Epilogue::masked, trace.masks[layer - 1],",
        "Epilogue::masked, trace.masks[0],",
        "network",
        "whole_network",
    ),
    mutant(
        "the tangent has a ReLU of its own",
        CORE + "passes.cpp",
        "forward_steps(weights, Epilogue::masked, masks, here)",
        "forward_steps(weights, Epilogue::relu, masks, here)",
        "network",
        "whole_network",
    ),
    mutant(
        "kept activations overlap",
        CORE + "passes.cpp",
        "return {cursor.take<T>(rows * stride), rows, cols, stride};",
        "return {cursor.take<T>(rows * cols), rows, cols, stride};",
        "network",
        "training",
    ),
    mutant(
        "the packed transpose outlives its weight",
        CORE + "packed_weight.cpp",
        "for (PanelsOfTargets* own : {&here.forward, &here.backward}) {",
        "for (PanelsOfTargets* own : {&here.forward}) {",
        "training",
        "network_object",
    ),
    mutant(
        "a packed weight outlives its target",
        CORE + "packed_weight.cpp",
        "Panels& panels = (here.*own)[&target];",
        "Panels& panels = (here.*own)[nullptr];",
        "network_object",
        "bits_network",
    ),
    mutant(
        "a weight of which a part is packed is taken as it is",
        CORE + "packed_weight.cpp",
        "panels.whole = last == count;",
        "panels.whole = true;",
        "signal_handlers",
    ),
    # Training -------------------------------------------------------------------------------------
    mutant(
        "a step leaves the packed weights as they were",
        CORE + "fit_step.cpp",
        "for (const Weight<T>& weight : weights) weight.packed->refresh();",
        "",
        "training",
    ),
    mutant(
        "the loss drops its last element",
        KERNELS + "square_residual.inc",
        "for (index_t c = 0; i + c < size; ++c) {",
        "for (index_t c = 0; i + c + 1 < size; ++c) {",
        "training",
    ),
    mutant(
        "squares of the loss are rounded before they are summed",
        KERNELS + "square_residual.inc",
        "static_cast<double>(difference) * static_cast<double>(difference);\n    }\n",
        "static_cast<double>(difference * difference);\n    }\n",
        "training",
    ),
    mutant(
        "Adam's epsilon is within the root",
        KERNELS + "update.inc",
        "add(mul(sqrt(x.second), factor(c.root_correction)), factor(c.epsilon));",
        "mul(sqrt(add(x.second, factor(c.epsilon))), factor(c.root_correction));",
        "updates",
    ),
    mutant(
        "an overflow in Adam's tail is not reported",
        KERNELS + "update.inc",
        "fma(load_partial(weight + i, n), nothing, sum));",
        "nothing);\n    sum = nothing;",
        "updates",
        "training_stops",
    ),
    mutant(
        "SGD's weight decay has the other sign",
        KERNELS + "update.inc",
        "mul(rate, add(g, mul(decay, w)))",
        "mul(rate, sub(g, mul(decay, w)))",
        "updates",
    ),
    # Seeded operators -----------------------------------------------------------------------------
    mutant(
        "Philox has nine rounds",
        KERNELS + "philox.inc",
        "for (int round = 0; round < 8; ++round) {",
        "for (int round = 0; round < 7; ++round) {",
        "measure_philox",
        "rademacher_block",
    ),
    mutant(
        "a coefficient of the sine is one bit off",
        KERNELS + "gaussian_block.inc",
        "sine = sine * q + 0x1.921fb6p+0f;",
        "sine = sine * q + 0x1.921fb8p+0f;",
        "gaussian_block",
    ),
    mutant(
        "a block of normal entries begins at a whole counter",
        KERNELS + "gaussian_block.inc",
        "const auto skip = static_cast<index_t>(column % width);  // entries",
        "const index_t skip = 0 * static_cast<index_t>(column % width);  // entries",
        "gaussian_block",
    ),
    mutant(
        "signs of a tile begin at its first bit",
        KERNELS + "rademacher.inc",
        "const std::uint32_t bits = words[p / 32][l] >> (p % 32);",
        "const std::uint32_t bits = words[p / 32][l];",
        *OPERATORS,
    ),
    mutant(
        "one row's sums begin anew at each depth",
        KERNELS + "gaussian_block.inc",
        "sums[i][l] = depth.begin > 0 && c < count ? out[j + c] : 0;",
        "sums[i][l] = 0;",
        *OPERATORS,
    ),
    mutant(
        "the scale of a fused gram is forgotten",
        CORE + "seeded_gram.cpp",
        "p.c[i * p.c_stride + j] *= scale;",
        "p.c[i * p.c_stride + j] *= T(1);",
        "seeded_gram",
    ),
    mutant(
        "a sparse row of lanes that are not there is read",
        KERNELS + "sparse_sign.inc",
        "const index_t row = i + min_of(r, count - 1);",
        "const index_t row = i + r;",
        "sparse_sign",
        "guard_pages_operators",
    ),
    mutant(
        "sparse sums of an earlier part are forgotten",
        KERNELS + "sparse_sign.inc",
        "T sum = carried ? out[i] : T(0);",
        "T sum = T(0);",
        "sparse_sign",
    ),
    # Walsh-Hadamard -------------------------------------------------------------------------------
    mutant(
        "a butterfly subtracts the other way round",
        KERNELS + "walsh_hadamard.inc",
        "v[i + h] = sub(v[i], v[i + h]);",
        "v[i + h] = sub(v[i + h], v[i]);",
        "walsh_hadamard",
    ),
    mutant(
        "a last stage of radix two is left out",
        KERNELS + "walsh_hadamard.inc",
        "case 2: radix_pass<T, 2>(rows, step, rows, step, step); break;",
        "case 2: break;",
        "walsh_hadamard",
        "walsh_hadamard_kernel",
    ),
    mutant(
        "signs of a tail are not scaled",
        KERNELS + "walsh_hadamard.inc",
        "store_partial(out + i, mul(mul(load_partial(x + i, left), factor), sign), left);",
        "store_partial(out + i, mul(load_partial(x + i, left), sign), left);",
        "walsh_hadamard_kernel",
        "measure_families",
    ),
    # The pool and the process ---------------------------------------------------------------------
    mutant(
        "a call does not wait for its workers",
        CORE + "parallel.cpp",
        "done_.wait(lock, [this] { return active_ == 0; });",
        "",
        "threads",
        "bits",
    ),
    mutant(
        "layers on tensors share one buffer",
        "csrc/bindings/exchanged_network.h",
        "last ? result.data() : between + (i % 2) * apart",
        "last ? result.data() : between",
        "torch_short_way",
    ),
    mutant(
        "gradients between layers on tensors share one buffer",
        "csrc/bindings/exchanged_network.h",
        "T* const target = i ? between + (i % 2) * apart",
        "T* const target = i ? between",
        "torch_short_way",
    ),
    mutant(
        "a layer on tensors takes the mask of another",
        "csrc/bindings/exchanged_network.h",
        "grad_input<T>(above, {w, nullptr}, bits[i], a, out, precision);",
        "grad_input<T>(above, {w, nullptr}, bits[0], a, out, precision);",
        "torch_short_way",
    ),
    mutant(
        "axes of a tensor merge whatever their strides",
        "csrc/bindings/exchanged_tensor.h",
        "tensor.strides[axis] != count * cols) return false;",
        "false) return false;",
        "torch_short_way",
    ),
    mutant(
        "workers that are too many stay awake",
        CORE + "parallel.cpp",
        "more_.wait(lock, [&] { return index < limit_; });",
        "",
        "threads",
    ),
    mutant(
        "an error of a worker is lost",
        CORE + "parallel.cpp",
        "if (job.error) std::rethrow_exception(job.error);",
        "",
        "process",
        "threads",
    ),
    mutant(
        "a child of fork keeps its parent's pool",
        CORE + "parallel.cpp",
        "  pool.store(nullptr, std::memory_order_relaxed);\n",
        "",
        "threads",
    ),
    mutant(
        "a signal handler computes in the memory of the call that waits for it",
        CORE + "parallel.cpp",
        "const CallsAbove may_come;",
        "",
        "signal_handlers",
    ),
    mutant(
        "a child waits for a lock that a thread of its parent held",
        CORE + "packed_weight.cpp",
        "if (found->generation == now) return *found;",
        "return *found;",
        "signal_handlers",
    ),
    mutant(
        "a handler may take away the memory of a short call on tensors",
        "csrc/bindings/exchanged_network.h",
        "const Unasked brief;",
        "",
        "torch_short_way",
    ),
    mutant(
        "a call goes on in the floating-point mode of a handler",
        CORE + "parallel.cpp",
        "  const FloatEnvironment kernels;",
        "  ",
        "signal_handlers",
    ),
    mutant(
        "a child forked within a call waits for its parent's workers",
        CORE + "parallel.cpp",
        "if (abandoned()) {",
        "if (false) {",
        "signal_handlers",
    ),
    mutant(
        "Ctrl-C is not looked at",
        CORE + "parallel.cpp",
        "if (check && check()) __atomic_store_n",
        "if (check && check() && false) __atomic_store_n",
        "interrupt",
    ),
    mutant(
        "kernels run in the caller's rounding mode",
        CORE + "float_environment.h",
        "if (saved_ != kDefault) _mm_setcsr(kDefault);",
        "",
        "floating_point_state",
    ),
    # The compiler's flags -------------------------------------------------------------------------
    Mutant(
        "linked with -ffast-math, which flushes denormals of whoever loads it",
        "setup.py",
        (('extra_link_args=["-pthread"],', 'extra_link_args=["-pthread", "-ffast-math"],'),),
        ("process", "floating_point_state"),
    ),
    mutant(
        "compiled with products and sums fused at will",
        "setup.py",
        '    "-ffp-contract=off",  # targets',
        '    "-ffp-contract=fast",  # targets',
        "updates",
        "gaussian_block",
    ),
    # CUDA, on the host ----------------------------------------------------------------------------
    mutant(
        "CUDA: a transform does not wait between its passes",
        CUDA + "walsh_hadamard.cu",
        "groups = size / radix;\n    __syncthreads();",
        "groups = size / radix;",
        *ON_CUDA,
    ),
    mutant(
        "CUDA: a block's sum does not wait",
        CUDA + "updates.cu",
        "sums[threadIdx.x + half];\n    __syncthreads();",
        "sums[threadIdx.x + half];",
        "cuda_layers",
        "cuda_backend",
    ),
    mutant(
        "CUDA: the last row of signs is left out",
        CUDA + "sparse_sign.cu",
        "at < table.offsets[i + 1]; ++at) {",
        "at + 1 < table.offsets[i + 1]; ++at) {",
        *ON_CUDA,
    ),
    mutant(
        "CUDA: the last element at a place is left out",
        CUDA + "places.cu",
        "at < last; ++at)",
        "at + 1 < last; ++at)",
        "cuda_operators",
    ),
    mutant(
        "CUDA: a sum of weighted rows forgets what it goes on from",
        CUDA + "weighted_rows.cu",
        "E sum = accumulate ? result : E{};",
        "E sum = accumulate ? E{} : E{};",
        "cuda_operators",
    ),
    mutant(
        "CUDA: a row is weighed with that of another group",
        CUDA + "weighted_rows.cu",
        "x.data[row / per_group * x.row_stride + i] * weight;",
        "x.data[row / per_group / 2 * x.row_stride + i] * weight;",
        "cuda_operators",
    ),
    mutant(
        "CUDA: a complex product has the other sign",
        CUDA + "arithmetic.cuh",
        "return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};",
        "return {a.re * b.re + a.im * b.im, a.re * b.im - a.im * b.re};",
        "cuda_operators",
    ),
    mutant(
        "CUDA: a tile reads beyond the last line",
        CUDA + "fma_product.cuh",
        "if (line < from.lines && at < end) {",
        "if (at < end) {",
        *ON_CUDA,
    ),
    mutant(
        "CUDA: planes of the split are taken in the wrong order",
        CUDA + "bf16_product.cuh",
        "low -= bits_as<float>(planes[q] << 16);",
        "low -= bits_as<float>(planes[q] & 0xffff0000u);",
        *ON_CUDA,
    ),
    mutant(
        "CUDA: the second part of a sum is left out",
        CUDA + "fma_product.cu",
        "for (index_t c = 1; c < chunks; ++c) sum += sums[c * size + e];",
        "for (index_t c = 2; c < chunks; ++c) sum += sums[c * size + e];",
        *ON_CUDA,
    ),
]
