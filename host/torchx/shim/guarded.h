// What every file of the shim does with exceptions and with files in memory.
#pragma once
#include <c10/util/Exception.h>
#include <caffe2/serialize/read_adapter_interface.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>

namespace {

char* copy(const char* text) {
  char* message = strdup(text);
  if (message == nullptr) std::abort();  // Not even an error can be told.
  return message;
}

// Runs `work` and turns an exception into its message.
template <typename Work>
char* guarded(Work work) {
  try {
    work();
    return nullptr;
  } catch (const c10::Error& error) {
    return copy(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return copy(error.what());
  } catch (...) {
    return copy("an exception that is no std::exception");
  }
}

// A file in memory of the caller.
class Memory final : public caffe2::serialize::ReadAdapterInterface {
 public:
  Memory(const char* bytes, size_t size) : bytes_(bytes), size_(size) {}
  size_t size() const override { return size_; }
  size_t read(uint64_t position, void* buffer, size_t n, const char*) const override {
    if (position >= size_) return 0;
    const size_t read = std::min<size_t>(n, size_ - position);
    std::memcpy(buffer, bytes_ + position, read);
    return read;
  }

 private:
  const char* bytes_;
  size_t size_;
};

}  // namespace
