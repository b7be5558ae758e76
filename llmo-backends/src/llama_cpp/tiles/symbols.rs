//! Functions of ggml's CPU backend that its headers do not offer: compiled in, or in the library that was loaded.

use std::ffi::{c_int, c_void};

/// What the kernels call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbols {
    /// `std::vector<ggml_backend_buffer_type_t> & ggml_backend_cpu_get_extra_buffer_types()`.
    pub(super) buffer_types: unsafe extern "C" fn() -> *mut c_void,
    /// Waits for the other threads of a pool.
    pub(super) barrier: unsafe extern "C" fn(pool: *mut c_void),
    /// Sets a pool's counter.
    pub(super) set_chunk: unsafe extern "C" fn(pool: *mut c_void, value: c_int),
    /// Adds to a pool's counter; gives what it was.
    pub(super) add_chunk: unsafe extern "C" fn(pool: *mut c_void, value: c_int) -> c_int,
}

#[cfg(not(feature = "dynamic-backends"))]
#[allow(unsafe_code)]
mod compiled_in {
    use super::{c_int, c_void};

    unsafe extern "C" {
        #[link_name = "_Z39ggml_backend_cpu_get_extra_buffer_typesv"]
        pub(super) fn buffer_types() -> *mut c_void;
        pub(super) fn ggml_barrier(pool: *mut c_void);
        pub(super) fn ggml_threadpool_chunk_set(pool: *mut c_void, value: c_int);
        pub(super) fn ggml_threadpool_chunk_add(pool: *mut c_void, value: c_int) -> c_int;
    }
}

#[cfg(not(feature = "dynamic-backends"))]
impl Symbols {
    #[allow(clippy::unnecessary_wraps)]
    pub(super) fn find() -> Option<Self> {
        use compiled_in::{buffer_types, ggml_barrier, ggml_threadpool_chunk_add, ggml_threadpool_chunk_set};
        Some(Self {
            buffer_types,
            barrier: ggml_barrier,
            set_chunk: ggml_threadpool_chunk_set,
            add_chunk: ggml_threadpool_chunk_add,
        })
    }
}

#[cfg(feature = "dynamic-backends")]
impl Symbols {
    #[allow(unsafe_code)]
    pub(super) fn find() -> Option<Self> {
        use std::mem::transmute;
        let library = Library::of(&crate::llama_cpp::kernels::loaded_library()?)?;
        // SAFETY: the functions are declared so in the version of ggml that Cargo.lock pins (ggml-cpu-impl.h, traits.h).
        unsafe {
            Some(Self {
                buffer_types: transmute::<*mut c_void, unsafe extern "C" fn() -> *mut c_void>(
                    library.symbol(c"_Z39ggml_backend_cpu_get_extra_buffer_typesv")?,
                ),
                barrier: transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void)>(library.symbol(c"ggml_barrier")?),
                set_chunk: transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void, c_int)>(
                    library.symbol(c"ggml_threadpool_chunk_set")?,
                ),
                add_chunk: transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void, c_int) -> c_int>(
                    library.symbol(c"ggml_threadpool_chunk_add")?,
                ),
            })
        }
    }
}

/// A library that this process has loaded.
#[cfg(feature = "dynamic-backends")]
struct Library(*mut c_void);

#[cfg(feature = "dynamic-backends")]
#[allow(unsafe_code)]
impl Library {
    fn of(path: &std::path::Path) -> Option<Self> {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
        // SAFETY: the path is a C string. The library is loaded already, and stays so: the handle is never closed.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
        (!handle.is_null()).then_some(Self(handle))
    }

    fn symbol(&self, name: &std::ffi::CStr) -> Option<*mut c_void> {
        // SAFETY: the handle is open and the name a C string.
        let symbol = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        (!symbol.is_null()).then_some(symbol)
    }
}
