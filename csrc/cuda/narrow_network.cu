#include "cuda/narrow_network.cuh"

#include "cuda/launch.h"

namespace homfast::cuda {
inline namespace in_narrow_network {

int attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

// The layers' places in shared memory, one after the other; false for sizes that the kernel has no room for.
template <class T, int Planes>
bool lay_out(NarrowNetwork<T>& net) {
  int at = 0, widest = 0;
  for (int l = 0; l < net.count; ++l) {
    const MatrixView<const T>& weight = net.layers[l].weight;
    if (weight.rows > kMostNarrow || weight.cols > kMostNarrow) return false;
    const int in = static_cast<int>(weight.cols), out = static_cast<int>(weight.rows);
    NarrowLayer& size = net.sizes[l];
    size = {narrow_on_unit<T>(in), in, out, at, at};
    if (size.on_unit) {
      size.greatest = at + 4 * fragment_words<Planes>(in, out);
      at = size.greatest + 4 * 16 * column_pairs(out);
    } else {
      at += in * fma_stride(out) * static_cast<int>(sizeof(T));
    }
    at = round_up(at, 16);
    widest = max_of(widest, max_of(in, out));
  }
  // 8 words beyond a multiple of 32: lanes that read two words of a row each meet no bank twice.
  net.stride = round_up(widest, 32) + 8;
  net.weight_bytes = at;
  return true;
}

template <class T, int Planes>
bool run(NarrowNetwork<T>& net, Stream stream) {
  if (!lay_out<T, Planes>(net)) return false;
  const int most = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  const int a_warp = kNarrowRows * (4 + 2 * net.stride * static_cast<int>(sizeof(T)));
  int warps = kMostNarrowWarps;
  while (warps > 1 && net.weight_bytes + warps * a_warp > most) warps /= 2;
  if (warps == 1) return false;
  const int bytes = net.weight_bytes + warps * a_warp;
  const index_t tiles = ceil_div<index_t>(net.x.rows, kNarrowRows * warps);
  const index_t beside = min_of(max_of(most / bytes, 1), narrow_blocks(Planes));
  const index_t blocks = min_of(tiles, attribute(cudaDevAttrMultiProcessorCount) * beside);
  launch("narrow_network", narrow_network<T, Planes>, blocks, 32 * warps,
         static_cast<std::size_t>(bytes), stream, net);
  return true;
}

bool run_in_planes(NarrowNetwork<double>& net, Precision, Stream stream) {
  return run<double, 1>(net, stream);
}
bool run_in_planes(NarrowNetwork<float>& net, Precision precision, Stream stream) {
  if (precision == Precision::highest) return run<float, 3>(net, stream);
  return precision == Precision::high ? run<float, 2>(net, stream) : run<float, 1>(net, stream);
}

}  // namespace in_narrow_network

template <class T>
bool narrow_forward(MatrixView<const T> x, const NetworkLayer<T>* layers, index_t count, T slope,
                    MatrixView<T> out, Precision precision, Stream stream) {
  if (count < 1 || count > kMostLayers) return false;
  NarrowNetwork<T> net{};
  net.x = x;
  net.out = out;
  net.count = static_cast<int>(count);
  net.slope = slope;
  for (int l = 0; l < net.count; ++l) net.layers[l] = layers[l];
  return run_in_planes(net, precision, stream);
}

#define HF_INSTANTIATE(T)                                                                       \
  template bool narrow_forward<T>(MatrixView<const T>, const NetworkLayer<T>*, index_t, T,      \
                                  MatrixView<T>, Precision, Stream);
HF_INSTANTIATE(float)
HF_INSTANTIATE(double)
#undef HF_INSTANTIATE

}  // namespace homfast::cuda
