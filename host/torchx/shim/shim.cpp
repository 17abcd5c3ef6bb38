#include "shim.h"

#include "guarded.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_clamp_max.h>
#include <ATen/ops/_foreach_clamp_min.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/core/ivalue.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DefaultDtype.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/import_read.h>
#include <torch/headeronly/version.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

static_assert(_GLIBCXX_USE_CXX11_ABI == 1, "libtorch without C++11 strings");

namespace {

// The dictionary of tensors in a checkpoint.
c10::IValue unwrapped(c10::IValue value) {
  for (int depth = 0; depth < 4 && value.isGenericDict(); ++depth) {
    const auto dictionary = value.toGenericDict();
    bool deeper = false;
    for (const char* name : {"state_dict", "model", "model_state_dict"}) {
      const auto entry = dictionary.find(c10::IValue(std::string(name)));
      if (entry == dictionary.end() || !entry->value().isGenericDict()) continue;
      value = entry->value();
      deeper = true;
      break;
    }
    if (!deeper) return value;
  }
  return value;
}

std::vector<at::Tensor> tensors(const void* const* addresses, size_t count) {
  std::vector<at::Tensor> out;
  out.reserve(count);
  for (size_t i = 0; i < count; ++i) out.push_back(*static_cast<const at::Tensor*>(addresses[i]));
  return out;
}

// Whether two tensors of one shape hold their values in the same order. The stride of a dimension of size 1 says nothing.
bool laid_out_alike(const at::Tensor& left, const at::Tensor& right) {
  for (int64_t at = 0; at < left.dim(); ++at) {
    if (left.size(at) > 1 && left.stride(at) != right.stride(at)) return false;
  }
  return left.is_non_overlapping_and_dense() && right.is_non_overlapping_and_dense();
}

std::vector<at::Tensor> gradients(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> out;
  out.reserve(parameters.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& gradient = parameters[i].grad();
    // The fused kernels walk raw memory, so parameter and gradient must be laid out alike.
    TORCH_CHECK(gradient.defined(), "parameter ", i, " has no gradient");
    TORCH_CHECK(laid_out_alike(gradient, parameters[i]), "gradient ", i, " is laid out unlike its parameter");
    out.push_back(gradient);
  }
  return out;
}

// A generator and its state at one time.
struct Draws {
  at::Generator generator;
  at::Tensor state;

  static Draws of(const c10::Device& device) {
    at::Generator generator = at::globalContext().defaultGenerator(device);
    const std::lock_guard<std::mutex> lock(generator.mutex());
    return {generator, generator.get_state()};
  }

  void restore() const {
    at::Generator target = generator;
    const std::lock_guard<std::mutex> lock(target.mutex());
    target.set_state(state);
  }
};

// What autocast was like before.
struct Autocast {
  at::DeviceType device;
  bool enabled;
  at::ScalarType type;
};

struct Ambient {
  bool grad;
  bool autocast_cpu;
  bool autocast_cuda;
  int threads;
  caffe2::TypeMeta dtype;
  std::vector<Draws> draws;
};

}  // namespace

extern "C" {

void querist_free(char* message) { std::free(message); }

const char* querist_torch_version() { return TORCH_VERSION; }

int32_t querist_cuda_devices() {
  try {
    return at::globalContext().hasCUDA() ? at::accelerator::deviceCount() : 0;
  } catch (...) {
    return 0;
  }
}

void querist_keep_memory(int32_t bytes) {
#ifdef __GLIBC__
  // The most that glibc takes: larger blocks always come from the system and go back to it.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, bytes);
#else
  (void)bytes;
#endif
}

char* querist_set_threads(int32_t threads) {
  return guarded([&] { at::set_num_threads(threads); });
}

char* querist_seed(uint64_t seed) {
  return guarded([&] {
    at::manual_seed(seed);
    const uint64_t taken = at::globalContext().defaultGenerator(at::kCPU).current_seed();
    TORCH_CHECK(taken == seed, "the generator holds seed ", taken, " after being given ", seed);
  });
}

char* querist_reproducible(bool tf32_convolutions) {
  return guarded([&] {
    at::Context& context = at::globalContext();
    context.setDeterministicCuDNN(true);
    context.setBenchmarkCuDNN(false);
    context.setAllowTF32CuDNN(tf32_convolutions);
    context.setAllowTF32CuBLAS(false);
    // Filling fresh memory helps only to find its use before a write, and costs a pass over every result.
    context.setDeterministicFillUninitializedMemory(false);
    // Where an operation has no deterministic form, libtorch says so and goes on.
    context.setDeterministicAlgorithms(true, /*warn_only=*/true);
  });
}

char* querist_take_peak_memory(int32_t device, uint64_t* bytes) {
  return guarded([&] {
    const auto index = static_cast<c10::DeviceIndex>(device);
    const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    *bytes = static_cast<uint64_t>(at::accelerator::getDeviceStats(index).allocated_bytes[all].peak);
    at::accelerator::resetPeakStats(index);
  });
}

char* querist_sgd_step(const void* const* parameters, const void* const* momenta, size_t count, double lr,
                       double momentum, double weight_decay, bool nesterov, bool first) {
  return guarded([&] {
    const at::NoGradGuard no_grad;
    const auto values = tensors(parameters, count);
    const auto grads = gradients(values);
    const auto buffers = tensors(momenta, momentum == 0.0 ? 0 : count);
    at::_fused_sgd_(values, grads, buffers, weight_decay, momentum, lr, /*dampening=*/0.0, nesterov,
                    /*maximize=*/false, first);
  });
}

char* querist_adam_step(const void* const* parameters, const void* const* means, const void* const* squares,
                        const void* const* steps, size_t count, double lr, double beta1, double beta2, double eps,
                        double weight_decay, bool decoupled) {
  return guarded([&] {
    const at::NoGradGuard no_grad;
    const auto values = tensors(parameters, count);
    const auto grads = gradients(values);
    const auto counts = tensors(steps, count);
    at::_foreach_add_(counts, 1);
    if (decoupled) {
      at::_fused_adamw_(values, grads, tensors(means, count), tensors(squares, count), {}, counts, lr, beta1, beta2,
                        weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false);
    } else {
      at::_fused_adam_(values, grads, tensors(means, count), tensors(squares, count), {}, counts, lr, beta1, beta2,
                       weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false);
    }
  });
}

char* querist_clamp_gradients(const void* const* parameters, size_t count, double bound) {
  return guarded([&] {
    const at::NoGradGuard no_grad;
    const auto grads = gradients(tensors(parameters, count));
    at::_foreach_clamp_max_(grads, at::Scalar(bound));
    at::_foreach_clamp_min_(grads, at::Scalar(-bound));
  });
}

char* querist_clip_gradients(const void* const* parameters, size_t count, double bound) {
  return guarded([&] {
    const at::NoGradGuard no_grad;
    const auto grads = gradients(tensors(parameters, count));
    const at::Tensor length = at::linalg_vector_norm(at::stack(at::_foreach_norm(grads)), 2);
    // As torch.nn.utils.clip_grad_norm_ does, whose 1e-6 keeps a length of 0 apart.
    at::_foreach_mul_(grads, (bound / (length + 1e-6)).clamp_max(1.0));
  });
}

char* querist_lerp(const void* const* values, const void* const* towards, size_t count, double weight) {
  return guarded([&] {
    const at::NoGradGuard no_grad;
    at::_foreach_lerp_(tensors(values, count), tensors(towards, count), at::Scalar(weight));
  });
}

char* querist_clear_gradients(const void* const* parameters, size_t count) {
  return guarded([&] {
    for (auto& parameter : tensors(parameters, count)) parameter.mutable_grad().reset();
  });
}

char* querist_ambient_save(int32_t cuda, void** ambient) {
  return guarded([&] {
    auto saved = std::make_unique<Ambient>();
    saved->grad = at::GradMode::is_enabled();
    saved->autocast_cpu = at::autocast::is_autocast_enabled(at::kCPU);
    saved->autocast_cuda = at::autocast::is_autocast_enabled(at::kCUDA);
    saved->threads = at::get_num_threads();
    saved->dtype = c10::get_default_dtype();
    saved->draws.push_back(Draws::of(at::kCPU));
    if (cuda >= 0) saved->draws.push_back(Draws::of({at::kCUDA, static_cast<c10::DeviceIndex>(cuda)}));
    *ambient = saved.release();
  });
}

char* querist_ambient_restore(const void* ambient) {
  return guarded([&] {
    const auto& saved = *static_cast<const Ambient*>(ambient);
    at::GradMode::set_enabled(saved.grad);
    at::autocast::set_autocast_enabled(at::kCPU, saved.autocast_cpu);
    at::autocast::set_autocast_enabled(at::kCUDA, saved.autocast_cuda);
    if (at::get_num_threads() != saved.threads) at::set_num_threads(saved.threads);
    if (c10::get_default_dtype() != saved.dtype) c10::set_default_dtype(saved.dtype);
    for (const Draws& draws : saved.draws) draws.restore();
  });
}

char* querist_ambient_restore_random(const void* ambient) {
  return guarded([&] {
    for (const Draws& draws : static_cast<const Ambient*>(ambient)->draws) draws.restore();
  });
}

void querist_ambient_free(void* ambient) { delete static_cast<Ambient*>(ambient); }

char* querist_bf16_enter(bool cuda, void** autocast) {
  return guarded([&] {
    const at::DeviceType device = cuda ? at::kCUDA : at::kCPU;
    auto before = std::make_unique<Autocast>();
    *before = {device, at::autocast::is_autocast_enabled(device), at::autocast::get_autocast_dtype(device)};
    at::autocast::set_autocast_dtype(device, at::kBFloat16);
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::increment_nesting();
    *autocast = before.release();
  });
}

void querist_bf16_leave(void* autocast) {
  const std::unique_ptr<Autocast> before(static_cast<Autocast*>(autocast));
  at::autocast::set_autocast_enabled(before->device, before->enabled);
  at::autocast::set_autocast_dtype(before->device, before->type);
  // Cast weights are kept until the outermost level is left: training changes the weights.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
}

char* querist_marks(const void* const* tensors, size_t count, uint64_t* marks) {
  return guarded([&] {
    for (size_t i = 0; i < count; ++i) {
      const at::Tensor& tensor = *static_cast<const at::Tensor*>(tensors[i]);
      marks[3 * i] = tensor._version();
      marks[3 * i + 1] = reinterpret_cast<uint64_t>(tensor.data_ptr());
      marks[3 * i + 2] = tensor.requires_grad() ? 1 : 0;
    }
  });
}

bool querist_set_grad(bool enabled) {
  const bool before = at::GradMode::is_enabled();
  at::GradMode::set_enabled(enabled);
  return before;
}

char* querist_read_pickle(const char* bytes, size_t size, void* context,
                          void (*found)(void*, const char*, size_t, void*)) {
  return guarded([&] {
    caffe2::serialize::PyTorchStreamReader reader(std::make_shared<Memory>(bytes, size));
    const c10::IValue value = unwrapped(torch::jit::readArchiveAndTensors(
        "data", "", "", std::nullopt, std::nullopt, at::Device(at::kCPU), reader));
    if (!value.isGenericDict()) throw std::runtime_error("it holds no dictionary of tensors");
    for (const auto& entry : value.toGenericDict()) {
      if (!entry.key().isString() || !entry.value().isTensor()) continue;
      const std::string& name = entry.key().toStringRef();
      found(context, name.data(), name.size(), new at::Tensor(entry.value().toTensor()));
    }
  });
}
}
