//! TLS and WebSocket judged by others: OpenSSL looks at the listener, baresip registers and calls
//! over TLS, `JsSIP` registers over WebSocket.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cscf_core::config::{Lab, NodeRole, TlsVersion};
use cscf_core::transport::Transport;
use scenarios::certificates;

use crate::running::{Program, Running, WITHIN, installed, md5_only, secret, text};

const ALL: [Transport; 3] = [Transport::Tls, Transport::Ws, Transport::Wss];

/// A lab with certificates in the folder `tls` beside it.
fn start(change: impl FnOnce(&mut Lab)) -> Running {
    Running::start_with(|lab, folder| {
        md5_only(lab);
        for node in lab.nodes.iter_mut().filter(|node| node.role == NodeRole::Pcscf) {
            ALL.into_iter().for_each(|transport| node.listen_for(transport));
        }
        lab.tls = certificates::make(lab, &folder.join("tls")).expect("certificates");
        change(lab);
        Vec::new()
    })
}

fn at(lab: &Running, transport: Transport) -> SocketAddr {
    let pcscf = lab.lab.node(NodeRole::Pcscf).expect("a P-CSCF");
    pcscf.secured.of(transport).expect("listens")
}

fn file(lab: &Running, name: &str) -> PathBuf {
    lab.folder.path().join("tls").join(name)
}

/// What OpenSSL says when it connects, sends this, and waits for the answer.
fn openssl(lab: &Running, ca: &Path, more: &[&str], request: &str) -> String {
    let to = at(lab, Transport::Tls);
    let ip = to.ip().to_string();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &to.to_string(), "-verify_ip", &ip]);
    command.args(["-verify_return_error", "-CAfile"]).arg(ca).args(more);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    // Who is refused reads nothing.
    let _ = stdin.write_all(request.as_bytes());
    let (sender, ended) = std::sync::mpsc::channel();
    let id = child.id();
    std::thread::spawn(move || {
        let mut said = String::new();
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        while !said.contains("SIP/2.0 ") && lines.read_line(&mut said).is_ok_and(|it| it > 0) {}
        // The end of its input is the end of the connection.
        drop(stdin);
        let _ = lines.read_to_string(&mut said);
        let output = child.wait_with_output().expect("ends");
        let _ = sender.send(said + &text(&output.stderr));
    });
    ended.recv_timeout(WITHIN).unwrap_or_else(|fault| {
        let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        panic!("openssl does not end: {fault}");
    })
}

/// A request that is answered.
fn options(to: SocketAddr) -> String {
    format!(
        "OPTIONS sip:{to};transport=tls SIP/2.0\r\n\
         Via: SIP/2.0/TLS 192.0.2.1:5061;branch=z9hG4bKopenssl\r\n\
         Max-Forwards: 70\r\nFrom: <sip:o@h>;tag=1\r\nTo: <sip:{to}>\r\nCall-ID: openssl\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

#[test]
fn openssl_finds_versions_certificate_and_answers_as_they_should_be() {
    if !installed("openssl") {
        return;
    }
    let lab = start(|_| {});
    let (ca, request) = (file(&lab, "ca.pem"), options(at(&lab, Transport::Tls)));

    for (version, name) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let said = openssl(&lab, &ca, &[version], &request);
        assert!(said.contains("Verification: OK"), "{said}");
        assert!(said.contains(name), "{said}");
        assert!(said.contains("SIP/2.0 200 OK"), "{said}");
    }
    let said = openssl(&lab, &ca, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "");
    assert!(said.contains("SSL alert number") && said.contains("Cipher is (NONE)"), "{said}");

    let other = lab.folder.path().join("other");
    certificates::make(&lab.lab, &other).expect("certificates");
    let said = openssl(&lab, &other.join("ca.pem"), &[], "");
    assert!(said.contains("verify error") || said.contains("certificate verify failed"), "{said}");
    lab.end();
}

/// Asks the P-CSCF by STUN where it is seen, and reads the answer by itself (RFC 8489 §5, §14.2).
const BINDING: &str = r"
import os, socket, struct, sys
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
own.bind((sys.argv[1], 0))
own.settimeout(10)
number = os.urandom(12)
own.sendto(struct.pack('!HHI', 1, 0, 0x2112A442) + number, (sys.argv[1], int(sys.argv[2])))
answer, _ = own.recvfrom(2048)
kind, length, cookie = struct.unpack_from('!HHI', answer)
assert (kind, cookie, answer[8:20]) == (0x0101, 0x2112A442, number), answer
assert length == len(answer) - 20, answer
what, size, _, family, port, host = struct.unpack_from('!HHBBHI', answer, 20)
assert (what, size, family) == (0x0020, 8, 1), answer
seen = (socket.inet_ntoa(struct.pack('!I', host ^ 0x2112A442)), port ^ 0x2112)
assert seen == own.getsockname(), (seen, own.getsockname())
print('seen as it is')
";

#[test]
fn pings_of_openssl_and_binding_requests_of_python_are_answered() {
    if !installed("openssl") || !installed("python3") {
        return;
    }
    let lab = start(|_| {});
    let (ca, request) = (file(&lab, "ca.pem"), options(at(&lab, Transport::Tls)));
    let said = openssl(&lab, &ca, &["-quiet", "-no_ign_eof"], &format!("\r\n\r\n{request}"));
    assert!(said.starts_with("\r\nSIP/2.0 200 OK"), "one CRLF, then the answer: {said}");
    let pcscf = lab.lab.node(NodeRole::Pcscf).expect("a P-CSCF").listen;
    let (ip, port) = (pcscf.ip().to_string(), pcscf.port().to_string());
    let asked = Command::new("python3").args(["-c", BINDING, &ip, &port]).output();
    let asked = asked.expect("runs");
    let said = text(&asked.stdout) + &text(&asked.stderr);
    assert!(said.contains("seen as it is"), "{said}");
    lab.end();
}

#[test]
fn openssl_has_to_show_a_certificate_where_one_is_asked_for() {
    if !installed("openssl") {
        return;
    }
    let lab = start(|lab| {
        lab.tls.client_ca.clone_from(&lab.tls.ca);
        lab.tls.min_version = TlsVersion::V1_3;
    });
    let (ca, request) = (file(&lab, "ca.pem"), options(at(&lab, Transport::Tls)));

    let said = openssl(&lab, &ca, &[], &request);
    assert!(said.contains("alert certificate required"), "{said}");
    assert!(!said.contains("SIP/2.0"), "{said}");
    let said = openssl(&lab, &ca, &["-tls1_2"], "");
    assert!(said.contains("alert protocol version"), "{said}");

    let (cert, key) = (file(&lab, "client.pem"), file(&lab, "client.key"));
    let own = ["-cert", cert.to_str().expect("text"), "-key", key.to_str().expect("text")];
    let said = openssl(&lab, &ca, &own, &request);
    assert!(said.contains("SIP/2.0 200 OK"), "{said}");
    lab.end();
}

/// Where `JsSIP` and ws are installed: `npm install --prefix target/interop jssip ws`.
fn jssip() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop/node_modules");
    if !installed("node") {
        return None;
    }
    let found = root.join("jssip").is_dir() && root.join("ws").is_dir();
    if !found {
        let required = std::env::var_os("CSCF_REQUIRE_TOOLS").is_some();
        assert!(!required, "JsSIP is not installed, and CSCF_REQUIRE_TOOLS is set");
        println!("skipped: JsSIP is not installed (npm install --prefix target/interop jssip ws)");
    }
    found.then_some(root)
}

#[test]
fn jssip_registers_over_web_socket_and_gets_messages() {
    let Some(modules) = jssip() else { return };
    let lab = start(|_| {});
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("jssip/call.js");

    let client = |transport: Transport, name: &str, to: Option<&str>| {
        let url = format!("{}://{}", transport.param_name(), at(&lab, transport));
        let subscriber = lab.subscriber(name);
        let mut command = Command::new("node");
        command.env("NODE_PATH", &modules).env("NODE_EXTRA_CA_CERTS", file(&lab, "ca.pem"));
        command.arg(&script).args([&url, &lab.lab.domain]);
        command.args([name, &subscriber.impi, &secret(subscriber)]).args(to);
        Program::start(&mut command)
    };
    let check = |program: Program, lines: &[&str]| {
        let output = program.end();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{said}");
        assert_eq!(said.lines().collect::<Vec<_>>(), lines);
    };
    let dave = client(Transport::Wss, "dave", None);
    lab.wait_for("dave registered from ");
    let carol = client(Transport::Ws, "carol", Some("dave"));
    check(carol, &["registered", "delivered", "unregistered"]);
    check(dave, &["registered", "message to you", "unregistered"]);
    lab.end();
}
