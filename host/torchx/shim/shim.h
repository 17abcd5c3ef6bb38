// What the libtorch bindings lack, as plain C functions.
//
// A tensor crosses as the address of an `at::Tensor` that the caller owns. A function returns null when all went well,
// or a message that the caller frees with `querist_free`. No exception leaves this file.
#pragma once
#include <cstddef>
#include <cstdint>

extern "C" {
void querist_free(char* message);

// Version of the headers that this was built against.
const char* querist_torch_version();

// How many CUDA devices can be used; 0 without the CUDA libraries, a driver or a device.
int32_t querist_cuda_devices();

// Lets the C allocator keep up to `bytes` of freed memory instead of handing it back to the system.
void querist_keep_memory(int32_t bytes);

char* querist_set_threads(int32_t threads);

// Seeds the generators of every device and checks that the CPU's took the seed.
char* querist_seed(uint64_t seed);

// Deterministic kernels where there are any, and full float32 in matrix products. Convolutions on GPUs round their factors
// to TF32 if `tf32_convolutions`.
char* querist_reproducible(bool tf32_convolutions);

// The most bytes that tensors on a CUDA device held at once since the last call.
char* querist_take_peak_memory(int32_t device, uint64_t* bytes);

// One step of SGD over parameters and their gradients; `momenta` is empty where momentum is 0.
char* querist_sgd_step(const void* const* parameters, const void* const* momenta, size_t count, double lr,
                       double momentum, double weight_decay, bool nesterov, bool first);

// One step of Adam; `steps` holds how many steps each parameter has had, as float32 scalars, and is advanced. With
// `decoupled` the weight decay shrinks the parameters and is no part of the gradient (AdamW).
char* querist_adam_step(const void* const* parameters, const void* const* means, const void* const* squares,
                        const void* const* steps, size_t count, double lr, double beta1, double beta2, double eps,
                        double weight_decay, bool decoupled);

// Brings every element of the gradients within `bound` of 0.
char* querist_clamp_gradients(const void* const* parameters, size_t count, double bound);

// Shortens the gradients to a length of `bound` over all parameters where they are longer. Reads nothing back.
char* querist_clip_gradients(const void* const* parameters, size_t count, double bound);

// Moves tensors towards others by the share `weight` of the way.
char* querist_lerp(const void* const* tensors, const void* const* towards, size_t count, double weight);

// Forgets the gradients of the parameters, so that the next backward pass writes new ones instead of adding.
char* querist_clear_gradients(const void* const* parameters, size_t count);

// What code on this thread may move: grad mode, autocast, thread count, default dtype, and the states of the random
// generators of the CPU and, unless `cuda` is negative, of that GPU. Freed with `querist_ambient_free`.
char* querist_ambient_save(int32_t cuda, void** ambient);

// Puts everything back.
char* querist_ambient_restore(const void* ambient);

// Puts the generators' states back and nothing else.
char* querist_ambient_restore_random(const void* ambient);

void querist_ambient_free(void* ambient);

// Lets convolutions and products on this thread compute in bfloat16, on the CPU or on GPUs, until it is left.
char* querist_bf16_enter(bool cuda, void** autocast);

// Puts back what was before, and frees `autocast`.
void querist_bf16_leave(void* autocast);

// Three numbers a tensor, which differ from earlier ones once it was written to in place, given other storage, or its
// wish for a gradient was changed.
char* querist_marks(const void* const* tensors, size_t count, uint64_t* marks);

// Switches the recording of gradients on this thread; returns how it was.
bool querist_set_grad(bool enabled);

// Reads what `torch.save` wrote as a zip archive: a dictionary of tensors by name, or one in its entry `state_dict`,
// `model` or `model_state_dict`, and calls `found` with each name and a new `at::Tensor`, which it takes over. No code
// of the file runs: its pickle may hold tensors and plain containers only.
char* querist_read_pickle(const char* bytes, size_t size, void* context,
                          void (*found)(void* context, const char* name, size_t length, void* tensor));

// Loads a TorchScript file, whose code runs when it is called, onto the CPU or, unless `cuda` is negative, that GPU.
// Freed with `querist_script_free`.
char* querist_script_load(const char* bytes, size_t size, int32_t cuda, void** module);

void querist_script_free(void* module);

// Calls `found` with the name of each parameter and then of each buffer and a new `at::Tensor`, which it takes over and
// which shares the module's storage.
char* querist_script_tensors(void* module, void* context,
                             void (*found)(void* context, const char* name, size_t length, void* tensor,
                                           bool parameter));

// A forward pass of images: in eval mode (0), in training mode (1), or in that with buffers that stay as they are (2).
// Of a dictionary the entry `name`; without a name the tensor, or that at `position` of a tuple.
char* querist_script_forward(void* module, const void* images, int32_t mode, const char* name, size_t name_size,
                             int64_t position, void** output);
}
