//! A device that is a program: started for a case with all it needs to know in its environment and
//! arguments, told each order on its standard input when the order's time has come, and stopped.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};

use cscf_core::auth::to_hex;
use cscf_core::config::{Auth, Lab, SubscriberConfig};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::NamedTempFile;

/// The exit code by which a program says that it cannot do what it is asked (as for `make check`).
pub(super) const CANNOT: i32 = 77;

/// How much of what a program writes is kept, of its begin and of its end each.
const SAID_MAX: u64 = 256 * 1024;

/// What a device must know, as names and values: the variables `CSCF_…` and the placeholders `{…}`.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts(Vec<(&'static str, String)>);

impl Facts {
    /// What is known of a subscriber.
    pub(super) fn of(lab: &Lab, subscriber: &SubscriberConfig) -> Self {
        let mut facts = Self::default();
        facts.add("domain", lab.home_of(subscriber));
        facts.add("impi", &subscriber.impi);
        facts.add("impu", subscriber.default_impu().unwrap_or_default());
        facts.add("user", &subscriber.name);
        match &subscriber.auth {
            Auth::Digest { password, .. } => facts.add("password", password),
            Auth::Aka { k, opc, amf, .. } => {
                facts.add("k", &to_hex(k));
                facts.add("opc", &to_hex(opc));
                facts.add("amf", &to_hex(amf));
            }
            // What a card does with its secret is not told in a few words.
            Auth::Card { .. } => {}
        }
        facts
    }

    /// Adds a fact, in the place of the one of that name.
    pub(super) fn add(&mut self, name: &'static str, value: &str) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value.to_owned()));
    }

    /// What a human puts into a phone.
    pub(super) fn told(&self) -> String {
        let of = |wanted: &str| {
            let found = self.0.iter().find(|(name, _)| *name == wanted);
            found.map_or("", |(_, value)| value.as_str())
        };
        let secret = match (of("password"), of("k")) {
            ("", "") => String::new(),
            ("", k) => format!(", card with K {k} and OPc {}", of("opc")),
            (password, _) => format!(", password {password}"),
        };
        let (address, port, transport) = (of("address"), of("port"), of("transport"));
        format!(
            ">>> the P-CSCF is at {address}:{port} ({transport} or tcp), the domain is {}; \
             the user is {} ({}){secret}\n",
            of("domain"),
            of("impu"),
            of("impi"),
        )
    }

    /// An argument with facts in the place of their names; an unknown name stays as it is.
    fn fill(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for (name, value) in &self.0 {
            out = out.replace(&format!("{{{name}}}"), value);
        }
        out
    }
}

/// The words of a command line, with quotes as in a shell and nothing else of it.
///
/// # Errors
///
/// A quote that does not end, or no command.
pub(super) fn words(command: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = command.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' | '\'' => {
                let inside = word.get_or_insert_default();
                loop {
                    match letters.next() {
                        Some(end) if end == letter => break,
                        Some(other) => inside.push(other),
                        None => return Err(format!("a {letter} does not end in: {command}")),
                    }
                }
            }
            letter if letter.is_whitespace() => out.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    out.extend(word);
    if out.is_empty() { Err("say which command".to_owned()) } else { Ok(out) }
}

/// A running program.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    output: NamedTempFile,
}

impl Program {
    /// Starts it.
    pub(super) fn start(command: &str, facts: &Facts) -> Result<Self, String> {
        let words = words(command)?;
        let Some((program, args)) = words.split_first() else { return Err("no command".into()) };
        let fault = |fault: std::io::Error| format!("{program}: {fault}");
        let output = NamedTempFile::new().map_err(fault)?;
        let file = |output: &NamedTempFile| -> std::io::Result<File> { output.reopen() };
        let append = |output: &NamedTempFile| {
            File::options().append(true).open(output.path()).or_else(|_| file(output))
        };
        let mut process = Command::new(facts.fill(program));
        process.args(args.iter().map(|arg| facts.fill(arg)));
        for (name, value) in &facts.0 {
            process.env(format!("CSCF_{}", name.to_uppercase()), value);
        }
        // A group of its own, so that what a script starts ends with it.
        std::os::unix::process::CommandExt::process_group(&mut process, 0);
        let child = process
            .stdin(Stdio::piped())
            .stdout(append(&output).map_err(fault)?)
            .stderr(append(&output).map_err(fault)?)
            .spawn()
            .map_err(fault)?;
        Ok(Self { child, output })
    }

    /// Tells it an order; a program that does not listen is none of our business.
    pub(super) fn tell(&mut self, order: &str) {
        if let Some(stdin) = &mut self.child.stdin {
            let _ = writeln!(stdin, "{order}").and_then(|()| stdin.flush());
        }
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end, and makes it end; gives what it wrote and how it ended by itself. One that
    /// nothing ends (it runs as somebody else) is left after a while.
    pub(super) fn stop(mut self) -> (String, Option<ExitStatus>) {
        let own = self.ended();
        drop(self.child.stdin.take());
        // Those that it started may still be there: the group lives as long as one of them does.
        self.signal(Signal::SIGTERM);
        if own.is_none() {
            self.wait();
        }
        self.signal(Signal::SIGKILL);
        let _ = self.child.kill();
        self.wait();
        (self.said().unwrap_or_default(), own)
    }

    /// Waits until it has ended, two seconds at most.
    fn wait(&mut self) {
        let moment = std::time::Duration::from_millis(20);
        let (_silent, nothing) = std::sync::mpsc::channel::<()>();
        for _ in 0..100 {
            if self.ended().is_some() {
                return;
            }
            let _ = nothing.recv_timeout(moment);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }

    /// What it wrote: the begin and the end where that is much.
    fn said(&mut self) -> std::io::Result<String> {
        let mut file = self.output.reopen()?;
        let size = file.metadata()?.len();
        let mut begin = Vec::new();
        (&mut file).take(SAID_MAX).read_to_end(&mut begin)?;
        let mut out = String::from_utf8_lossy(&begin).into_owned();
        if size > SAID_MAX {
            let left = (size - SAID_MAX).min(SAID_MAX);
            file.seek(SeekFrom::Start(size - left))?;
            let mut end = Vec::new();
            (&mut file).take(left).read_to_end(&mut end)?;
            let lost = size - SAID_MAX - left;
            if lost > 0 {
                out.push_str(&format!("\n… {lost} bytes are left out here …\n"));
            }
            out.push_str(&String::from_utf8_lossy(&end));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_human_is_told_what_goes_into_a_phone() {
        let lab = Lab::default_lab();
        for (name, secret) in [("carol", "password carol-secret"), ("alice", "card with K ")] {
            let mut facts = Facts::of(&lab, &lab.subscriber(name).expect("there"));
            facts.add("address", "192.0.2.1");
            facts.add("port", "5060");
            facts.add("transport", "udp");
            let told = facts.told();
            for part in ["192.0.2.1:5060 (udp or tcp)", &lab.domain, name, secret] {
                let part = part.replace("alice", "001010000000001");
                assert!(told.contains(&part), "{told}");
            }
        }
    }

    #[test]
    fn a_command_line_is_words_with_quotes_and_no_shell() {
        let of = |text: &str| words(text);
        assert_eq!(
            of("./client -p {port}"),
            Ok(vec!["./client".into(), "-p".into(), "{port}".into()])
        );
        assert_eq!(of("a 'b c' \"d;e\"f"), Ok(vec!["a".into(), "b c".into(), "d;ef".into()]));
        assert_eq!(of("a ''"), Ok(vec!["a".into(), String::new()]));
        assert!(of("a 'b").is_err());
        assert!(of("  ").is_err());
        let mut facts = Facts::default();
        facts.add("port", "5060");
        assert_eq!(facts.fill("{address}:{port}"), "{address}:5060");
    }
}
