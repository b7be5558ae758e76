//! Compiles the C++ that ggml wants to see: see `src/llama_cpp/tiles`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "llama-cpp")]
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        let shim = "src/llama_cpp/tiles/shim.cpp";
        println!("cargo:rerun-if-changed={shim}");
        cc::Build::new().cpp(true).std("c++17").file(shim).compile("llmo_tiles");
    }
}
