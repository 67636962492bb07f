//! HTTP by hand, as a stranger speaks it: one request a connection, and a reader of events.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail")]
#![allow(dead_code, reason = "each test uses its part")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::running::WITHIN;

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    /// The header lines, names in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|fault| panic!("{fault}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value)
    }
}

/// A request as it goes over the wire.
pub(crate) fn request(
    addr: SocketAddr,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &str,
) -> String {
    let mut out = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\n");
    for (name, value) in headers {
        out += &format!("{name}: {value}\r\n");
    }
    out + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

fn connected(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("listens");
    stream.set_read_timeout(Some(WITHIN)).expect("a timeout");
    stream
}

/// Sends bytes and reads until the other side ends.
pub(crate) fn say(addr: SocketAddr, bytes: &str) -> Answered {
    let mut stream = connected(addr);
    // Who refuses a long request at its head does not read the rest.
    let _ = stream.write_all(bytes.as_bytes());
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(fault) => assert_eq!(fault.kind(), std::io::ErrorKind::ConnectionReset, "{fault}"),
    }
    let text = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text.as_str(), ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    Answered { status, head: head.to_owned(), body: body.to_owned() }
}

/// Asks for something without a body.
pub(crate) fn get(addr: SocketAddr, path: &str) -> Answered {
    say(addr, &request(addr, ("GET", path), &[], ""))
}

/// Sends JSON.
pub(crate) fn send(addr: SocketAddr, what: (&str, &str), body: &Value) -> Answered {
    let headers = [("Content-Type", "application/json")];
    say(addr, &request(addr, what, &headers, &body.to_string()))
}

/// A reader of the trace.
pub(crate) struct Reader(BufReader<TcpStream>);

impl Reader {
    /// Starts to read, and returns when it misses nothing any more.
    pub(crate) fn open(addr: SocketAddr, path: &str) -> Self {
        let mut stream = connected(addr);
        stream.write_all(request(addr, ("GET", path), &[], "").as_bytes()).expect("sends");
        let mut reader = Self(BufReader::new(stream));
        let head = reader.until_blank();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("text/event-stream"), "{head}");
        loop {
            let line = reader.line().expect("goes on");
            if line.starts_with(": the trace from now on") {
                return reader;
            }
        }
    }

    /// The next event: its kind and its data; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<(String, Value)> {
        let mut kind = String::new();
        loop {
            let line = self.line()?;
            assert!(!line.starts_with(": nothing happens"), "nothing more comes");
            if let Some(word) = line.strip_prefix("event: ") {
                kind = word.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((kind, serde_json::from_str(data).expect("JSON")));
            }
        }
    }

    fn until_blank(&mut self) -> String {
        let mut out = String::new();
        while let Some(line) = self.line().filter(|line| !line.is_empty()) {
            out += &(line + "\n");
        }
        out
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(fault) if fault.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(fault) => panic!("{fault}"),
        }
    }
}
