//! What ends a program: a signal, or the end of its parent.

use std::io::Read as _;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

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

/// Waits until standard input ends: a parent holds the other end of the pipe, and when it is gone,
/// for whatever reason, so is the pipe.
pub async fn stdin_closed() {
    let (ended, waiting) = oneshot::channel();
    // A thread of its own: reading a pipe blocks, and nothing must wait for it at the end.
    let reader = std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut sink = [0; 256];
        while stdin.read(&mut sink).is_ok_and(|count| count > 0) {}
        let _ = ended.send(());
    });
    if reader.is_ok() {
        let _ = waiting.await;
    }
}
