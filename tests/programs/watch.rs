//! `cscf run --watch` as a person meets it: the file is saved, broken, mended; each wait is for a
//! line.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// The longest any single event may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(30);

/// A program whose lines are read while it runs; killed when the test is over.
struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let (sender, lines) = channel();
        read(child.stdout.take().expect("piped"), sender.clone());
        read(child.stderr.take().expect("piped"), sender);
        Self { child, lines }
    }

    /// Waits for a line with each of these: what comes by two pipes comes in any order.
    fn wait_for(&self, parts: &[&str]) {
        let mut missing = parts.to_vec();
        let mut before = Vec::new();
        while !missing.is_empty() {
            let Ok(line) = self.lines.recv_timeout(WITHIN) else {
                panic!("no line with {missing:?} after\n{}", before.join("\n"));
            };
            missing.retain(|part| !line.contains(part));
            before.push(line);
        }
    }

    /// Waits for its end, which ends its lines.
    fn end(&mut self) -> ExitStatus {
        loop {
            match self.lines.recv_timeout(WITHIN) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
        self.child.wait().expect("ends")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(from: impl Read + Send + 'static, sender: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
}

/// The program, which Ctrl-C ends even where whoever runs the tests ignores it, as what a shell
/// starts in the background does.
fn cscf() -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_cscf-under-test")]);
    command
}

#[test]
fn a_saved_file_runs_again_and_a_broken_one_is_waited_for() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("mine.yaml");
    let scenario = |step: &str| format!("scenario: Mine\nsteps:\n  - {step}\n");
    std::fs::write(&file, scenario("alice registers")).expect("writes");
    let mut command = cscf();
    command.args(["run", "--virtual", "--watch"]).arg(&file).current_dir(folder.path());
    let mut program = Program::start(&mut command);
    program.wait_for(&["passed: mine (1 steps", "watching "]);

    std::fs::write(&file, scenario("alice regsters")).expect("writes");
    program.wait_for(&["unknown verb `regsters`; did you mean `registers`?", "watching "]);

    // As an editor does: another file takes the place of the first.
    let fresh = folder.path().join("mine.yaml~");
    std::fs::write(&fresh, scenario("alice registers\n  - alice is registered")).expect("writes");
    std::fs::rename(&fresh, &file).expect("replaces");
    program.wait_for(&["passed: mine (2 steps", "watching "]);

    let pid = program.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    let status = program.end();
    assert!(!status.success(), "{status}");
}

#[test]
fn what_cannot_change_is_not_watched() {
    let mut command = cscf();
    command.args(["run", "--virtual", "--watch", "volte-call"]);
    let mut program = Program::start(&mut command);
    program.wait_for(&["--watch needs a file"]);
    assert_eq!(program.end().code(), Some(2));
}
