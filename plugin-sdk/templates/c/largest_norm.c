// A query strategy in C: the samples whose embeddings have the largest norm.
//
//   sh build.sh
//   querist select --strategy largest-norm --isolate --budget 10 --seed 0 --input embeddings=embeddings.npy
//
// With the parameter `by` = "kernel" the host computes the norms; with "dlpack" this file does, on the array itself.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "querist.h"

QUERIST_IDENTITY("largest-norm", "0.1.0", "x86_64-unknown-linux-gnu");

static const QueristHostApi *host;

static const char DESCRIPTION[] =
    "{\"package\":\"largest-norm\",\"version\":\"0.1.0\",\"api\":\"1.1\",\"strategies\":[{"
    "\"id\":\"largest-norm\",\"summary\":\"Samples whose embeddings have the largest norm\","
    "\"paper\":\"An example\",\"scorer\":false,\"needs\":[\"embeddings\"],\"schema\":{"
    "\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"by\":{"
    "\"description\":\"Who computes the norms.\",\"type\":\"string\",\"enum\":[\"kernel\",\"dlpack\"],"
    "\"default\":\"kernel\"}}}}]}";

static QueristBytes bytes(const char *text) {
  QueristBytes out = {(const uint8_t *)text, strlen(text)};
  return out;
}

static bool holds(QueristBytes text, const char *part) {
  size_t len = strlen(part);
  for (size_t at = 0; at + len <= text.len; ++at) {
    if (memcmp(text.data + at, part, len) == 0) return true;
  }
  return false;
}

// Passes the refusal of a host call on.
static QueristStatus pass_on(QueristCall *call, QueristStatus refused) {
  uint8_t text[512];
  size_t len = host->fault_text(call, text, sizeof text);
  QueristBytes message = {text, len < sizeof text ? len : sizeof text};
  host->fail(call, QueristFAIL_FAULT, refused, message);
  return QueristFAILED;
}

static QueristStatus describe(QueristCall *call) { return host->answer_text(call, bytes(DESCRIPTION)); }

static QueristStatus needs(QueristCall *call, QueristBytes id, QueristBytes params) {
  (void)id, (void)params;
  return host->answer_text(call, bytes("[\"embeddings\"]"));
}

// The host's kernel: no number of the array is seen here.
static QueristStatus by_kernel(QueristCall *call, uint32_t wanted, uint32_t *rows, double *norms) {
  uint32_t matrix, squares;
  QueristStatus status = host->calls->input(call, bytes("embeddings"), &matrix);
  if (status == QueristOK) status = host->calls->matrix_sq_norms(call, matrix, &squares);
  if (status == QueristOK) {
    // The host lends a list until its next call.
    QueristList_u32 top;
    status = host->calls->vector_top(call, squares, QueristNO_HANDLE, wanted, QueristNO_HANDLE, &top);
    if (status == QueristOK) memcpy(rows, top.data, top.count * sizeof *rows);
  }
  for (uint32_t i = 0; i < wanted && status == QueristOK; ++i) {
    QueristList_f64 square;
    status = host->calls->vector_read(call, squares, rows[i], 1, &square);
    if (status == QueristOK) norms[i] = sqrt(square.data[0]);
  }
  return status == QueristOK ? QueristOK : pass_on(call, status);
}

// The parts of DLPack's DLManagedTensorVersioned (version 1) that are needed here.
typedef struct Tensor {
  uint32_t version[2];
  void *manager;
  void (*deleter)(struct Tensor *);
  uint64_t flags;
  void *data;
  int32_t device[2];
  int32_t dimensions;
  uint8_t code, bits;
  uint16_t lanes;
  int64_t *shape, *strides;
  uint64_t byte_offset;
} Tensor;

typedef struct {
  double norm;
  uint32_t row;
} Ranked;

static int larger_first(const void *a, const void *b) {
  const Ranked *x = (const Ranked *)a, *y = (const Ranked *)b;
  if (x->norm != y->norm) return x->norm < y->norm ? 1 : -1;
  return x->row < y->row ? -1 : 1;
}

// The array itself, without a copy.
static QueristStatus by_dlpack(QueristCall *call, uint32_t wanted, uint32_t *rows, double *norms) {
  void *lent;
  QueristStatus status = host->array_dlpack(call, bytes("embeddings"), &lent);
  if (status != QueristOK) return pass_on(call, status);
  Tensor *tensor = (Tensor *)lent;
  int64_t count = tensor->shape[0], columns = tensor->shape[1];
  const float *values = (const float *)tensor->data;
  Ranked *ranked = (Ranked *)malloc((size_t)count * sizeof *ranked);
  if (ranked != NULL) {
    for (int64_t row = 0; row < count; ++row) {
      double sum = 0;
      for (int64_t column = 0; column < columns; ++column) {
        double value = values[row * columns + column];
        sum += value * value;
      }
      ranked[row].norm = sqrt(sum);
      ranked[row].row = (uint32_t)row;
    }
    qsort(ranked, (size_t)count, sizeof *ranked, larger_first);
    for (uint32_t i = 0; i < wanted; ++i) rows[i] = ranked[i].row, norms[i] = ranked[i].norm;
  }
  tensor->deleter(tensor);
  if (ranked == NULL) {
    host->fail(call, QueristFAIL_FAILED, QueristOK, bytes("no memory for the norms"));
    return QueristFAILED;
  }
  free(ranked);
  return QueristOK;
}

static QueristStatus choose(QueristCall *call, QueristBytes id, QueristBytes params, QueristBytes state) {
  (void)id, (void)state;
  QueristQueryInfo info;
  QueristStatus status = host->calls->info(call, &info);
  if (status != QueristOK) return pass_on(call, status);
  uint32_t wanted = info.batch < info.rows ? info.batch : info.rows;
  uint32_t *rows = (uint32_t *)malloc((wanted + 1) * sizeof *rows);
  double *norms = (double *)malloc((wanted + 1) * sizeof *norms);
  if (rows == NULL || norms == NULL) {
    host->fail(call, QueristFAIL_FAILED, QueristOK, bytes("no memory for the answer"));
    status = QueristFAILED;
  } else {
    status = holds(params, "\"dlpack\"") ? by_dlpack(call, wanted, rows, norms) : by_kernel(call, wanted, rows, norms);
  }
  if (status == QueristOK) {
    status = host->answer_rows(call, rows, norms, wanted);
    if (status != QueristOK) status = pass_on(call, status);
  }
  free(rows);
  free(norms);
  return status;
}

static QueristPluginApi plugin;

#ifdef __cplusplus
extern "C"
#endif
__attribute__((visibility("default"))) const QueristPluginApi *querist_plugin_v2(const QueristHostApi *api) {
  if (api->size < sizeof *api || api->calls->size < sizeof *api->calls) return NULL;
  host = api;
  plugin.size = sizeof plugin;
  plugin.minor = QueristABI_MINOR;
  plugin.describe = describe;
  plugin.needs = needs;
  plugin.select = choose;
  return &plugin;
}
