//! `cscf up` in a network of its own and programs of others beside it, for the tests that need
//! them. Nothing sleeps: each wait is for a line, an end or a bound.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail"
)]
#![allow(dead_code, reason = "each test uses its part")]

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use cscf_core::auth::{AkaFunctions as _, AkaNonce, Milenage};
use cscf_core::config::{Auth, Lab, NodeConfig, NodeRole, SubscriberConfig};
use cscf_core::host::Clock;
use cscf_core::time::Instant;
use tempfile::TempDir;

/// The longest any single event may take on a busy machine.
pub(crate) const WITHIN: Duration = Duration::from_secs(25);

/// The program under test.
pub(crate) fn cscf() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cscf-under-test"));
    command.stdin(Stdio::null()).env_remove("CSCF_LOG");
    // Where these tests run in a job of GitHub, their runs are not the job's.
    command.env_remove("GITHUB_ACTIONS");
    command
}

/// True if a program is installed; else says so, or fails where `CSCF_REQUIRE_TOOLS` demands it.
pub(crate) fn installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(tool).is_file());
    if !found {
        let required = std::env::var_os("CSCF_REQUIRE_TOOLS").is_some();
        assert!(!required, "{tool} is not installed, and CSCF_REQUIRE_TOOLS is set");
        println!("skipped: {tool} is not installed");
    }
    found
}

/// Runs a program to its end.
///
/// # Panics
///
/// When it cannot start or takes longer than [`WITHIN`]; then it is killed.
pub(crate) fn output(command: &mut Command) -> Output {
    Program::start(command).end()
}

/// What a program wrote, as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A program that runs; killed when the test is over.
pub(crate) struct Program {
    name: String,
    pid: u32,
    ended: Receiver<Output>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let pid = child.id();
        let (sender, ended) = channel();
        std::thread::spawn(move || {
            if let Ok(output) = child.wait_with_output() {
                let _ = sender.send(output);
            }
        });
        Self { name, pid, ended }
    }

    pub(crate) fn end(self) -> Output {
        let Ok(output) = self.ended.recv_timeout(WITHIN) else {
            panic!("{} still runs after {WITHIN:?}", self.name);
        };
        output
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Who has told its end is gone, and its number may be another's by now.
        if matches!(self.ended.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
            signal("-KILL", self.pid);
        }
    }
}

fn signal(signal: &str, pid: u32) {
    let _ = Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// A network 127.x.y.0/24 that no other test or run uses, held by a listening socket.
struct Claim {
    network: [u8; 2],
    _held: TcpListener,
}

impl Claim {
    fn take() -> Self {
        const PORT: u16 = 9480;
        for attempt in 0..500_u32 {
            let [.., x, y] =
                std::process::id().wrapping_mul(7).wrapping_add(attempt * 259).to_be_bytes();
            let network = [16 + x % 200, y];
            let address = Ipv4Addr::new(127, network[0], network[1], 1);
            if let Ok(held) = TcpListener::bind(SocketAddr::from((address, PORT))) {
                return Self { network, _held: held };
            }
        }
        panic!("no free network in 127.0.0.0/8");
    }
}

/// A running `cscf up`; killed when the test is over.
pub(crate) struct Running {
    pub(crate) lab: Lab,
    pub(crate) folder: TempDir,
    child: Child,
    lines: Mutex<Receiver<String>>,
    claim: Claim,
}

/// A node of a running lab.
#[derive(Clone, Debug)]
pub(crate) struct NodeProcess {
    pub(crate) role: String,
    pub(crate) pid: u32,
}

fn up(folder: &Path, extra: &[OsString]) -> (Child, Receiver<String>) {
    let mut child = cscf()
        .args(["up", "--lab"])
        .arg(folder.join("lab.yaml"))
        .args(extra)
        // What a node holds is what it has touched.
        .env_remove("MIMALLOC_ALLOW_THP")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let stdout = child.stdout.take().expect("piped");
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // A test that no longer listens must not fill the pipe.
            let _ = sender.send(line);
        }
    });
    (child, lines)
}

impl Running {
    /// Starts a lab and waits until it is ready.
    pub(crate) fn start() -> Self {
        Self::start_with(|_, _| Vec::new())
    }

    /// Starts a lab with more arguments, which may depend on it and on its folder.
    pub(crate) fn start_with(extra: impl FnOnce(&mut Lab, &Path) -> Vec<OsString>) -> Self {
        let claim = Claim::take();
        let [x, y] = claim.network;
        let ip = |host| IpAddr::V4(Ipv4Addr::new(127, x, y, host));
        let mut lab = Lab::for_plmn("001", "01", [ip(11), ip(12), ip(13), ip(14)]);
        lab.control = Some(SocketAddr::new(ip(11), 9480));
        let folder = tempfile::tempdir().expect("folder");
        let extra = extra(&mut lab, folder.path());
        std::fs::write(folder.path().join("lab.yaml"), lab.to_yaml()).expect("writes");
        let (child, lines) = up(folder.path(), &extra);
        let running = Self { lab, folder, child, lines: Mutex::new(lines), claim };
        running.wait_for("ready ");
        running
    }

    /// Kills it as a power failure would, and waits until no node is left.
    pub(crate) fn crash(&mut self) {
        let connect = |node: &NodeConfig| TcpStream::connect(node.listen).expect("listens");
        let connections: Vec<TcpStream> = self.lab.nodes.iter().map(connect).collect();
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        for mut connection in connections {
            connection.set_read_timeout(Some(WITHIN)).expect("a timeout");
            let mut rest = Vec::new();
            match connection.read_to_end(&mut rest) {
                Ok(_) => {}
                Err(fault) => assert_eq!(fault.kind(), std::io::ErrorKind::ConnectionReset),
            }
        }
    }

    /// Starts it again after [`Running::crash`].
    pub(crate) fn start_again(&mut self, extra: &[OsString]) {
        let (child, lines) = up(self.folder.path(), extra);
        self.child = child;
        self.lines = Mutex::new(lines);
        self.wait_for("ready ");
    }

    /// Waits for a line that contains this.
    pub(crate) fn wait_for(&self, part: &str) -> String {
        let lines = self.lines.lock().expect("no test panics with it");
        let mut seen = Vec::new();
        loop {
            match lines.recv_timeout(WITHIN) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => seen.push(line),
                Err(fault) => panic!("no `{part}` ({fault}) in\n{}", seen.join("\n")),
            }
        }
    }

    /// An address of the lab's network that no node has.
    pub(crate) fn ip(&self, host: u8) -> Ipv4Addr {
        let [x, y] = self.claim.network;
        Ipv4Addr::new(127, x, y, host)
    }

    /// Where UEs find the lab.
    pub(crate) fn pcscf(&self) -> SocketAddr {
        self.lab.node(NodeRole::Pcscf).expect("a P-CSCF").listen
    }

    pub(crate) fn subscriber(&self, name: &str) -> &SubscriberConfig {
        let mut listed = self.lab.subscribers.listed().iter();
        listed.find(|it| it.name == name).expect("a subscriber")
    }

    /// The node processes, by role.
    pub(crate) fn nodes(&self) -> Vec<NodeProcess> {
        let file = self.folder.path().join("lab.yaml").to_string_lossy().into_owned();
        let mut out = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("proc").flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
            let Ok(bytes) = std::fs::read(entry.path().join("cmdline")) else { continue };
            let args: Vec<String> = text(&bytes).split('\0').map(str::to_owned).collect();
            if args.contains(&file) && args.iter().any(|arg| arg == "--child") {
                out.push(NodeProcess { role: args[0].clone(), pid });
            }
        }
        out.sort_by(|one, other| one.role.cmp(&other.role));
        out
    }

    /// Ends it in order; nothing may have been complained about. Its folder is still there then.
    pub(crate) fn end(mut self) -> TempDir {
        signal("-TERM", self.child.id());
        let mut stderr = self.child.stderr.take().expect("piped");
        let (sender, said) = channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            let _ = sender.send(text);
        });
        let said = said.recv_timeout(WITHIN).expect("ends in time");
        let status = self.child.wait().expect("ended");
        assert_eq!((status.code(), said.as_str()), (Some(0), ""));
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("folder"))
    }
}

/// Looks again and again, a moment between, until there is something to see.
///
/// # Panics
///
/// When there is nothing after [`WITHIN`].
pub(crate) fn wait_until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    const MOMENT: Duration = Duration::from_millis(20);
    let clock = Clock::start();
    let (_silent, nothing) = channel::<()>();
    while clock.now().since(Instant::EPOCH) < WITHIN {
        if let Some(seen) = look() {
            return seen;
        }
        let _ = nothing.recv_timeout(MOMENT);
    }
    panic!("nothing is to be seen after {WITHIN:?}");
}
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How often SIPp may trip over its own feet.
const TRIES: usize = 8;

/// SIPp with one of the scenarios in `tests/sipp`, as one UE that makes one call.
pub(crate) struct Sipp {
    program: Program,
    errors: PathBuf,
}

impl Sipp {
    /// Starts it at this host of the lab's network. `fields` are what the scenario calls `[field0]`
    /// and so on; `mode` is `u1` for UDP or `t1` for TCP.
    pub(crate) fn start(
        lab: &Running,
        scenario: &str,
        host: u8,
        mode: &str,
        fields: &[&str],
    ) -> Self {
        let name = format!("{scenario}-{host}");
        let folder = lab.folder.path();
        let [data, errors, messages] =
            ["csv", "errors", "messages"].map(|end| folder.join(format!("{name}.{end}")));
        std::fs::write(&data, format!("SEQUENTIAL\n{};\n", fields.join(";"))).expect("writes");
        for log in [&errors, &messages] {
            let _ = std::fs::remove_file(log);
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("sipp/{scenario}.xml"));
        let mut command = Command::new("sipp");
        command
            .current_dir(folder)
            .arg("-sf")
            .arg(file)
            .arg("-inf")
            .arg(data)
            .args(["-i", &lab.ip(host).to_string(), "-p", "5060", "-t", mode])
            .args([
                "-m",
                "1",
                "-nostdin",
                "-bind_local",
                "-skip_rlimit",
                "-default_behaviors",
                "abortunexp",
            ])
            .args(["-recv_timeout", "15000", "-timeout", "20", "-timeout_error"])
            .args(["-auth_uri", &lab.lab.domain, "-key", "domain", &lab.lab.domain])
            // Both ends of a call have its Call-ID, so each SIPp takes it for its own.
            .args(["-cid_str", "interop-call"])
            .args(["-trace_err", "-error_file"])
            .arg(&errors)
            .args(["-trace_msg", "-message_file"])
            .arg(&messages)
            .arg(lab.pcscf().to_string());
        Self { program: Program::start(&mut command), errors }
    }

    /// Waits for its verdict: the whole scenario went as written.
    ///
    /// # Errors
    ///
    /// What SIPp found unexpected.
    pub(crate) fn end(self) -> Result<(), String> {
        let output = self.program.end();
        if output.status.success() {
            return Ok(());
        }
        let errors = std::fs::read(&self.errors).unwrap_or_default();
        Err(format!("{}\n{}{}", output.status, text(&errors), text(&output.stderr)))
    }
}

/// Runs a scenario of alice with her USIM in SIPp.
///
/// SIPp 3.6 takes RES for text that ends at its first zero byte: about one challenge in thirty it
/// answers wrongly and is rightly refused. Where RES has such a byte it may try again.
///
/// # Errors
///
/// What SIPp found unexpected.
pub(crate) fn alice_by_sipp(
    lab: &Running,
    scenario: &str,
    host: u8,
    mode: &str,
) -> Result<(), String> {
    let alice = lab.subscriber("alice");
    let credentials = credentials(alice, &secret(alice));
    for _ in 1..TRIES {
        let result = by_sipp(lab, scenario, (host, mode), &[&alice.impi, &credentials]);
        let messages = lab.folder.path().join(format!("{scenario}-{host}.messages"));
        match result {
            Err(said) if said.contains("SIP/2.0 403") && cuts_res(alice, &messages) => {}
            result => return result,
        }
    }
    by_sipp(lab, scenario, (host, mode), &[&alice.impi, &credentials])
}

/// Runs a scenario in SIPp to its end.
///
/// SIPp 3.6 sometimes reads keywords behind the end of K, which has no end it would know; it gives
/// up before it has answered anything, and may try again.
///
/// # Errors
///
/// What SIPp found unexpected.
pub(crate) fn by_sipp(
    lab: &Running,
    scenario: &str,
    (host, mode): (u8, &str),
    fields: &[&str],
) -> Result<(), String> {
    for _ in 1..TRIES {
        match Sipp::start(lab, scenario, host, mode, fields).end() {
            Err(said) if said.contains("invalid [keyword] in scenario") => {}
            result => return result,
        }
    }
    Sipp::start(lab, scenario, host, mode, fields).end()
}

/// True if RES for the last challenge in a log of SIPp has a zero byte.
fn cuts_res(subscriber: &SubscriberConfig, messages: &Path) -> bool {
    let Auth::Aka { k, opc, .. } = &subscriber.auth else { return false };
    let log = text(&std::fs::read(messages).unwrap_or_default());
    let nonces = log.split("nonce=\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0));
    let Some(nonce) = nonces.last().and_then(|nonce| AkaNonce::decode(nonce).ok()) else {
        return false;
    };
    Milenage::new(*k, *opc).f2345(&nonce.rand).res.as_bytes().contains(&0)
}

/// SIPp's keyword for credentials of a subscriber with this secret: a password, or K as hexadecimal
/// digits with the OP of the built-in lab.
pub(crate) fn credentials(subscriber: &SubscriberConfig, secret: &str) -> String {
    let impi = &subscriber.impi;
    match &subscriber.auth {
        Auth::Aka { .. } => format!(
            "[authentication username={impi} password=x aka_K=0x{secret} aka_OP=0x{OP} \
             aka_AMF=0x{AMF}]"
        ),
        Auth::Card { .. } => panic!("SIPp has Milenage only"),
        Auth::Digest { .. } => format!("[authentication username={impi} password={secret}]"),
    }
}

/// Has everybody with a password challenged for MD5 only: some know no other algorithm and answer
/// the first challenge alone.
pub(crate) fn md5_only(lab: &mut Lab) {
    for subscriber in lab.subscribers.listed_mut() {
        if let Auth::Digest { algorithms, .. } = &mut subscriber.auth {
            *algorithms = vec!["MD5".into()];
        }
    }
}

/// The secret of a subscriber, as [`credentials`] takes it.
pub(crate) fn secret(subscriber: &SubscriberConfig) -> String {
    match &subscriber.auth {
        Auth::Aka { k, .. } => hex(k),
        Auth::Card { .. } => panic!("SIPp has Milenage only"),
        Auth::Digest { password, .. } => password.clone(),
    }
}

/// OP of the built-in lab (TS 35.207, test set 1), and the AMF of IMS AKA: the separation bit.
pub(crate) const OP: &str = "cdc202d5123e20f62b6d676ac72cb318";
pub(crate) const AMF: &str = "8000";

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
