// The two C++ classes that ggml's CPU backend asks about weights in a buffer type of their own, forwarding to Rust. The
// classes are declared as in ggml/src/ggml-cpu/traits.h of the version that Cargo.lock pins; what counts is the order of
// their virtual functions.

#include <cstddef>
#include <vector>

struct ggml_tensor;
struct ggml_compute_params;
struct ggml_backend_device;
struct ggml_backend_buffer_type;

namespace {

// What Rust does, in Rust's order (ffi.rs).
struct Calls {
    bool (*claims)(const ggml_tensor * op);
    bool (*supports)(const ggml_tensor * op);
    bool (*work_size)(int threads, const ggml_tensor * op, size_t * size);
    bool (*compute)(const ggml_compute_params * params, ggml_tensor * op);
};

class TensorTraits {
  public:
    explicit TensorTraits(Calls calls) : calls(calls) {}
    virtual ~TensorTraits() = default;
    virtual bool work_size(int threads, const ggml_tensor * op, size_t & size) {
        return calls.work_size(threads, op, &size);
    }
    virtual bool compute_forward(ggml_compute_params * params, ggml_tensor * op) { return calls.compute(params, op); }

  private:
    Calls calls;
};

class ExtraBufferType {
  public:
    explicit ExtraBufferType(Calls calls) : calls(calls), traits(calls) {}
    virtual ~ExtraBufferType() = default;
    virtual bool supports_op(ggml_backend_device *, const ggml_tensor * op) { return calls.supports(op); }
    virtual TensorTraits * get_tensor_traits(const ggml_tensor * op) { return calls.claims(op) ? &traits : nullptr; }

  private:
    Calls calls;
    TensorTraits traits;
};

}  // namespace

extern "C" {

// The context of a buffer type whose tensors are computed by `calls`. Lives as long as the process.
void * llmo_tiles_context(const Calls * calls) noexcept {
    return new ExtraBufferType(*calls);
}

// Adds a buffer type to the list that `types`, ggml's own function, gives.
void llmo_tiles_register(std::vector<ggml_backend_buffer_type *> & (*types)(), ggml_backend_buffer_type * type) noexcept {
    types().push_back(type);
}

}
