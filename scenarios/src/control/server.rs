//! The serving side: one request a connection, bounded in size and time, and nothing for a web page
//! that a browser on this machine happens to show.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use cscf_core::config::Lab;
use cscf_core::operator::{Order, Show, USAGE};
use cscf_core::time::Duration;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Reply, reply_of};
use crate::operate;
use crate::up::orders::Orders;

/// Connections at once; others wait for their turn.
const CONNECTIONS_MAX: usize = 16;
/// How long a connection may take from its first byte to its last.
const CONNECTION_FOR: Duration = Duration::from_secs(20);
/// How long nobody is let in when the system lets nobody in.
const PAUSE_FOR: Duration = Duration::from_millis(100);
/// The body of a request, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// All header lines of a request together, in bytes.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// What the control interface serves.
#[derive(Debug)]
pub struct Control {
    /// The lab that runs.
    pub lab: Arc<Lab>,
    /// The way to its nodes.
    pub orders: Orders,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// Binds the control address.
///
/// # Errors
///
/// What is in the way, and what to do.
pub async fn bind(addr: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(addr).await.map_err(|fault| {
        let taken = fault.kind() == std::io::ErrorKind::AddrInUse;
        let why = if taken {
            "the address is in use, by another lab? (`cscf ctl show registrations` asks it)"
                .to_owned()
        } else {
            fault.to_string()
        };
        format!(
            "the control address {addr} cannot be used: {why}\n\
             `--no-control` does without, `control:` in the lab file names another"
        )
    })
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, control: Arc<Control>) {
    let turns = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let control = Arc::clone(&control);
                tokio::spawn(async move {
                    connection(stream, control).await;
                    drop(turn);
                });
            }
            // No file left, or a peer that is gone already: others may still be served.
            Err(_) => {
                let _ = timeout(PAUSE_FOR, std::future::pending::<()>()).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, control: Arc<Control>) {
    let service = service_fn(move |request| {
        let control = Arc::clone(&control);
        async move {
            let reply = answer(&control, request).await;
            Ok::<_, Infallible>(response(&reply))
        }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // A peer that is slow or wrong loses its connection, nothing else.
    let _ = timeout(CONNECTION_FOR, serving).await;
}

fn response(reply: &Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{}\n", reply.body))));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(CONTENT_TYPE, json);
    if reply.status == 405 {
        headers.insert(ALLOW, HeaderValue::from_static("GET, POST"));
    }
    response
}

async fn answer(control: &Control, request: Request<Incoming>) -> Reply {
    if let Err(reply) = from_here(control, request.headers()) {
        return reply;
    }
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (request.method(), parts.as_slice()) {
        (&Method::GET, []) => contents(),
        (&Method::GET, ["lab"]) => lab(control),
        (&Method::POST, ["orders"]) => match order_text(request).await {
            Ok(text) => obey(control, &text).await,
            Err(reply) => reply,
        },
        (&Method::GET, ["why", who]) => obey(control, &format!("show refusals {who}")).await,
        (&Method::GET, [table]) if Show::ALL.iter().any(|(word, _)| word == table) => {
            let of = query(request.uri().query(), "of");
            obey(control, &format!("show {table} {of}")).await
        }
        (&Method::GET | &Method::POST, _) => {
            Reply::error(404, &format!("there is no {path}"), "GET / lists what there is")
        }
        (method, _) => {
            Reply::error(405, &format!("{method} is not served here"), "use GET or POST")
        }
    }
}

/// A web page of another site must not order anything here: a browser names the site in Origin, and
/// in Host the name by which it found us.
fn from_here(control: &Control, headers: &HeaderMap) -> Result<(), Reply> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(HOST).unwrap_or_default();
    if !is_ours(control, host) {
        let hint = format!("ask http://{}", control.addr);
        return Err(Reply::error(403, &format!("Host is `{host}`, not this machine"), &hint));
    }
    match text(ORIGIN) {
        None => Ok(()),
        Some(origin) if origin.strip_prefix("http://").is_some_and(|it| is_ours(control, it)) => {
            Ok(())
        }
        Some(origin) => {
            let error = format!("a page of {origin} may not give orders here");
            Err(Reply::error(403, &error, "use `cscf ctl`, or no Origin"))
        }
    }
}

fn is_ours(control: &Control, host: &str) -> bool {
    let name = host.parse::<SocketAddr>().map(|addr| addr.ip()).or_else(|_| {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        name.trim_matches(['[', ']']).parse()
    });
    match name {
        Ok(ip) => ip.is_loopback() || ip == control.addr.ip() || control.addr.ip().is_unspecified(),
        Err(_) => host == "localhost" || host.starts_with("localhost:"),
    }
}

fn contents() -> Reply {
    let tables: Vec<String> = Show::ALL.iter().map(|(word, _)| format!("GET /{word}")).collect();
    let orders: Vec<&str> = USAGE.lines().collect();
    let body = json!({
        "GET /lab": "the nodes and the number of subscribers",
        "GET /why/USER": "the last refusals of a user with values and clauses",
        "POST /orders": "{\"order\": \"…\"} as application/json",
        "orders": orders,
        "tables": tables,
        "tables_of_a_user": "?of=USER",
    });
    Reply { status: 200, body }
}

fn lab(control: &Control) -> Reply {
    let node = |node: &cscf_core::config::NodeConfig| json!({"name": node.name, "role": node.role.as_str(), "listen": node.listen.to_string()});
    let nodes: Vec<_> = control.lab.nodes.iter().map(node).collect();
    let (domain, subscribers) = (&control.lab.domain, control.lab.subscribers.len());
    let body = json!({"domain": domain, "nodes": nodes, "subscribers": subscribers});
    Reply { status: 200, body }
}

/// The order in the body of a POST.
async fn order_text(request: Request<Incoming>) -> Result<String, Reply> {
    const HINT: &str = "POST {\"order\": \"dereg alice\"} as application/json";
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(Reply::error(415, "the body is not application/json", HINT));
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|fault| {
        let error = format!("the body cannot be read: {fault}");
        Reply::error(413, &error, "an order is one line")
    })?;
    let value: Result<serde_json::Value, _> = serde_json::from_slice(&body.to_bytes());
    let value = value.map_err(|fault| Reply::error(400, &format!("no JSON: {fault}"), HINT))?;
    match value.get("order").and_then(serde_json::Value::as_str) {
        Some(text) => Ok(text.to_owned()),
        None => Err(Reply::error(400, "there is no text under `order`", HINT)),
    }
}

async fn obey(control: &Control, text: &str) -> Reply {
    let order: Order = match text.parse() {
        Ok(order) => order,
        Err(fault) => return Reply::error(400, &fault, "docs/control.md lists the orders"),
    };
    let order = match operate::resolve(&control.lab, &[], &order) {
        Ok(order) => order,
        Err(fault) => return Reply::error(404, &fault, "GET /subscribers and /lab have the names"),
    };
    reply_of(&operate::combine(control.orders.give_all(&control.lab, &order).await))
}

/// The value of a key of a query, percent-decoded.
fn query(text: Option<&str>, key: &str) -> String {
    let pairs = text.unwrap_or_default().split('&');
    let found = pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key);
    let value = found.map(|(_, value)| value).unwrap_or_default();
    let mut bytes = value.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        let digits = (byte == b'%').then(|| (bytes.next(), bytes.next()));
        let hex = |digit: Option<u8>| char::from(digit?).to_digit(16);
        out.push(match digits {
            None => byte,
            Some((high, low)) => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or(b'?'),
                _ => b'?',
            },
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control() -> Control {
        let addr = "127.0.0.1:9480".parse().expect("address");
        Control { lab: Arc::new(Lab::default_lab()), orders: Orders::default(), addr }
    }

    #[test]
    fn a_user_may_be_named_by_a_uri() {
        assert_eq!(query(Some("a=b&of=sip%3Aalice%40ims"), "of"), "sip:alice@ims");
        assert_eq!(query(Some("of=%zz"), "of"), "?");
        assert_eq!(query(None, "of"), "");
    }

    #[test]
    fn a_page_of_another_site_is_turned_away() {
        let check = |host: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            from_here(&control(), &headers).map_err(|reply| reply.status)
        };
        assert_eq!(check("127.0.0.1:9480", None), Ok(()));
        assert_eq!(check("localhost:9480", None), Ok(()));
        assert_eq!(check("[::1]:9480", None), Ok(()));
        assert_eq!(check("127.0.0.1:9480", Some("http://127.0.0.1:8000")), Ok(()));
        // A name that was made to point here, and a page that posts here.
        assert_eq!(check("evil.example:9480", None), Err(403));
        assert_eq!(check("localhost.evil.example", None), Err(403));
        assert_eq!(check("127.0.0.1:9480", Some("http://evil.example")), Err(403));
        assert_eq!(check("127.0.0.1:9480", Some("null")), Err(403));
    }
}
