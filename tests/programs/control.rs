//! The control interface of running labs and nodes, asked as others ask it: by HTTP and by `cscf
//! ctl`. `docs/openapi.yaml` is the witness of what it answers.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

use crate::asking::{Answered, Reader, get, request, say, send};
use crate::described::{Document, Operation};
use crate::phone::{Card, Phone};
use crate::running::{self, Running, WITHIN, cscf, output, text};
use cscf_core::auth::Sqn;
use cscf_core::config::{Auth, ControlToken, Lab};
use cscf_core::host::control::routes::ROUTES;
use serde_json::{Value, json};

fn control(lab: &Running) -> SocketAddr {
    lab.lab.control.expect("a control address")
}

/// `cscf ctl` at a lab: exit code, standard output and standard error.
fn ctl(lab: &Running, words: &[&str]) -> (i32, String, String) {
    let file = lab.folder.path().join("lab.yaml");
    let said = output(cscf().args(["ctl", "--lab"]).arg(file).args(words));
    (said.status.code().expect("ended"), text(&said.stdout), text(&said.stderr))
}

fn done(lab: &Running, words: &[&str]) -> String {
    let (code, out, err) = ctl(lab, words);
    assert_eq!(code, 0, "{words:?}: {err}");
    out
}

fn registered(lab: &Running, name: &str, host: u8) -> Phone {
    let mut phone = Phone::new(lab, name, host, Sqn::new(0).expect("48 bits"));
    let challenge = phone.challenged();
    let Card::Accepts(line) = phone.authenticate(&challenge) else { panic!("out of step") };
    assert_eq!(phone.register(&line).status, 200);
    phone
}

/// The answer to an operation as the document has it; of a trace only its beginning.
fn asked(addr: SocketAddr, operation: &Operation, path: &str, body: Option<&Value>) -> Answered {
    let what = (operation.method.as_str(), path);
    if operation.path.ends_with("/trace") && path == operation.example_path {
        drop(Reader::open(addr, path));
        let head = "content-type: text/event-stream".to_owned();
        return Answered { status: 200, head, body: String::new() };
    }
    match body {
        Some(body) => send(addr, what, body),
        None => say(addr, &request(addr, what, &[], "")),
    }
}

fn faults(document: &Document, operation: &Operation, answer: &Answered) -> Vec<String> {
    let media_type = answer.header("content-type").unwrap_or_default();
    let found = document.faults(operation, (answer.status, media_type, &answer.body));
    let Operation { method, path, .. } = operation;
    found.into_iter().map(|fault| format!("{method} {path}: {fault}")).collect()
}

#[test]
fn every_route_is_described_and_answers_as_described() {
    let document = Document::read();
    let operations = document.operations();
    let described: BTreeSet<(String, String)> =
        operations.iter().map(|it| (it.method.clone(), it.path.clone())).collect();
    let served = ROUTES.iter().map(|it| (it.method.to_owned(), it.path.to_owned())).collect();
    assert_eq!(described, served, "docs/openapi.yaml and the routes");

    let lab = Running::start();
    let addr = control(&lab);
    let mut wrong = Vec::new();
    for operation in &operations {
        let answer = asked(addr, operation, &operation.example_path, operation.body.as_ref());
        wrong.extend(faults(&document, operation, &answer));
        if answer.status != 200 {
            wrong.push(format!("the example of {operation:?} fails: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    lab.end();
}

#[test]
fn what_is_refused_is_refused_as_described() {
    let document = Document::read();
    let lab = Running::start();
    let addr = control(&lab);
    let mut wrong = Vec::new();
    let mut check = |operation: &Operation, status: u16, answer: &Answered| {
        wrong.extend(faults(&document, operation, answer));
        if answer.status != status {
            wrong.push(format!("{status} is due at {operation:?}: {answer:?}"));
        }
    };
    for operation in document.operations() {
        let what = (operation.method.as_str(), operation.example_path.as_str());
        if operation.body.is_some() {
            let json = [("Content-Type", "application/json")];
            let long = format!("{{\"order\": \"{}\"}}", "x".repeat(20_000));
            check(&operation, 415, &say(addr, &request(addr, what, &[], "{}")));
            check(&operation, 413, &say(addr, &request(addr, what, &json, &long)));
            check(&operation, 400, &say(addr, &request(addr, what, &json, "{")));
            check(&operation, 400, &send(addr, what, &json!({})));
        }
        for name in &operation.parameters {
            if name == "fault" {
                continue;
            }
            let path = operation.path.replace(&format!("{{{name}}}"), "nobody");
            let path = path.replace("{node}", "p1").replace("{table}", "dialogs");
            check(&operation, 404, &asked(addr, &operation, &path, operation.body.as_ref()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let other = say(addr, &request(addr, ("PURGE", "/health"), &[], ""));
    assert_eq!((other.status, other.header("allow")), (405, Some("GET")));
    assert!(other.body.contains("use GET"), "{}", other.body);
    let nowhere = get(addr, "/a/b/c/d");
    assert_eq!(nowhere.status, 404);
    let stranger = "GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(say(addr, stranger).status, 403);
    let near = get(addr, "/nodes/p2/health");
    assert!(near.body.contains("did you mean `p1`?"), "{}", near.body);
    lab.end();
}

#[test]
fn hostile_requests_are_bounded_and_others_are_served_meanwhile() {
    let lab = Running::start();
    let addr = control(&lab);
    let mut slow: Vec<TcpStream> = Vec::new();
    // More than are served at once.
    for _ in 0..300 {
        let mut stream = TcpStream::connect(addr).expect("listens");
        stream.write_all(b"GET /health HT").expect("sends");
        slow.push(stream);
    }
    assert_eq!(get(addr, "/health").status, 200);
    let long = format!("GET /{} HTTP/1.1\r\nHost: {addr}\r\n\r\n", "x".repeat(100_000));
    assert!(matches!(say(addr, &long).status, 0 | 414 | 431));
    let many = "X-Many: x\r\n".repeat(10_000);
    let many = format!("GET / HTTP/1.1\r\nHost: {addr}\r\n{many}\r\n");
    assert!(matches!(say(addr, &many).status, 0 | 431));
    assert!(matches!(say(addr, "\0\u{1}\r\n\r\n").status, 0 | 400));
    assert_eq!(get(addr, "/health").status, 200);
    drop(slow);
    lab.end();
}

#[test]
fn health_tells_of_drained_nodes_and_of_peers() {
    let lab = Running::start();
    let addr = control(&lab);
    // The CSCFs connect to the HSS by themselves.
    let all = running::wait_until(|| {
        let all = get(addr, "/health").json();
        let nodes = all["nodes"].as_array().expect("nodes").clone();
        let peers = nodes.iter().flat_map(|node| node["peers"].as_array().expect("peers"));
        let up: Vec<_> = peers.filter(|peer| peer["reachable"] == true).collect();
        (up.len() == 4).then(|| all.clone())
    });
    assert_eq!(all["state"], "up");
    assert!(done(&lab, &["drain", "p1"]).contains("p1"));
    let p1 = get(addr, "/nodes/p1/health").json();
    assert_eq!((&p1["state"], &p1["draining"]), (&json!("draining"), &json!(true)));
    let table = done(&lab, &["health"]);
    assert!(table.contains("p1    p-cscf  draining"), "{table}");
    assert!(table.contains("reachable"), "{table}");
    send(addr, ("PUT", "/nodes/p1/drain"), &json!({"drain": false}));
    let json = done(&lab, &["health", "p1", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON")["state"], "up");
    let (code, _, err) = ctl(&lab, &["health", "p3"]);
    assert_eq!(code, 2);
    assert!(err.contains("there is no node `p3` here\ndid you mean `p1`?"), "{err}");
    lab.end();
}

/// What is wrong with a text in the format of `OpenMetrics`.
fn metric_faults(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut family, mut kind) = (String::new(), String::new());
    let mut seen = BTreeSet::new();
    let fits = |family: &str, kind: &str, name: &str| match (kind, name.strip_prefix(family)) {
        ("gauge", Some(rest)) => rest.is_empty(),
        ("counter", Some(rest)) => rest == "_total",
        ("histogram", Some(rest)) => matches!(rest, "_bucket" | "_count" | "_sum"),
        _ => false,
    };
    if !text.ends_with("# EOF\n") {
        wrong.push("no end".to_owned());
    }
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "EOF"] | ["#", "HELP", ..] => {}
            ["#", "TYPE", name, its] => (family, kind) = ((*name).to_owned(), (*its).to_owned()),
            _ => {
                let (series, value) = line.rsplit_once(' ').unwrap_or_default();
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let fine = value.parse::<f64>().is_ok()
                    && labels.ends_with('}')
                    && labels.contains("node=\"")
                    && fits(&family, &kind, name)
                    && seen.insert(series.to_owned());
                if !fine {
                    wrong.push(line.to_owned());
                }
            }
        }
    }
    wrong
}

/// Whether a package of Python is there; judges by it where it is.
fn judged_by_python(module: &str, script: &str, input: &str) -> Option<String> {
    let mut command = Command::new("python3");
    command.args(["-c", &format!("import {module}")]).stderr(Stdio::null());
    if !command.status().is_ok_and(|status| status.success()) {
        println!("skipped: python3 has no {module}");
        return None;
    }
    let mut child = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("reads");
    let ended = child.wait_with_output().expect("ends");
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    Some(text(&ended.stdout))
}

#[test]
fn metrics_count_what_went_by_and_prometheus_reads_them() {
    let lab = Running::start();
    let addr = control(&lab);
    let _phone = registered(&lab, "alice", 101);
    let answer = get(addr, "/metrics");
    assert!(answer.header("content-type").expect("a type").starts_with("application/openmetrics"));
    let text = answer.body;
    assert_eq!(metric_faults(&text), Vec::<String>::new());
    let responses = |node: &str, code: u16| {
        let way = "direction=\"out\",method=\"REGISTER\"";
        format!("cscf_sip_responses_total{{node=\"{node}\",{way},code=\"{code}\"}} 1")
    };
    for line in [
        "cscf_up{node=\"hss\"} 1",
        "cscf_sip_requests_total{node=\"p1\",direction=\"in\",method=\"REGISTER\"} 2",
        "cscf_sip_requests_total{node=\"p1\",direction=\"out\",method=\"REGISTER\"} 2",
        &responses("p1", 401),
        &responses("s1", 200),
        "cscf_diameter_answers_total{node=\"s1\",command=\"MAR\",code=\"2001\"} 1",
        "cscf_diameter_answers_total{node=\"hss\",command=\"SAR\",code=\"2001\"} 1",
        "cscf_held{node=\"s1\",what=\"registrations\"} 1",
        "cscf_subscriptions{node=\"hss\",state=\"registered\"} 1",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    let only = done(&lab, &["metrics", "s1"]);
    assert!(only.contains("node=\"s1\"") && !only.contains("node=\"p1\""), "{only}");
    let script = "import sys\n\
                  from prometheus_client.openmetrics.parser import text_string_to_metric_families\n\
                  for family in text_string_to_metric_families(sys.stdin.read()):\n    \
                  print(family.name, family.type)\n";
    if let Some(families) = judged_by_python("prometheus_client", script, &text) {
        assert!(families.contains("cscf_wait_seconds histogram"), "{families}");
    }
    lab.end();
}

#[test]
fn the_document_is_one_of_openapi() {
    let document = Document::read();
    assert_eq!(document.value()["openapi"], "3.1.0");
    let script = "import sys, json\n\
                  from openapi_spec_validator import validate\n\
                  validate(json.load(sys.stdin))\n";
    judged_by_python("openapi_spec_validator", script, &document.value().to_string());
    let lab = Running::start();
    let served = get(control(&lab), "/openapi.json").json();
    assert_eq!(&served, document.value());
    lab.end();
}

#[test]
fn a_reader_of_the_trace_sees_what_it_asked_for_until_the_lab_ends() {
    let lab = Running::start();
    let addr = control(&lab);
    let mut alice = Reader::open(addr, "/trace?user=alice&node=p1&method=REGISTER");
    let mut questions = Reader::open(addr, "/nodes/s1/trace?method=MAR");
    let _phone = registered(&lab, "alice", 101);
    let mut kinds = Vec::new();
    while kinds.iter().filter(|kind| *kind == "sent").count() < 4 {
        let (kind, event) = alice.next().expect("goes on");
        assert_eq!(event["node"], "p1");
        let message = event["text"].as_str().unwrap_or("CSeq: 1 REGISTER");
        assert!(message.contains("REGISTER"), "{message}");
        kinds.push(kind);
    }
    assert_eq!(kinds.iter().filter(|kind| *kind == "received").count(), 4, "{kinds:?}");
    assert!(kinds.contains(&"note".to_owned()), "{kinds:?}");
    let (_, question) = questions.next().expect("a MAR");
    assert_eq!((&question["node"], &question["protocol"]), (&json!("s1"), &json!("diameter")));
    let refused = get(addr, "/trace?user=alicia");
    assert!(refused.status == 404 && refused.body.contains("did you mean `alice`?"));
    lab.end();
    while alice.next().is_some() {}
}

#[test]
fn a_reader_that_does_not_read_slows_nobody_and_is_told_what_it_lost() {
    let lab = Running::start();
    let mut reader = Reader::open(control(&lab), "/trace");
    let socket = UdpSocket::bind((lab.ip(101), 0)).expect("binds");
    socket.connect(lab.pcscf()).expect("connects");
    socket.set_read_timeout(Some(WITHIN)).expect("a timeout");
    let from = socket.local_addr().expect("an address");
    let filling = "x".repeat(8_000);
    // More than any socket buffers hold.
    for number in 0..4_000 {
        let request = format!(
            "OPTIONS sip:{} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKslow{number}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:x@x>;tag=1\r\nTo: <sip:x@x>\r\n\
             Call-ID: slow{number}\r\nCSeq: 1 OPTIONS\r\nX-Filling: {filling}\r\n\
             Content-Length: 0\r\n\r\n",
            lab.pcscf()
        );
        socket.send(request.as_bytes()).expect("sends");
        let mut buffer = [0; 65_536];
        socket.recv(&mut buffer).expect("is answered in time");
    }
    let lost = std::iter::from_fn(|| reader.next()).find(|(kind, _)| kind == "dropped");
    let (_, lost) = lost.expect("it is told");
    assert!(lost["dropped"].as_u64().is_some_and(|count| count > 0), "{lost}");
    lab.end();
}

#[test]
fn where_there_is_a_token_nothing_goes_without() {
    let with = |token: ControlToken| {
        Running::start_with(|lab, _| {
            lab.control_token = Some(token);
            Vec::new()
        })
    };
    let lab = with(ControlToken::Text("open-sesame".to_owned()));
    let addr = control(&lab);
    let asked = |header: &str| {
        say(addr, &request(addr, ("GET", "/health"), &[("Authorization", header)], ""))
    };
    let refused = get(addr, "/health");
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").expect("how").starts_with("Bearer"));
    assert_eq!(asked("Bearer open-sesamf").status, 401);
    assert_eq!(asked("Bearer open-sesame").status, 200);
    // The lab file has it for whoever may read that.
    assert!(done(&lab, &["health"]).contains("p1"));
    let at = addr.to_string();
    let ctl = |token: Option<&str>, more: &[&str]| {
        let mut command = cscf();
        command.args(["ctl", "--control", &at]).args(more).args(["show", "dialogs"]);
        command.env_remove("CSCF_TOKEN");
        token.map(|token| command.env("CSCF_TOKEN", token));
        let said = output(&mut command);
        (said.status.code(), text(&said.stderr))
    };
    assert_eq!(ctl(Some("open-sesame"), &[]).0, Some(0));
    assert_eq!(ctl(Some("wrong"), &["--token", "open-sesame"]).0, Some(0));
    let (code, said) = ctl(None, &[]);
    assert_eq!(code, Some(2));
    assert!(said.contains("a token is needed here") && said.contains("CSCF_TOKEN"), "{said}");
    lab.end();

    let lab = with(ControlToken::Fresh);
    let line = lab.wait_for("token ");
    let token = line.split_whitespace().last().expect("a token").to_owned();
    let addr = control(&lab);
    let header = format!("Bearer {token}");
    let answer =
        say(addr, &request(addr, ("GET", "/lab"), &[("Authorization", header.as_str())], ""));
    assert_eq!((token.len(), answer.status), (48, 200));
    lab.end();
}

#[test]
fn an_address_that_others_reach_is_refused_without_a_token() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("lab.yaml");
    let yaml = Lab::default_lab().to_yaml().replace("\"127.0.0.1:9480\"", "\"0.0.0.0:9480\"");
    std::fs::write(&file, &yaml).expect("writes");
    let said = output(cscf().args(["up", "--lab"]).arg(&file));
    let told = text(&said.stderr);
    let line = yaml.lines().position(|line| line.starts_with("control:")).expect("a line") + 1;
    assert_eq!(said.status.code(), Some(2));
    assert!(told.contains(&format!("lab.yaml:{line}:10")), "{told}");
    assert!(told.contains("others than this machine reach it"), "{told}");
    assert!(told.contains("token: generate"), "{told}");
}

#[test]
fn a_subscriber_comes_changes_and_goes_while_the_lab_runs() {
    let mut lab = Running::start();
    let addr = control(&lab);
    let mut erin = lab.subscriber("alice").clone();
    let impu = format!("sip:erin@{}", lab.lab.domain);
    (erin.name, erin.impi) = ("erin".to_owned(), format!("erin@{}", lab.lab.domain));
    let Auth::Aka { k, opc, .. } = erin.auth else { panic!("no card") };
    let (k, opc) = (running::hex(&k), running::hex(&opc));
    let added = done(
        &lab,
        &["subscriber", "add", "erin", "--impi", "erin", "--impu", &impu, "--k", &k, "--opc", &opc],
    );
    assert!(added.contains("is provisioned"), "{added}");
    lab.lab.subscribers.push(erin);
    let again = send(addr, ("POST", "/subscribers"), &json!({"name": "erin"}));
    assert_eq!(again.status, 409, "{}", again.body);

    let mut phone = registered(&lab, "erin", 101);
    assert!(done(&lab, &["show", "registrations", "erin"]).contains("erin@"));
    let shown = done(&lab, &["subscriber", "show", "erin"]);
    assert!(shown.contains("\"impi\"") && !shown.to_lowercase().contains(&k), "{shown}");

    let mut pushed = Reader::open(addr, "/trace?node=hss&method=PPR");
    let ccf = json!({"charging_ccf": "aaa://ccf.ims.example"});
    let changed = send(addr, ("PATCH", "/subscribers/erin"), &ccf);
    assert!(changed.body.contains("gets a PPR"), "{}", changed.body);
    assert_eq!(pushed.next().expect("a PPR").1["protocol"], "diameter");

    let mut ended = Reader::open(addr, "/trace?node=s1&method=RTR");
    let removed = done(&lab, &["subscriber", "remove", "erin"]);
    assert!(removed.contains("is removed; its S-CSCF gets an RTR"), "{removed}");
    assert_eq!(ended.next().expect("an RTR").0, "received");
    phone.switched_on_again();
    assert_eq!(phone.register("Digest username=\"erin\", uri=\"sip:x\"").status, 403);
    let (code, _, said) = ctl(&lab, &["show", "registrations", "erin"]);
    assert_eq!(code, 2);
    assert!(said.contains("`erin` is no subscriber of the lab"), "{said}");
    // By the path of its node it is the same.
    assert_eq!(get(addr, "/subscribers/bob").status, 200);
    let order = json!({"order": "subscriber remove bob"});
    let removed = send(addr, ("POST", "/nodes/hss/orders"), &order);
    assert_eq!(removed.status, 200, "{}", removed.body);
    assert_eq!(get(addr, "/subscribers/bob").status, 404);
    lab.end();
}

#[test]
fn an_order_is_one_line() {
    let lab = Running::start();
    let addr = control(&lab);
    for order in ["show dialogs\nshow dialogs", "fault add p1 drops INVITE\r, first"] {
        let refused = send(addr, ("POST", "/orders"), &json!({"order": order}));
        assert_eq!(refused.status, 400, "{}", refused.body);
        assert!(refused.body.contains("an order is one line"), "{}", refused.body);
    }
    lab.end();
}

#[test]
fn what_a_node_logs_can_be_changed_while_it_runs() {
    let lab = Running::start();
    let addr = control(&lab);
    let filter = |answer: Answered| answer.json()["rows"][0]["filter"].clone();
    assert_eq!(filter(get(addr, "/nodes/p1/log")), "off");
    let wrong = send(addr, ("PUT", "/nodes/p1/log"), &json!({"filter": "p1=very"}));
    assert_eq!(wrong.status, 409);
    assert!(wrong.body.contains("is no filter"), "{}", wrong.body);
    assert!(done(&lab, &["log", "p1", "warn"]).contains("warn"));
    assert_eq!(filter(get(addr, "/nodes/p1/log")), "warn");
    assert_eq!(filter(get(addr, "/nodes/s1/log")), "off");
    assert_eq!(filter(send(addr, ("PUT", "/nodes/p1/log"), &json!({"filter": "off"}))), "off");
    lab.end();
}

/// A node program that was started by itself; killed when the test is over.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a node and waits until it is ready; gives its lines up to then.
fn started(role: &str, lab: &std::path::Path, more: &[&str]) -> (Node, Vec<String>) {
    let child = cscf()
        .arg0(role)
        .arg("--lab")
        .arg(lab)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut node = Node(child);
    let stdout = node.0.stdout.take().expect("piped");
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let mut seen = Vec::new();
    loop {
        let line = lines.recv_timeout(WITHIN).unwrap_or_else(|_| panic!("not ready: {seen:?}"));
        let ready = line.starts_with("ready ");
        seen.push(line);
        if ready {
            return (node, seen);
        }
    }
}

#[test]
fn nodes_that_run_by_themselves_are_controlled_side_by_side() {
    // Only its network is needed; its own control port is held by the claim of the test.
    let lab = Running::start();
    let [.., port] = [9480_u16, 19_480];
    let mut own = lab.lab.clone();
    for node in &mut own.nodes {
        node.listen
            .set_ip(lab.ip(20 + u8::try_from(node.listen.port() % 100).expect("small")).into());
        node.advertise.0 = node.listen.ip().to_string();
    }
    own.control = Some(SocketAddr::new(lab.ip(20).into(), port));
    let file = lab.folder.path().join("own.yaml");
    std::fs::write(&file, own.to_yaml()).expect("writes");
    let taken = TcpListener::bind((lab.ip(20), port + 2)).expect("free");

    let (_hss, said) = started("hss", &file, &[]);
    assert_eq!(said[0], format!("control {}:{}", lab.ip(20), port + 4));
    let (_pcscf, _) = started("p-cscf", &file, &[]);
    let p1 = SocketAddr::new(lab.ip(20).into(), port + 1);
    let health = get(p1, "/health").json();
    assert_eq!(health["nodes"].as_array().map(Vec::len), Some(1));
    assert_eq!(health["nodes"][0]["node"], "p1");
    assert_eq!(get(p1, "/nodes/hss/health").status, 404);
    assert_eq!(get(p1, "/registrations").json()["rows"], json!([]));
    assert!(get(p1, "/metrics").body.contains("cscf_up{node=\"p1\"} 1"));
    drop(Reader::open(p1, "/trace"));
    let hss = SocketAddr::new(lab.ip(20).into(), port + 4);
    assert_eq!(send(hss, ("DELETE", "/subscribers/dave"), &json!({})).status, 200);

    // Where the port is taken it does without, and says so.
    let (mut icscf, said) = started("i-cscf", &file, &[]);
    assert!(said[0].starts_with("ready "), "{said:?}");
    icscf.0.kill().expect("killed");
    let mut warned = String::new();
    icscf.0.stderr.take().expect("piped").read_to_string(&mut warned).expect("text");
    assert!(warned.contains("warning: the control address"), "{warned}");
    drop(taken);
    let (_scscf, said) = started("s-cscf", &file, &["--no-control"]);
    assert!(said[0].starts_with("ready "), "{said:?}");
    drop((_hss, _pcscf, _scscf));
    lab.end();
}
