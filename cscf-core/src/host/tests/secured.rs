//! TLS and WebSocket on the host: with peers as they should be, and with others, in numbers.

use std::net::IpAddr;
use std::path::Path;

use futures_util::{SinkExt as _, StreamExt as _};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio::net::{TcpListener, TcpSocket};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::*;
use crate::config::{TlsConfig, TlsVersion};

/// A CA and what it has signed, in files.
struct Ca {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = tempfile::tempdir().expect("a folder");
        // CAs of one name would be told apart by their signatures only.
        let name = folder.path().to_string_lossy().into_owned();
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).expect("a CA").pem();
        std::fs::write(folder.path().join("ca.pem"), pem).expect("writes");
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Signs a certificate for these names, as two files.
    fn sign(&self, file: &str, names: &[&str], change: impl FnOnce(&mut CertificateParams)) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let pem = params.signed_by(&key, &self.issuer).expect("signs").pem();
        std::fs::write(self.path(&format!("{file}.pem")), pem).expect("writes");
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).expect("writes");
    }

    /// What a server has that listens with the certificate in these files.
    fn server(&self, file: &str) -> TlsConfig {
        TlsConfig {
            certificate: Some(self.path(&format!("{file}.pem"))),
            key: Some(self.path(&format!("{file}.key"))),
            ..TlsConfig::default()
        }
    }

    /// What a client has that trusts this CA.
    fn client(&self) -> TlsConfig {
        TlsConfig { ca: Some(self.path("ca.pem")), ..TlsConfig::default() }
    }
}

fn with(host: Host, config: &TlsConfig) -> Host {
    host.with_tls(Some(Tls::read(config).expect("certificates")))
}

/// Starts a node that listens for this; gives its address.
fn listen(host: &Host, ip: &str, transport: Transport) -> (Handle<Echo>, SocketAddr) {
    let any = format!("{ip}:0").parse().expect("address");
    let addresses = Addresses { secured: vec![(transport, any)], ..Addresses::both(any) };
    let sockets = host.open("echo", &addresses).expect("binds");
    let addr = sockets.secured(transport).expect("listens");
    (host.start(Echo::default(), sockets), addr)
}

/// Starts a node that connects there, and writes when it is up.
fn connect(host: &Host, ip: &str, transport: Transport, to: SocketAddr) -> Handle<Echo> {
    let (client, local) = start(host, ip);
    client.call(move |node, _| {
        node.quiet = true;
        let conn = ConnId::opened(1);
        node.outputs.push_back(Output::Connect { conn, transport, local, remote: to, sa: None });
    });
    client
}

fn write(client: &Handle<Echo>, bytes: &'static [u8]) {
    client.call(move |node, _| {
        let conn = ConnId::opened(1);
        node.outputs.push_back(Output::Write { conn, bytes: Bytes::from_static(bytes) });
    });
}

#[test]
fn bytes_and_messages_reach_the_node_and_its_answers_leave() {
    block_on(async {
        let ca = Ca::new();
        ca.sign("server", &["127.92.20.1"], |_| {});
        let both = TlsConfig { ca: Some(ca.path("ca.pem")), ..ca.server("server") };
        let host = with(host(), &both);
        host.run_until(async {
            for (transport, ip) in [
                (Transport::Tls, "127.92.20.11"),
                (Transport::Ws, "127.92.20.12"),
                (Transport::Wss, "127.92.20.13"),
            ] {
                let (server, to) = listen(&host, "127.92.20.1", transport);
                let client = connect(&host, ip, transport, to);
                wait_for(&client, "opened").await;
                write(&client, b"over it");
                wait_for(&client, "bytes over it").await;
                let seen = wait_for(&server, "bytes over it").await;
                assert!(seen[0].starts_with("opened 127.92.20."), "{seen:?}");

                client.call(|node, _| node.outputs.push_back(Output::Close(ConnId::opened(1))));
                wait_for(&server, "closed: closed by the peer").await;
            }
        })
        .await;
    });
}

/// What becomes of a client with `ours` at a server with `theirs`.
async fn refusal(theirs: &TlsConfig, ours: &TlsConfig, ip: &str) -> (String, String) {
    let (servers, clients) = (with(host(), theirs), with(host(), ours));
    servers
        .run_until(clients.run_until(async {
            let (server, to) = listen(&servers, ip, Transport::Tls);
            let client = connect(&clients, ip, Transport::Tls, to);
            let at_client = wait_for(&client, "closed: ").await.pop().expect("said");
            let at_server = wait_for(&server, "dropped: ").await.pop().expect("said");
            (at_client, at_server)
        }))
        .await
}

#[test]
fn certificates_that_are_of_no_use_are_refused_with_the_reason() {
    block_on(async {
        let (ca, other) = (Ca::new(), Ca::new());
        ca.sign("right", &["127.92.21.1"], |_| {});
        ca.sign("expired", &["127.92.21.1"], |it| {
            (it.not_before, it.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        });
        ca.sign("of-other", &["127.92.21.2", "other.example"], |_| {});
        let sip = |domain: &str| {
            let uri = format!("sip:{domain}").try_into().expect("a URI");
            rcgen::SanType::URI(uri)
        };
        // A sip URI says alone for whom it is (RFC 5922 §7.1).
        ca.sign("of-domain", &["127.92.21.1"], |it| {
            it.subject_alt_names.push(sip("other.example"));
        });

        let check = async |server: &str, client: &TlsConfig, ours: &str, theirs: &str| {
            let (at_client, at_server) = refusal(&ca.server(server), client, "127.92.21.1").await;
            assert!(at_client.contains(ours), "{server}: {at_client}");
            assert!(at_server.contains(theirs), "{server}: {at_server}");
        };
        let bad = "the peer does not take our certificate";
        check("expired", &ca.client(), "has expired", "our certificate has expired").await;
        check("of-other", &ca.client(), "is for somebody else", bad).await;
        check("of-domain", &ca.client(), "is for somebody else", bad).await;
        let untrusted = "the peer does not trust the CA of our certificate";
        check("right", &other.client(), "signed by no CA that is trusted here", untrusted).await;
    });
}

#[test]
fn a_client_shows_a_certificate_where_one_is_asked_for() {
    block_on(async {
        let (ca, other) = (Ca::new(), Ca::new());
        ca.sign("server", &["127.92.22.1"], |_| {});
        ca.sign("client", &["alice.example"], |_| {});
        other.sign("client", &["mallory.example"], |_| {});
        let server = TlsConfig { client_ca: Some(ca.path("ca.pem")), ..ca.server("server") };
        let with_client = |signed: &Ca| TlsConfig {
            client_certificate: Some(signed.path("client.pem")),
            client_key: Some(signed.path("client.key")),
            ..ca.client()
        };

        let (servers, clients) = (with(host(), &server), with(host(), &with_client(&ca)));
        servers
            .run_until(clients.run_until(async {
                let (_server, to) = listen(&servers, "127.92.22.1", Transport::Tls);
                let client = connect(&clients, "127.92.22.1", Transport::Tls, to);
                wait_for(&client, "opened").await;
                write(&client, b"mine");
                wait_for(&client, "bytes mine").await;
            }))
            .await;
        // With TLS 1.3 a client only hears of it after its own handshake.
        let server = TlsConfig { min_version: TlsVersion::V1_3, ..server };
        for (ours, reason) in [
            (ca.client(), "shows no certificate, and client_ca asks for one"),
            (with_client(&other), "signed by no CA that is trusted here"),
        ] {
            let (at_client, at_server) = refusal(&server, &ours, "127.92.22.1").await;
            assert!(at_server.contains(reason), "{at_server}");
            assert!(at_client.starts_with("closed: "), "{at_client}");
        }
    });
}

#[test]
fn what_is_no_handshake_is_refused_at_once() {
    block_on(async {
        let ca = Ca::new();
        ca.sign("server", &["127.92.23.1"], |_| {});
        let host = with(host(), &ca.server("server"));
        host.run_until(async {
            let (server, to) = listen(&host, "127.92.23.1", Transport::Tls);
            for (bytes, reason) in [
                (&b"OPTIONS sip:a SIP/2.0\r\n\r\n"[..], "dropped: TLS: plain text"),
                (b"\x80\x2e\x01\x00\x02", "dropped: TLS: what came is no handshake"),
                (b"\x16\x03\x01\xff\xffgarbage that is no hello", "dropped: TLS: "),
                (b"", "dropped: TLS: closed before the handshake"),
            ] {
                server.call(|node, _| node.happened.clear());
                let mut stream = TcpStream::connect(to).await.expect("connects");
                stream.write_all(bytes).await.expect("writes");
                stream.shutdown().await.expect("ends");
                wait_for(&server, reason).await;
                // Some get an alert; all get the end.
                let ended = timeout(WITHIN, stream.read_to_end(&mut Vec::new())).await;
                let _ = ended.expect("is closed");
            }
        })
        .await;
    });
}

#[test]
fn a_thousand_half_open_connections_are_bounded_and_disturb_nobody() {
    block_on(async {
        const OF_EACH: usize = 250;
        prepare_process(0);
        let ca = Ca::new();
        ca.sign("server", &["127.92.24.1"], |_| {});
        let limits = Limits {
            handshakes_per_peer_max: 200,
            handshake_for: Duration::from_secs(3),
            ..Limits::default()
        };
        let host = with(host(), &TlsConfig { ca: Some(ca.path("ca.pem")), ..ca.server("server") });
        let host = host.with_limits(limits);
        host.run_until(async {
            let (server, to) = listen(&host, "127.92.24.1", Transport::Tls);
            let mut open = Vec::new();
            for peer in 1..=4 {
                let ip: IpAddr = format!("127.92.25.{peer}").parse().expect("address");
                for _ in 0..OF_EACH {
                    let socket = TcpSocket::new_v4().expect("a socket");
                    socket.bind(SocketAddr::new(ip, 0)).expect("binds");
                    // Those that are too many may hear of it at once.
                    open.extend(socket.connect(to).await.ok());
                }
            }
            // Somebody else comes through meanwhile.
            let client = connect(&host, "127.92.24.2", Transport::Tls, to);
            wait_for(&client, "opened").await;
            write(&client, b"still there");
            wait_for(&client, "bytes still there").await;

            let seen = wait_until(&server, |seen| {
                let too_many = "dropped: too many handshakes at a time";
                let late = "dropped: TLS: the handshake was not through within 3 s";
                let count = |said: &str| seen.iter().filter(|it| *it == said).count();
                (count(too_many), count(late)) == (4 * 50, 4 * 200)
            })
            .await;
            assert_eq!(seen.iter().filter(|it| it.starts_with("opened")).count(), 1);

            // They are over: whoever was one of them comes through.
            let late = connect(&host, "127.92.25.1", Transport::Tls, to);
            wait_for(&late, "opened").await;
        })
        .await;
    });
}

#[test]
fn what_never_comes_whole_is_ended() {
    block_on(async {
        let ca = Ca::new();
        ca.sign("server", &["127.92.28.1"], |_| {});
        let both = TlsConfig { ca: Some(ca.path("ca.pem")), ..ca.server("server") };
        let limits = Limits { whole_within: Duration::from_millis(300), ..Limits::default() };
        let host = with(host(), &both).with_limits(limits);
        let half = [0x81, 0xfe, 0x10, 0x00, 0, 0, 0, 0, b'h', b'a', b'l', b'f'];
        host.run_until(async {
            // A whole message first, and half of one behind it in the same segment.
            let (server, to) = listen(&host, "127.92.28.1", Transport::Ws);
            let mut stream = TcpStream::connect(to).await.expect("connects");
            let mut request = format!("ws://{to}/").into_client_request().expect("a request");
            let sip = HeaderValue::from_static("sip");
            request.headers_mut().insert("Sec-WebSocket-Protocol", sip);
            let (mut socket, _) = client_async(request, &mut stream).await.expect("opens");
            socket.send(Message::text("whole")).await.expect("sends");
            wait_for(&server, "bytes whole").await;
            drop(socket);
            let message = [&[0x81, 0x81, 0, 0, 0, 0, b'x'][..], &half].concat();
            stream.write_all(&message).await.expect("writes");
            wait_for(&server, "closed: a message of the WebSocket was not whole within").await;

            // The same of a record: TLS comes through a relay, which then stops within one.
            let (server, to) = listen(&host, "127.92.28.1", Transport::Tls);
            let relay = TcpListener::bind("127.92.28.1:0").await.expect("binds");
            let client =
                connect(&host, "127.92.28.3", Transport::Tls, relay.local_addr().expect("a"));
            let (mut near, _) = relay.accept().await.expect("accepts");
            let mut far = TcpStream::connect(to).await.expect("connects");
            let relayed = async {
                tokio::io::copy_bidirectional(&mut near, &mut far).await.expect("carries");
            };
            tokio::select! {
                () = relayed => panic!("ends"),
                _ = wait_for(&server, "opened") => {}
            }
            far.write_all(&[23, 3, 3, 0x20, 0, 1, 2, 3]).await.expect("writes");
            wait_for(&server, "closed: a record of TLS was not whole within").await;
            drop(client);

            // Who sends nothing at all waits as long as it likes.
            let (server, to) = listen(&host, "127.92.28.1", Transport::Tls);
            let client = connect(&host, "127.92.28.4", Transport::Tls, to);
            wait_for(&client, "opened").await;
            write(&client, b"still there");
            let seen = wait_for(&server, "bytes still there").await;
            assert!(!seen.iter().any(|it| it.starts_with("closed")), "{seen:?}");
        })
        .await;
    });
}

async fn wait_until(handle: &Handle<Echo>, done: impl Fn(&[String]) -> bool) -> Vec<String> {
    let seen = async {
        loop {
            let happened = handle.ask(|node, _| node.happened.clone()).await.expect("runs");
            if done(&happened) {
                return happened;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(WITHIN, seen).await.expect("never happened")
}

#[test]
fn a_web_socket_is_for_sip_and_its_messages_are_bounded() {
    block_on(async {
        let host = host();
        host.run_until(async {
            let (server, to) = listen(&host, "127.92.26.1", Transport::Ws);
            let open = async |protocol: Option<&'static str>| {
                let stream = TcpStream::connect(to).await.expect("connects");
                let mut request = format!("ws://{to}/").into_client_request().expect("a request");
                if let Some(protocol) = protocol {
                    let value = HeaderValue::from_static(protocol);
                    request.headers_mut().insert("Sec-WebSocket-Protocol", value);
                }
                client_async(request, stream).await.map(|(socket, _)| socket)
            };
            for protocol in [None, Some("chat"), Some("xsip, sipx")] {
                let refused = open(protocol).await.expect_err("refused");
                assert!(matches!(refused, WsError::Http(it) if it.status() == 400));
            }
            wait_for(&server, "does not offer the subprotocol sip").await;

            // Text and bytes come back; a ping is answered.
            let mut socket = open(Some("chat, sip")).await.expect("opens");
            socket.send(Message::Ping(Bytes::from_static(b"1"))).await.expect("sends");
            let pong = timeout(WITHIN, socket.next()).await.expect("in time");
            assert!(matches!(pong, Some(Ok(Message::Pong(it))) if it == "1"));
            for message in [Message::text("text"), Message::binary(&b"\xffbytes"[..])] {
                socket.send(message.clone()).await.expect("sends");
                let back = timeout(WITHIN, socket.next()).await.expect("in time");
                assert_eq!(back.expect("some").expect("reads"), message);
            }
            // More than a message may have ends it.
            let large = Message::binary(vec![b'x'; 70_000]);
            let _ = socket.send(large).await;
            wait_for(&server, "closed: WebSocket: ").await;

            // What is no HTTP, and no upgrade.
            for text in ["OPTIONS sip:a SIP/2.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
                server.call(|node, _| node.happened.clear());
                let mut stream = TcpStream::connect(to).await.expect("connects");
                stream.write_all(text.as_bytes()).await.expect("writes");
                wait_for(&server, "dropped: WebSocket: ").await;
            }
        })
        .await;
    });
}

#[test]
fn a_node_that_ends_writes_what_waits() {
    block_on(async {
        let ca = Ca::new();
        ca.sign("server", &["127.92.27.1"], |_| {});
        let server = TlsConfig { ca: Some(ca.path("ca.pem")), ..ca.server("server") };
        let (servers, clients) = (with(host(), &server), with(host(), &ca.client()));
        servers
            .run_until(clients.run_until(async {
                let (server, to) = listen(&servers, "127.92.27.1", Transport::Tls);
                let client = connect(&clients, "127.92.27.1", Transport::Tls, to);
                wait_for(&server, "opened").await;
                wait_for(&client, "opened").await;
                server.call(|node, _| {
                    let bytes = Bytes::from_static(b"farewell");
                    let conn = ConnId::accepted(1);
                    node.outputs.push_back(Output::Write { conn, bytes });
                });
                server.stop();
                wait_for(&client, "bytes farewell").await;
                wait_for(&client, "closed: closed by the peer").await;
            }))
            .await;
    });
}

#[test]
fn files_that_are_of_no_use_are_named() {
    let ca = Ca::new();
    ca.sign("server", &["a.example"], |_| {});
    let mut wrong = ca.server("server");
    wrong.key = Some(Path::new("/nowhere/server.key").to_owned());
    let said = Tls::read(&wrong).expect_err("no file").to_string();
    assert!(said == "tls: /nowhere/server.key: there is no such file", "{said}");
}
