//! Headers of weight files, read and checked in Rust before any engine sees the file.
