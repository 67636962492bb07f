//! Fault rules of a running lab: `cscf ctl fault add`, `list` and `remove` on nodes that are
//! processes, with a phone on real sockets.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use crate::running::{Running, WITHIN, cscf, output, text, wait_until};
use cscf_core::host::Clock;
use cscf_core::time::Instant;

/// Gives an order; exit code, and what was said.
fn ctl(lab: &Running, words: &[&str]) -> (Option<i32>, String) {
    let file = lab.folder.path().join("lab.yaml");
    let out = output(cscf().args(["ctl", "--lab"]).arg(file).args(words));
    (out.status.code(), text(&out.stdout) + &text(&out.stderr))
}

fn add(lab: &Running, rule: &str) -> String {
    let (code, said) = ctl(lab, &["fault", "add", rule]);
    assert_eq!(code, Some(0), "{said}");
    said
}

/// A phone that only asks its P-CSCF.
struct Phone {
    socket: UdpSocket,
    lab_domain: String,
    user: String,
    count: u32,
}

impl Phone {
    fn of(lab: &Running) -> Self {
        let socket = UdpSocket::bind((lab.ip(101), 0)).expect("binds");
        socket.connect(lab.pcscf()).expect("an address");
        let user = lab.subscriber("alice").default_impu().expect("an identity").to_owned();
        Self { socket, lab_domain: lab.lab.domain.clone(), user, count: 0 }
    }

    fn options(&mut self, transport: &str) -> String {
        self.count += 1;
        let Self { lab_domain, user, count, socket } = self;
        let local = socket.local_addr().expect("bound");
        format!(
            "OPTIONS sip:{lab_domain} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch=z9hG4bK-f{count}\r\n\
             Max-Forwards: 70\r\nFrom: <{user}>;tag=a\r\nTo: <sip:{lab_domain}>\r\n\
             Call-ID: f{count}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
    }

    /// Sends a request and gives the answer that comes within a time.
    fn asks_for(&mut self, time: Duration) -> Option<String> {
        let request = self.options("UDP");
        self.socket.send(request.as_bytes()).expect("sends");
        self.socket.set_read_timeout(Some(time)).expect("a timeout");
        let branch = format!("z9hG4bK-f{}", self.count);
        let mut buffer = [0; 4096];
        loop {
            let count = self.socket.recv(&mut buffer).ok()?;
            let answer = text(&buffer[..count]);
            // Answers to earlier requests may still come.
            if answer.contains(&branch) {
                return Some(answer);
            }
        }
    }

    fn asks(&mut self) -> String {
        self.asks_for(WITHIN).expect("an answer")
    }
}

#[test]
fn faults_of_a_running_lab_are_added_listed_and_removed() {
    let lab = Running::start_with(|lab, _| {
        let rule = "s1 drops MESSAGE from p1".parse().expect("a rule");
        lab.faults.push(rule);
        Vec::new()
    });
    let mut phone = Phone::of(&lab);
    let usual = phone.asks();
    assert!(!usual.starts_with("SIP/2.0 503"), "{usual}");

    let rule = "p1 answers OPTIONS from alice with 503 \"Not now\", first: {Retry-After: \"7\"}";
    assert_eq!(add(&lab, rule), format!("p1: p1-1: {rule}\n"));
    let refused = phone.asks();
    assert!(refused.starts_with("SIP/2.0 503 Not now\r\n"), "{refused}");
    assert!(refused.contains("Retry-After: 7\r\n"), "{refused}");
    assert!(!phone.asks().starts_with("SIP/2.0 503"), "only the first");

    let (_, listed) = ctl(&lab, &["fault", "list"]);
    let row = |id: &str| listed.lines().find(|line| line.contains(id)).expect(id).to_owned();
    let cells =
        |line: String| line.split_whitespace().take(3).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(cells(row("p1-1")), ["p1", "p1-1", "1"], "{listed}");
    assert_eq!(cells(row("s1-1")), ["s1", "s1-1", "0"], "that of the lab file: {listed}");
    let (_, why) = ctl(&lab, &["show", "refusals", "alice"]);
    assert!(why.contains("fault p1-1: OPTIONS gets 503"), "{why}");

    assert_eq!(ctl(&lab, &["fault", "remove", "p1-1"]), (Some(0), "p1: p1-1 removed\n".into()));
    let (code, said) = ctl(&lab, &["fault", "remove", "p1-1"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("there is no fault rule `p1-1` here"), "{said}");
    for (wrong, part) in [
        ("p1 drps INVITE", "did you mean `drops`?"),
        ("p1 drops INVITE from alicia", "did you mean `alice`?"),
        ("p9 drops INVITE", "did you mean"),
    ] {
        let (code, said) = ctl(&lab, &["fault", "add", wrong]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(part), "{said}");
    }
    lab.end();
}

#[test]
fn a_live_node_is_late_cut_off_and_crashes() {
    let lab = Running::start();
    let mut phone = Phone::of(&lab);
    add(&lab, "p1 delays OPTIONS from alice by 700ms, first");
    let clock = Clock::start();
    phone.asks();
    assert!(clock.now().since(Instant::EPOCH) >= Duration::from_millis(700));

    add(&lab, "p1 cuts the connection after OPTIONS, first");
    // Datagrams have no connection; this one is the first all the same.
    phone.asks();
    ctl(&lab, &["fault", "remove", "all"]);
    add(&lab, "p1 cuts the connection of alice after OPTIONS");
    let mut stream = TcpStream::connect(lab.pcscf()).expect("listens");
    stream.set_read_timeout(Some(WITHIN)).expect("a timeout");
    stream.write_all(phone.options("TCP").as_bytes()).expect("writes");
    let mut rest = Vec::new();
    if let Err(fault) = stream.read_to_end(&mut rest) {
        assert_eq!(fault.kind(), std::io::ErrorKind::ConnectionReset);
    }

    ctl(&lab, &["fault", "remove", "all"]);
    add(&lab, "p1 crashes at OPTIONS from alice, first");
    assert_eq!(phone.asks_for(Duration::from_millis(300)), None, "nobody is there");
    let (code, said) = ctl(&lab, &["show", "dialogs"]);
    assert!(said.contains("down") || code == Some(0), "{said}");
    ctl(&lab, &["fault", "remove", "all"]);
    lab.end();

    let lab = Running::start();
    let mut phone = Phone::of(&lab);
    add(&lab, "p1 crashes at OPTIONS from alice and restarts after 500ms, first");
    assert_eq!(phone.asks_for(Duration::from_millis(200)), None, "nobody is there");
    wait_until(|| phone.asks_for(Duration::from_millis(200)));
    lab.end();
}
