//! ggml's side: a buffer type of its CPU backend, in the shapes of ggml-backend-impl.h and ggml-cpu-impl.h of the version that
//! Cargo.lock pins.
//!
//! Whatever ggml calls here neither panics nor allocates.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::slice;
use std::sync::OnceLock;

use llama_cpp_sys_2 as sys;

use super::layout::{BLOCK, Kind, ROWS, pack};
use super::product::{Product, Team};
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
struct Params {
    thread: c_int,
    threads: c_int,
    memory_size: usize,
    memory: *mut c_void,
    pool: *mut c_void,
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

/// Kind, blocks of a row, and rows of weights that can be packed.
fn matrix(tensor: &sys::ggml_tensor) -> Option<(Kind, usize, usize)> {
    let kind = match tensor.type_ {
        sys::GGML_TYPE_Q4_1 => Kind::Q4_1,
        sys::GGML_TYPE_Q8_0 => Kind::Q8_0,
        _ => return None,
    };
    let [values, rows, 1, 1] = tensor.ne else { return None };
    let (values, rows) = (usize::try_from(values).ok()?, usize::try_from(rows).ok()?);
    let fits = rows > 0 && rows.is_multiple_of(ROWS) && values > 0 && values.is_multiple_of(BLOCK);
    fits.then_some((kind, values / BLOCK, rows))
}

/// Is this a product with weights of ours?
unsafe extern "C" fn claims(op: *const sys::ggml_tensor) -> bool {
    // SAFETY: ggml gives an operation of a graph; its sources and their buffers are there or null.
    unsafe {
        let op = &*op;
        if op.op != sys::GGML_OP_MUL_MAT {
            return false;
        }
        let [Some(weights), Some(_), ..] = op.src.map(|source| source.as_ref()) else { return false };
        let buffer = weights.buffer.cast::<Buffer>().as_ref();
        let ours = REGISTERED.get().map(|registered| registered.buffer_type.cast());
        buffer.is_some_and(|buffer| Some(buffer.buffer_type) == ours)
    }
}

unsafe extern "C" fn supports(op: *const sys::ggml_tensor) -> bool {
    // SAFETY: as in `claims`, which has seen both sources.
    unsafe {
        if !claims(op) {
            return false;
        }
        let (weights, values) = (&*(*op).src[0], &*(*op).src[1]);
        let on_host =
            values.buffer.is_null() || sys::ggml_backend_buft_is_host((*values.buffer.cast::<Buffer>()).buffer_type);
        let plain = values.type_ == sys::GGML_TYPE_F32 && values.nb[0] == size_of::<f32>();
        on_host && plain && matrix(weights).is_some()
    }
}

fn product(op: &sys::ggml_tensor, weights: &sys::ggml_tensor, values: &sys::ggml_tensor) -> Option<Product> {
    let (kind, blocks, rows) = matrix(weights)?;
    let [length, columns @ ..] = values.ne;
    let columns = columns.iter().try_fold(1, |product, &count| Some(usize::try_from(count).ok()? * product))?;
    let fits = usize::try_from(length) == Ok(blocks * BLOCK) && op.nb[0] == size_of::<f32>();
    fits.then_some(Product { kind, blocks, rows, columns })
}

unsafe extern "C" fn work_size(threads: c_int, op: *const sys::ggml_tensor, size: *mut usize) -> bool {
    // SAFETY: as in `supports`; `size` is ggml's.
    unsafe {
        let Some(product) = product(&*op, &*(*op).src[0], &*(*op).src[1]) else { return false };
        *size = product.memory(usize::try_from(threads).unwrap_or(1));
    }
    true
}

impl Team for (&Params, &Symbols) {
    fn place(&self) -> (usize, usize) {
        let number = |value: c_int| usize::try_from(value).unwrap_or(0);
        (number(self.0.thread), number(self.0.threads).max(1))
    }

    fn wait(&self) {
        // SAFETY: the pool is the one that this thread belongs to.
        unsafe { (self.1.barrier)(self.0.pool) }
    }

    fn set(&self, value: usize) {
        // SAFETY: as above.
        unsafe { (self.1.set_chunk)(self.0.pool, c_int::try_from(value).unwrap_or(c_int::MAX)) }
    }

    fn next(&self) -> usize {
        // SAFETY: as above.
        usize::try_from(unsafe { (self.1.add_chunk)(self.0.pool, 1) }).unwrap_or(usize::MAX)
    }
}

unsafe extern "C" fn compute(params: *const Params, op: *mut sys::ggml_tensor) -> bool {
    // SAFETY: ggml calls this on all threads of a pool for an operation that `supports` has seen, with the memory that
    // `work_size` asked for; rows of both tensors lie where their strides say.
    unsafe {
        let (params, op) = (&*params, &*op);
        let (weights, values) = (&*op.src[0], &*op.src[1]);
        let Some(Registered { symbols, .. }) = REGISTERED.get() else { return false };
        let Some(product) = product(op, weights, values) else { return false };
        let tiles = weights.data.cast::<u8>().cast_const();
        let row_of = |tensor: &sys::ggml_tensor, column: usize| {
            let size = tensor.ne.map(|count| usize::try_from(count).unwrap_or(1).max(1));
            let (first, rest) = (column % size[1], column / size[1]);
            let offset = first * tensor.nb[1] + rest % size[2] * tensor.nb[2] + rest / size[2] * tensor.nb[3];
            tensor.data.cast::<u8>().add(offset).cast::<f32>()
        };
        product.compute(
            &(params, symbols),
            tiles,
            params.memory.cast(),
            |column| row_of(values, column).cast_const(),
            |column| row_of(op, column),
        );
    }
    true
}
