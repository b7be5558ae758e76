//! Pure text logic that every backend shares. Synchronous, no I/O, tested by properties.
