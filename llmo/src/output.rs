//! Printing that ends the program quietly when nobody reads any more (`llmo list | head -1`), as other tools do.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// `println!`, for readers who may leave.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}

/// Prints a line.
pub(crate) fn line(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    end_if_nobody_reads(writeln!(out, "{text}"));
}

/// Prints bytes as they are, at once.
pub(crate) fn raw(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    end_if_nobody_reads(out.write_all(bytes).and_then(|()| out.flush()));
}

fn end_if_nobody_reads(outcome: std::io::Result<()>) {
    match outcome {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("error: cannot print: {error}");
            std::process::exit(1);
        }
    }
}
