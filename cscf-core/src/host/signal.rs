//! What ends a program: a signal, or the end of its parent.

use std::io::{BufRead as _, Read as _};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Waits for SIGINT or SIGTERM; names it.
///
/// # Errors
///
/// The system does not let us listen for signals.
pub async fn stop_signal() -> std::io::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    })
}

/// A line of standard input at most, in bytes; what is longer is left out.
const LINE_BYTES_MAX: u64 = 16 * 1024;
/// Lines that may wait to be obeyed; then their writer waits.
const LINES_MAX: usize = 16;

/// The lines of standard input; the channel ends when standard input does: a parent holds the other
/// end of the pipe, and when it is gone, for whatever reason, so is the pipe.
#[must_use]
pub fn stdin_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(LINES_MAX);
    // A thread of its own: reading a pipe blocks, and nothing must wait for it at the end. Without
    // the thread there is no sender, and the program ends at once.
    let _ = std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut whole = true;
        loop {
            let mut line = Vec::new();
            match (&mut stdin).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            let (begun, ends) = (whole, line.ends_with(b"\n"));
            whole = ends;
            if !(begun && ends) {
                continue;
            }
            if let Ok(text) = String::from_utf8(line)
                && sender.blocking_send(text.trim_end().to_owned()).is_err()
            {
                break;
            }
        }
    });
    lines
}
