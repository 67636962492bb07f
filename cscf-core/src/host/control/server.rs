//! The serving side: one request a connection, bounded in size and time, and nothing for a web page
//! that a browser on this machine happens to show.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    ORIGIN, WWW_AUTHENTICATE,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use super::routes::{self, Lost};
use super::trace::Events;
use super::{Control, Reply};
use crate::time::Duration;

/// Connections at once, with those that have asked nothing yet; others wait for their turn.
const CONNECTIONS_MAX: usize = 256;
/// Requests that are answered at once; others wait for their turn.
const REQUESTS_MAX: usize = 32;
/// Readers of the trace at once, so that others still find a connection.
pub(super) const READERS_MAX: usize = 16;
/// How long a connection may take to ask something: who is silent takes no place from others.
const ASKS_WITHIN: Duration = Duration::from_secs(3);
/// How long a connection may take from its first byte to its last; a reader of the trace may stay.
const CONNECTION_FOR: Duration = Duration::from_secs(20);
/// How long nobody is let in when the system lets nobody in.
const PAUSE_FOR: Duration = Duration::from_millis(100);
/// The body of a request, in bytes: an order is one line of the pipe to a node process.
const BODY_BYTES_MAX: usize = 12 * 1024;
/// All header lines of a request together, in bytes.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// What a request is answered with.
#[derive(Debug)]
pub(super) enum Said {
    /// JSON, as most are.
    Json(Reply),
    /// A text of this media type.
    Text(&'static str, String),
    /// Events as they come.
    Trace(Events),
}

impl From<Reply> for Said {
    fn from(reply: Reply) -> Self {
        Self::Json(reply)
    }
}

/// How long a connection stays.
#[derive(Debug, Default)]
pub(super) struct Stay {
    /// It has sent a whole head with what is needed to be heard.
    asked: AtomicBool,
    reading: AtomicBool,
    /// The reader of the trace takes nothing any more.
    pub(super) stalled: Arc<Notify>,
}

impl Stay {
    /// It is a reader of the trace from now on.
    pub(super) fn reads(&self) {
        self.reading.store(true, Ordering::Relaxed);
    }

    /// Waits until its time is over.
    async fn over(&self) {
        let _ = timeout(ASKS_WITHIN, std::future::pending::<()>()).await;
        if !self.asked.load(Ordering::Relaxed) {
            return;
        }
        let rest = CONNECTION_FOR.saturating_sub(ASKS_WITHIN);
        let _ = timeout(rest, std::future::pending::<()>()).await;
        if self.reading.load(Ordering::Relaxed) {
            self.stalled.notified().await;
        }
    }
}

/// Who is served at once.
#[derive(Debug)]
pub(super) struct Turns {
    pub(super) readers: Arc<Semaphore>,
    requests: Semaphore,
}

impl Turns {
    fn new() -> Self {
        let readers = Arc::new(Semaphore::new(READERS_MAX));
        Self { readers, requests: Semaphore::new(REQUESTS_MAX) }
    }
}

/// Binds the control address of a lab.
///
/// # Errors
///
/// What is in the way, and what to do.
pub async fn bind(addr: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(addr).await.map_err(|fault| {
        let taken = fault.kind() == std::io::ErrorKind::AddrInUse;
        let why = if taken {
            "the address is in use, by another lab? (`cscf ctl health` asks it)".to_owned()
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
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let turns = Arc::new(Turns::new());
    loop {
        let Ok(turn) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (control, turns) = (Arc::clone(&control), Arc::clone(&turns));
                tokio::spawn(async move {
                    connection(stream, control, turns).await;
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

async fn connection<S>(stream: S, control: Arc<Control>, turns: Arc<Turns>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stay = Arc::new(Stay::default());
    let its_stay = Arc::clone(&stay);
    let service = service_fn(move |request| {
        let (control, stay, turns) =
            (Arc::clone(&control), Arc::clone(&its_stay), Arc::clone(&turns));
        async move { Ok::<_, Infallible>(answer(control, request, stay, turns).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // A peer that is slow or wrong loses its connection, nothing else.
    tokio::select! {
        _ = serving => {}
        () = stay.over() => {}
    }
}

type Answer = Response<Either<Full<Bytes>, Events>>;

async fn answer(
    control: Arc<Control>,
    request: Request<Incoming>,
    stay: Arc<Stay>,
    turns: Arc<Turns>,
) -> Answer {
    if let Err(reply) = may_ask(&control, request.headers()) {
        return response(reply.into(), &[]);
    }
    stay.asked.store(true, Ordering::Relaxed);
    let uri = request.uri().clone();
    let found = match routes::find(request.method(), uri.path()) {
        Ok(found) => found,
        Err(Lost::Path) => {
            let error = format!("there is no {}", uri.path());
            return response(Reply::error(404, &error, "GET / lists what there is").into(), &[]);
        }
        Err(Lost::Method(allowed)) => {
            let error = format!("{} is not served at {}", request.method(), uri.path());
            let hint = format!("use {}", allowed.join(" or "));
            return response(Reply::error(405, &error, &hint).into(), &allowed);
        }
    };
    let body = if matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) {
        match json_body(request).await {
            Ok(body) => body,
            Err(reply) => return response(reply.into(), &[]),
        }
    } else {
        Value::Null
    };
    // What is begun is finished, and kept in mind, though the client goes away meanwhile.
    let answering = tokio::spawn(async move {
        let Ok(_turn) = turns.requests.acquire().await else { return busy() };
        control.answer(&found, uri.query(), &body, (&stay, &turns)).await
    });
    response(answering.await.unwrap_or_else(|_| busy()), &[])
}

fn busy() -> Said {
    Reply::error(503, "it ends, or something went wrong here", "ask again").into()
}

fn response(said: Said, allowed: &[&str]) -> Answer {
    let (status, media_type, body) = match said {
        Said::Json(reply) => {
            let text = Bytes::from(format!("{}\n", reply.body));
            (reply.status, "application/json", Either::Left(Full::new(text)))
        }
        Said::Text(media_type, text) => (200, media_type, Either::Left(Full::new(text.into()))),
        Said::Trace(events) => (200, "text/event-stream", Either::Right(events)),
    };
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == 401 {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"cscf\""));
    }
    if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", "))
        && !allowed.is_empty()
    {
        headers.insert(ALLOW, allowed);
    }
    response
}

/// Who has the token may ask. Without one a web page of another site must not order anything here:
/// a browser names the site in Origin, and in Host the name by which it found us.
fn may_ask(control: &Control, headers: &HeaderMap) -> Result<(), Reply> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(token) = &control.token {
        if !token.is_in(headers.get(AUTHORIZATION).map(HeaderValue::as_bytes)) {
            let error = match headers.get(AUTHORIZATION) {
                None => "a token is needed here",
                Some(_) => "this is not the token",
            };
            let hint = "Authorization: Bearer TOKEN; `cscf ctl --token TOKEN`, or CSCF_TOKEN";
            return Err(Reply::error(401, error, hint));
        }
    } else {
        let host = text(HOST).unwrap_or_default();
        if !is_ours(control, host) {
            let hint = format!("ask http://{}", control.addr);
            return Err(Reply::error(403, &format!("Host is `{host}`, not this machine"), &hint));
        }
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

/// The body of a request that has one.
async fn json_body(request: Request<Incoming>) -> Result<Value, Reply> {
    const HINT: &str = "send one JSON object with Content-Type: application/json";
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(Reply::error(415, "the body is not application/json", HINT));
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|fault| {
        let error = format!("the body cannot be read: {fault}");
        Reply::error(413, &error, &format!("it may have {BODY_BYTES_MAX} bytes"))
    })?;
    serde_json::from_slice(&body.to_bytes())
        .map_err(|fault| Reply::error(400, &format!("no JSON: {fault}"), HINT))
}

#[cfg(test)]
mod tests {
    use super::super::{Answering, Nodes, Token};
    use super::*;
    use crate::config::Lab;
    use crate::operator::{Order, OrderAnswer, OrderError};
    use tokio::io::AsyncWriteExt as _;

    struct Nobody;

    impl Nodes for Nobody {
        fn give<'a>(&'a self, _: &'a str, _: &'a Order) -> Answering<'a> {
            Box::pin(async { Err(OrderError::NotHere) })
        }
    }

    /// Obeys when it is let.
    #[derive(Default)]
    struct Late {
        asked: Notify,
        may: Notify,
    }

    impl Nodes for Arc<Late> {
        fn give<'a>(&'a self, _: &'a str, _: &'a Order) -> Answering<'a> {
            Box::pin(async {
                self.asked.notify_one();
                self.may.notified().await;
                Ok(OrderAnswer::done("done"))
            })
        }
    }

    #[test]
    fn what_a_client_has_begun_is_kept_in_mind_though_it_goes_away() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let late = Arc::new(Late::default());
            let addr = "127.0.0.1:9480".parse().expect("address");
            let nodes = Box::new(Arc::clone(&late));
            let lab = Arc::new(Lab::default_lab());
            let control = Arc::new(Control::new(lab, &["hss"], nodes, addr));
            let (mut client, server) = tokio::io::duplex(4_096);
            let turns = Arc::new(Turns::new());
            let serving = tokio::spawn(connection(server, Arc::clone(&control), turns));
            let body = "{\"order\": \"subscriber remove alice\"}";
            let head = "POST /orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json";
            let text = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            client.write_all(text.as_bytes()).await.expect("sends");
            late.asked.notified().await;
            drop(client);
            serving.await.expect("ends");
            assert!(control.lab().subscriber("alice").is_some(), "not yet");
            late.may.notify_one();
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(control.lab().subscriber("alice").is_none());
        });
    }

    fn control() -> Control {
        let addr = "127.0.0.1:9480".parse().expect("address");
        Control::new(Arc::new(Lab::default_lab()), &["p1"], Box::new(Nobody), addr)
    }

    fn headers(list: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pairs =
            list.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        pairs.collect()
    }

    #[test]
    fn a_page_of_another_site_is_turned_away() {
        let check = |host: &'static str, origin: Option<&'static str>| {
            let mut list = vec![(HOST, host)];
            list.extend(origin.map(|origin| (ORIGIN, origin)));
            may_ask(&control(), &headers(&list)).map_err(|reply| reply.status)
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

    #[test]
    fn where_there_is_a_token_it_is_needed_and_a_page_does_not_help() {
        let control = control().with_token(Some(Token::new("let me in".to_owned())));
        let check = |list: &[(HeaderName, &'static str)]| {
            may_ask(&control, &headers(list)).map_err(|reply| reply.status)
        };
        let (right, host) = ((AUTHORIZATION, "Bearer let me in"), (HOST, "lab.example:9480"));
        assert_eq!(check(&[right.clone(), host.clone()]), Ok(()));
        assert_eq!(check(std::slice::from_ref(&host)), Err(401));
        assert_eq!(check(&[(AUTHORIZATION, "Bearer let me out"), host.clone()]), Err(401));
        assert_eq!(check(&[right, host, (ORIGIN, "http://evil.example")]), Err(403));
    }
}
