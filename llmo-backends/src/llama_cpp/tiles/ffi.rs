//! ggml's side: a buffer type of its CPU backend, in the shapes of ggml-backend-impl.h and ggml-cpu-impl.h of the version that
//! Cargo.lock pins.
//!
//! Whatever ggml calls here neither panics nor allocates.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::slice;
use std::sync::OnceLock;

use llama_cpp_sys_2 as sys;

use super::layout::pack;
use super::operations::{claims, compute, matrix, supports, work_size};
use super::symbols::Symbols;

/// `struct ggml_backend_buffer_type`.
#[repr(C)]
struct BufferType {
    name: unsafe extern "C" fn(sys::ggml_backend_buffer_type_t) -> *const c_char,
    allocate: unsafe extern "C" fn(sys::ggml_backend_buffer_type_t, usize) -> sys::ggml_backend_buffer_t,
    allocate_n: Option<unsafe extern "C" fn()>,
    alignment: unsafe extern "C" fn(sys::ggml_backend_buffer_type_t) -> usize,
    max_size: Option<unsafe extern "C" fn()>,
    alloc_size: Option<unsafe extern "C" fn()>,
    alloc_size_n: Option<unsafe extern "C" fn()>,
    is_host: Option<unsafe extern "C" fn()>,
    device: sys::ggml_backend_dev_t,
    context: *mut c_void,
}

type SetTensor = unsafe extern "C" fn(sys::ggml_backend_buffer_t, *mut sys::ggml_tensor, *const c_void, usize, usize);

/// `struct ggml_backend_buffer`.
#[repr(C)]
struct Buffer {
    free: Option<unsafe extern "C" fn()>,
    base: Option<unsafe extern "C" fn()>,
    init_tensor: Option<unsafe extern "C" fn()>,
    memset_tensor: Option<unsafe extern "C" fn()>,
    set_tensor: Option<SetTensor>,
    get_tensor: Option<unsafe extern "C" fn()>,
    set_tensor_2d: Option<unsafe extern "C" fn()>,
    get_tensor_2d: Option<unsafe extern "C" fn()>,
    copy_tensor: Option<unsafe extern "C" fn()>,
    clear: Option<unsafe extern "C" fn()>,
    reset: Option<unsafe extern "C" fn()>,
    buffer_type: sys::ggml_backend_buffer_type_t,
    context: *mut c_void,
    size: usize,
    usage: c_int,
}

/// `struct ggml_compute_params`.
#[repr(C)]
pub(super) struct Params {
    pub(super) thread: c_int,
    pub(super) threads: c_int,
    memory_size: usize,
    pub(super) memory: *mut c_void,
    pub(super) pool: *mut c_void,
    reference: bool,
}

/// shim.cpp's `Calls`.
#[repr(C)]
struct Calls {
    claims: unsafe extern "C" fn(*const sys::ggml_tensor) -> bool,
    supports: unsafe extern "C" fn(*const sys::ggml_tensor) -> bool,
    work_size: unsafe extern "C" fn(c_int, *const sys::ggml_tensor, *mut usize) -> bool,
    compute: unsafe extern "C" fn(*const Params, *mut sys::ggml_tensor) -> bool,
}

unsafe extern "C" {
    fn llmo_tiles_context(calls: *const Calls) -> *mut c_void;
    fn llmo_tiles_register(types: unsafe extern "C" fn() -> *mut c_void, buffer_type: *mut BufferType);
}

/// The buffer type, which is never freed.
struct Registered {
    buffer_type: *mut BufferType,
    symbols: Symbols,
}

// SAFETY: ggml and this module only read it.
unsafe impl Send for Registered {}
// SAFETY: as above.
unsafe impl Sync for Registered {}

static REGISTERED: OnceLock<Registered> = OnceLock::new();

/// Tells ggml's CPU backend of the buffer type. To be called once, before a model is loaded.
pub(super) fn register() -> bool {
    let Some(symbols) = Symbols::find() else {
        tracing::warn!("this build of llama.cpp does not let llmo's tiled kernels in; its own are used");
        return false;
    };
    // SAFETY: plain calls; the device is ggml's for the whole process, and what shim.cpp makes lives as long.
    unsafe {
        let device = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
        if device.is_null() {
            return false;
        }
        let context = llmo_tiles_context(&Calls { claims, supports, work_size, compute });
        let buffer_type = Box::into_raw(Box::new(BufferType {
            name,
            allocate,
            allocate_n: None,
            alignment,
            max_size: None,
            alloc_size: None,
            alloc_size_n: None,
            is_host: None,
            device,
            context,
        }));
        if REGISTERED.set(Registered { buffer_type, symbols }).is_err() {
            return false;
        }
        llmo_tiles_register(symbols.buffer_types, buffer_type);
    }
    true
}

unsafe extern "C" fn name(_: sys::ggml_backend_buffer_type_t) -> *const c_char {
    c"LLMO_TILES".as_ptr()
}

unsafe extern "C" fn alignment(_: sys::ggml_backend_buffer_type_t) -> usize {
    64
}

/// Memory as the processor's own buffers have it, but written through [`set_tensor`].
unsafe extern "C" fn allocate(own: sys::ggml_backend_buffer_type_t, size: usize) -> sys::ggml_backend_buffer_t {
    // SAFETY: ggml's own allocation, and its struct, of which only this module knows yet.
    unsafe {
        let buffer = sys::ggml_backend_buft_alloc_buffer(sys::ggml_backend_cpu_buffer_type(), size);
        if let Some(buffer) = buffer.cast::<Buffer>().as_mut() {
            buffer.buffer_type = own;
            buffer.init_tensor = None;
            buffer.set_tensor = Some(set_tensor);
            buffer.get_tensor = None;
            buffer.copy_tensor = None;
        }
        buffer
    }
}

/// Packs the weights of a tensor: llama.cpp always sets all of one.
unsafe extern "C" fn set_tensor(
    _: sys::ggml_backend_buffer_t,
    tensor: *mut sys::ggml_tensor,
    data: *const c_void,
    offset: usize,
    size: usize,
) {
    // SAFETY: ggml gives a tensor of this buffer and as many bytes as it says.
    unsafe {
        let Some((kind, blocks, rows)) = matrix(&*tensor) else { return };
        if offset != 0 || size != kind.row(blocks) * rows {
            tracing::error!(offset, size, "a part of a tensor was set: its tiles are wrong now");
            return;
        }
        let rows = slice::from_raw_parts(data.cast::<u8>(), size);
        pack(kind, blocks, rows, slice::from_raw_parts_mut((*tensor).data.cast(), size));
    }
}

/// Is this a tensor of ours?
pub(super) unsafe fn is_ours(tensor: &sys::ggml_tensor) -> bool {
    // SAFETY: a tensor's buffer is there or null.
    let buffer = unsafe { tensor.buffer.cast::<Buffer>().as_ref() };
    let ours = REGISTERED.get().map(|registered| registered.buffer_type.cast());
    buffer.is_some_and(|buffer| Some(buffer.buffer_type) == ours)
}

/// Can the processor read this tensor as it lies? One without a buffer will be put where it can.
pub(super) unsafe fn is_on_host(tensor: &sys::ggml_tensor) -> bool {
    // SAFETY: as above.
    unsafe {
        let buffer = tensor.buffer.cast::<Buffer>().as_ref();
        buffer.is_none_or(|buffer| sys::ggml_backend_buft_is_host(buffer.buffer_type))
    }
}

/// Functions of ggml's, once [`register`] was called.
pub(super) fn symbols() -> Option<Symbols> {
    REGISTERED.get().map(|registered| registered.symbols)
}
