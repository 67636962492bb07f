//! What commands write to the terminal, and their exit codes.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use cscf_core::host::program::{EXIT_COULD_NOT_RUN, EXIT_OK, no_color};

/// Writes to standard output; a reader that has gone away is no fault.
#[must_use]
pub fn print(text: &str) -> ExitCode {
    out(text);
    ExitCode::from(EXIT_OK)
}

/// Writes to standard output at once.
pub fn out(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes an error as every command does.
pub fn error(text: &str) {
    let mut error = std::io::stderr().lock();
    let (on, off) = if colour(&error) { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    let _ = writeln!(error, "{on}error:{off} {}", text.trim_end());
}

/// Whether this stream is a person who likes colours.
#[must_use]
pub fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && !no_color()
}

/// Ends a command: its text to standard output, or its error and exit code 2.
#[must_use]
pub fn exit(result: Result<String, String>) -> ExitCode {
    match result {
        Ok(text) => print(&text),
        Err(text) => could_not_run(&text),
    }
}

/// Says why something could not run; exit code 2.
#[must_use]
pub fn could_not_run(text: &str) -> ExitCode {
    error(text);
    ExitCode::from(EXIT_COULD_NOT_RUN)
}

/// Writes to standard error at once: what is neither an answer nor an error of this command.
pub fn log(text: &str) {
    let mut error = std::io::stderr().lock();
    let _ = error.write_all(text.as_bytes());
}
