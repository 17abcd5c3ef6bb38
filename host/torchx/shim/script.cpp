// Modules of TorchScript.
#include "guarded.h"
#include "shim.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

enum Mode : int32_t { kEval = 0, kTrain = 1, kTrainStill = 2 };

torch::jit::Module& module_of(void* module) { return *static_cast<torch::jit::Module*>(module); }

// The values of buffers, to be put back without autograd taking notice: a pass that is still to be differentiated may
// have seen them.
class Still {
 public:
  explicit Still(const torch::jit::Module& module) {
    for (const auto& buffer : module.buffers(true)) {
      if (!buffer.defined()) continue;
      at::AutoDispatchBelowADInplaceOrView quietly;
      buffers_.push_back(buffer);
      values_.push_back(buffer.clone());
    }
  }
  ~Still() {
    at::AutoDispatchBelowADInplaceOrView quietly;
    for (size_t at = 0; at < buffers_.size(); ++at) buffers_[at].copy_(values_[at]);
  }

 private:
  std::vector<at::Tensor> buffers_;
  std::vector<at::Tensor> values_;
};

std::string kind_of(const c10::IValue& value) { return value.tagKind(); }

at::Tensor chosen(const c10::IValue& value, const std::string& name, int64_t position) {
  if (value.isTensor()) {
    if (name.empty() && position == 0) return value.toTensor();
    throw std::runtime_error("it gives one tensor without a name");
  }
  if (value.isGenericDict()) {
    std::string known;
    for (const auto& entry : value.toGenericDict()) {
      if (!entry.key().isString()) continue;
      if (!name.empty() && entry.key().toStringRef() == name) {
        if (entry.value().isTensor()) return entry.value().toTensor();
        throw std::runtime_error("its output of this name is no tensor but " + kind_of(entry.value()));
      }
      known += (known.empty() ? "" : ", ") + entry.key().toStringRef();
    }
    throw std::runtime_error("it gives a dictionary with " + known);
  }
  if (value.isTuple()) {
    const auto& all = value.toTupleRef().elements();
    if (name.empty() && position >= 0 && static_cast<size_t>(position) < all.size()) {
      if (all[position].isTensor()) return all[position].toTensor();
      throw std::runtime_error("its output at this place is no tensor but " + kind_of(all[position]));
    }
    throw std::runtime_error("it gives a tuple of " + std::to_string(all.size()) + " without names");
  }
  throw std::runtime_error("it gives no tensor, tuple or dictionary but " + kind_of(value));
}

}  // namespace

extern "C" {

char* querist_script_load(const char* bytes, size_t size, int32_t cuda, void** module) {
  return guarded([&] {
    const auto device = cuda < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<at::DeviceIndex>(cuda));
    *module = new torch::jit::Module(torch::jit::load(std::make_shared<Memory>(bytes, size), device, false));
  });
}

void querist_script_free(void* module) { delete static_cast<torch::jit::Module*>(module); }

char* querist_script_tensors(void* module, void* context,
                             void (*found)(void*, const char*, size_t, void*, bool)) {
  return guarded([&] {
    for (const auto& one : module_of(module).named_parameters(true)) {
      found(context, one.name.data(), one.name.size(), new at::Tensor(one.value), true);
    }
    for (const auto& one : module_of(module).named_buffers(true)) {
      if (one.value.defined()) found(context, one.name.data(), one.name.size(), new at::Tensor(one.value), false);
    }
  });
}

char* querist_script_forward(void* module, const void* images, int32_t mode, const char* name, size_t name_size,
                             int64_t position, void** output) {
  return guarded([&] {
    auto& script = module_of(module);
    // Profiles of earlier passes would else change how later ones are computed, and a run that goes on has none.
    const torch::jit::GraphOptimizerEnabledGuard unoptimised(false);
    script.train(mode != kEval);
    std::unique_ptr<Still> still;
    if (mode == kTrainStill) still = std::make_unique<Still>(script);
    const auto given = script.forward({c10::IValue(*static_cast<const at::Tensor*>(images))});
    *output = new at::Tensor(chosen(given, std::string(name, name_size), position));
  });
}
}
