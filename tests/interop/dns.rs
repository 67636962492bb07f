//! A DNS server of others (dnsmasq) knows numbers and names that the lab does not: ENUM, and the
//! services, servers and addresses of a next hop. Skipped where dnsmasq is not installed.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;

use crate::running::{Program, WITHIN, cscf, installed, output, text, wait_until};
use cscf_core::config::{Lab, read_lab};

/// Calls to a number that ENUM gives to bob, and to one that goes to a network far away.
const SCENARIO: &str = "\
scenario: A DNS server is asked
steps:
  - bob registers
  - bob is registered
  - alice registers
  - alice is registered
  - alice calls tel:+15559990002
  - bob is call incoming
  - alice is call ringing
  - alice cancels
  - alice is call failed 487
  - alice calls tel:+15558880003
  - s1 decides RFC 3263 4:
      text: '/^pstn\\.b\\.example is UDP .*NAPTR .*: 1, SRV .*: 1, A .*: 1/'
  - alice is call failed 604
";

/// Starts it with these records, at an address of its own.
fn dnsmasq(records: &[String]) -> (Program, SocketAddr) {
    const PORT: u16 = 5300;
    let [.., x, y] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 254, x, y);
    let mut command = Command::new("dnsmasq");
    command
        .args(["--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--no-resolv", "--no-hosts"])
        .args(["--bind-interfaces", "--local=/#/"])
        .arg(format!("--listen-address={address}"))
        .arg(format!("--port={PORT}"))
        .args(records);
    let program = Program::start(&mut command);
    let address = SocketAddr::from((address, PORT));
    wait_until(|| TcpStream::connect(address).ok());
    (program, address)
}

/// Takes the first INVITE that comes and refuses it as nobody's.
fn gateway(socket: UdpSocket) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut buffer = [0; 65_535];
        socket.set_read_timeout(Some(WITHIN)).expect("a timeout");
        let (count, from) = socket.recv_from(&mut buffer).expect("an INVITE");
        let invite = text(&buffer[..count]);
        let kept = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let kept = invite.lines().filter(|line| kept.iter().any(|name| line.starts_with(name)));
        let lines: Vec<String> = kept
            .map(
                |line| if line.starts_with("To:") { format!("{line};tag=gw") } else { line.into() },
            )
            .collect();
        let answer = format!(
            "SIP/2.0 604 Does Not Exist Anywhere\r\n{}\r\nContent-Length: 0\r\n\r\n",
            lines.join("\r\n")
        );
        socket.send_to(answer.as_bytes(), from).expect("sends");
        invite
    })
}

#[test]
fn numbers_and_names_are_asked_of_it() {
    if !installed("dnsmasq") {
        return;
    }
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let far = socket.local_addr().expect("bound").port();
    let domain = Lab::default_lab().domain;
    let (_server, address) = dnsmasq(&[
        format!(
            "--naptr-record=2.0.0.0.9.9.9.5.5.5.1.e164.arpa,10,10,u,E2U+sip,!^.*$!sip:bob@{domain}!"
        ),
        "--naptr-record=pstn.b.example,10,10,s,SIP+D2U,,_sip._udp.b.example".to_owned(),
        format!("--srv-host=_sip._udp.b.example,gw.b.example,{far},1,0"),
        "--host-record=gw.b.example,127.0.0.1".to_owned(),
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let numbering =
        "numbering: {enum: on, home: [\"+1555010\"], break_out: \"sip:pstn.b.example\"}";
    let lab = Lab::default_lab().to_yaml();
    let lab = format!("{lab}\n{numbering}\ndns_servers: [\"{address}\"]\n");
    let read = read_lab(&lab).expect("a lab");
    assert_eq!(read_lab(&read.to_yaml()).as_ref(), Ok(&read), "it is written as it is read");
    std::fs::write(at("lab.yaml"), lab).expect("writes");
    std::fs::write(at("scenario.yaml"), SCENARIO).expect("writes");
    let gateway = gateway(socket);
    let mut run = cscf();
    run.arg("run").arg(at("scenario.yaml")).arg("--lab").arg(at("lab.yaml"));
    let run = output(run.arg("--out").arg(at("out")));
    assert!(run.status.success(), "{}{}", text(&run.stdout), text(&run.stderr));
    let invite = gateway.join().expect("heard");
    assert!(invite.starts_with("INVITE sip:+15558880003@"), "{invite}");
}
